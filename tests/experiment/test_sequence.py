"""One task after another: the plan, what is refused, exact resume, and what is shared with another sequence."""

import shutil
from pathlib import Path

import pytest

from tests.experiment.conftest import TINY, Hearing, results
from trl_suite.errors import InputError
from trl_suite.evidence.reading.run_records import TASKS, task_returns
from trl_suite.evidence.results import experiment_results, task_sequence
from trl_suite.experiment.planning import grid
from trl_suite.experiment.reuse import reproduction, spot_check
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification import experiment_file

FIRST, SECOND = "inverted-pendulum", "inverted-pendulum.gravity-1.5"
HEAD, _, TAIL = TINY.partition("[source]")
SEQUENCE = f"""{HEAD.replace('"finetune", "random-frozen"', '"finetune", "ewc"')}[sequence]
envs  = ["{FIRST}", "{SECOND}"]
steps = 256
repeat = 2

[evaluation]{TAIL.partition("[evaluation]")[2]}"""


def written(folder: Path, text: str = SEQUENCE, name: str = "tiny") -> Path:
    folder = folder / "experiments" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sequence")
    return run(written(folder), runs=folder / "runs", on="here").folder


def test_each_stage_begins_with_the_policy_of_the_one_before(tmp_path):
    specs = {spec.folder: spec for spec in grid.run_specs(experiment_file.load(written(tmp_path)))}
    of_finetune = [spec for spec in specs.values() if spec.method == "finetune" and spec.seed == 0]
    assert [(spec.env, spec.role) for spec in of_finetune] == [
        (SECOND, "target"), (FIRST, "revisit"), (SECOND, "revisit"),
    ]  # fmt: skip
    first, second, third = of_finetune
    assert specs[first.source].method == "scratch"
    assert specs[first.source].env == FIRST
    assert (second.source, third.source) == (first.folder, second.folder)
    assert third.specification["source"] == second.digest


def test_a_stage_of_another_first_stage_is_another_run(tmp_path):
    before = {spec.folder for spec in grid.run_specs(experiment_file.load(written(tmp_path)))}
    swapped = SEQUENCE.replace(f'["{FIRST}", "{SECOND}"]', f'["{SECOND}", "{FIRST}"]')
    after = {spec.folder for spec in grid.run_specs(experiment_file.load(written(tmp_path, swapped)))}
    assert {name.split("/")[1] for name in before & after} == {"scratch"}


def test_every_policy_is_evaluated_on_every_task(made):
    found = experiment_results.load(made)
    for member in found.recorded:
        assert member.tasks is not None
        assert set(member.tasks) == {FIRST, SECOND}
    sequence = task_sequence.find(found)
    assert sequence is not None
    assert {name: values.shape for name, values in sequence.performance.items()} == dict.fromkeys(
        ("scratch", "finetune", "ewc"), (2, 5, 2)
    )


def test_no_two_runs_share_a_folder_of_events(made):
    folders = experiment_results.load(made).plan.event_folders()
    assert len(set(folders.values())) == len(folders)
    assert f"tensorboard/{FIRST}/finetune-visit-2/seed-0" in folders.values()


def test_a_sequence_that_lost_its_later_stages_comes_out_to_the_bit(made, tmp_path):
    root = Path(shutil.copytree(made, tmp_path / "runs" / "tiny"))
    planned = experiment_results.load(made).plan.runs
    for stage in planned:
        if stage.role == "revisit":
            shutil.rmtree(root / stage.folder)
    run(written(tmp_path), runs=tmp_path / "runs", on="here")
    assert results(root) == results(made)
    for stage in planned:
        assert task_returns(root / stage.folder / TASKS) == task_returns(made / stage.folder / TASKS)


def test_sequences_that_share_a_beginning_share_its_runs(made, tmp_path):
    shorter = SEQUENCE.replace("repeat = 2", "repeat = 1")
    taken = run(written(tmp_path, shorter, "shorter"), runs=tmp_path / "runs", on="here", reuse=[made])
    records = list(taken.folder.glob("*/*/*/run.json"))
    assert {path.parts[-3] for path in records} == {"scratch", "finetune", "ewc"}
    for path in records:
        origin = made / path.relative_to(taken.folder)
        assert path.read_bytes() == origin.read_bytes()


def test_a_late_stage_is_made_again_with_all_before_it(made, tmp_path):
    last = [run for run in experiment_results.load(made).plan.runs if run.method == "finetune" and run.seed == 0][-1]
    with Stop() as stop:
        repetition = reproduction.rerun(made / last.folder, tmp_path / "again", Hearing(), stop)
    assert repetition is not None
    assert repetition.evaluations_equal
    assert repetition.weights_equal


