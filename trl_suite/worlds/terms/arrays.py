"""Operations that NumPy's arrays and torch's tensors share, and the arithmetic of the terms on either.

Each operation is one whose rounding does not depend on leading dimensions, so that an env in a batch gets the numbers
that it gets alone. Methods and operators serve both libraries; where NumPy has only a function, or where Gymnasium's
last digit needs more than an operator, both ways are written out. torch is never imported.
"""

import sys
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np


class Array(Protocol):
    """A NumPy array or a torch tensor, of any leading dimensions."""

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the dimensions."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __pow__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __abs__(self) -> Any: ...

    def sum(self, axis: int, /) -> Any:
        """Sum over one dimension."""
        ...

    def clip(self, low: Any, high: Any, /) -> Any:
        """Values held between two bounds."""
        ...


def clipped(values: Any, limit: float) -> Any:
    """Values within ±limit: an array's, or a plain number."""
    return np.clip(values, -limit, limit) if isinstance(values, float) else values.clip(-limit, limit)


def inside(values: Array, low: Array, high: Array) -> Any:
    """Whether all values (..., n) lie strictly between their bounds (n,); a NaN lies nowhere."""
    return ((values > low) & (values < high)).all(-1)


def all_inside(values: Iterable[float], low: Iterable[float], high: Iterable[float]) -> bool:
    """Whether the plain numbers of one env lie strictly between their bounds: four times as fast as `inside`."""
    for value, least, most in zip(values, low, high, strict=True):  # noqa: SIM110  a generator costs what is saved
        if not least < value < most:
            return False
    return True


def sum_of_squares(values: Array) -> Any:
    """Sum of the squared values (..., n), in their own precision."""
    return summed(values * values)


def summed(values: Array) -> Any:
    """Sum over the last dimension (..., n), in an order that the layout in memory does not change."""
    return (np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values).sum(-1)


def norm(values: Array) -> Any:
    """Euclidean length of vectors (..., n)."""
    if isinstance(values, np.ndarray):
        in_rows = np.ascontiguousarray(values)  # BLAS sums others in another order
        return np.sqrt(np.vecdot(in_rows, in_rows))
    return (values * values).sum(-1) ** 0.5


def square(value: Any) -> Any:
    """Squared value (...), to the last digit as C's `pow` gives it to Gymnasium: x·x differs at times."""
    if np.ndim(value) == 0:
        return np.float64(float(value) ** 2)
    if isinstance(value, np.ndarray):
        return np.array([number**2 for number in value.tolist()])
    return value * value


def weighted_mean(values: Array, weights: Array) -> Any:
    """Mean of values (..., n) with weights (..., n), added up in order."""
    total = weights[..., 0] * values[..., 0]
    for index in range(1, values.shape[-1]):
        total = total + weights[..., index] * values[..., index]
    return total / weights.sum(-1)


def solved(matrix: Array, vector: Array, ridge: float) -> Any:
    """Solution x (..., m) of (A + ridge I) x = b, for a symmetric A (..., m, m) that makes the sum positive definite.

    By the factors L D Lᵀ, one number after the other: a library's solver may wait for the device, or round otherwise.

        D_i = A_ii - Σ_k<i L_ik² D_k,    L_ij = (A_ij - Σ_k<j L_ik L_jk D_k) / D_j
    """
    size = vector.shape[-1]
    lower: list[list[Any]] = []  # L
    diagonal: list[Any] = []
    ahead: list[Any] = []  # L⁻¹ b
    for i in range(size):
        row: list[Any] = []  # of L D
        for j in range(i):
            row.append(matrix[..., i, j] - sum(row[k] * lower[j][k] for k in range(j)))
        lower.append([row[j] / diagonal[j] for j in range(i)])
        diagonal.append(matrix[..., i, i] + ridge - sum(row[k] * lower[i][k] for k in range(i)))
        ahead.append(vector[..., i] - sum(lower[i][k] * ahead[k] for k in range(i)))
    solution: list[Any] = [None] * size
    for i in reversed(range(size)):
        solution[i] = ahead[i] / diagonal[i] - sum(lower[k][i] * solution[k] for k in range(i + 1, size))
    return stacked(solution)


def cosine(values: Any) -> Any:
    """Cosines."""
    return np.cos(values) if isinstance(values, np.ndarray) else values.cos()


def sine(values: Any) -> Any:
    """Sines."""
    return np.sin(values) if isinstance(values, np.ndarray) else values.sin()


def exponential(values: Any) -> Any:
    """Exponentials e^x."""
    return np.exp(values) if isinstance(values, np.ndarray | np.floating) else values.exp()


def where(mask: Any, values: Any, others: Any) -> Any:
    """Values where a mask says so, others elsewhere."""
    if isinstance(others, np.ndarray):
        return np.where(mask, values, others)
    return values.where(mask, others)


def larger(left: Any, right: Any) -> Any:
    """Larger of two numbers each."""
    return left + (right - left) * (right > left)


def joined(parts: list[Any]) -> Any:
    """Arrays (..., n) side by side: (..., sum of n)."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts, axis=-1)
    return _torch_of(parts[0]).cat(parts, dim=-1)


def stacked(columns: list[Any]) -> Any:
    """Numbers (...) as columns (..., n)."""
    return joined([column[..., None] for column in columns])


def _torch_of(tensor: Any) -> Any:
    """The library that a tensor is of, which is loaded where there is one."""
    return sys.modules[type(tensor).__module__.partition(".")[0]]


def double(values: Any) -> Any:
    """Values in double precision."""
    return values.astype(np.float64) if isinstance(values, np.ndarray) else values.double()


def like(values: Any, others: Any) -> Any:
    """Values in the precision of others."""
    return values.astype(others.dtype) if isinstance(values, np.ndarray) else values.to(others.dtype)


def copied(values: Any) -> Any:
    """Values in memory of their own; a plain number is."""
    if isinstance(values, float):
        return values
    return values.copy() if isinstance(values, np.ndarray) else values.clone()
