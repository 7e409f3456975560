"""What several experiments show together: a line for each claim, what was expected of it, and the advisor's score."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from trl_suite.evidence.reading import conditions
from trl_suite.evidence.results import across_targets, probe_prediction
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.headline import FEWEST_TEST_PAIRS
from trl_suite.evidence.results.probe_prediction import FEWEST_PROBED_PAIRS, PROBES, Prediction
from trl_suite.evidence.statistics.estimates import NAN, Estimate
from trl_suite.evidence.statistics.similarity import Pair

LEVEL = 0.05
FEW = 9  # targets of an experiment that have a column each; of more, a method has a number for each robot and for all
Shown = Literal["sooner", "later", "undecided", "too few", "not timed"]


class Surprise(NamedTuple):
    """What was expected of a method before any run and is not what its intervals show."""

    experiment: str
    method: str
    expected: str
    happened: dict[Shown, list[str]]  # the targets
    of: int  # targets


def shown(speed_up: Estimate, p: float = NAN) -> Shown:
    """Return what may be claimed of a speed-up: as much as its interval allows, and the exact test where there is one.

    Args:
        speed_up: with its interval.
        p: of the exact test, adjusted for the other methods; NaN over several targets.
    """
    if not speed_up.n:
        return "not timed"
    if not speed_up.has_interval or (math.isfinite(p) and speed_up.n < FEWEST_TEST_PAIRS):
        return "too few"
    if not speed_up.excludes(1) or p >= LEVEL:
        return "undecided"
    return "sooner" if speed_up.value > 1 else "later"


class Claim(NamedTuple):
    """One method against scratch, on one target, or over all of an experiment's or of one robot's."""

    experiment: str
    target: str
    method: str
    pairs: int  # of runs; over several targets, targets
    speed_up: Estimate
    gain: Estimate  # in score; in return where nothing was timed
    p: float  # Holm's, NaN over several targets

    @property
    def shown(self) -> Shown:
        """What may be claimed."""
        return shown(self.speed_up, self.p)


def claims(results: Results, each: bool = False) -> list[Claim]:
    """Return an experiment's claims, in planned order; none where nothing stands beside scratch.

    Args:
        results: of the experiment.
        each: tell of each target, also where these are many.
    """
    rows = _compared(results)
    if each or len({row.env for row in rows}) <= FEW:
        return [_of_target(results.plan.name, row) for row in rows]
    groups = {"": results.envs} | {f"{robot}, ": envs for robot, envs in robots(results).items()}
    return [
        Claim(results.plan.name, f"{label}{one.targets} targets", one.method, one.targets, one.speed_up, one.gain, NAN)
        for label, envs in groups.items()
        for one in across_targets.overall(results, envs)
        if one.speed_up.n
    ]


def _of_target(name: str, row: MeasureRow) -> Claim:
    gain = row.area_gain if row.speed_up.n else row.area_difference
    return Claim(name, row.env, row.method, row.area_difference.n, row.speed_up, gain, row.p_holm)


def robots(results: Results) -> dict[str, tuple[str, ...]]:
    """Return the targets of each robot, in planned order; none where there is one robot only."""
    found: dict[str, tuple[str, ...]] = {}
    for env in results.envs:
        found[conditions.robot(env)] = (*found.get(conditions.robot(env), ()), env)
    return found if len(found) > 1 else {}


def surprises(results: Results) -> list[Surprise]:
    """Return where an experiment's expectations and its intervals part."""
    expected: Mapping[str, str] = results.plan.specification.get("expected", {})
    found = [_surprise(results, method, wish) for method, wish in expected.items()]
    return [one for one in found if one.happened]


def _surprise(results: Results, method: str, wish: str) -> Surprise:
    mine = [row for row in _compared(results) if (row.base or row.method) == method]
    happened: dict[Shown, list[str]] = {}
    for row in mine:
        if ((what := shown(row.speed_up, row.p_holm)) == "sooner") != (wish == "sooner"):
            happened.setdefault(what, []).append(row.env)
    return Surprise(results.plan.name, method, wish, happened, len(mine))


def scores(studies: Sequence[Results]) -> list[Prediction]:
    """Return how well each probe predicted each method's speed-up, over the pairs of all experiments.

    A pair that several experiments measured counts once, as the one with the most runs has it, or the first of these.
    """
    pairs: dict[tuple[str, str], dict[tuple[str, str], Pair]] = {}
    rows = [(results, row) for results in studies for row in _timed(results)]
    for results, row in sorted(rows, key=lambda each: -each[1].speed_up.n):
        for probe, pair in probe_prediction.pairs(results, row, PROBES).items():
            pairs.setdefault((row.base or row.method, probe), {}).setdefault((row.env, row.source), pair)
    found = [
        probe_prediction.prediction(probe, method, list(those.values())) for (method, probe), those in pairs.items()
    ]
    return [one for one in found if one.correlation.n >= FEWEST_PROBED_PAIRS]


def _compared(results: Results) -> list[MeasureRow]:
    return [row for row in results.measures() if row.area_difference.n]


def _timed(results: Results) -> list[MeasureRow]:
    return [row for row in results.measures() if row.speed_up.n and math.isfinite(row.speed_up.value)]
