import math

import msgspec
import numpy as np
import pytest

from trl_suite.evidence.report import contents as report_contents
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.headline import headline

from .conftest import ENV, STEPS, write_evaluations

RAMP = STEPS / 100.0  # 0 to 1000


def row(found: Results, method: str, mode: str = "deterministic") -> MeasureRow:
    return next(row for row in found.measures(mode) if row.method == method)


def constant_times(experiment, seconds: float = 40.0) -> None:
    """Scratch needs 50k steps and finetune 30k, give or take what makes an interval; a run takes `seconds`."""
    for seed in range(5):
        experiment.write(experiment.target("scratch", seed), RAMP, seconds=seconds)
        experiment.write(experiment.target("finetune", seed), np.minimum(RAMP * (2 + (seed == 0)), 1000), seconds=80.0)


def test_the_source_is_charged_in_steps_and_in_seconds(build):
    experiment = build(methods=["scratch", "finetune"])
    constant_times(experiment)
    for seed in range(5):
        experiment.write(experiment.source(seed), seconds=100.0)
    found = row(experiment_results.load(experiment.root), "finetune")
    assert (found.source_steps, found.source_seconds) == (400_000, 100)
    sooner, later = 28_000, 50_000  # four runs need 30k and one 20k; the threshold is 475
    assert found.saved.value == later - sooner
    assert found.net_speed_up.value == pytest.approx(later / (sooner + 400_000))
    assert found.net_speed_up.low < found.net_speed_up.value < found.net_speed_up.high
    assert found.break_even.value == pytest.approx(400_000 / 22_000)
    assert found.break_even.low == pytest.approx(400_000 / found.saved.high)
    assert found.break_even.high == pytest.approx(400_000 / found.saved.low)
    # 40 s for 100k steps from scratch, 80 s with the method: 20 s against 22.4 s
    assert found.seconds_speed_up.value == pytest.approx(20 / 22.4)
    assert found.net_seconds_speed_up.value == pytest.approx(20 / 122.4)
    assert found.break_even_seconds.value == math.inf


def test_break_even_is_open_where_the_saving_may_be_none(build):
    experiment = build(methods=["scratch", "finetune"])
    for seed in range(5):
        experiment.write(experiment.target("scratch", seed), RAMP)
        experiment.write(experiment.target("finetune", seed), RAMP * (2 if seed < 3 else 0.6))
    found = row(experiment_results.load(experiment.root), "finetune")
    assert found.saved.low < 0 < found.saved.high
    assert (math.isfinite(found.break_even.low), found.break_even.high) == (True, math.inf)


def test_forward_transfer_is_given_for_scores_only(build):
    experiment = build(methods=["scratch", "finetune"])
    assert row(experiment_results.load(experiment.root), "finetune").forward_transfer.n == 0
    for seed in range(5):
        for method, score in (("scratch", STEPS / 2e5), ("finetune", np.full(11, 0.75))):
            experiment.write(experiment.target(method, seed))
            path = experiment.folder(method, seed) / "evaluations.csv"
            lines = [f"{step},{e},{value},1000" for step, value in zip(STEPS, score, strict=True) for e in range(2)]
            path.write_text("\n".join(["step,episode,return,length", *lines]) + "\n")
    found = row(experiment_results.load(experiment.root), "finetune").forward_transfer
    assert (found.value, found.n) == (pytest.approx((0.75 - 0.25) / (1 - 0.25)), 5)


def test_forward_transfer_is_that_of_success_rates_where_there_are_any(build):
    experiment = build(methods=["scratch", "finetune"])
    successes = {"scratch": (1, 0), "finetune": (1, 1)}  # of an evaluation's two episodes, but for the first one: 0
    for seed in range(5):
        for method, flags in successes.items():
            experiment.write(experiment.target(method, seed))
            path = experiment.folder(method, seed) / "evaluations.csv"
            lines = [
                f"{step},{episode},{-500 + 10 * seed},100,deterministic,{flags[episode] * (step > 0)}"
                for step in STEPS
                for episode in range(2)
            ]
            path.write_text("\n".join(["step,episode,return,length,mode,success", *lines]) + "\n")
    results = experiment_results.load(experiment.root)
    found = row(results, "finetune").forward_transfer
    assert (found.value, found.n) == (pytest.approx((0.95 - 0.475) / (1 - 0.475)), 5)  # areas by the trapezoidal rule
    [target] = report_contents.contents(results).targets
    shares = {rates.method: rates for rates in target.successes}
    assert [shares[method].area.value for method in successes] == pytest.approx([0.475, 0.95])
    assert (shares["finetune"].end.low, shares["finetune"].end.high) == (1.0, 1.0)
    assert shares["finetune"].forward_transfer == found
    assert "Success rate" in [figure.title for figure in target.figures]


