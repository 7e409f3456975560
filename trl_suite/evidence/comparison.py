"""One method against scratch on one env: a row of measures with their intervals."""

from typing import NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence import measures, statistics
from trl_suite.evidence.curve import Curves, Floats, Ints
from trl_suite.evidence.statistics import NAN, Estimate

FRACTION = 0.5  # of the way from the random to the reference return, where the threshold lies


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What scores 0 and what scores 1 on one env, in units of return."""

    random: float
    reference: float
    origin: str = "given in the experiment's specification"
    paired: bool = False  # measured on the same scratch runs that the methods are compared with

    @property
    def threshold(self) -> float:
        """The return whose first sustained reaching is timed; NaN where the reference does not exceed the random."""
        return self.random + FRACTION * (self.reference - self.random) if self.reference > self.random else NAN


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The measures of one method on one env; those against scratch are empty (n = 0) for scratch itself."""

    env: str
    method: str
    planned: int  # runs that the experiment wants
    complete: int  # of them, evaluated up to their budget
    zero_shot: Estimate  # return before any update
    asymptote: Estimate  # return, mean of the last tenth
    area: Estimate = Estimate()  # mean return over the budget
    dip: Estimate = Estimate()  # return lost in the first fifth
    time: Estimate = Estimate()  # restricted mean time to threshold, env steps
    timed: int = 0  # runs with a time
    reached: int = 0  # of them, those that reached the threshold
    at_once: int = 0  # of them, those above it before any update
    jumpstart: Estimate = Estimate()  # against scratch, paired; return
    area_difference: Estimate = Estimate()  # return
    area_gain: Estimate = Estimate()  # the same, where 1 is scratch's whole improvement
    asymptote_difference: Estimate = Estimate()  # return
    saved: Estimate = Estimate()  # env steps until the threshold
    speed_up: Estimate = Estimate()  # geometric mean of paired ratios of restricted times
    ratios: tuple[float, ...] = ()  # the paired ratios, one per unit
    ratio_of_means: float = NAN  # ratio of restricted means over the same pairs
    p_holm: float = NAN  # of the speed-up, adjusted for the number of methods on this env
    negative: float = NAN  # share of pairs whose area is below scratch's
    source_steps: float = 0.0  # env steps that one source policy cost
    net_speed_up: float = NAN  # ratio of restricted means, the source's steps charged to one target
    break_even: float = NAN  # number of targets from which on the source's steps are earned back


class _Pairs(NamedTuple):
    """The runs of a method and of scratch that share a seed, row by row."""

    transfer: Floats  # (pairs, evaluations)
    scratch: Floats  # (pairs, evaluations)
    complete: Floats  # (pairs,), 1 where both are, else NaN
    units: tuple[str, ...]  # (pairs,)


def alone(curves: Curves, reference: Reference | None, planned: int, source_steps: float = 0.0) -> Row:
    """Return the row of a method by itself, as scratch or a method without scratch has it."""
    row = Row(
        env=curves.env,
        method=curves.method,
        planned=planned,
        complete=int(curves.complete.sum()),
        source_steps=source_steps,
        zero_shot=_mean(measures.zero_shot(curves.returns), curves.units),
        asymptote=Estimate(),
    )
    if len(curves.steps) < 2:
        return row
    row = msgspec.structs.replace(
        row,
        asymptote=_mean(measures.asymptote(curves.steps, curves.whole), curves.units),
        area=_mean(measures.area(curves.steps, curves.whole), curves.units),
        dip=_mean(measures.dip(curves.steps, curves.whole), curves.units),
    )
    return row if reference is None else _timed(row, curves, reference.threshold)


def against(row: Row, transfer: Curves, scratch: Curves, reference: Reference | None) -> Row:
    """Return the row with the measures against scratch added, over the runs that share a seed."""
    pairs, steps = _pairs(transfer, scratch), transfer.steps
    jumpstart = measures.jumpstart(pairs.transfer, pairs.scratch)
    row = msgspec.structs.replace(row, jumpstart=_mean(jumpstart, pairs.units))
    if len(steps) < 2:
        return row
    difference = measures.area_difference(steps, pairs.transfer, pairs.scratch) * pairs.complete
    last = (measures.asymptote(steps, pairs.transfer) - measures.asymptote(steps, pairs.scratch)) * pairs.complete
    row = msgspec.structs.replace(
        row,
        area_difference=_mean(difference, pairs.units),
        asymptote_difference=_mean(last, pairs.units),
        negative=measures.negative_transfer(difference[np.isfinite(difference)]),
    )
    if reference is None or np.isnan(reference.threshold):
        return row
    gain = difference / (reference.reference - reference.random)
    row = msgspec.structs.replace(row, area_gain=_mean(gain, pairs.units))
    return _raced(row, pairs, steps, reference.threshold)


def with_holm(rows: list[Row]) -> list[Row]:
    """Return the rows of one env with the p of their speed-ups adjusted for one another."""
    adjusted = statistics.holm([row.speed_up.p for row in rows])
    return [msgspec.structs.replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True)]


def _timed(row: Row, curves: Curves, threshold: float) -> Row:
    """Add the time to threshold of the complete runs; the others might have reached it yet."""
    if np.isnan(threshold):
        return row
    times = measures.time_to_threshold(curves.steps, curves.returns[curves.complete], threshold)
    units = [unit for unit, whole in zip(curves.units, curves.complete, strict=True) if whole]
    return msgspec.structs.replace(
        row,
        time=_mean(times.steps, units),
        timed=len(times.steps),
        reached=int(times.reached.sum()),
        at_once=int((times.steps < curves.steps[1]).sum()),
    )


def _raced(row: Row, pairs: _Pairs, steps: Ints, threshold: float) -> Row:
    """Add what the pairs of complete runs say about the time to threshold, and what the source cost."""
    sooner = measures.time_to_threshold(steps, pairs.transfer, threshold).steps * pairs.complete
    later = measures.time_to_threshold(steps, pairs.scratch, threshold).steps * pairs.complete
    first = float(steps[1])
    logs = statistics.by_unit(measures.log_speed_ups(sooner, later, first), pairs.units)
    counted = np.isfinite(pairs.complete)
    mine, theirs = (measures.restricted_mean(times[counted]) for times in (sooner, later))
    return msgspec.structs.replace(
        row,
        saved=_mean(later - sooner, pairs.units),
        speed_up=statistics.ratio(logs, at_least=bool((sooner < first).any() and not (later < first).any())),
        ratios=tuple(float(ratio) for ratio in np.exp(logs[np.isfinite(logs)])),
        ratio_of_means=measures.speed_up(sooner[counted], later[counted]),
        net_speed_up=measures.net_speed_up(mine, theirs, row.source_steps) if row.source_steps else NAN,
        break_even=measures.break_even(mine, theirs, row.source_steps) if row.source_steps else NAN,
    )


def _pairs(transfer: Curves, scratch: Curves) -> _Pairs:
    _, mine, theirs = np.intersect1d(transfer.seeds, scratch.seeds, return_indices=True)
    whole = transfer.complete[mine] & scratch.complete[theirs]
    return _Pairs(
        transfer=transfer.returns[mine],
        scratch=scratch.returns[theirs],
        complete=np.where(whole, 1.0, np.nan),
        units=tuple(transfer.units[i] for i in mine),
    )


def _mean(values: Floats, units: list[str] | tuple[str, ...]) -> Estimate:
    return statistics.mean(statistics.by_unit(values, units))
