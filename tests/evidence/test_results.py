import math
import shutil
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.record import Freeze

Build = Callable[..., Any]
STEPS = np.arange(0, 100_001, 10_000)
RAMP = STEPS / 100.0  # 0 to 1000


def row(found: Results, method: str) -> MeasureRow:
    return next(row for row in found.measures() if row.method == method)


def kinds(found: Results) -> dict[str, str]:
    return {finding.where: finding.kind for finding in found.irregularities}


def test_a_whole_experiment(experiment):
    found = experiment_results.load(experiment.root)
    assert found.irregularities == ()
    assert [row.method for row in found.measures()] == ["scratch", "finetune", "feature-extraction", "random-frozen"]
    finetune = row(found, "finetune")
    assert (finetune.planned, finetune.complete, finetune.jumpstart.n) == (5, 5, 5)
    assert finetune.jumpstart.low > 500
    assert finetune.area_difference.low > 0
    assert finetune.negative.value == 0
    assert finetune.negative.high == pytest.approx(1 - 0.025 ** (1 / 5))
    assert finetune.source_steps == 400_000
    assert row(found, "random-frozen").source_steps == 0
    assert row(found, "scratch").speed_up.n == 0


def test_the_numbers_of_closed_form_curves(build: Build):
    experiment = build(methods=["scratch", "finetune"], seeds=3)
    for seed in range(3):
        experiment.write(experiment.target("scratch", seed), RAMP)
        experiment.write(experiment.target("finetune", seed), np.minimum(2 * RAMP, 1000))
    found = experiment_results.load(experiment.root)
    reference = found.scales[experiment.target("scratch", 0).env]
    assert (reference.random, reference.reference, reference.threshold) == (0, 950, 475)
    assert reference.paired
    finetune = row(found, "finetune")
    assert (finetune.time.value, row(found, "scratch").time.value) == (30_000, 50_000)
    assert finetune.speed_up.value == pytest.approx(5 / 3)
    assert finetune.ratio_of_means.value == pytest.approx(5 / 3)
    assert finetune.saved.value == 20_000
    assert finetune.break_even.value == 20
    assert finetune.area_difference.value == pytest.approx(250)
    assert finetune.area_gain.value == pytest.approx(250 / 950)
    assert [finding.kind for finding in found.irregularities] == ["identical"] * 4


def test_a_method_against_a_copy_of_scratch_is_no_faster(build: Build):
    experiment = build(methods=["scratch", "finetune"])
    for seed in range(5):
        experiment.write(experiment.target("finetune", seed), results_of(experiment, seed))
    finetune = row(experiment_results.load(experiment.root), "finetune")
    assert (finetune.speed_up.value, finetune.area_difference.value, finetune.speed_up.p) == (1, 0, 1)


def results_of(experiment, seed: int) -> np.ndarray:
    lines = (experiment.folder("scratch", seed) / "evaluations.csv").read_text().splitlines()[1:]
    return np.array([float(line.split(",")[2]) + 2.5 for line in lines[::2]])


def test_above_the_threshold_before_any_update_is_a_lower_bound(experiment):
    finetune = row(experiment_results.load(experiment.root), "finetune")
    assert finetune.at_once == 5
    assert finetune.speed_up.at_least
    assert finetune.ratio_of_means.value == float("inf")
    assert math.isfinite(finetune.speed_up.value)


def test_missing_failed_and_interrupted_runs_are_listed(experiment):
    shutil.rmtree(experiment.folder("finetune", 0))
    shutil.rmtree(experiment.folder("scratch", 1))
    experiment.write(experiment.target("finetune", 2), RAMP[:4], status="failed", error="Traceback\nValueError: NaN")
    experiment.write(experiment.target("finetune", 3), RAMP[:6], status="interrupted")
    found = experiment_results.load(experiment.root)
    env = experiment.target("scratch", 0).env
    assert kinds(found) == {
        f"{env}/finetune/seed-0": "missing",
        f"{env}/finetune/seed-1": "no pair",
        f"{env}/feature-extraction/seed-1": "no pair",
        f"{env}/random-frozen/seed-1": "no pair",
        f"{env}/scratch/seed-1": "missing",
        f"{env}/finetune/seed-2": "failed",
        f"{env}/finetune/seed-3": "unfinished",
    }
    assert next(f for f in found.irregularities if f.kind == "failed").what == "ValueError: NaN"
    finetune = row(found, "finetune")
    assert (finetune.complete, finetune.timed, finetune.speed_up.n) == (2, 2, 1)
    assert finetune.jumpstart.n == 3  # step 0 was evaluated in the failed and in the interrupted run too
    assert not finetune.speed_up.has_interval


def test_a_run_that_failed_before_any_evaluation_is_listed(experiment):
    experiment.write(experiment.target("finetune", 0), [], status="failed", error="no memory")
    (experiment.folder("finetune", 0) / "evaluations.csv").unlink()
    experiment.write(experiment.target("finetune", 1), [], status="running")
    assert sorted(finding.kind for finding in experiment_results.load(experiment.root).irregularities) == [
        "failed", "unfinished", "unfinished",
    ]  # fmt: skip


def test_no_scratch_run_is_finished(experiment):
    for seed in range(5):
        experiment.write(experiment.target("scratch", seed), RAMP[:3], status="running")
    found = experiment_results.load(experiment.root)
    assert [finding.kind for finding in found.irregularities].count("no reference") == 1
    finetune = row(found, "finetune")
    assert (finetune.speed_up.n, finetune.area_difference.n, finetune.jumpstart.n) == (0, 0, 5)


