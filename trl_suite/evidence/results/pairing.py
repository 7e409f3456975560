"""Each run of a method beside the baseline's run of its seed, and means over such pairs with their intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from trl_suite.evidence.reading.curve import Curves, Floats
from trl_suite.evidence.results.return_scale import ReturnScale
from trl_suite.evidence.statistics import bootstrap, estimates
from trl_suite.evidence.statistics.estimates import FEWEST_SAMPLES, NAN, Estimate


class Pairs(NamedTuple):
    """Runs of a method beside those of a baseline, row by row."""

    transfer: Floats  # (pairs, evaluations)
    baseline: Floats  # (pairs, evaluations)
    complete: Floats  # (pairs,), 1 where neither run was cut short, else NaN
    samples: tuple[str, ...]  # (pairs,)
    seeds: tuple[int, ...]  # (pairs,)
    rates: tuple[Floats, Floats]  # (pairs,) of the transfer and of the baseline, seconds per env step
    generator: np.random.Generator

    def mean(self, values: Floats) -> Estimate:
        """Return the mean over samples: a t interval, or a crossed bootstrap where target seeds are shared."""
        if len(set(self.samples)) == len(self.samples):
            return estimates.effect(values)
        cells = bootstrap.crossed(values, self.samples, self.seeds)
        if len(cells.targets) == 1:
            return estimates.effect(cells.by_source)
        interval = bootstrap.hierarchical(cells.values[None], self.generator)
        return msgspec.structs.replace(interval, p=estimates.effect(cells.by_source).p)

    def scaled_mean(self, values: Floats, redrawn: Floats, scale: ReturnScale) -> Estimate:
        """Return the mean over samples of values that depend on the scale, which its interval draws anew.

        Args:
            values: (pairs,), by the scale as it stands.
            redrawn: (draws, pairs), by each of `scale.draws()`.
            scale: what they are measured by.
        """
        return with_scale_drawn(self.mean(values), redrawn, self.samples, self.seeds, scale)

    def by_sample(self, values: Floats) -> Floats:
        """Return the mean of each sample."""
        return estimates.by_sample(values, self.samples)


def with_scale_drawn(
    estimate: Estimate, redrawn: Floats, samples: Sequence[str], seeds: Sequence[int], scale: ReturnScale
) -> Estimate:
    """Return a mean whose interval draws the scale anew: together with the runs where these set the scale.

    Args:
        estimate: the mean over samples, by the scale as it stands.
        redrawn: (draws, runs), each run's value by each scale.
        samples: (runs,).
        seeds: (runs,).
        scale: what the values are measured by.
    """
    means = drawn_means(redrawn, samples, seeds, scale)
    if _together(samples, seeds, scale):
        return estimates.redrawn_together(estimate, means)
    return estimates.widened(estimate, means, len(scale.seeds))


def drawn_means(redrawn: Floats, samples: Sequence[str], seeds: Sequence[int], scale: ReturnScale) -> Floats:
    """Return the mean over samples by each draw of the scale, with the runs drawn too where they set it: (draws,)."""
    if not _together(samples, seeds, scale):
        return sample_means(redrawn, samples)
    places = {seed: place for place, seed in enumerate(scale.seeds)}
    return _weighted_means(redrawn, scale.draws().counts[:, [places[seed] for seed in seeds]])


def _together(samples: Sequence[str], seeds: Sequence[int], scale: ReturnScale) -> bool:
    """Whether the scale was measured on runs that stand behind these, one run a sample."""
    return scale.paired and len(set(samples)) == len(samples) and set(seeds) <= set(scale.seeds)


def scaled_mean(
    mean: Estimate,
    values: Floats,
    samples: Sequence[str],
    seeds: Sequence[int],
    scale: ReturnScale,
    from_random: bool = False,
) -> Estimate:
    """Return a mean of returns in units of the scale's width, with the uncertainty of the scale in its interval.

    Args:
        mean: over samples, in units of return.
        values: (runs,), what it is the mean of.
        samples: (runs,).
        seeds: (runs,).
        scale: of which 0 is random and 1 the reference.
        from_random: whether they are returns, counted from the random one, and not differences.
    """
    origin = scale.random if from_random else 0.0
    moved = msgspec.structs.replace(mean, value=mean.value - origin, low=mean.low - origin, high=mean.high - origin)
    count = len(scale.seeds)
    if not count:
        return estimates.in_widths(moved, scale.reference - scale.random, np.diag([_squared(mean), 0.0]))
    if count < FEWEST_SAMPLES:
        return estimates.in_widths(msgspec.structs.replace(moved, low=NAN, high=NAN), scale.width, np.zeros((2, 2)))
    starts, widths = scale.runs * float(from_random), scale.widths
    if _together(samples, seeds, scale):
        spread = _spread_together(values, [scale.seeds.index(seed) for seed in seeds], starts, widths)
    else:
        spread = _spread_apart(mean, starts, widths)
        if from_random:  # a difference keeps the quantile of its own test, by which it is claimed
            spread *= _pooling(mean, starts, widths, moved.value / scale.width)
    return estimates.in_widths(moved, scale.width, spread)


def _squared(mean: Estimate) -> float:
    return ((mean.high - mean.low) / 2) ** 2 if mean.has_interval else NAN


def _spread_apart(mean: Estimate, starts: Floats, widths: Floats) -> Floats:
    """Return the spread of a mean less the starts' and of the widths', whose runs are others: (2, 2)."""
    quantile = estimates.student_quantile((1 + mean.level) / 2, len(widths) - 1)
    return _covariance_of_means(starts, widths) * quantile**2 + np.diag([_squared(mean), 0.0])


def _covariance_of_means(starts: Floats, widths: Floats) -> Floats:
    return np.cov(np.stack([-starts, widths])) / len(widths)


def _pooling(mean: Estimate, starts: Floats, widths: Floats, ratio: float) -> float:
    """Return the factor by which two variances added under a quantile each exceed those under a common one.

    The common quantile is Student's of Welch and Satterthwaite's degrees of freedom: of two means of ten runs there are
    up to eighteen, and with nine each the interval covers more than it says.

        nu = (v1 + v2)^2 / (v1^2 / nu1 + v2^2 / nu2)        (Welch 1947)
    """
    if mean.n < FEWEST_SAMPLES:
        return 1.0
    probability = (1 + mean.level) / 2
    degrees = np.array([mean.n - 1, len(widths) - 1])
    quantiles = np.array([estimates.student_quantile(probability, float(n)) for n in degrees])
    slope = np.array([1.0, -ratio])
    of_scale = float(slope @ _covariance_of_means(starts, widths) @ slope)
    variances = np.array([_squared(mean) / quantiles[0] ** 2, of_scale])
    if not variances.sum() > 0:
        return 1.0
    common = estimates.student_quantile(probability, float(variances.sum() ** 2 / (variances**2 / degrees).sum()))
    return float(common**2 * variances.sum() / (quantiles**2 * variances).sum())


def _spread_together(values: Floats, places: Sequence[int], starts: Floats, widths: Floats) -> Floats:
    """Return the spread of values and widths whose runs share their seeds: (2, 2)."""
    finite = np.isfinite(values)
    rows = np.array(places, dtype=np.int64)[finite]
    if len(rows) < FEWEST_SAMPLES:
        return np.full((2, 2), NAN)
    gains_and_widths = np.stack([values[finite] - starts[rows], widths[rows]])
    spread = (
        np.cov(gains_and_widths)
        * estimates.squared_half_width(gains_and_widths[0])
        / max(1e-300, float(np.var(gains_and_widths[0], ddof=1)))
    )
    spread[1, 1] = estimates.squared_half_width(widths)
    return spread


def pair(transfer: Curves, baseline: Curves, generator: np.random.Generator) -> Pairs:
    """Return the runs of a method that have a baseline's run of their seed, and of their source where it has one."""
    sourced = any(sample.rpartition("seed ")[0] for sample in baseline.samples)
    names = baseline.samples if sourced else [""] * len(baseline.samples)
    place = {key: row for row, key in enumerate(zip(baseline.seeds.tolist(), names, strict=True))}
    wishes = zip(transfer.seeds.tolist(), transfer.samples if sourced else [""] * len(transfer.samples), strict=True)
    rows = [(row, place[key]) for row, key in enumerate(wishes) if key in place]
    left, right = [row for row, _ in rows], [row for _, row in rows]
    complete = transfer.complete[left] & baseline.complete[right]
    return Pairs(
        transfer=transfer.returns[left],
        baseline=baseline.returns[right],
        complete=np.where(complete, 1.0, np.nan),
        samples=tuple(transfer.samples[row] for row in left),
        seeds=tuple(int(transfer.seeds[row]) for row in left),
        rates=(_rate(transfer, left), _rate(baseline, right)),
        generator=generator,
    )


