"""The one rule for a claim: as much as the interval, the exact test and the number of pairs allow, and no more.

Every view asks this module: the terminal, the report, the pages, the matrix, TensorBoard and the Python API. An effect
is claimed where its 95 % interval leaves out "no effect" and its p, adjusted by Holm for the methods of a target, is
below 0.05. By intervals alone, twelve methods without an effect are called something in 36 % of experiments
(benchmarks/calibration.py). Over targets, p is adjusted once more by Benjamini & Hochberg before claims are counted.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from trl_suite.evidence.statistics.estimates import NAN, Estimate

LEVEL = 0.05  # p from which on nothing is claimed
# when this rule and the primary measure were fixed, ISO 8601: for runs that began before they are post hoc
RULES_SINCE = "2026-11-30T04:33:10+00:00"
FEWEST_CLAIM_PAIRS = 6  # pairs below which the exact test cannot reach `LEVEL`: 2^(1-5) is 0.0625
Claim = Literal["better", "worse", "sooner", "later", "not shown", "too few", "not measured"]
Words = tuple[Claim, Claim]  # for an effect above its null, and below
BETTER: Words = ("better", "worse")  # of returns
SOONER: Words = ("sooner", "later")  # of times


def claim(effect: Estimate, p: float = NAN, *, null: float = 0.0, words: Words = BETTER) -> Claim:
    """Return the claim that an effect allows.

    Args:
        effect: paired, with its interval; n counts the pairs, or the source seeds behind an effect over targets.
        p: of the exact test, adjusted for the other methods; NaN for an effect over targets, which has no such test.
        null: the value of no effect: 0 for differences, 1 for ratios.
        words: what an effect above the null is called, and one below.
    """
    if not effect.n:
        return "not measured"
    if not effect.has_interval or effect.n < FEWEST_CLAIM_PAIRS:
        return "too few"
    if not effect.excludes(null) or p >= LEVEL:
        return "not shown"
    return words[0] if effect.value > null else words[1]


def time_claim(speed_up: Estimate, p: float = NAN) -> Claim:
    """Return the claim that a speed-up allows: sooner, later, or why neither."""
    return claim(speed_up, p, null=1.0, words=SOONER)


def counted(claims: Iterable[Claim]) -> str:
    """Return claims with their numbers, the most frequent first: `sooner on 35, not shown on 8, later on 2`."""
    return ", ".join(f"{name} on {count}" for name, count in Counter(claims).most_common())


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Return p values adjusted for the false discovery rate, in the same order; NaN stays NaN and doesn't count.

    Benjamini & Hochberg 1995: of the claims that are counted over targets, at most 5 % are expected to be false.
    """
    values = np.asarray(ps, dtype=float)
    finite = np.flatnonzero(np.isfinite(values))
    order = finite[np.argsort(values[finite], kind="stable")[::-1]]  # the largest first
    ranks = np.arange(len(order), 0, -1)
    adjusted = values.copy()
    adjusted[order] = np.minimum(np.minimum.accumulate(values[order] * len(order) / ranks), 1.0) if len(order) else NAN
    return [float(p) if math.isfinite(p) else NAN for p in adjusted]
