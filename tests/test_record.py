"""Records of earlier schemas: every archive loads under the present names, and is what its experiment asks for."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trl_suite import record
from trl_suite.errors import InputError
from trl_suite.evidence.reading import curve, run_archive, run_records
from trl_suite.experiment.planning import grid
from trl_suite.experiment.running import run_state
from trl_suite.experiment.specification import experiment_file
from trl_suite.record import Plan, RunRecord

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
ARCHIVED = sorted(path.parent.parent.name for path in EXPERIMENTS.glob("*/results/plan.json"))


def archived(name: str) -> list[RunRecord]:
    run_files = run_records.files(EXPERIMENTS / name / "results").values()
    return record.relinked(record.decode(files["run.json"], RunRecord) for files in run_files if "run.json" in files)


def today(specification: dict[str, Any]) -> str:
    """The digest of a run without the weight of its statistics, and without its source, whose digest is of the same."""
    method = {key: value for key, value in specification["method"].items() if key != "normaliser"}
    return record.digest_of(specification | {"method": method, "source": bool(specification["source"])})


@pytest.mark.parametrize("name", ARCHIVED)
def test_the_runs_of_an_archive_are_those_that_its_experiment_asks_for_today(name):
    runs = archived(name)
    assert runs
    assert {run.schema for run in runs} == {record.RECORD_SCHEMA}
    assert all(run.digest == record.digest_of(run.specification) for run in runs)
    wanted = {spec.digest: spec for spec in grid.run_specs(experiment_file.load(EXPERIMENTS / name))}
    changed = {today(spec.specification): spec for spec in wanted.values()}
    for run in runs:
        capped = "slow" in str(run.specification.get("method"))  # statistics are counted whole today: another run
        assert (run.digest in wanted) != capped
        spec = wanted.get(run.digest) or changed[today(run.specification)]
        assert (run.role, run.env, run.method, run.seed) == (spec.role, spec.env, spec.method, spec.seed)


@pytest.mark.parametrize("name", ARCHIVED)
def test_the_plan_of_an_archive_keeps_its_folders_and_is_converted_to_the_present_experiment(name):
    folder = EXPERIMENTS / name / "results"
    plan, archived_plan = run_records.plan_of(folder), run_archive.read_plan(folder / run_archive.ARCHIVE_FILE)
    assert archived_plan is not None
    assert [run.folder for run in plan.runs] == [
        run["folder"] for run in json.loads(archived_plan.read_bytes())["runs"]
    ]
    assert {run.folder for run in plan.runs} == run_records.files(folder).keys()
    assert record.decode(folder / "plan.json", Plan).runs == ()  # the head alone: the list is long
    assert {run.method for run in plan.runs} - {record.SOURCE_METHOD} <= {*plan.specification["methods"]}


def test_a_record_of_schema_1_that_was_edited_keeps_a_digest_that_is_not_its_own(tmp_path):
    path = tmp_path / "run.json"
    specification = {"schema": 1, "world": {"a": 1}, "mix": [], "source": ""}
    table = {
        "experiment": "e", "role": "target", "env": "hopper", "method": "scratch", "algorithm": "ppo", "seed": 0,
        "steps": 1, "digest": record.digest_of(specification), "specification": specification, "status": "done",
        "schema": 1,
    }  # fmt: skip
    path.write_text(json.dumps(table))
    run = record.decode(path, RunRecord)
    assert run.specification == {"schema": 2, "env_spec": {"a": 1}, "training_variants": [], "source": ""}
    assert run.digest == record.digest_of(run.specification) != run.former_digest == table["digest"]
    path.write_text(json.dumps(table | {"specification": specification | {"source": "other"}}))
    edited = record.decode(path, RunRecord)
    assert edited.digest == table["digest"] != record.digest_of(edited.specification)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"schema": 3}', '{"schema": 1}', "\xff", '{"schema": true}', "1"])
def test_what_is_no_record_is_refused_by_the_name_of_its_file(tmp_path, content):
    path = tmp_path / "run.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError, match=r"run\.json: "):
        record.decode(path, RunRecord)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_could_be_read_for_ever_is_not_opened(kind, tmp_path):
    for name in ("run.json", "evaluations.csv"):
        path = tmp_path / name
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()
    with pytest.raises(InputError, match=r"run.json: is not a regular file"):
        record.decode(tmp_path / "run.json", record.RunRecord)
    with pytest.raises(InputError, match=r"evaluations.csv: is not a regular file"):
        curve.read(tmp_path / "evaluations.csv")
    state = run_state.read(tmp_path)
    assert (state.condition, state.why) == ("refused", "run.json: is not a regular file")
