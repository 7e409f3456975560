"""One method against scratch on one env: a row of measures with their intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence.reading.conditions import Condition
from trl_suite.evidence.reading.curve import Curves, Floats, Ints
from trl_suite.evidence.results.return_scale import LATE, ReturnScale
from trl_suite.evidence.statistics import bootstrap, estimates, measures
from trl_suite.evidence.statistics.bootstrap import Cells
from trl_suite.evidence.statistics.estimates import NAN, Estimate


class SourceCost(NamedTuple):
    """What one source policy cost; 0 without a source, NaN where it is not known."""

    steps: float = 0.0  # env steps
    seconds: float = 0.0  # wall time


class MeasureRow(msgspec.Struct, frozen=True, kw_only=True):
    """The measures of one method on one env; those against scratch are empty (n = 0) for scratch itself."""

    env: str
    method: str  # with its source's env where the plan has several: `finetune from hopper`
    base: str = ""  # the method's name alone
    source: str = ""  # env of the source policies, "" without a source
    planned: int  # runs that the experiment wants
    complete: int  # of them, evaluated up to their budget
    zero_shot: Estimate  # return before any update
    asymptote: Estimate  # return, mean of the last tenth
    area: Estimate = Estimate()  # mean return over the budget
    dip: Estimate = Estimate()  # return lost in the first fifth
    score: Estimate = Estimate()  # mean over the budget, where 0 is an untrained policy and 1 the reference
    retention: Estimate = Estimate()  # share of the source's gain on its own env that training on the target left
    time: Estimate = Estimate()  # restricted mean time to threshold, env steps
    timed: int = 0  # runs with a time
    reached: int = 0  # of them, those that reached the threshold
    at_once: int = 0  # of them, those above it before any update
    jumpstart: Estimate = Estimate()  # against scratch, paired; return
    area_difference: Estimate = Estimate()  # return
    area_gain: Estimate = Estimate()  # the same, where 1 is the distance from random to reference
    asymptote_difference: Estimate = Estimate()  # return
    forward_transfer: Estimate = Estimate()  # empty unless all returns lie in [0, 1]
    saved: Estimate = Estimate()  # env steps until the threshold
    speed_up: Estimate = Estimate()  # geometric mean of paired ratios of restricted times
    late_speed_up: Estimate = Estimate()  # the same at the higher threshold
    ratios: tuple[float, ...] = ()  # the paired ratios, one per unit
    ratio_of_means: Estimate = Estimate()  # ratio of restricted means over the same pairs
    p_holm: float = NAN  # of the speed-up, adjusted for the number of methods on this env
    negative: Estimate = Estimate()  # share of units whose area is below scratch's
    partners: int = 0  # scratch runs behind the pairs; fewer than pairs where seeds are crossed
    source_steps: float = 0.0  # env steps that one source policy cost
    source_seconds: float = 0.0  # wall time that one source policy cost
    net_speed_up: Estimate = Estimate()  # ratio of restricted means, the source's steps charged to one target
    break_even: Estimate = Estimate()  # number of targets from which on the source's steps are earned back
    seconds_speed_up: Estimate = Estimate()  # ratio of restricted means in wall time
    net_seconds_speed_up: Estimate = Estimate()  # the same, the source's seconds charged to one target
    break_even_seconds: Estimate = Estimate()  # number of targets that earn the source's seconds back


class _Pairs(NamedTuple):
    """Each run of a method beside the scratch run of its seed, row by row."""

    transfer: Floats  # (pairs, evaluations)
    scratch: Floats  # (pairs, evaluations)
    complete: Floats  # (pairs,), 1 where both are, else NaN
    samples: tuple[str, ...]  # (pairs,)
    seeds: tuple[int, ...]  # (pairs,)
    rates: tuple[Floats, Floats]  # (pairs,) each, seconds per env step of the transfer and of scratch
    generator: np.random.Generator

    def mean(self, values: Floats) -> Estimate:
        """Return the mean over units: a t interval, or a crossed bootstrap where target seeds are shared."""
        if len(set(self.samples)) == len(self.samples):
            return estimates.effect(values)
        cells = bootstrap.crossed(values, self.samples, self.seeds)
        if len(cells.targets) == 1:
            return estimates.effect(cells.by_source)
        found = bootstrap.hierarchical(cells.values[None], self.generator)
        return msgspec.structs.replace(found, p=estimates.effect(cells.by_source).p)

    def by_sample(self, values: Floats) -> Floats:
        """Return the mean of each unit."""
        return estimates.by_sample(values, self.samples)


def alone(
    curves: Curves, reference: ReturnScale | None, planned: int, arm: Condition, price: SourceCost, retained: Floats
) -> MeasureRow:
    """Return the row of a method by itself, as scratch or a method without scratch has it.

    Args:
        curves: its runs.
        reference: what the threshold and the score come from.
        planned: number of runs that the plan has.
        arm: method and source.
        price: what one source policy cost.
        retained: (runs,), share of the source's gain that was kept, NaN where it was not measured.
    """
    row = MeasureRow(
        env=curves.env,
        method=curves.method,
        base=arm.method,
        source=arm.source,
        planned=planned,
        complete=int(curves.complete.sum()),
        source_steps=price.steps,
        source_seconds=price.seconds,
        zero_shot=_mean(measures.zero_shot(curves.returns), curves.samples),
        retention=_mean(retained, curves.samples),
        asymptote=Estimate(),
    )
    return row if len(curves.steps) < 2 else _whole(row, curves, reference)


def _whole(row: MeasureRow, curves: Curves, reference: ReturnScale | None) -> MeasureRow:
    """Add the measures of whole curves."""
    area = measures.area(curves.steps, curves.whole)
    row = msgspec.structs.replace(
        row,
        asymptote=_mean(measures.asymptote(curves.steps, curves.whole), curves.samples),
        area=_mean(area, curves.samples),
        dip=_mean(measures.dip(curves.steps, curves.whole), curves.samples),
    )
    if reference is None or not reference.usable:
        return row
    score = measures.normalise(area, reference.random, reference.reference)
    return _timed(msgspec.structs.replace(row, score=_mean(score, curves.samples)), curves, reference.threshold)


def against(
    row: MeasureRow, transfer: Curves, scratch: Curves, reference: ReturnScale | None, generator: np.random.Generator
) -> MeasureRow:
    """Return the row with the measures against scratch added, over the runs that have a scratch run of their seed."""
    pairs, steps = _pairs(transfer, scratch, generator), transfer.steps
    jumpstart = measures.jumpstart(pairs.transfer, pairs.scratch)
    row = msgspec.structs.replace(row, jumpstart=pairs.mean(jumpstart), partners=len(set(pairs.seeds)))
    if len(steps) < 2:
        return row
    difference = measures.area_difference(steps, pairs.transfer, pairs.scratch) * pairs.complete
    last = (measures.asymptote(steps, pairs.transfer) - measures.asymptote(steps, pairs.scratch)) * pairs.complete
    units = pairs.by_sample(difference)
    row = msgspec.structs.replace(
        row,
        area_difference=pairs.mean(difference),
        asymptote_difference=pairs.mean(last),
        forward_transfer=_forward(pairs, steps),
        negative=estimates.share((units[np.isfinite(units)] < 0).tolist()),
    )
    if reference is None or not reference.usable:
        return row
    gain = difference / (reference.reference - reference.random)
    late = _speed_up(pairs, steps, reference.at(LATE))
    row = msgspec.structs.replace(row, area_gain=pairs.mean(gain), late_speed_up=late)
    return _raced(row, pairs, steps, reference.threshold)


def with_holm(rows: list[MeasureRow]) -> list[MeasureRow]:
    """Return the rows of one env with the p of their speed-ups adjusted for one another."""
    adjusted = estimates.holm([row.speed_up.p for row in rows])
    return [msgspec.structs.replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]


def area_differences(transfer: Curves, other: Curves) -> Cells:
    """Return by how much the area exceeds the other's, seed by seed."""
    pairs = _pairs(transfer, other, np.random.default_rng(0))
    values = np.full(len(pairs.samples), NAN)
    if len(transfer.steps) > 1:
        values = measures.area_difference(transfer.steps, pairs.transfer, pairs.scratch) * pairs.complete
    return bootstrap.crossed(values, pairs.samples, pairs.seeds)


