"""The stacked parameters of all members, and their way to and from named components."""

from collections.abc import Mapping
from typing import Self

import torch

from trl_suite.networks.components import LOG_STD, Components
from trl_suite.training.cohort.layout import Layout, Part

Tensors = dict[str, torch.Tensor]


class Stack:
    """Parameters (rows, members, size), with views of the layers for batched products: rows of actors, then of critics.

    Weights are (outputs, inputs), as SB3 keeps them.
    """

    def __init__(self, layout: Layout, flat: torch.Tensor) -> None:
        self.layout, self.members, self.flat = layout, flat.shape[1], flat
        self.weights = [_by_net(_weight(flat, part)) for part in layout.layers]  # (2 * members, outputs, inputs)
        self.biases = [_by_net(_bias(flat, part))[:, None] for part in layout.layers]  # (2 * members, 1, outputs)
        start = layout.deviations.start
        self.log_std = flat[0, :, start : start + layout.actions]  # (members, actions)

    @classmethod
    def zeros(cls, layout: Layout, members: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Self:
        """Return a stack of zeros."""
        return cls(layout, torch.zeros(2, members, layout.size, device=device, dtype=dtype))

    def zeros_like(self) -> Self:
        """Return a stack of zeros of the same layout, members and kind."""
        return type(self)(self.layout, torch.zeros_like(self.flat))

    def alone(self, member: int) -> Self:
        """Return one member's rows, in place."""
        return type(self)(self.layout, self.flat[:, member : member + 1])

    def write(self, member: int, components: Components) -> None:
        """Put a member's components into its rows."""
        for name, tensors in self.member(member).items():
            for tensor, place in tensors.items():
                place.copy_(components[name][tensor].detach())

    def member(self, member: int) -> dict[str, Tensors]:
        """Return a member's components as live views of its rows."""
        found: dict[str, Tensors] = {}
        for name, row, part in self.layout.components():
            numbers = self.flat[row, member]
            if name == LOG_STD:
                found[name] = {"value": numbers[part.start : part.start + part.shape[0]]}
            else:
                used = self.layout.used(row, part)
                found[name] = {"weight": _weight(numbers, part)[:used], "bias": _bias(numbers, part)[:used]}
        return found


def _by_net(numbers: torch.Tensor) -> torch.Tensor:
    """Return (rows, members, ...) as (rows * members, ...) without a copy, also of one cut out of a larger stack."""
    if numbers.shape[1] == 1:
        return numbers[:, 0]
    return numbers.flatten(0, 1)


def _weight(rows: torch.Tensor, part: Part) -> torch.Tensor:
    return rows[..., part.start : part.bias].unflatten(-1, part.shape)


def _bias(rows: torch.Tensor, part: Part) -> torch.Tensor:
    return rows[..., part.bias : part.bias + part.shape[0]]


def row_of(layout: Layout, values: Mapping[str, Tensors]) -> torch.Tensor:
    """Return numbers per component and tensor as a member's rows (rows, size), zero where none is given."""
    one = Stack.zeros(layout, 1, torch.device("cpu"))
    for name, tensors in one.member(0).items():
        for tensor, place in tensors.items():
            if name in values:
                place.copy_(values[name][tensor])
    return one.flat[:, 0]
