"""Measures of transfer on learning curves: plain functions of arrays, ignorant of files and of statistics.

Axes: `returns` is (runs, evaluations), `steps` is (evaluations,) and starts at 0, before any update. `transfer` and
`scratch` are paired row by row and share their grid. H is the last step of the grid. NaN in a curve makes those
measures of that run NaN that need the value; nothing is imputed.
"""

from typing import NamedTuple

import numpy as np

from trl_suite.evidence.reading.curve import Flags, Floats, Ints


class Times(NamedTuple):
    """When each run reached a threshold."""

    steps: Floats  # (runs,), env steps; H where it was not reached
    reached: Flags  # (runs,)


def zero_shot(returns: Floats) -> Floats:
    """Return the return before any update, per run: (runs,), in units of return."""
    return returns[:, 0]


def jumpstart(transfer: Floats, scratch: Floats) -> Floats:
    """Return how much better the transfer starts: (pairs,), in units of return. Taylor & Stone 2009."""
    return zero_shot(transfer) - zero_shot(scratch)


def dip(steps: Ints, returns: Floats, within: float = 0.2) -> Floats:
    """Return how far the return falls below its start in the first fifth of the budget: (runs,), never negative.

    The forgetting of a pre-trained policy at the start of fine-tuning: Wolczyk et al. 2024.
    """
    early = steps <= within * steps[-1]
    return returns[:, 0] - np.min(returns[:, early], axis=1)


def area(steps: Ints, returns: Floats) -> Floats:
    """Return the mean height of the curve, (1/H) times its integral by trapezoids: (runs,), in units of return.

    Total reward of Taylor & Stone 2009, divided by the horizon so that it does not grow with it.
    """
    return np.trapezoid(returns, steps, axis=1) / steps[-1]


def area_difference(steps: Ints, transfer: Floats, scratch: Floats) -> Floats:
    """Return the mean gain over the budget: (pairs,), in units of return; signed, so right where curves cross."""
    return area(steps, transfer - scratch)


def asymptote(steps: Ints, returns: Floats, last: float = 0.1) -> Floats:
    """Return the mean of the evaluations in the last tenth of the budget: (runs,). Taylor & Stone 2009."""
    return returns[:, steps >= (1 - last) * steps[-1]].mean(axis=1)


def normalise(returns: Floats, random: float, reference: float) -> Floats:
    """Return the returns on a scale where an untrained policy scores 0 and the reference 1, in the same shape.

    Raises:
        ValueError: the reference does not exceed the random return.
    """
    if not reference > random:
        raise ValueError(f"the reference return {reference} does not exceed the random return {random}")
    return (returns - random) / (reference - random)


def time_to_threshold(steps: Ints, returns: Floats, threshold: float, consecutive: int = 2) -> Times:
    """Return the first step from which `consecutive` evaluations in a row reach `threshold`, else H.

    Time to threshold of Taylor, Stone & Liu 2007, censored at the budget. An evaluation that is NaN does
    not reach. The last evaluation alone is never enough: nothing confirms it.
    """
    above = returns >= threshold
    confirmed = above[:, : max(0, above.shape[1] - consecutive + 1)].copy()
    for later in range(1, consecutive):
        confirmed &= above[:, later : later + confirmed.shape[1]]
    reached = np.asarray(confirmed.any(axis=1))
    return Times(np.where(reached, steps[confirmed.argmax(axis=1)], steps[-1]).astype(np.float64), reached)


def times_to_thresholds(steps: Ints, returns: Floats, thresholds: Floats) -> Floats:
    """Return `time_to_threshold` for many thresholds at once, in env steps: (thresholds, runs); H where not reached.

    An evaluation is confirmed by the next, so that a run has reached what the smaller of two neighbours exceeds; the
    highest of these so far never falls, and each threshold's place in it is its time.
    """
    runs = np.where(np.isfinite(returns), returns, -np.inf)
    heights = np.maximum.accumulate(np.minimum(runs[:, :-1], runs[:, 1:]), axis=1)  # (runs, evaluations - 1)
    times = np.append(steps[: heights.shape[1]], steps[-1]).astype(np.float64)
    return np.stack([times[np.searchsorted(height, thresholds, "left")] for height in heights], axis=1)


def speed_up(transfer: Floats, scratch: Floats, resolution: float) -> Floats:
    """Return the geometric mean over pairs of scratch time / transfer time, as a report has it: above 1 is sooner.

    Args:
        transfer: (..., pairs), restricted times to threshold in env steps.
        scratch: (..., pairs), of the scratch run of each pair.
        resolution: times below it are raised to it; see `log_speed_ups`.
    """
    return np.exp(np.mean(log_speed_ups(transfer, scratch, resolution), axis=-1))


def log_speed_ups(transfer: Floats, scratch: Floats, resolution: float) -> Floats:
    """Return log(scratch time / transfer time) of each pair: (pairs,).

    Times below `resolution`, the step of the first evaluation after an update, are raised to it: a policy that needs
    no training at all would be infinitely faster. The speed-up is then a lower bound.
    """
    return np.log(np.maximum(scratch, resolution) / np.maximum(transfer, resolution))


def forward_transfer(transfer: Floats, scratch: Floats) -> Floats:
    """Return (area with transfer - area from scratch) / (1 - area from scratch): (pairs,), at most 1.

    Wolczyk et al. 2021. It is defined for areas of scores in [0, 1], such as success rates; NaN where scratch's is 1.

    Raises:
        ValueError: an area lies outside [0, 1].
    """
    areas = np.stack([transfer, scratch])
    if (areas < 0).any() or (areas > 1).any():
        raise ValueError("forward transfer is defined for scores in [0, 1] only; use the area's difference")
    return (transfer - scratch) / np.where(scratch < 1, 1 - scratch, np.nan)


def break_even(transfer: float, scratch: float, source_steps: float) -> float:
    """Return from how many target tasks on the source's steps are earned back; infinite where transfer saves none."""
    saved = scratch - transfer
    return source_steps / saved if saved > 0 else float("inf")


def retention(before: Floats, after: Floats, random: float) -> Floats:
    """Return the share of a policy's gain on the source env that training on the target left: (runs,); 1 is all of it.

    NaN where the policy was no better than `random` before. Below 0 it ended worse than untrained; above 1 the target
    has helped the source.

    Args:
        before: (runs,), return on the source env before the first update on the target.
        after: (runs,), return on the source env after the last.
        random: return of an untrained policy on the source env.
    """
    gain = before - random
    return (after - random) / np.where(gain > 0, gain, np.nan)
