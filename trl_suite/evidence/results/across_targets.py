"""A method over all targets: effects aggregated with what was drawn anew, source seeds, target seeds and tasks."""

from collections.abc import Sequence

import msgspec
import numpy as np

from trl_suite.evidence.reading.curve import Curves, Floats
from trl_suite.evidence.results import comparison
from trl_suite.evidence.results.experiment_results import SEED, Results
from trl_suite.evidence.results.return_scale import ReturnScale
from trl_suite.evidence.statistics import bootstrap, estimates, measures
from trl_suite.evidence.statistics.bootstrap import Cells
from trl_suite.evidence.statistics.estimates import NAN, Estimate
from trl_suite.record import SCRATCH


class Overall(msgspec.Struct, frozen=True, kw_only=True):
    """One method against scratch over all targets where both were run."""

    method: str
    targets: int
    speed_up: Estimate = Estimate()  # geometric mean; interval for these targets
    speed_up_elsewhere: Estimate = Estimate()  # the same; interval for targets like these, which are resampled too
    gain: Estimate = Estimate()  # interquartile mean of the gain in score; interval for these targets
    gain_elsewhere: Estimate = Estimate()  # the same; interval for targets like these
    improvement: float = NAN  # chance that a run of the method scores higher than a run from scratch


def overall(results: Results, envs: Sequence[str] = ()) -> list[Overall]:
    """Return every method over all targets, or over these, in planned order; nothing where there is one only."""
    over = envs or results.envs
    methods = dict.fromkeys(method for env in over for method in results.methods(env) if method != SCRATCH)
    generator = np.random.default_rng(SEED)
    found = [_overall(results, method, over, generator) for method in methods] if len(over) > 1 else []
    return [method for method in found if method.targets > 1]


def scores(results: Results) -> dict[str, Floats]:
    """Return the scores of all complete runs by method, over all targets with a reference: (runs,) each."""
    found: dict[str, list[Floats]] = {}
    for (env, method), curves in results.curves.items():
        if (reference := _usable(results, env)) is not None and len(curves.steps) > 1:
            found.setdefault(method, []).append(_scores(curves, reference))
    return {method: np.concatenate(values) for method, values in found.items()}


def _overall(results: Results, method: str, envs: Sequence[str], generator: np.random.Generator) -> Overall:
    both = {env: (results.curves[env, method], results.curves[env, SCRATCH]) for env in envs
            if (env, method) in results.curves and (env, SCRATCH) in results.curves}  # fmt: skip
    logs: list[Cells] = []
    gains: list[Cells] = []
    runs: list[tuple[Floats, Floats]] = []
    for env, (mine, scratch) in both.items():
        if (reference := _usable(results, env)) is None or len(mine.steps) < 2:
            continue
        logs.append(comparison.log_speed_ups(mine, scratch, reference))
        gains.append(comparison.area_differences(mine, scratch).scaled(1 / (reference.reference - reference.random)))
        runs.append((_scores(mine, reference), _scores(scratch, reference)))
    if len(logs) < 2:
        return Overall(method=method, targets=len(logs))
    speed = _both(logs, "mean", generator)
    bounded = any(row.speed_up.at_least for row in results.measures() if row.method == method and row.env in both)
    gain = _both(gains, "iqm", generator)
    return Overall(
        method=method,
        targets=len(logs),
        speed_up=estimates.exponential(speed[0], at_least=bounded),
        speed_up_elsewhere=estimates.exponential(speed[1], at_least=bounded),
        gain=gain[0],
        gain_elsewhere=gain[1],
        improvement=estimates.probability_of_improvement([mine for mine, _ in runs], [other for _, other in runs]),
    )


def _both(
    cells: Sequence[Cells], statistic: bootstrap.Statistic, generator: np.random.Generator
) -> tuple[Estimate, Estimate]:
    """Return the statistic with the interval for these tasks and for tasks like these."""
    values = bootstrap.stacked(cells)
    here, elsewhere = (
        bootstrap.hierarchical(values, generator, statistic=statistic, resample_tasks=tasks) for tasks in (False, True)
    )
    return here, elsewhere


def _usable(results: Results, env: str) -> ReturnScale | None:
    reference = results.scales.get(env)
    return reference if reference is not None and reference.usable else None


def _scores(curves: Curves, reference: ReturnScale) -> Floats:
    areas = measures.area(curves.steps, curves.whole)
    return measures.normalise(areas, reference.random, reference.reference)