def log_speed_ups(transfer: Curves, scratch: Curves, reference: ReturnScale | None) -> Cells:
    """Return the logarithm of each pair's speed-up; NaN where it was not timed."""
    pairs = _pairs(transfer, scratch, np.random.default_rng(0))
    logs = np.full(len(pairs.samples), NAN)
    if reference is not None and reference.usable and len(transfer.steps) > 1:
        sooner, later = _times(pairs, transfer.steps, reference.threshold)
        logs = measures.log_speed_ups(sooner, later, float(transfer.steps[1]))
    return bootstrap.crossed(logs, pairs.samples, pairs.seeds)


def _timed(row: MeasureRow, curves: Curves, threshold: float) -> MeasureRow:
    """Add the time to threshold of the complete runs; the others might have reached it yet."""
    times = measures.time_to_threshold(curves.steps, curves.returns[curves.complete], threshold)
    units = [unit for unit, whole in zip(curves.samples, curves.complete, strict=True) if whole]
    return msgspec.structs.replace(
        row,
        time=_mean(times.steps, units),
        timed=len(times.steps),
        reached=int(times.reached.sum()),
        at_once=int((times.steps < curves.steps[1]).sum()),
    )


def _times(pairs: _Pairs, steps: Ints, threshold: float) -> tuple[Floats, Floats]:
    """Return the restricted times of transfer and scratch, NaN where the pair is not complete: (pairs,) each."""
    sooner = measures.time_to_threshold(steps, pairs.transfer, threshold).steps * pairs.complete
    later = measures.time_to_threshold(steps, pairs.scratch, threshold).steps * pairs.complete
    return sooner, later


