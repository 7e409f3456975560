"""A method over all targets: effects aggregated with what was drawn anew, source seeds, target seeds and tasks."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence.reading.conditions import address, robot
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
    """Return every method over all targets, or over these, in planned order; nothing where there is one only.

    Cells of factors are not put together: each has rows of its own, `finetune (engine=sb3)`.
    """
    over = envs or results.envs
    cells = dict.fromkeys(env.removeprefix(address(env)) for env in over)
    if len(cells) > 1:
        by_cell = {cell: [env for env in over if env.removeprefix(address(env)) == cell] for cell in cells}
        return [
            msgspec.structs.replace(row, method=f"{row.method}{cell}")
            for cell, cell_envs in by_cell.items()
            for row in overall(results, cell_envs)
        ]
    methods = dict.fromkeys(method for env in over for method in results.methods(env) if method != SCRATCH)
    generator = np.random.default_rng(SEED)
    rows = [_overall(results, method, over, generator) for method in methods] if len(over) > 1 else []
    return [method for method in rows if method.targets > 1]


def scores(results: Results) -> dict[str, Floats]:
    """Return the scores of all complete runs by method, over all targets with a reference: (runs,) each."""
    scores_by_method: dict[str, list[Floats]] = {}
    for (env, method), curves in results.curves.items():
        if (reference := _usable(results, env)) is not None and len(curves.steps) > 1:
            scores_by_method.setdefault(method, []).append(_scores(curves, reference))
    return {method: np.concatenate(values) for method, values in scores_by_method.items()}


class _Target(NamedTuple):
    """One method and scratch on one target that has a scale."""

    env: str
    method: Curves
    scratch: Curves
    scale: ReturnScale

    @property
    def gains(self) -> Cells:
        """The difference in area of each pair as a share of the way from random to reference."""
        width = self.scale.reference - self.scale.random
        return comparison.area_differences(self.method, self.scratch).scaled(1 / width)

    @property
    def redrawn_gains(self) -> Floats:
        """The mean gain by each draw of the scale, the runs as they are: (draws,)."""
        width = self.scale.reference - self.scale.random
        return float(np.nanmean(self.gains.values)) * width / self.scale.draws().width


def _overall(results: Results, method: str, envs: Sequence[str], generator: np.random.Generator) -> Overall:
    targets = list(_targets(results, method, envs))
    if len(targets) < 2:
        return Overall(method=method, targets=len(targets))
    speed_up = _speed_ups(targets, generator)
    rows = [row.speed_up for row in results.measures() if row.method == method and row.env in envs]
    bounds = {"at_least": any(row.at_least for row in rows), "at_most": any(row.at_most for row in rows)}
    redrawn = np.mean(_aligned([target.redrawn_gains for target in targets]), axis=0)
    gains = [estimates.widened(gain, redrawn, _seeds(targets)) for gain in
             _here_and_elsewhere([target.gains for target in targets], targets, "iqm", generator)]  # fmt: skip
    return Overall(
        method=method,
        targets=len(targets),
        speed_up=estimates.exponential(speed_up[0], **bounds),
        speed_up_elsewhere=estimates.exponential(speed_up[1], **bounds),
        gain=gains[0],
        gain_elsewhere=gains[1],
        improvement=estimates.probability_of_improvement(
            [_scores(target.method, target.scale) for target in targets],
            [_scores(target.scratch, target.scale) for target in targets],
        ),
    )


def _targets(results: Results, method: str, envs: Sequence[str]) -> Iterator[_Target]:
    for env in envs:
        curves, scratch = results.curves.get((env, method)), results.curves.get((env, SCRATCH))
        scale = _usable(results, env)
        if curves is not None and scratch is not None and scale is not None and len(curves.steps) > 1:
            yield _Target(env, curves, scratch, scale)


def _speed_ups(targets: Sequence[_Target], generator: np.random.Generator) -> tuple[Estimate, Estimate]:
    """Return the mean log speed-up with the interval for these targets, and for targets like these."""
    cells = [comparison.log_speed_ups(target.method, target.scratch, target.scale) for target in targets]
    here, elsewhere = _here_and_elsewhere(cells, targets, "mean", generator)
    redrawn = [comparison.redrawn_log_speed_ups(target.method, target.scratch, target.scale) for target in targets]
    means = np.mean(_aligned(redrawn), axis=0)
    if all(target.scale.paired for target in targets):  # the draws hold the runs too
        return estimates.redrawn_together(here, means), estimates.widened(elsewhere, means, _seeds(targets))
    seeds = _seeds(targets)
    return estimates.widened(here, means, seeds), estimates.widened(elsewhere, means, seeds)


def _seeds(targets: Sequence[_Target]) -> int:
    """Return the number of reference seeds of the target that has fewest; 0 where every scale was given."""
    counts = [len(target.scale.seeds) for target in targets if target.scale.seeds]
    return min(counts, default=0)


def _aligned(redrawn: Sequence[Floats]) -> Floats:
    """Return one row per target; a scale that was given has the same value in every draw: (targets, draws)."""
    draws = max(len(values) for values in redrawn)
    return np.stack([np.broadcast_to(values, draws) if len(values) == 1 else values for values in redrawn])


def _here_and_elsewhere(
    cells: Sequence[Cells], targets: Sequence[_Target], statistic: bootstrap.Statistic, generator: np.random.Generator
) -> tuple[Estimate, Estimate]:
    """Return the statistic with the interval for these targets and for targets like these; a robot's share sources."""
    values, robots = bootstrap.stacked(cells), [robot(target.env) for target in targets]
    here, elsewhere = (
        bootstrap.hierarchical(values, generator, statistic=statistic, resample_tasks=tasks, groups=robots)
        for tasks in (False, True)
    )
    return here, elsewhere


def _usable(results: Results, env: str) -> ReturnScale | None:
    reference = results.scales.get(env)
    return reference if reference is not None and reference.usable else None


def _scores(curves: Curves, reference: ReturnScale) -> Floats:
    areas = measures.area(curves.steps, curves.whole)
    return measures.normalise(areas, reference.random, reference.reference)
