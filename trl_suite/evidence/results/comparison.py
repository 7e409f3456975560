"""One method against scratch on one env: a row of measures with their intervals."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence.reading.conditions import Condition
from trl_suite.evidence.reading.curve import Curves, Flags, Floats, Ints
from trl_suite.evidence.reading.run_records import NETWORK_MEASURES, NetworkState
from trl_suite.evidence.results.pairing import Pairs, drawn_means, pair, sample_means, scaled_mean, with_scale_drawn
from trl_suite.evidence.results.return_scale import FRACTION, LATE, ReturnScale
from trl_suite.evidence.statistics import bootstrap, estimates, measures
from trl_suite.evidence.statistics.bootstrap import Cells
from trl_suite.evidence.statistics.claim import BETTER, SOONER, Claim, benjamini_hochberg, claim, time_claim
from trl_suite.evidence.statistics.estimates import NAN, Estimate, holm


class SourceCost(NamedTuple):
    """The cost of one source policy; 0 without a source, NaN where it is not known."""

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
    failed: int = 0  # of its runs and scratch's: what is left may be the better ones, and nothing is claimed of it
    zero_shot: Estimate  # return before any update
    asymptote: Estimate  # return, mean of the last tenth
    area: Estimate = Estimate()  # mean return over the budget
    dip: Estimate = Estimate()  # return lost in the first fifth
    score: Estimate = Estimate()  # mean over the budget, where 0 is an untrained policy and 1 the reference
    retention: Estimate = Estimate()  # share of the source's gain on its own env that training on the target left
    dormant: Estimate = Estimate()  # share of the actor's trunk units that are next to silent after training
    effective_rank: Estimate = Estimate()  # of the actor's last trunk layer after training
    weight_norm: Estimate = Estimate()  # of the actor after training
    source_kl: Estimate = Estimate()  # KL(source || policy) after training, on states of the target
    time: Estimate = Estimate()  # restricted mean time to threshold, env steps
    timed: int = 0  # runs with a time
    reached: int = 0  # of them, those that reached the threshold
    at_once: int = 0  # of them, those above it before any update
    jumpstart: Estimate = Estimate()  # against scratch, paired; return
    area_difference: Estimate = Estimate()  # return
    area_gain: Estimate = Estimate()  # the same, where 1 is the distance from random to reference
    asymptote_difference: Estimate = Estimate()  # return
    end_gain: Estimate = Estimate()  # the same, where 1 is the distance from random to reference
    area_over_finetune: Estimate = Estimate()  # as area_gain, against fine-tuning in place of scratch
    end_over_finetune: Estimate = Estimate()  # as end_gain, against fine-tuning in place of scratch
    forward_transfer: Estimate = Estimate()  # of success rates; empty without any, unless all returns lie in [0, 1]
    saved: Estimate = Estimate()  # env steps until the threshold
    speed_up: Estimate = Estimate()  # geometric mean of paired ratios of restricted times
    late_speed_up: Estimate = Estimate()  # the same at the higher threshold
    ratios: tuple[float, ...] = ()  # the paired ratios, one per sample
    ratio_of_means: Estimate = Estimate()  # ratio of restricted means over the same pairs
    p_holm: float = NAN  # of the speed-up, adjusted for the number of methods on this env
    p_area_holm: float = NAN  # of the area's gain, likewise
    p_end_holm: float = NAN  # of the end's gain, likewise
    p_counted: float = NAN  # p_holm, adjusted again for the number of targets: where claims are counted
    p_area_counted: float = NAN  # p_area_holm, likewise
    negative: Estimate = Estimate()  # share of samples whose area is below scratch's
    partners: int = 0  # scratch runs behind the pairs; fewer than pairs where seeds are crossed
    source_steps: float = 0.0  # env steps that one source policy cost
    source_seconds: float = 0.0  # wall time that one source policy cost
    net_speed_up: Estimate = Estimate()  # ratio of restricted means, the source's steps charged to one target
    break_even: Estimate = Estimate()  # number of targets from which on the source's steps are earned back
    seconds_speed_up: Estimate = Estimate()  # ratio of restricted means in wall time
    net_seconds_speed_up: Estimate = Estimate()  # the same, the source's seconds charged to one target
    break_even_seconds: Estimate = Estimate()  # number of targets that earn the source's seconds back

    @property
    def primary(self) -> Estimate:
        """The gain in area: in score where the target has a scale, else in return."""
        return self.area_gain if self.area_gain.n else self.area_difference

    @property
    def area_claim(self) -> Claim:
        """The claim on the primary measure: what the method earns over the budget, against scratch."""
        return self._allowed(claim(self.primary, self.p_area_holm))

    @property
    def end_claim(self) -> Claim:
        """The claim on the return in the last tenth of the budget, against scratch."""
        return self._allowed(claim(self.end_gain if self.end_gain.n else self.asymptote_difference, self.p_end_holm))

    @property
    def time_claim(self) -> Claim:
        """The claim on the time to threshold, against scratch."""
        return self._allowed(time_claim(self.speed_up, self.p_holm))

    @property
    def counted_claim(self) -> Claim:
        """The claim on the time to threshold where those of several targets are counted."""
        return self._allowed(time_claim(self.speed_up, self.p_counted))

    @property
    def counted_area_claim(self) -> Claim:
        """The claim on the primary measure where those of several targets are counted."""
        return self._allowed(claim(self.primary, self.p_area_counted))

    def _allowed(self, bare: Claim) -> Claim:
        """Claim that incomplete runs leave: none where runs failed, for that may have depended on their returns."""
        return "not shown" if self.failed and bare in (*BETTER, *SOONER) else bare


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


def with_networks(row: MeasureRow, states: Sequence[NetworkState | None], samples: tuple[str, ...]) -> MeasureRow:
    """Add the state of the networks after training, of those runs of which it was measured."""
    measured = {
        name: np.array([np.nan if state is None else getattr(state, name) for state in states])
        for name in NETWORK_MEASURES
    }
    return msgspec.structs.replace(row, **{name: _mean(values, samples) for name, values in measured.items()})


def _whole(row: MeasureRow, curves: Curves, scale: ReturnScale | None) -> MeasureRow:
    """Add the measures of whole curves."""
    area = measures.area(curves.steps, curves.whole)
    row = msgspec.structs.replace(
        row,
        asymptote=_mean(measures.asymptote(curves.steps, curves.whole), curves.samples),
        area=_mean(area, curves.samples),
        dip=estimates.skewed_mean(estimates.by_sample(measures.dip(curves.steps, curves.whole), curves.samples)),
    )
    if scale is None or not scale.usable:
        return row
    return _timed(msgspec.structs.replace(row, score=_score(area, curves, scale)), curves, scale)


def _score(area: Floats, curves: Curves, scale: ReturnScale) -> Estimate:
    """Return the mean score of some runs, (area - random) / (reference - random), with the scale's own uncertainty."""
    mean = _mean(area, curves.samples)
    return scaled_mean(mean, area, curves.samples, curves.seeds.tolist(), scale, from_random=True)


