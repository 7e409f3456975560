"""Claims of several experiments: a line for each, what was expected of it, and how well probes predicted it."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from trl_suite.evidence.reading import conditions
from trl_suite.evidence.results import across_targets, probe_prediction
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.probe_prediction import FEWEST_PROBED_PAIRS, PROBES, Prediction
from trl_suite.evidence.statistics.claim import Claim, claim, time_claim
from trl_suite.evidence.statistics.estimates import Estimate
from trl_suite.evidence.statistics.similarity import Pair

FEW_TARGETS = 9  # of an experiment that have a column each; of more, a method has a number for each robot and for all


class UnmetExpectation(NamedTuple):
    """An expectation of a method, written before any run, that its claims do not bear out."""

    experiment: str
    method: str
    expected: str
    happened: dict[Claim, list[str]]  # the targets; of a matrix, each with its source
    targets: int
    is_matrix: bool = False  # whether a target has several sources


class ClaimLine(NamedTuple):
    """One method against scratch, on one target, or over all of an experiment's or of one robot's."""

    experiment: str
    target: str
    method: str
    pairs: int  # of runs; over several targets, targets
    speed_up: Estimate
    gain: Estimate  # in score; in return where nothing was timed
    time_claim: Claim
    gain_claim: Claim


def claims(results: Results, every_target: bool = False) -> list[ClaimLine]:
    """Return an experiment's claims, in planned order; none where nothing stands beside scratch.

    Args:
        results: of the experiment.
        every_target: a line for each target, also where these are many.
    """
    rows = _compared(results)
    if every_target or len({row.env for row in rows}) <= FEW_TARGETS:
        return [_on_target(results.plan.name, row, every_target) for row in rows]
    groups = {"": results.envs} | {f"{robot}, ": envs for robot, envs in robots(results).items()}
    return [
        ClaimLine(
            results.plan.name, f"{label}{line.targets} targets", line.method, line.targets, line.speed_up, line.gain,
            time_claim(line.speed_up), claim(line.gain),
        )
        for label, envs in groups.items()
        for line in across_targets.overall(results, envs)
        if line.speed_up.n
    ]  # fmt: skip


def _on_target(name: str, row: MeasureRow, to_count: bool) -> ClaimLine:
    times, gains = (row.counted_claim, row.counted_area_claim) if to_count else (row.time_claim, row.area_claim)
    return ClaimLine(name, row.env, row.method, row.area_difference.n, row.speed_up, row.primary, times, gains)


def robots(results: Results) -> dict[str, tuple[str, ...]]:
    """Return the targets of each robot, in planned order; none where there is one robot only."""
    targets: dict[str, tuple[str, ...]] = {}
    for env in results.envs:
        targets[conditions.robot(env)] = (*targets.get(conditions.robot(env), ()), env)
    return targets if len(targets) > 1 else {}


def unmet_expectations(results: Results) -> list[UnmetExpectation]:
    """Return where an experiment's expectations and its claims part."""
    expected: Mapping[str, str | Mapping[str, str]] = results.plan.specification.get("expected", {})
    unmet = [
        _unmet(results, method, wish, envs)
        for method, wishes in expected.items()
        for wish, envs in _by_wish(wishes, results.envs).items()
    ]
    return [expectation for expectation in unmet if expectation.happened]


def _by_wish(wishes: str | Mapping[str, str], envs: Sequence[str]) -> dict[str, list[str]]:
    """Return the targets, or their addresses, by what is expected of a method on them."""
    if isinstance(wishes, str):
        return {wishes: list(envs)}
    by_wish: dict[str, list[str]] = {}
    for env, wish in wishes.items():
        by_wish.setdefault(wish, []).extend([target for target in envs if conditions.address(target) == env])
    return by_wish


def _unmet(results: Results, method: str, wish: str, envs: Sequence[str]) -> UnmetExpectation:
    rows = [row for row in _compared(results) if (row.base or row.method) == method and row.env in envs]
    is_matrix = len({row.env for row in rows}) < len(rows)
    happened: dict[Claim, list[str]] = {}
    for row in rows:
        if (row.time_claim == "sooner") != (wish == "sooner"):
            target = f"{row.env} from {row.source}" if is_matrix else row.env
            happened.setdefault(row.time_claim, []).append(target)
    return UnmetExpectation(results.plan.name, method, wish, happened, len(rows), is_matrix)


def scores(experiments: Sequence[Results]) -> list[Prediction]:
    """Return how well each probe predicted each method's speed-up, over the pairs of all experiments.

    A pair that several experiments measured counts once, as the one with the most runs has it, or the first of these.
    """
    pairs: dict[tuple[str, str], dict[tuple[str, str], Pair]] = {}
    rows = [(results, row) for results in experiments for row in _timed(results)]
    for results, row in sorted(rows, key=lambda entry: -entry[1].speed_up.n):
        for probe, pair in probe_prediction.pairs(results, row, PROBES).items():
            pairs.setdefault((row.base or row.method, probe), {}).setdefault((row.env, row.source), pair)
    predicted = [
        probe_prediction.prediction(probe, method, list(of_probe.values()))
        for (method, probe), of_probe in pairs.items()
    ]
    return [prediction for prediction in predicted if prediction.correlation.n >= FEWEST_PROBED_PAIRS]


def _compared(results: Results) -> list[MeasureRow]:
    return [row for row in results.measures() if row.area_difference.n]


def _timed(results: Results) -> list[MeasureRow]:
    return [row for row in results.measures() if row.speed_up.n and math.isfinite(row.speed_up.value)]
