"""Hyperparameters by which members of a cohort may differ: one number for all, or one per member.

Where all members have the same number it stays a plain one; a member's bits are the same either way.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.algorithms.hyperparameters import Hyperparameters

Coefficient = float | torch.Tensor
Doubles = npt.NDArray[np.float64]


def column(members: Sequence[Hyperparameters], name: str) -> Doubles:
    """Values of a hyperparameter (members, 1)."""
    return np.array([[float(getattr(member, name))] for member in members])


def number(values: Doubles) -> float | Doubles:
    """One number for all members, where they agree, or one per member (members, 1)."""
    return float(values[0, 0]) if (values == values[0]).all() else values


def coefficient(values: Doubles, like: torch.Tensor) -> Coefficient:
    """One number for all members, where they agree, or one per member (members, 1) of the type of `like`."""
    shared = number(values)
    return torch.as_tensor(shared).to(like) if isinstance(shared, np.ndarray) else shared