def against(
    row: MeasureRow, transfer: Curves, scratch: Curves, scale: ReturnScale | None, generator: np.random.Generator
) -> MeasureRow:
    """Return the row with the measures against scratch added, over the runs that have a scratch run of their seed."""
    pairs, steps = pair(transfer, scratch, generator), transfer.steps
    jumpstart = measures.jumpstart(pairs.transfer, pairs.baseline)
    row = msgspec.structs.replace(row, jumpstart=pairs.mean(jumpstart), partners=len(set(pairs.seeds)))
    if len(steps) < 2:
        return row
    area, end = _differences(pairs, steps)
    by_sample = pairs.by_sample(area)
    row = msgspec.structs.replace(
        row,
        area_difference=pairs.mean(area),
        asymptote_difference=pairs.mean(end),
        forward_transfer=_forward(_judged_pairs(transfer, scratch, generator) or pairs, steps),
        negative=estimates.share((by_sample[np.isfinite(by_sample)] < 0).tolist()),
    )
    if scale is None or not scale.usable:
        return row
    late = _speed_up(pairs, steps, scale, LATE)
    row = msgspec.structs.replace(
        row, area_gain=_gain(pairs, area, scale), end_gain=_gain(pairs, end, scale), late_speed_up=late
    )
    return _raced(row, pairs, steps, scale)


def over_finetune(
    row: MeasureRow, transfer: Curves, finetune: Curves, scale: ReturnScale | None, generator: np.random.Generator
) -> MeasureRow:
    """Return the row with the gains over fine-tuning added, over the runs that have its run of their seed."""
    if scale is None or not scale.usable or len(transfer.steps) < 2 or not set(transfer.seeds) & set(finetune.seeds):
        return row
    area, end = gains(transfer, finetune, scale, generator)
    return msgspec.structs.replace(row, area_over_finetune=area, end_over_finetune=end)


