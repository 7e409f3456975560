"""Runs that another experiment has made are taken, where they are the same, and not trained again."""

import msgspec
import pytest

from tests.experiment.conftest import TINY
from trl_suite import provenance, record
from trl_suite.errors import InputError
from trl_suite.evidence.report.results_archive import archive_results
from trl_suite.evidence.results import experiment_results
from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_keys import CohortPlanner
from trl_suite.experiment.planning.placement import placement
from trl_suite.experiment.reuse import reused_runs
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.specification import experiment_file

MORE = TINY.replace('"random-frozen"', '"random-frozen", "actor-only"')


def experiment(tmp_path, text=MORE, name="more"):
    folder = tmp_path / "experiments" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.toml").write_text(text)
    return folder


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def taken(tmp_path, *others, text=MORE, **options):
    """What would be taken into an empty folder, and the lines about it."""
    specification = experiment_file.load(experiment(tmp_path, text))
    steps, root = grid.run_specs(specification), tmp_path / "runs" / "more"
    planner = CohortPlanner(specification, placement("local", specification, 1), steps)
    told = reused_runs.take(root, steps, others, planner, **options)
    return {path.parent.relative_to(root).as_posix() for path in root.glob("*/*/*/run.json")}, told


def test_what_another_experiment_made_is_taken_and_the_rest_is_trained(finished, tmp_path):
    made = run(experiment(tmp_path), runs=tmp_path / "runs", on="here", reuse=[finished])
    theirs = {path.parent.relative_to(finished).as_posix() for path in finished.glob("*/*/*/run.json")}
    for name in theirs:
        assert files_of(made.folder / name) == files_of(finished / name)
    methods = {record.decode(path, record.RunRecord).method for path in made.folder.glob("*/*/*/run.json")}
    assert methods == {"source", "scratch", "finetune", "random-frozen", "actor-only"}
    found = experiment_results.load(made.folder)
    assert {member.run.status for member in found.recorded if member.run} == {"done"}
    assert len(found.recorded) == len(theirs) + 2


def test_of_kept_results_the_records_are_taken_and_no_source_without_its_weights(finished, tmp_path):
    archive_results(finished, tmp_path / "kept")
    folders, [told] = taken(tmp_path, tmp_path / "kept")
    assert {name.split("/")[1] for name in folders} == {"scratch", "finetune", "random-frozen"}
    assert told == f"{len(folders)} of 10 runs are those of {tmp_path / 'kept'}"
    for name in folders:
        assert files_of(tmp_path / "runs" / "more" / name) == {
            path: content
            for path, content in files_of(finished / name).items()
            if path.name in ("run.json", "evaluations.csv") and len(path.parts) == 1
        }


def test_where_retention_is_asked_for_weights_are_needed(finished, tmp_path):
    archive_results(finished, tmp_path / "kept")
    folders, _ = taken(tmp_path, tmp_path / "kept", measured=("retention.csv",))
    assert {name.split("/")[1] for name in folders} == {"scratch"}
    whole, _ = taken(tmp_path / "again", finished, measured=("retention.csv",))
    assert {name.split("/")[1] for name in whole} == {"source", "scratch", "finetune", "random-frozen"}


def test_what_is_there_stays(finished, tmp_path):
    folders, _ = taken(tmp_path, finished)
    mine = tmp_path / "runs" / "more" / min(folders) / "evaluations.csv"
    mine.write_text("mine")
    _, [told] = taken(tmp_path, finished)
    assert told.startswith("0 of 10 runs are those of")
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        MORE.replace("hidden = [8, 8]", "hidden = [8, 4]"),
        MORE.replace("[source]", 'engine = "sb3"\n\n[source]'),
        MORE.replace("seeds    = [0, 1]", "seeds    = [7, 8]"),
    ],
    ids=["other networks", "another engine", "other seeds"],
)
def test_what_is_not_the_same_run_is_not_taken(finished, tmp_path, text):
    assert taken(tmp_path, finished, text=text)[0] == set()


def test_a_record_that_does_not_fit_its_digest_is_not_taken(finished, tmp_path):
    archive_results(finished, tmp_path / "kept")
    whole, _ = taken(tmp_path, tmp_path / "kept")
    spoiled = tmp_path / "spoiled"
    (spoiled / "runs").mkdir(parents=True)
    (spoiled / "plan.json").write_bytes((finished / "plan.json").read_bytes())
    for name in whole:
        was = record.decode(finished / name / "run.json", record.RunRecord)
        other = msgspec.structs.replace(was, specification=was.specification | {"env": "hopper"})
        (spoiled / name).mkdir(parents=True)
        (spoiled / name / "run.json").write_bytes(record.encode(other))
    assert taken(tmp_path / "again", spoiled)[0] == set()


def test_other_versions_are_told_and_must_be_allowed(finished, tmp_path, monkeypatch):
    now = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: now | {"torch": "9.9"})
    with pytest.raises(InputError, match=r"other versions \(torch .* -> 9\.9\); allow it with --mix-versions"):
        taken(tmp_path, finished)
    folders, _ = taken(tmp_path / "mixed", finished, mixed=True)
    assert folders


def test_what_is_no_experiment_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no plan\.json here; runs are reused from"):
        taken(tmp_path, tmp_path / "nowhere")