def test_a_check_has_the_records_of_all_stages_before(made, tmp_path):
    found = experiment_results.load(made)
    last = [run for run in found.plan.runs if run.method == "finetune" and run.seed == 0][-1]
    spot_check.unpack(found, [last], tmp_path)
    assert len(list(tmp_path.rglob("run.json"))) == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('envs  = ["inverted-pendulum", ', 'envs  = ["hopper", ', "has other slots than 'hopper'"),
        (f'"{SECOND}"]', '"inverted-pendulum.gravity-7"]', "sequence.envs: inverted-pendulum: unknown variant"),
        (f', "{SECOND}"]', "]", "sequence.envs"),
        ('"ewc"', '"jsrl-not"', "unknown method 'jsrl-not'"),
        ('"ewc"', '"scratch-equal-total"', "'scratch-equal-total' is charged a source's steps"),
        ('"finetune", "ewc"', "", "needs a method besides scratch"),
        ("repeat = 2", "repeats = 2", "unknown key 'repeats'"),
        ("repeat = 2", "repeat = 0", "sequence.repeat"),
        ("[sequence]", '[source]\nenv = "hopper"\nsteps = 64\n[sequence]', "give either [sequence], or [source]"),
        ("[sequence]", 'engine = ["cohort", "sb3"]\n[sequence]', "sequence: takes one value of engine"),
        ('"ewc"', '"residual"', "'residual' is a residual, which a third stage could not start from"),
        ('"ewc"', '"task-replay"', "ppo learns from its own rollouts, and has no replay"),
        ("repeat = 2", 'repeat = 2\nheads = ["actor.hat"]', "no component 'actor.hat'"),
        ("[sequence]", "probes = 1\n[sequence]", "probes: not in a sequence"),
    ],
)  # fmt: skip
def test_what_a_sequence_cannot_be_is_refused_by_name(tmp_path, old, new, message):
    assert old in SEQUENCE
    text = SEQUENCE.replace(", " + old, new) if not new and f", {old}" in SEQUENCE else SEQUENCE.replace(old, new)
    with pytest.raises(InputError) as raised:
        experiment_file.load(written(tmp_path, text))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("others", ['"hopper", "walker2d"', '"walker2d", "walker2d.gravity-0.5", "hopper"'])
@pytest.mark.parametrize(
    "besides", ['heads = ["actor.head", "critic.head"]', "", '[alias]\nthigh_left_joint = "thigh_joint"']
)
def test_tasks_of_other_slots_are_refused_with_heads_and_with_names_that_align(tmp_path, others, besides):
    text = SEQUENCE.replace(f'"{FIRST}", "{SECOND}"', others).replace("repeat = 2", f"repeat = 2\n{besides}")
    with pytest.raises(InputError) as raised:
        experiment_file.load(written(tmp_path, text))
    assert "has other slots than" in str(raised.value)
    assert "with heads and alias too" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_sequence_that_ends_otherwise_wants_the_same_runs_of_the_beginning(made, tmp_path):
    longer = SEQUENCE.replace(f'"{SECOND}"]', f'"{SECOND}", "inverted-pendulum.gravity-0.5"]')
    wanted = {spec.folder: spec for spec in grid.run_specs(experiment_file.load(written(tmp_path, longer)))}
    taken = [spec for folder, spec in wanted.items() if (made / folder / "run.json").exists()]
    assert {(spec.env, spec.method) for spec in taken} == {
        (FIRST, "scratch"), (SECOND, "scratch"), (SECOND, "finetune"), (SECOND, "ewc"),
    }  # fmt: skip


def test_a_method_that_needs_stages_is_refused_without_a_sequence(tmp_path):
    for name in ("packnet", "task-replay"):
        text = TINY.replace('"random-frozen"', f'"{name}"')
        with pytest.raises(InputError, match=f"methods: '{name}': .* takes from stage to stage, in a .sequence."):
            experiment_file.load(written(tmp_path, text))


def test_masks_that_leave_a_late_stage_no_free_weight_are_refused_before_anything_runs(tmp_path):
    text = SEQUENCE.replace('"ewc"', '"packnet"').replace("repeat = 2", "repeat = 3")
    with pytest.raises(InputError) as raised:
        experiment_file.load(written(tmp_path, text))
    assert "leaves no free weight to stage 6 in actor.head.weight: lower packing.keep (0.5)" in str(raised.value)


def test_a_method_that_acts_in_the_first_stage_too_begins_with_a_run_of_its_own(tmp_path):
    text = SEQUENCE.replace('"ewc"', '"packnet"').replace("hidden = [8, 8]", "hidden = [32, 32]")
    specs = grid.run_specs(experiment_file.load(written(tmp_path, text)))
    first, second, *_ = (spec for spec in specs if spec.method == "packnet" and spec.seed == 0)
    assert (first.env, first.source, first.specification["method"].keys()) == (FIRST, "", {"packing"})
    assert second.source == first.folder


def test_an_experiment_object_with_a_sequence_is_read_again(tmp_path):
    experiment = experiment_file.load(written(tmp_path))
    again = experiment_file.read(experiment).experiment
    assert [spec.digest for spec in grid.run_specs(again)] == [spec.digest for spec in grid.run_specs(experiment)]
