"""Intervals and tests for few seeds: functions of one value per independent unit; knows nothing of curves.

Axes: `values` is (units,), one number per pair of runs that share nothing else with another pair. With fewer than
three units there is a value and no interval. Every random number comes from a Generator that the caller hands in.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from scipy import stats

from trl_suite.evidence.curve import Floats

FEWEST = 3  # units below which no interval is given
EXACT = 20  # units up to which all sign flips are counted (a million)
NAN = float("nan")


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its interval; NaN bounds where there are too few units for one."""

    value: float = NAN
    low: float = NAN
    high: float = NAN
    level: float = 0.95  # of the interval
    p: float = NAN  # two-sided, against no effect
    n: int = 0  # units
    at_least: bool = False  # the measurement's resolution makes it a lower bound

    @property
    def has_interval(self) -> bool:
        """Whether there were enough units for an interval."""
        return self.low == self.low

    def excludes(self, null: float) -> bool:
        """Return whether the interval exists and `null` lies outside it."""
        return self.has_interval and not self.low <= null <= self.high


def mean(values: Floats, level: float = 0.95) -> Estimate:
    """Return the mean of the finite values with its Student t interval and exact sign-flip p.

    The t interval and not a percentile bootstrap: the latter's 95 % cover 83 % at five seeds.
    """
    finite = values[np.isfinite(values)]
    n = len(finite)
    if n == 0:
        return Estimate(level=level)
    centre = float(finite.mean())
    if n < FEWEST:
        return Estimate(value=centre, level=level, n=n)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * finite.std(ddof=1) / math.sqrt(n))
    p = sign_flip(finite) if n <= EXACT else float(2 * stats.t.sf(*_t(finite)))
    return Estimate(value=centre, low=centre - half, high=centre + half, level=level, p=p, n=n)


def ratio(logs: Floats, level: float = 0.95, at_least: bool = False) -> Estimate:
    """Return the geometric mean of ratios given as logarithms, with the t interval taken on the log scale."""
    found = mean(logs, level)
    bounds = [float(np.exp(bound)) for bound in (found.value, found.low, found.high)]
    return Estimate(
        value=bounds[0], low=bounds[1], high=bounds[2], level=level, p=found.p, n=found.n, at_least=at_least
    )


def sign_flip(values: Floats) -> float:
    """Return the exact two-sided p of the hypothesis that the values are symmetric about 0.

    Fisher 1935, section 21: the share of all 2^n sign patterns whose sum is at least as far from 0. It is never below
    2^(1-n): five pairs cannot reach 0.05.

    Raises:
        ValueError: more than 20 values, whose patterns are too many to count.
    """
    if len(values) > EXACT:
        raise ValueError(f"{len(values)} values; all sign patterns can be counted for {EXACT} at most")
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    tolerance = 1e-12 * np.abs(values).sum()  # equal sums differ by rounding
    return float(np.mean(np.abs(sums) >= abs(values.sum()) - tolerance))


def smallest_p(n: int) -> float:
    """Return the least p that a two-sided sign-flip test of `n` values can give."""
    return min(1.0, 2.0 ** (1 - n))


def holm(ps: Sequence[float]) -> list[float]:
    """Return the p values adjusted for their number, in the same order; NaN stays NaN and doesn't count. Holm 1979."""
    given = np.asarray(ps, dtype=float)
    known = np.flatnonzero(np.isfinite(given))
    order = known[np.argsort(given[known], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    adjusted = given.copy()
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


def interquartile_mean(values: Floats, axis: int = 0) -> Floats:
    """Return the mean of the middle half along `axis`. Agarwal et al. 2021, section 4.3."""
    return np.asarray(stats.trim_mean(values, 0.25, axis=axis))


def by_unit(values: Floats, units: Sequence[str]) -> Floats:
    """Return the mean of each unit's finite values, in order of first appearance; NaN where a unit has none.

    Runs that start from one source policy are not independent: the source is the unit.
    """
    labels = np.asarray(units)
    members = [values[(labels == name) & np.isfinite(values)] for name in dict.fromkeys(units)]
    return np.array([group.mean() if len(group) else NAN for group in members])


def _t(values: Floats) -> tuple[float, int]:
    """Return the absolute t statistic and its degrees of freedom."""
    error = values.std(ddof=1) / math.sqrt(len(values))
    return float(abs(values.mean()) / error) if error else float("inf"), len(values) - 1
