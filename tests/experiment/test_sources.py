"""Whole experiments whose sources, methods and budgets are special: each from its table to its record."""

from pathlib import Path

import pytest

from trl_suite import record
from trl_suite.errors import InputError
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.experiment.planning import grid
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.specification import experiment_file
from trl_suite.networks.policy import load
from trl_suite.record import RunRecord

from .conftest import TINY

TABLE = """
question  = "Does it run?"
algorithm = "{algorithm}"
methods   = {methods}
seeds     = [0]

[source]
env   = "inverted-pendulum"
steps = 256
{source}

[target]
envs  = ["inverted-pendulum.gravity-1.5"]
steps = 128

[evaluation]
every    = 64
episodes = 1

[ppo]
n_envs = 2
n_steps = 32
batch_size = 32
n_epochs = 2
hidden = [8, 8]

[sac]
n_envs = 2
batch_size = 16
learning_starts = 40
buffer_size = 2000
hidden = [8, 8]

[method.remembering]
copy = ["actor", "critic", "temperature", "replay", "optimiser"]
log_std = "copied"
freeze = ["replay"]
"""


def made(tmp_path, algorithm: str, methods: list[str], source: str = "") -> tuple[Results, dict[str, RunRecord]]:
    folder = tmp_path / "special"
    folder.mkdir()
    (folder / "experiment.toml").write_text(TABLE.format(algorithm=algorithm, methods=methods, source=source))
    root = run(folder, runs=tmp_path / "runs", on="here").folder
    found = {one.method: one for one in (record.decode(path, RunRecord) for path in root.glob("*/*/*/run.json"))}
    assert {one.status for one in found.values()} == {"done"}, [one.error for one in found.values()]
    return Results.read(root), found


def test_scratch_with_an_equal_total_is_measured_on_the_same_grid_and_pays_for_all_its_steps(tmp_path):
    collection, runs = made(tmp_path, "ppo", ["scratch", "scratch-equal-total", "lora", "progressive", "residual"])
    assert not [finding for finding in collection.irregularities if finding.kind == "other grid"]
    assert runs["scratch-equal-total"].steps == 256 + 128
    assert runs["scratch"].steps == 128
    rows = {row.method: row for row in collection.measures()}
    assert rows["scratch-equal-total"].complete == 1
    assert rows["scratch-equal-total"].zero_shot.value != rows["scratch"].zero_shot.value, "it has learned already"
    for name in ("lora", "progressive", "residual"):
        assert runs[name].freeze is not None
        assert runs[name].freeze.holds
        assert runs[name].freeze.before
    assert "source.actor.trunk.0" in runs["progressive"].freeze.before


@pytest.mark.parametrize(
    "source", ['variants = ["gravity-0.5", "inverted-actions"]\nheads = true', "dynamics = {epochs = 2}"]
)
def test_a_source_of_several_tasks_or_of_none_serves_any_method(tmp_path, source):
    collection, runs = made(tmp_path, "ppo", ["scratch", "trunk-only"], source)
    assert runs["source"].steps == 256
    assert "actor.trunk.0" in runs["trunk-only"].transplant.copied
    assert {row.method: row.source_steps for row in collection.measures()} == {"scratch": 0, "trunk-only": 256}


def test_a_replay_and_moments_go_from_source_to_target(tmp_path):
    collection, runs = made(tmp_path, "sac", ["scratch", "remembering"])
    transplant, freeze = runs["remembering"].transplant, runs["remembering"].freeze
    assert {"replay", "optimiser.actor", "optimiser.critic", "optimiser.temperature"} <= set(transplant.copied)
    assert freeze.holds
    assert "replay" in freeze.before
    source = load(collection.folder / runs["remembering"].source / "policy")
    assert len(source.memory["replay"]["rewards"]) == 256


def test_a_matrix_crosses_every_source_with_every_target(tiny: Path):
    path = tiny / "experiment.toml"
    envs = '["inverted-pendulum", "inverted-pendulum.gravity-1.5"]'
    text = TINY.replace('env   = "inverted-pendulum"', f"envs  = {envs}")
    path.write_text(text.replace('envs  = ["inverted-pendulum.gravity-1.5"]', f"envs  = {envs}"))
    specs = grid.run_specs(experiment_file.load(tiny))
    finetuned = {(spec.env, spec.source.split("/")[0], spec.seed) for spec in specs if spec.method == "finetune"}
    assert len(finetuned) == 2 * 2 * 2
    assert len([spec for spec in specs if spec.method == "scratch"]) == 2 * 2, "scratch needs no source: once a target"
    assert len({spec.folder for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('envs = ["hopper", "hopper"]', "source.envs: .* names one twice"),
        ('env = "hopper"\nenvs = ["hopper"]', "give either env, or envs"),
        ("envs = []", "give either env, or envs"),
        ('envs = ["hoper"]', "source.envs: .*hopper"),
    ],
)
def test_a_matrix_that_cannot_be_is_refused(tiny: Path, line: str, message: str):
    (tiny / "experiment.toml").write_text(TINY.replace('env   = "inverted-pendulum"', line))
    with pytest.raises(InputError, match=message):
        experiment_file.load(tiny)