def gains(
    runs: Curves, baseline: Curves, scale: ReturnScale | None, generator: np.random.Generator
) -> tuple[Estimate, Estimate]:
    """Return the gains in area and in end return over the baseline's run of each seed; in return without a scale."""
    pairs = pair(runs, baseline, generator)
    area, end = _differences(pairs, runs.steps)
    if scale is None:
        return pairs.mean(area), pairs.mean(end)
    return _gain(pairs, area, scale), _gain(pairs, end, scale)


def adjusted_on_env(rows: Sequence[MeasureRow]) -> list[MeasureRow]:
    """Return the rows of one env with their p values adjusted for one another by Holm, each measure for itself."""
    columns = {
        "p_holm": [row.speed_up.p for row in rows],
        "p_area_holm": [row.primary.p for row in rows],
        "p_end_holm": [(row.end_gain if row.end_gain.n else row.asymptote_difference).p for row in rows],
    }
    return _replaced(rows, {name: holm(ps) for name, ps in columns.items()})


def adjusted_over_envs(rows: Sequence[MeasureRow]) -> list[MeasureRow]:
    """Return all rows with each method's p values adjusted once more over its targets by Benjamini & Hochberg."""
    columns = {"p_counted": [NAN] * len(rows), "p_area_counted": [NAN] * len(rows)}
    for method in dict.fromkeys(row.method for row in rows):
        places = [place for place, row in enumerate(rows) if row.method == method]
        for name, before in (("p_counted", "p_holm"), ("p_area_counted", "p_area_holm")):
            adjusted = benjamini_hochberg([getattr(rows[place], before) for place in places])
            for place, p in zip(places, adjusted, strict=True):
                columns[name][place] = p
    return _replaced(rows, columns)


def _replaced(rows: Sequence[MeasureRow], columns: dict[str, list[float]]) -> list[MeasureRow]:
    return [
        msgspec.structs.replace(row, **{name: ps[place] for name, ps in columns.items()})
        for place, row in enumerate(rows)
    ]


def area_differences(transfer: Curves, baseline: Curves) -> Cells:
    """Return by how much the area exceeds the baseline's, seed by seed."""
    pairs = pair(transfer, baseline, np.random.default_rng(0))
    values = np.full(len(pairs.samples), NAN)
    if len(transfer.steps) > 1:
        values = _differences(pairs, transfer.steps)[0]
    return bootstrap.crossed(values, pairs.samples, pairs.seeds)


def area_differences_by_seed(transfer: Curves, baseline: Curves) -> dict[int, float]:
    """Return by how much each seed's area exceeds the baseline's; of complete pairs, and of single runs a seed."""
    pairs = pair(transfer, baseline, np.random.default_rng(0))
    if len(transfer.steps) < 2:
        return {}
    areas = _differences(pairs, transfer.steps)[0]
    return {seed: float(area) for seed, area in zip(pairs.seeds, areas, strict=True) if np.isfinite(area)}


def log_speed_ups(transfer: Curves, scratch: Curves, scale: ReturnScale | None) -> Cells:
    """Return the logarithm of each pair's speed-up; NaN where it was not timed."""
    pairs = pair(transfer, scratch, np.random.default_rng(0))
    logs = np.full(len(pairs.samples), NAN)
    if scale is not None and scale.usable and len(transfer.steps) > 1:
        race = _race(pairs, transfer.steps, scale.threshold)
        logs = measures.log_speed_ups(race.transfer, race.scratch, float(transfer.steps[1]))
    return bootstrap.crossed(logs, pairs.samples, pairs.seeds)


def redrawn_log_speed_ups(transfer: Curves, scratch: Curves, scale: ReturnScale) -> Floats:
    """Return the mean log speed-up of the pairs by each draw of the scale: (draws,)."""
    pairs = pair(transfer, scratch, np.random.default_rng(0))
    sooner, later = _redrawn_race(pairs, transfer.steps, scale, FRACTION)
    return drawn_means(
        measures.log_speed_ups(sooner, later, float(transfer.steps[1])), pairs.samples, pairs.seeds, scale
    )


class _Race(NamedTuple):
    """Restricted times to one threshold, NaN where the pair is not complete: (pairs,) each."""

    transfer: Floats
    scratch: Floats
    arrived: tuple[Flags, Flags]  # of the transfer and of scratch