def test_retention_compares_with_what_the_policy_could_do_at_home(experiment):
    for seed in range(5):
        experiment.write(experiment.source(seed), np.array([-300.0, 900.0]), steps=np.array([0, 400_000]))
        home = np.array([700.0, 700 - 100 * seed])
        write_evaluations(experiment.folder("finetune", seed) / "retention.csv", home, np.array([0, 100_000]))
    found = row(experiment_results.load(experiment.root), "finetune").retention
    assert found.value == pytest.approx(np.mean([1 - seed / 10 for seed in range(5)]))
    assert (found.n, row(experiment_results.load(experiment.root), "feature-extraction").retention.n) == (5, 0)


def test_the_second_threshold_is_later(experiment):
    finetune = row(experiment_results.load(experiment.root), "feature-extraction")
    assert finetune.late_speed_up.n == 5
    assert finetune.late_speed_up != finetune.speed_up


def test_source_and_target_seeds_crossed(build):
    """Two targets seeds for each of five sources: five units, ten pairs, two scratch runs behind them."""
    experiment = build(methods=["scratch", "finetune"])
    crossed = [p for p in experiment.planned if p.method != "finetune" and (p.role == "source" or p.seed < 2)]
    for source in range(5):
        for seed in range(2):
            planned = experiment.target("finetune", seed)
            crossed.append(msgspec.structs.replace(planned, folder=f"{ENV}/finetune/{source}-{seed}",
                                                   source=f"half-cheetah/source/seed-{source}"))  # fmt: skip
    experiment.planned = crossed
    experiment.write_plan()
    for planned in crossed[-10:]:
        experiment.write(planned, RAMP + 100 * int(planned.source[-1]) + 10 * planned.seed)
    found = experiment_results.load(experiment.root)
    finetune = row(found, "finetune")
    assert (finetune.complete, finetune.jumpstart.n, finetune.partners, len(finetune.ratios)) == (10, 5, 2, 5)
    assert finetune.jumpstart.has_interval
    assert not [f for f in found.irregularities if f.kind == "duplicate"]
    assert "The 5 pairs share 2 scratch runs" in " ".join(headline(found, found.measures()).caveats)


def test_several_sources_are_several_arms(build):
    experiment = build(methods=["scratch", "finetune"])
    other = [msgspec.structs.replace(experiment.source(s), folder=f"hopper/seed-{s}", env="hopper") for s in range(5)]
    mine = [experiment.target("finetune", seed) for seed in range(5)]
    more = [msgspec.structs.replace(p, folder=f"{p.folder}-hopper", source=f"hopper/seed-{p.seed}") for p in mine]
    experiment.add(*other, *more)
    found = experiment_results.load(experiment.root)
    assert found.methods(ENV) == ("scratch", "finetune from half-cheetah", "finetune from hopper")
    hopper = row(found, "finetune from hopper")
    assert (hopper.base, hopper.source, hopper.complete, hopper.speed_up.n) == ("finetune", "hopper", 5, 5)


def test_both_ways_of_evaluating_have_measures(experiment):
    for seed in range(5):
        experiment.write(experiment.target("scratch", seed), RAMP, stochastic=RAMP / 2)
        experiment.write(experiment.target("finetune", seed), 2 * RAMP, stochastic=RAMP / 4)
    found = experiment_results.load(experiment.root)
    assert row(found, "finetune").area_difference.value > 0 > row(found, "finetune", "stochastic").area_difference.value
    assert [r.method for r in found.measures("stochastic")] == ["scratch", "finetune"]
    assert experiment_results.load(experiment.root).curves[ENV, "finetune"].returns[0, -1] == 2000
