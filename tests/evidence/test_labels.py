"""Right labels: the meaning of a step, of failed runs and of younger rules; a dirty run keeps its changes."""

import pytest

from trl_suite.evidence.report.results_archive import archive_results
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.results.headline import headline
from trl_suite.evidence.statistics.claim import RULES_SINCE

from .conftest import CURVES, ENV

SIX = {"seeds": 8, "methods": ("scratch", "finetune")}


@pytest.mark.parametrize(
    ("hyperparameters", "rollout"),
    [
        ({"n_envs": 16, "n_steps": 128}, 2048),
        ({"n_envs": 16, "n_steps": 125}, None),
        ({"n_envs": 3, "train_freq": 1}, 3),
        ({"n_envs": 1, "train_freq": 1}, None),
        ({}, None),
    ],
)
def test_a_grid_that_is_no_multiple_of_the_rollout_is_said(experiment, hyperparameters, rollout):
    for planned in experiment.planned:
        if planned.role == "target":
            experiment.write(planned, specification={"hyperparameters": hyperparameters})
    labels = [f for f in experiment_results.load(experiment.root).irregularities if f.kind == "step labels"]
    assert len(labels) == (rollout is not None)
    if rollout is not None:
        assert labels[0].where == ENV
        assert f"the last whole rollout of {rollout:,}" in labels[0].what


@pytest.mark.parametrize("method", ["finetune", "scratch"])
def test_nothing_is_claimed_where_a_run_failed(build, method):
    experiment = build(**SIX)

    def claims():
        found = experiment_results.load(experiment.root)
        row = next(row for row in found.measures() if row.method == "finetune")
        return {row.area_claim, row.end_claim, row.time_claim, row.counted_claim, row.counted_area_claim}, found

    before, _ = claims()
    assert "better" in before
    failed = experiment.target(method, 7)
    experiment.write(failed, CURVES[method](7)[:4], status="failed", error="DivergedError: actor.head not finite")
    after, found = claims()
    assert after == {"not shown"}
    assert any("1 run of finetune or scratch failed" in caveat for caveat in headline(found, found.measures()).caveats)


def test_rules_that_are_younger_than_the_runs_are_post_hoc(build):
    experiment = build(**SIX)
    caveats = headline(*(lambda found: (found, found.measures()))(experiment_results.load(experiment.root))).caveats
    assert caveats[-1].startswith("Post hoc: ")
    for planned in experiment.planned:
        experiment.write(planned, started=RULES_SINCE)
    found = experiment_results.load(experiment.root)
    assert not [caveat for caveat in headline(found, found.measures()).caveats if "Post hoc" in caveat]


def test_an_archive_keeps_the_uncommitted_changes_of_its_runs(build, tmp_path):
    experiment = build(**SIX)
    dirty = experiment.target("finetune", 0)
    experiment.write(dirty, dirty=True, diff="diffs/0123456789.diff")
    (experiment.root / "diffs").mkdir()
    (experiment.root / "diffs" / "0123456789.diff").write_text("+ x = 1\n")
    (experiment.root / "diffs" / "of-no-run.diff").write_text("+ y = 1\n")
    experiment.write(experiment.target("finetune", 1), dirty=True, diff="../outside.diff")
    (tmp_path / "outside.diff").write_text("secret")
    archive_results(experiment.root, tmp_path / "archive")
    assert [path.name for path in (tmp_path / "archive" / "diffs").iterdir()] == ["0123456789.diff"]
    archive_results(tmp_path / "archive", tmp_path / "again")
    assert (tmp_path / "again" / "diffs" / "0123456789.diff").read_text() == "+ x = 1\n"