def _race(pairs: Pairs, steps: Ints, threshold: float) -> _Race:
    sooner = measures.time_to_threshold(steps, pairs.transfer, threshold)
    later = measures.time_to_threshold(steps, pairs.baseline, threshold)
    return _Race(sooner.steps * pairs.complete, later.steps * pairs.complete, (sooner.reached, later.reached))


def _redrawn_race(pairs: Pairs, steps: Ints, scale: ReturnScale, fraction: float) -> tuple[Floats, Floats]:
    """Return the times of transfer and scratch to the threshold of each draw of the scale: (draws, pairs) each."""
    thresholds = scale.draws().at(fraction)
    drawn = np.where(np.isfinite(thresholds), 1.0, np.nan)[:, None] * pairs.complete
    sooner = measures.times_to_thresholds(steps, pairs.transfer, thresholds) * drawn
    return sooner, measures.times_to_thresholds(steps, pairs.baseline, thresholds) * drawn


def _differences(pairs: Pairs, steps: Ints) -> tuple[Floats, Floats]:
    """Return the differences in area and in end return, NaN where the pair is not complete: (pairs,) each."""
    area = measures.area_difference(steps, pairs.transfer, pairs.baseline) * pairs.complete
    end = (measures.asymptote(steps, pairs.transfer) - measures.asymptote(steps, pairs.baseline)) * pairs.complete
    return area, end


def _gain(pairs: Pairs, differences: Floats, scale: ReturnScale) -> Estimate:
    """Return the mean difference in return as a share of the way from random to reference."""
    return scaled_mean(pairs.mean(differences), differences, pairs.samples, pairs.seeds, scale)


def _timed(row: MeasureRow, curves: Curves, scale: ReturnScale) -> MeasureRow:
    """Add the time to threshold of the complete runs; the others might have reached it yet."""
    returns = curves.returns[curves.complete]
    times = measures.time_to_threshold(curves.steps, returns, scale.threshold)
    samples = [sample for sample, whole in zip(curves.samples, curves.complete, strict=True) if whole]
    thresholds = scale.draws().at(FRACTION)
    redrawn = measures.times_to_thresholds(curves.steps, returns, thresholds) if len(returns) else np.zeros((1, 0))
    redrawn = np.where(np.isfinite(thresholds)[:, None], redrawn, np.nan)
    seeds = curves.seeds[curves.complete].tolist()
    return msgspec.structs.replace(
        row,
        time=with_scale_drawn(_mean(times.steps, samples), redrawn, samples, seeds, scale),
        timed=len(times.steps),
        reached=int(times.reached.sum()),
        at_once=int((times.steps < curves.steps[1]).sum()),
    )


def _speed_up(pairs: Pairs, steps: Ints, scale: ReturnScale, fraction: float) -> Estimate:
    """Return the speed-up to a fraction of the way, with the bounds that the grid and the budget set."""
    race, first = _race(pairs, steps, scale.at(fraction)), float(steps[1])
    at_floor = (race.transfer < first, race.scratch < first)
    complete = np.isfinite(pairs.complete)
    below = (at_floor[0] & ~at_floor[1]) | (race.arrived[0] & ~race.arrived[1] & complete)
    above = (at_floor[1] & ~at_floor[0]) | (race.arrived[1] & ~race.arrived[0] & complete)
    redrawn = measures.log_speed_ups(*_redrawn_race(pairs, steps, scale, fraction), first)
    logs = measures.log_speed_ups(race.transfer, race.scratch, first)
    mean = pairs.scaled_mean(logs, redrawn, scale)
    return estimates.exponential(mean, at_least=bool(below.any()), at_most=bool(above.any()))


def _raced(row: MeasureRow, pairs: Pairs, steps: Ints, scale: ReturnScale) -> MeasureRow:
    """Add what the pairs of complete runs say about the time to threshold, and what the source cost."""
    race, redrawn = _race(pairs, steps, scale.threshold), _redrawn_race(pairs, steps, scale, FRACTION)
    samples = pairs.by_sample(measures.log_speed_ups(race.transfer, race.scratch, float(steps[1])))
    row = msgspec.structs.replace(
        row,
        saved=pairs.scaled_mean(race.scratch - race.transfer, redrawn[1] - redrawn[0], scale),
        speed_up=_speed_up(pairs, steps, scale, FRACTION),
        ratios=tuple(float(ratio) for ratio in np.exp(samples[np.isfinite(samples)])),
    )
    return _charged(row, pairs, _Charges(race, redrawn, scale))


