"""The stacked parameters of all members, and their way to and from named components."""

from collections.abc import Mapping

import torch

from trl_suite.networks.components import LOG_STD, Components
from trl_suite.training.cohort.layout import Layout, Part

Tensors = dict[str, torch.Tensor]


class Stack:
    """Parameters (rows, members, size), with views of the layers for batched products: rows of actors, then of critics.

    Weights are (outputs, inputs), as SB3 keeps them.
    """

    def __init__(self, layout: Layout, members: int, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        self.layout, self.members = layout, members
        self.flat = torch.zeros(2, members, layout.size, device=device, dtype=dtype)
        rows = self.flat.view(2 * members, layout.size)
        self.weights = [_weight(rows, part) for part in layout.layers]  # (2 * members, outputs, inputs)
        self.biases = [_bias(rows, part)[:, None] for part in layout.layers]  # (2 * members, 1, outputs)
        start = layout.deviations.start
        self.log_std = self.flat[0, :, start : start + layout.actions]  # (members, actions)

    def write(self, member: int, components: Components) -> None:
        """Put a member's components into its rows."""
        for name, tensors in self.member(member).items():
            for tensor, place in tensors.items():
                place.copy_(components[name][tensor])

    def member(self, member: int) -> dict[str, Tensors]:
        """Return a member's components as live views of its rows."""
        found: dict[str, Tensors] = {}
        for name, row, part in self.layout.components():
            numbers = self.flat[row, member]
            if name == LOG_STD:
                found[name] = {"value": numbers[part.start : part.start + part.shape[0]]}
            else:
                used = self.layout.outputs(row, part)
                found[name] = {"weight": _weight(numbers, part)[:used], "bias": _bias(numbers, part)[:used]}
        return found


def _weight(rows: torch.Tensor, part: Part) -> torch.Tensor:
    return rows[..., part.start : part.bias].unflatten(-1, part.shape)


def _bias(rows: torch.Tensor, part: Part) -> torch.Tensor:
    return rows[..., part.bias : part.bias + part.shape[0]]


def row_of(layout: Layout, values: Mapping[str, Tensors]) -> torch.Tensor:
    """Return numbers per component and tensor as a member's rows (rows, size), zero where none is given."""
    one = Stack(layout, 1, torch.device("cpu"))
    for name, tensors in one.member(0).items():
        for tensor, place in tensors.items():
            if name in values:
                place.copy_(values[name][tensor])
    return one.flat[:, 0]