def _speed_up(pairs: _Pairs, steps: Ints, threshold: float) -> Estimate:
    sooner, later = _times(pairs, steps, threshold)
    first = float(steps[1])
    bounded = bool((sooner < first).any() and not (later < first).any())
    return estimates.exponential(pairs.mean(measures.log_speed_ups(sooner, later, first)), at_least=bounded)


def _raced(row: MeasureRow, pairs: _Pairs, steps: Ints, threshold: float) -> MeasureRow:
    """Add what the pairs of complete runs say about the time to threshold, and what the source cost."""
    sooner, later = _times(pairs, steps, threshold)
    units = pairs.by_sample(measures.log_speed_ups(sooner, later, float(steps[1])))
    row = msgspec.structs.replace(
        row,
        saved=pairs.mean(later - sooner),
        speed_up=_speed_up(pairs, steps, threshold),
        ratios=tuple(float(ratio) for ratio in np.exp(units[np.isfinite(units)])),
        ratio_of_means=estimates.ratio_of_means(pairs.by_sample(later), pairs.by_sample(sooner)),
    )
    return _charged(row, pairs, sooner, later)


def _charged(row: MeasureRow, pairs: _Pairs, sooner: Floats, later: Floats) -> MeasureRow:
    """Add the account of the source in env steps and in seconds."""
    mine, theirs = sooner * pairs.rates[0], later * pairs.rates[1]
    seconds = estimates.ratio_of_means(pairs.by_sample(theirs), pairs.by_sample(mine))
    row = msgspec.structs.replace(row, seconds_speed_up=seconds)
    if not row.source_steps:
        return row
    cost = pairs.by_sample(mine) + row.source_seconds
    return msgspec.structs.replace(
        row,
        net_speed_up=estimates.ratio_of_means(pairs.by_sample(later), pairs.by_sample(sooner) + row.source_steps),
        break_even=_break_even(row.saved, row.source_steps),
        net_seconds_speed_up=estimates.ratio_of_means(pairs.by_sample(theirs), cost),
        break_even_seconds=_break_even(pairs.mean(theirs - mine), row.source_seconds),
    )


def _break_even(saved: Estimate, cost: float) -> Estimate:
    """Return the number of targets that earn the source back; its interval is that of what one target saves."""
    if saved.n == 0 or not cost > 0:
        return Estimate()
    value = measures.break_even(0.0, saved.value, cost)
    if not saved.has_interval:
        return Estimate(value=value, level=saved.level, n=saved.n)
    low, high = (measures.break_even(0.0, bound, cost) for bound in (saved.high, saved.low))
    return Estimate(value=value, low=low, high=high, level=saved.level, n=saved.n)


def _forward(pairs: _Pairs, steps: Ints) -> Estimate:
    """Return the forward transfer where all returns are scores in [0, 1], else nothing."""
    known = np.concatenate([pairs.transfer, pairs.scratch])
    known = known[np.isfinite(known)]
    if not len(known) or known.min() < 0 or known.max() > 1:
        return Estimate()
    areas = [measures.area(steps, runs) * pairs.complete for runs in (pairs.transfer, pairs.scratch)]
    return pairs.mean(measures.forward_transfer(areas[0], areas[1]))


def _pairs(transfer: Curves, scratch: Curves, generator: np.random.Generator) -> _Pairs:
    place = {seed: row for row, seed in enumerate(scratch.seeds.tolist())}
    mine = [row for row, seed in enumerate(transfer.seeds.tolist()) if seed in place]
    theirs = [place[int(transfer.seeds[row])] for row in mine]
    whole = transfer.complete[mine] & scratch.complete[theirs]
    return _Pairs(
        transfer=transfer.returns[mine],
        scratch=scratch.returns[theirs],
        complete=np.where(whole, 1.0, np.nan),
        samples=tuple(transfer.samples[row] for row in mine),
        seeds=tuple(int(transfer.seeds[row]) for row in mine),
        rates=(_rate(transfer, mine), _rate(scratch, theirs)),
        generator=generator,
    )


def _rate(curves: Curves, rows: Sequence[int]) -> Floats:
    """Return seconds per env step, NaN where the wall time was not recorded: (rows,)."""
    seconds = curves.seconds[list(rows)]
    return np.where(seconds > 0, seconds, np.nan) / max(1, int(curves.steps[-1]))


def _mean(values: Floats, units: Sequence[str]) -> Estimate:
    return estimates.mean(values if len(set(units)) == len(units) else estimates.by_sample(values, units))
