import msgspec
import numpy as np

from trl_suite.evidence.results import experiment_results, run_accounts
from trl_suite.record import PlannedRun

from .conftest import ENV

LONG = np.arange(0, 200_001, 20_000)


def apart(seed: int) -> PlannedRun:
    return PlannedRun(folder=f"{ENV}/reference/seed-{seed}", role="reference", env=ENV, method="scratch", seed=seed)


def test_reference_runs_are_used_and_are_no_partners(experiment):
    experiment.planned += [apart(100), apart(101)]
    experiment.write_plan()
    for planned in experiment.planned[-2:]:
        experiment.write(planned, LONG / 100.0 - 50, steps=LONG)
    found = experiment_results.load(experiment.root)
    reference = found.scales[ENV]
    assert (reference.random, reference.reference, reference.paired) == (-50, 1850, False)  # 180k and 200k
    assert "which no method is compared with" in reference.origin
    assert {row.method: row.complete for row in found.measures()}["scratch"] == 5
    assert found.envs == (ENV,)
    assert {cost.method: cost.runs for cost in run_accounts.costs(found)} == {
        "source": 5, "scratch": 5, "scratch, reference": 2, "finetune": 5, "feature-extraction": 5, "random-frozen": 5,
    }  # fmt: skip
    assert not [finding for finding in found.irregularities if finding.kind != "identical"]


def test_a_reference_run_of_a_paired_seed_is_left_out(experiment):
    experiment.planned += [apart(0), apart(100)]
    experiment.write_plan()
    for planned, height in zip(experiment.planned[-2:], (5000.0, 1000.0), strict=True):
        experiment.write(planned, LONG / 200_000 * height, steps=LONG)
    found = experiment_results.load(experiment.root)
    assert found.scales[ENV].reference == 950
    assert [finding.kind for finding in found.irregularities] == ["not independent"]


def test_without_a_finished_reference_run_the_scratch_runs_serve(experiment):
    experiment.planned += [apart(100)]
    experiment.write_plan()
    experiment.write(experiment.planned[-1], LONG[:3] / 100.0, steps=LONG, status="interrupted")
    found = experiment_results.load(experiment.root)
    assert found.scales[ENV].paired
    assert [finding.kind for finding in found.irregularities] == ["unfinished"]


def test_the_specification_goes_before_runs(experiment):
    experiment.planned += [apart(100)]
    experiment.write_plan(specification={"references": {ENV: {"random": 0.0, "reference": 10.0}}})
    experiment.write(experiment.planned[-1], LONG / 100.0, steps=LONG)
    reference = experiment_results.load(experiment.root).scales[ENV]
    assert (reference.threshold, reference.at(0.8)) == (5, 8)
    assert reference.origin == "given in the experiment's specification"
    assert not msgspec.structs.replace(reference, reference=0.0).usable
