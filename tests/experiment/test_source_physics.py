"""Sources of one physics on targets of another: trained in, tested in."""

from pathlib import Path

import msgspec
import pytest

from trl_suite import record
from trl_suite.errors import InputError
from trl_suite.evidence.reading.conditions import conditions_of
from trl_suite.evidence.results.source_target_matrix import matrices
from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_keys import CohortPlanner
from trl_suite.experiment.planning.placement import placement
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.specification import experiment_file
from trl_suite.experiment.specification.experiment_keys import Experiment

TABLE = {
    "question": "Does a policy of one physics help in another?",
    "methods": ["scratch", "finetune"],
    "seeds": [0, 1],
    "physics": ["mujoco", "warp"],
    "source": {"env": "inverted-pendulum", "physics": ["mujoco", "warp"], "steps": 64},
    "target": {"envs": ["inverted-pendulum"], "steps": 64},
    "evaluation": {"every": 64, "episodes": 1},
    "ppo": {"n_envs": 2, "n_steps": 16, "batch_size": 16, "n_epochs": 1, "hidden": [4]},
}


def read(**more: object) -> Experiment:
    return experiment_file.read(TABLE | more).experiment


def test_each_source_physics_meets_each_target_physics():
    experiment = read()
    specs = grid.run_specs(experiment)
    names = {spec.folder: spec.planned.home for spec in specs if spec.role == "source"}
    assert sorted(set(names.values())) == ["inverted-pendulum (physics=mujoco)", "inverted-pendulum (physics=warp)"]
    assert len(names) == 4, "a source serves the targets of both physics"
    pairs = {(names[spec.source], spec.planned.target) for spec in specs if spec.source}
    assert len(pairs) == 4
    plan = grid.plan_record("physics", experiment, "x")
    sources = {condition.source for condition in conditions_of(plan).values() if condition.method == "finetune"}
    assert sources == set(names.values())
    assert msgspec.json.decode(record.encode(plan), type=record.Plan).runs == plan.runs


def test_a_source_is_trained_in_its_own_physics():
    experiment = read()
    specs = grid.run_specs(experiment)
    planner = CohortPlanner(experiment, placement("local", experiment, 1), specs)
    for spec in specs:
        assert planner(spec).physics == (spec.physics or spec.cell.partition("=")[2])


def test_without_the_key_sources_are_what_they_were():
    several, one = read(source={"env": "inverted-pendulum", "steps": 64}), read(physics="mujoco")
    assert {spec.physics for spec in grid.run_specs(several)} == {""}
    plain = read(physics="mujoco", source={"env": "inverted-pendulum", "steps": 64})
    sources = [{s.digest for s in grid.run_specs(e) if s.role == "source"} for e in (plain, one)]
    assert sources[0] < sources[1], "the source of the targets' own physics is the same run"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"source": {"env": "hopper", "steps": 8, "physics": ["warp", "warp"]}}, "source.physics: .* twice"),
        ({"source": {"env": "hopper", "shipped": True, "physics": ["warp"]}}, "source.physics: shipped"),
        ({"engine": "sb3", "physics": "mujoco"}, "source.physics = 'warp' simulates cohorts"),
        ({"source": {"env": "hopper", "steps": 8, "physics": ["mujoko"]}}, "mujoko"),
    ],
)
def test_what_contradicts_itself_is_refused(more: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        read(**more)


@pytest.mark.slow
def test_the_matrix_of_physics_is_run_and_reported(tmp_path: Path):
    results = run(TABLE, name="physics", runs=tmp_path, on="here", quiet=True)
    [table] = matrices(results, results.measures())
    names = {"inverted-pendulum (physics=mujoco)", "inverted-pendulum (physics=warp)"}
    assert {*table.sources} == names
    assert {*table.targets} == names
    assert len(table.cells) == 4