def test_a_method_without_scratch_has_measures_of_its_own(build: Build):
    experiment = build(methods=["finetune"])
    found = experiment_results.load(experiment.root)
    finetune = row(found, "finetune")
    assert (finetune.area.n, finetune.area_difference.n) == (5, 0)
    assert {finding.kind for finding in found.irregularities} == {"no pair", "no reference"}


def test_scratch_that_learns_nothing_gives_no_threshold(experiment):
    for seed in range(5):
        experiment.write(experiment.target("scratch", seed), -RAMP + seed)
    found = experiment_results.load(experiment.root)
    assert "scratch ended no better than it started" in [finding.what for finding in found.irregularities]
    assert row(found, "finetune").speed_up.n == 0
    assert row(found, "finetune").area_difference.n == 5


def test_references_of_the_plan_are_used(experiment):
    env = experiment.target("scratch", 0).env
    experiment.write_plan(specification={"references": {env: {"random": -300.0, "reference": 900.0}}})
    reference = experiment_results.load(experiment.root).scales[env]
    assert (reference.threshold, reference.paired) == (300, False)
    experiment.write_plan(specification={"references": {env: {"random": "low"}}})
    with pytest.raises(InputError, match="references"):
        experiment_results.load(experiment.root)


def test_nan_returns_count_as_not_reaching_and_leave_the_area_out(experiment):
    spoilt = np.where(STEPS >= 20_000, np.nan, -100.0)
    experiment.write(experiment.target("finetune", 0), spoilt)
    found = experiment_results.load(experiment.root)
    finetune = row(found, "finetune")
    assert [finding.kind for finding in found.irregularities] == ["not finite"]
    assert (finetune.timed, finetune.reached, finetune.area.n, finetune.speed_up.n) == (5, 4, 4, 5)


def test_curves_of_another_grid_are_never_averaged(experiment):
    experiment.write(experiment.target("finetune", 0), np.ones(6), np.arange(0, 100_001, 20_000))
    experiment.write(experiment.target("scratch", 1), RAMP[:5])  # done, with a smaller budget
    found = experiment_results.load(experiment.root)
    assert [finding.kind for finding in found.irregularities].count("other grid") == 2
    assert row(found, "finetune").complete == 4
    assert row(found, "finetune").speed_up.n == 3


def test_duplicated_and_copied_and_unplanned_runs(experiment):
    env = experiment.target("scratch", 0).env
    again = experiment.target("finetune", 0)
    twin = msgspec.structs.replace(again, folder=f"{env}/finetune/seed-0--again")
    experiment.planned.append(twin)
    experiment.write_plan()
    experiment.write(twin)
    shutil.copytree(experiment.folder("scratch", 0), experiment.root / env / "scratch" / "old")
    experiment.write(experiment.target("scratch", 1), results_of(experiment, 0))
    found = experiment_results.load(experiment.root)
    assert kinds(found) == {
        f"{env}/finetune/seed-0--again": "duplicate",
        f"{env}/scratch/old": "not planned",
        f"{env}/scratch/seed-1": "identical",
    }
    assert row(found, "finetune").complete == 5


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_or_two_seeds_have_numbers_and_no_interval(build: Build, seeds: int):
    finetune = row(experiment_results.load(build(seeds=seeds).root), "finetune")
    assert finetune.speed_up.n == seeds
    assert finetune.speed_up.value > 1
    assert not finetune.speed_up.has_interval


def test_runs_from_one_source_count_once(experiment):
    shared = [experiment.source(0), *(experiment.target("scratch", seed) for seed in range(5))]
    for seed in range(5):
        planned = experiment.target("finetune", seed)
        shared.append(type(planned)(folder=planned.folder, role="target", env=planned.env, method="finetune", seed=seed,
                                    source="half-cheetah/source/seed-0"))  # fmt: skip
    experiment.planned = shared
    experiment.write_plan()
    finetune = row(experiment_results.load(experiment.root), "finetune")
    assert (finetune.complete, finetune.speed_up.n) == (5, 1)


def test_a_broken_freeze_and_one_without_proof_are_found(experiment):
    run = experiment.target("feature-extraction", 0)

    experiment.write(run, freeze=Freeze(before={"actor.trunk.0": "aa"}, after={"actor.trunk.0": "ab"}))
    experiment.write(experiment.target("feature-extraction", 1), freeze=None)
    experiment.write(experiment.target("feature-extraction", 2), status="running", freeze=Freeze(before={"a": "b"}))
    found = kinds(experiment_results.load(experiment.root))
    assert [found[run.folder[:-1] + str(seed)] for seed in range(3)] == [
        "freeze broken",
        "freeze unproved",
        "unfinished",
    ]


def test_what_is_unreadable_is_listed_and_the_rest_counted(experiment):
    (experiment.folder("finetune", 0) / "run.json").write_text("{")
    (experiment.folder("finetune", 1) / "evaluations.csv").write_text("step\n0\n")
    experiment.write(experiment.target("finetune", 2), seed=7)
    found = experiment_results.load(experiment.root)
    assert [finding.kind for finding in found.irregularities] == ["unreadable"] * 3
    assert "seed is 7, the plan says 2" in found.irregularities[2].what
    assert str(experiment.root) not in "".join(finding.what for finding in found.irregularities)
    assert row(found, "finetune").complete == 2


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc"])
def test_a_plan_that_points_outside_is_not_followed(experiment, folder: str):
    planned = experiment.planned[5]
    experiment.planned[5] = type(planned)(folder=folder, role="target", env=planned.env, method="scratch", seed=0)
    experiment.write_plan()
    assert "unreadable" in kinds(experiment_results.load(experiment.root)).values()


def test_a_folder_without_a_plan_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no plan\.json"):
        experiment_results.load(tmp_path)