class _Charges(NamedTuple):
    """The times of the pairs, and the same by each draw of the scale."""

    race: _Race
    redrawn: tuple[Floats, Floats]  # (draws, pairs) each, of transfer and scratch
    scale: ReturnScale

    def ratio(self, pairs: Pairs, rates: tuple[Floats, Floats] | None = None, cost: float = 0.0) -> Estimate:
        """Return scratch's mean time over the method's with a source's cost, in steps or, with rates, in seconds."""
        per_step = rates or (np.ones(1), np.ones(1))
        spent = pairs.by_sample(self.race.transfer * per_step[0]) + cost
        ratio = estimates.ratio_of_means(pairs.by_sample(self.race.scratch * per_step[1]), spent)
        if not ratio.has_interval or ratio.low <= 0 or not np.isfinite(ratio.high):
            return ratio
        sooner, later = (sample_means(times * rate, pairs.samples) for times, rate in
                         zip(self.redrawn, per_step, strict=True))  # fmt: skip
        logarithm = msgspec.structs.replace(
            ratio, value=float(np.log(ratio.value)), low=float(np.log(ratio.low)), high=float(np.log(ratio.high))
        )
        usable = (later > 0) & (sooner + cost > 0)  # a draw whose threshold all reach at once has no ratio
        redrawn = np.log(np.divide(later, sooner + cost, out=np.full(len(later), np.nan), where=usable))
        return estimates.exponential(estimates.widened(logarithm, redrawn, len(self.scale.seeds)))


def _charged(row: MeasureRow, pairs: Pairs, charges: _Charges) -> MeasureRow:
    """Add the account of the source in env steps and in seconds."""
    row = msgspec.structs.replace(
        row, ratio_of_means=charges.ratio(pairs), seconds_speed_up=charges.ratio(pairs, pairs.rates)
    )
    if not row.source_steps:
        return row
    race, redrawn = charges.race, charges.redrawn
    seconds = race.scratch * pairs.rates[1] - race.transfer * pairs.rates[0]
    redrawn_seconds = redrawn[1] * pairs.rates[1] - redrawn[0] * pairs.rates[0]
    seconds_saved = pairs.scaled_mean(seconds, redrawn_seconds, charges.scale)
    return msgspec.structs.replace(
        row,
        net_speed_up=charges.ratio(pairs, cost=row.source_steps),
        break_even=_break_even(row.saved, row.source_steps),
        net_seconds_speed_up=charges.ratio(pairs, pairs.rates, cost=row.source_seconds),
        break_even_seconds=_break_even(seconds_saved, row.source_seconds),
    )


def _break_even(saved: Estimate, cost: float) -> Estimate:
    """Return the number of targets that earn the source back; its interval is that of the saving of one target."""
    if saved.n == 0 or not cost > 0:
        return Estimate()
    value = measures.break_even(0.0, saved.value, cost)
    if not saved.has_interval:
        return Estimate(value=value, level=saved.level, n=saved.n)
    low, high = (measures.break_even(0.0, bound, cost) for bound in (saved.high, saved.low))
    return Estimate(value=value, low=low, high=high, level=saved.level, n=saved.n)


def _judged_pairs(transfer: Curves, scratch: Curves, generator: np.random.Generator) -> Pairs | None:
    """Return the pairs with success rates in place of returns; None where the env speaks of no success."""
    rates = transfer.success_rates, scratch.success_rates
    if rates[0] is None or rates[1] is None:
        return None
    return pair(replace(transfer, returns=rates[0]), replace(scratch, returns=rates[1]), generator)


def _forward(pairs: Pairs, steps: Ints) -> Estimate:
    """Return the forward transfer where all returns are scores in [0, 1], else nothing."""
    scores = np.concatenate([pairs.transfer, pairs.baseline])
    scores = scores[np.isfinite(scores)]
    if not len(scores) or scores.min() < 0 or scores.max() > 1:
        return Estimate()
    areas = [measures.area(steps, runs) * pairs.complete for runs in (pairs.transfer, pairs.baseline)]
    return pairs.mean(measures.forward_transfer(areas[0], areas[1]))


def _mean(values: Floats, samples: Sequence[str]) -> Estimate:
    return estimates.mean(values if len(set(samples)) == len(samples) else estimates.by_sample(values, samples))
