"""Observation, reward and termination terms, written once for one world and for many (leading dimensions).

They see arrays and numbers, and know nothing of models, names or weights. Each operation is one whose rounding does not
depend on the leading dimensions, so that a world in a batch gets the numbers that it gets alone.
The arrays are NumPy's or torch's. Methods and operators serve both; where NumPy has only a function, or where
Gymnasium's last digit needs more than an operator, both ways are written out, and torch is never imported.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np


def clipped(values: Any, limit: float) -> Any:
    """Return the values held within +-limit."""
    return np.clip(values, -limit, limit) if isinstance(values, float) else values.clip(-limit, limit)


def inside(values: Any, low: Any, high: Any) -> Any:
    """Return whether all values (..., n) lie strictly between their bounds (n,); a NaN lies nowhere."""
    return ((values > low) & (values < high)).all(-1)


def all_inside(values: Iterable[float], low: Iterable[float], high: Iterable[float]) -> bool:
    """Return `inside` for the plain numbers of one world: four times as fast, and once per step."""
    for value, least, most in zip(values, low, high, strict=True):  # noqa: SIM110  a generator costs what is saved
        if not least < value < most:
            return False
    return True


def speed(before: Any, after: Any, duration: Any) -> Any:
    """Return the mean speed over a control step, in units of the position per second."""
    return (after - before) / duration


def speed_error(before: Any, after: Any, duration: Any, target: Any) -> Any:
    """Return how far the mean speed over a control step is from the target, never negative."""
    return abs((after - before) / duration - target)


def centre(places: Any, masses: Any) -> Any:
    """Return one coordinate of the centre of mass from those of the bodies (..., bodies), added up in order."""
    total = masses[..., 0] * places[..., 0]
    for body in range(1, places.shape[-1]):
        total = total + masses[..., body] * places[..., body]
    return total / masses.sum(-1)


def alive(healthy: Any) -> Any:
    """Return 1 where the robot is healthy and 0 where it is not."""
    return healthy * 1.0


def effort(action: Any) -> Any:
    """Return the sum of the squared action (..., n), in the action's own precision."""
    return (action * action).sum(-1)


def sum_of_squares(values: Any) -> Any:
    """Return the sum of the squared values (..., n)."""
    return (values * values).sum(-1)


def distance(values: Any) -> Any:
    """Return the Euclidean length of vectors (..., n)."""
    if isinstance(values, np.ndarray):
        return np.sqrt(np.vecdot(values, values))
    return (values * values).sum(-1) ** 0.5


def square(value: Any) -> Any:
    """Return the squared value (...), to the last digit as C's `pow` gives it to Gymnasium: x·x differs at times."""
    if np.ndim(value) == 0:
        return np.float64(float(value) ** 2)
    if isinstance(value, np.ndarray):
        return np.array([number**2 for number in value.tolist()])
    return value * value


def cosine(values: Any) -> Any:
    """Return the cosines."""
    return np.cos(values) if isinstance(values, np.ndarray) else values.cos()


def sine(values: Any) -> Any:
    """Return the sines."""
    return np.sin(values) if isinstance(values, np.ndarray) else values.sin()


def double(values: Any) -> Any:
    """Return the values in double precision."""
    return values.astype(np.float64) if isinstance(values, np.ndarray) else values.double()


def copied(values: Any) -> Any:
    """Return the values in memory of their own."""
    return values.copy() if isinstance(values, np.ndarray) else values.clone()