def _weighted_means(values: Floats, counts: Floats) -> Floats:
    """Return each draw's mean over the runs that it drew: (draws,)."""
    weights = np.where(np.isfinite(values), counts, 0.0)
    total = weights.sum(axis=1)
    sums = (weights * np.where(np.isfinite(values), values, 0.0)).sum(axis=1)
    return np.divide(sums, total, out=np.full(len(total), np.nan), where=total > 0)


def sample_means(values: Floats, samples: Sequence[str]) -> Floats:
    """Return each draw's mean over samples of the mean over their runs: (draws,)."""
    names = list(dict.fromkeys(samples))
    if len(names) == len(samples) and names:
        return _weighted_means(values, np.ones((1, 1)))  # a run each
    rows = np.array([names.index(sample) for sample in samples], dtype=np.int64)
    means = [_weighted_means(values[:, rows == place], np.ones((1, 1))) for place in range(len(names))]
    by_sample = np.stack(means, axis=1) if means else np.full((len(values), 1), np.nan)
    return _weighted_means(by_sample, np.ones((1, 1)))


def _rate(curves: Curves, rows: Sequence[int]) -> Floats:
    """Return seconds per env step, NaN where the wall time was not recorded: (rows,)."""
    seconds = curves.seconds[list(rows)]
    return np.where(seconds > 0, seconds, np.nan) / max(1, int(curves.steps[-1]))
