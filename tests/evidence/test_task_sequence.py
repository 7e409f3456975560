"""Measures of a sequence, against numbers worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from trl_suite.evidence.figures import sequence_stages
from trl_suite.evidence.figures.gallery import style
from trl_suite.evidence.reading.run_records import tasks_text
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import experiment_results, task_sequence
from trl_suite.evidence.results.task_sequence import SequenceRow, TaskSequence
from trl_suite.record import Plan, PlannedRun, encode

from .conftest import STEPS, describe, write_run

TASKS = ("a", "b", "c")
RAMP = STEPS / 100.0  # scratch: from 0 to 1000, area 500
# after each stage of finetune, the return on each task
AFTER = {1: {"a": 600.0, "b": 900.0, "c": 300.0}, 2: {"a": 400.0, "b": 1000.0, "c": 800.0}}
ALONE = {env: {other: 1000.0 if other == env else 200.0 for other in TASKS} for env in TASKS}


def noise(seed: int) -> float:
    return 10.0 * (seed - 3.5)


def make(root: Path, seeds: int = 8) -> Path:
    runs: list[tuple[PlannedRun, np.ndarray, dict[str, float]]] = []
    for seed in range(seeds):
        for env in TASKS:
            scratch = PlannedRun(
                folder=f"{env}/scratch/seed-{seed}", role="target", env=env, method="scratch", seed=seed
            )
            runs.append((scratch, RAMP, ALONE[env]))
        source = f"a/scratch/seed-{seed}"
        for stage, env in ((1, "b"), (2, "c")):
            run = PlannedRun(folder=f"{env}/finetune/seed-{seed}", role="target", env=env, method="finetune", seed=seed,
                             source=source)  # fmt: skip
            runs.append((run, RAMP + 100 * stage, {name: value + noise(seed) for name, value in AFTER[stage].items()}))
            source = run.folder
    root.mkdir()
    plan = Plan(name="sequence", command="x", runs=tuple(run for run, _, _ in runs), every=10_000, episodes=2,
                specification={"sequence": {"envs": list(TASKS), "steps": 100_000}, "methods": ["scratch", "finetune"],
                               "references": {env: {"random": 0.0, "reference": 1000.0} for env in TASKS}},
                question="What is left of a after b and c?")  # fmt: skip
    (root / "plan.json").write_bytes(encode(plan))
    for run, returns, tasks in runs:
        write_run(root / run.folder, describe(run), returns)
        text = tasks_text({env: [(value, 1000), (value, 1000)] for env, value in tasks.items()})
        (root / run.folder / "tasks.csv").write_text(text)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("s") / "sequence")


@pytest.fixture(scope="module")
def sequence(root: Path) -> TaskSequence:
    found = task_sequence.find(experiment_results.load(root))
    assert found is not None
    return found


def row(sequence: TaskSequence, method: str) -> SequenceRow:
    return next(row for row in sequence.rows if row.method == method)


def test_the_matrix_holds_what_was_measured(sequence):
    assert sequence.scored
    np.testing.assert_allclose(
        sequence.performance["finetune"].mean(axis=0) * 1000,
        [[0, 0, 0], [1000, 200, 200], [600, 900, 300], [400, 1000, 800]],
        atol=1e-9,
    )


def test_measures_are_those_worked_out_by_hand(sequence):
    found = row(sequence, "finetune")
    assert found.average.value == pytest.approx((400 + 1000 + 800) / 3000)
    # forgetting: a 1000 - 400, b 900 - 1000; backward: a 400 - 1000, b 1000 - 900
    assert found.forgetting.value == pytest.approx((600 - 100) / 2000)
    assert found.backward.value == pytest.approx((-600 + 100) / 2000)
    # b stands at 200 after the stage of a, c at 300 after that of b; untrained is 0
    assert found.zero_shot.value == pytest.approx((200 + 300) / 2000)
    # areas are 100 and 200 above scratch's 500
    assert found.forward_area.value == pytest.approx(0.15)
    assert found.forward_transfer.value == pytest.approx(0.15 / 0.5)


def test_scratch_is_the_policy_that_is_reset(sequence):
    found = row(sequence, "scratch")
    assert found.average.value == pytest.approx((200 + 200 + 1000) / 3000)
    assert found.forgetting.value == pytest.approx(0.8)
    assert found.average_gain.n == 0


def test_the_gain_over_reset_is_paired_and_claimed_by_the_one_rule(sequence):
    found = row(sequence, "finetune")
    assert found.average_gain.value == pytest.approx((2200 - 1400) / 3000)
    assert found.average_gain.n == 8
    assert found.claim == "better"


def test_a_seed_that_is_not_whole_is_left_out(root, tmp_path):
    whole = make(tmp_path / "sequence")
    (whole / "c/finetune/seed-0/tasks.csv").unlink()
    found = task_sequence.find(experiment_results.load(whole))
    assert found is not None
    assert found.performance["finetune"].shape == (7, 4, 3)


def test_a_damaged_file_is_a_finding(tmp_path):
    whole = make(tmp_path / "sequence", seeds=3)
    (whole / "c/finetune/seed-0/tasks.csv").write_text("env,episode,return,length\nc,0\n")
    found = experiment_results.load(whole)
    assert [finding.kind for finding in found.irregularities if "tasks.csv" in finding.what] == ["unreadable"]


def test_report_tables_and_pictures_tell_of_it(root, sequence, tmp_path):
    results = experiment_results.load(root)
    page = report_files.save(results, tmp_path / "report.html").read_text()
    assert "One task after another" in page
    assert "Every task after each stage" in page
    table = task_sequence.frame(results)
    assert list(table.method) == ["scratch", "finetune"]
    assert len(sequence_stages.stages(sequence, style(results)).axes) == 3
    texts = [text.get_text() for text in sequence_stages.performance_matrix(sequence, "finetune").axes[0].texts]
    assert len(texts) == 9


def test_an_experiment_without_a_sequence_has_none(tmp_path):
    from .conftest import Experiment

    assert task_sequence.find(experiment_results.load(Experiment(tmp_path, seeds=3).root)) is None


def test_forward_transfer_is_that_of_success_rates_where_all_tasks_have_them(tmp_path):
    root = make(tmp_path / "sequence")
    for path in root.rglob("evaluations.csv"):
        flags = (1, 1) if "finetune" in path.parts else (1, 0)  # of two episodes, but for the first evaluation: 0
        lines = path.read_text().splitlines()[1:]
        judged = [
            f"{line},deterministic,{flags[number % 2] * (not line.startswith('0,'))}"
            for number, line in enumerate(lines)
        ]
        path.write_text("\n".join(["step,episode,return,length,mode,success", *judged]) + "\n")
    sequence = task_sequence.find(experiment_results.load(root))
    assert sequence is not None
    assert row(sequence, "finetune").forward_transfer.value == pytest.approx((0.95 - 0.475) / (1 - 0.475))
