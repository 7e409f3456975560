"""The stacked parameters of all members, and their way to and from named components."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Self

import torch

from trl_suite.networks.components import Components
from trl_suite.training.cohort.stacked.parameter_layout import LayoutPart, LayoutPlace, ParameterLayout

Tensors = dict[str, torch.Tensor]


class Stack:
    """Parameters (rows, members, size), with views of the layers for batched products: all members' first rows first.

    Weights are (outputs, inputs), as SB3 keeps them.

    Args:
        layout: of a member's rows.
        flat: the parameters.
        first_row: of the layout's, where there are not all of them.
    """

    def __init__(self, layout: ParameterLayout, flat: torch.Tensor, first_row: int = 0) -> None:
        self.layout, self.members, self.flat, self.first_row = layout, flat.shape[1], flat, first_row
        self.weights = [_by_net(_weight(flat, part)) for part in layout.layers]  # (rows * members, outputs, inputs)
        self.biases = [_by_net(_bias(flat, part))[:, None] for part in layout.layers]  # (rows * members, 1, outputs)

    @classmethod
    def zeros(
        cls, layout: ParameterLayout, members: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> Self:
        """Return a stack of zeros."""
        return cls(layout, torch.zeros(layout.rows, members, layout.size, device=device, dtype=dtype))

    @cached_property
    def free(self) -> torch.Tensor:
        """The numbers that belong to no layer, of the first row (members, numbers)."""
        part = self.layout.free[0]
        return self.flat[0, :, part.start : part.start + part.shape[0]]

    def beside(self, part: LayoutPart) -> Tensors:
        """Return the tensors of numbers that belong to no layer (rows * members, ...), in place."""
        return {name: _by_net(value) for name, value in _free(self.flat, part).items()}

    def zeros_like(self) -> Self:
        """Return a stack of zeros of the same layout, members and kind."""
        return type(self)(self.layout, torch.zeros_like(self.flat))

    def alone(self, member: int) -> Self:
        """Return one member's rows, in place."""
        return type(self)(self.layout, self.flat[:, member : member + 1], self.first_row)

    def first(self) -> Self:
        """Return the first row of every member, in place."""
        return self.row(0)

    def row(self, row: int) -> Self:
        """Return one row of every member, in place."""
        return type(self)(self.layout, self.flat[row : row + 1], self.first_row + row)

    def outputs(self, row: int) -> int:
        """Return how many outputs of its heads a row uses at the most."""
        places = [place for place in self.layout.places if place.row == self.first_row + row]
        return max(place.outputs for place in places if self.layout.parts[place.part] in self.layout.heads)

    def write(self, member: int, components: Components) -> None:
        """Put a member's components into its rows."""
        for name, tensors in self.member(member).items():
            for tensor, place in tensors.items():
                place.copy_(components[name][tensor].detach().reshape(place.shape))

    def member(self, member: int) -> dict[str, Tensors]:
        """Return a member's components as live views of its rows."""
        components: dict[str, Tensors] = {}
        for place in self.layout.places:
            components.setdefault(place.component, {}).update(self.at(member, place))
        return components

    def at(self, member: int, place: LayoutPlace) -> Tensors:
        """Return the tensors at one place of a member, as live views."""
        return self._tensors(self.flat[place.row, member], place)

    def _tensors(self, numbers: torch.Tensor, place: LayoutPlace) -> Tensors:
        part = self.layout.parts[place.part]
        if part in self.layout.free:
            return {f"{place.prefix}{name}": value for name, value in _free(numbers, part).items()}
        weight, bias = _weight(numbers, part)[: place.outputs], _bias(numbers, part)[: place.outputs]
        return {f"{place.prefix}weight": weight, f"{place.prefix}bias": bias}


def _by_net(numbers: torch.Tensor) -> torch.Tensor:
    """Return (rows, members, ...) as (rows * members, ...) without a copy, also of one cut out of a larger stack."""
    if numbers.shape[1] == 1:
        return numbers[:, 0]
    return numbers.flatten(0, 1)


def _weight(rows: torch.Tensor, part: LayoutPart) -> torch.Tensor:
    return rows[..., part.start : part.bias].unflatten(-1, part.shape)


def _bias(rows: torch.Tensor, part: LayoutPart) -> torch.Tensor:
    return rows[..., part.bias : part.bias + part.shape[0]]


def _free(rows: torch.Tensor, part: LayoutPart) -> Tensors:
    tensors: Tensors = {}
    start = part.start
    for name, shape in part.tensors.items():
        stop = start + math.prod(shape)
        tensors[name], start = rows[..., start:stop].unflatten(-1, shape), stop
    return tensors


def row_of(layout: ParameterLayout, values: Mapping[str, Tensors]) -> torch.Tensor:
    """Return numbers per component and tensor as a member's rows (rows, size), zero where none is given."""
    stack = Stack.zeros(layout, 1, torch.device("cpu"))
    for name, tensors in stack.member(0).items():
        for tensor, place in tensors.items():
            if name in values:
                place.copy_(values[name][tensor])
    return stack.flat[:, 0]
