"""Linear layers whose weights are put together from frozen and learned parts at every call.

Each equals a plain layer, which `folded` gives: what was trained with an adapter is stored as an ordinary network, and
gives the same bits.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional


class Plain(NamedTuple):
    """Weight and bias of a layer."""

    weight: torch.Tensor
    bias: torch.Tensor


class FrozenLayer(nn.Module):
    """A frozen layer: buffers, which no optimiser moves and no target network follows."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


class FoldableLayer(nn.Module, ABC):
    """A layer that a plain one stands for where the network is stored."""

    @abstractmethod
    def folded(self) -> Plain:
        """Return the plain layer."""


class AdaptedLayer(FoldableLayer):
    """A layer of a network with what an adapter has added to it.

    Args:
        weight: of the network's own layer.
        bias: likewise.
        added: what is learned beside them, by name.
        source: the source's layer in the same place, or None.
        before: how many features of the source come in before the network's own.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        bias: nn.Parameter,
        added: Mapping[str, torch.Tensor],
        source: FrozenLayer | None,
        before: int,
    ) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.adapter = nn.ParameterDict(dict(added))
        self.source = source
        self.before = before

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the outputs that the plain layer would give."""
        return functional.linear(features, *self.folded())


class LowRankLayer(AdaptedLayer):
    """Frozen weights plus the product of two thin matrices."""

    def folded(self) -> Plain:
        """Return the sum; the bias is shifted."""
        thin = self.adapter
        return Plain(self.weight + thin["up"] @ thin["down"], self.bias + thin["shift"])


class MappedLayer(AdaptedLayer):
    """A first layer behind a linear map of its inputs."""

    def folded(self) -> Plain:
        """Return map and layer in one."""
        return Plain(self.weight @ self.adapter["map"], self.bias + self.weight @ self.adapter["shift"])


class ColumnLayer(AdaptedLayer):
    """The source's layer beside the network's own, which may take in the source's features through lateral weights."""

    def folded(self) -> Plain:
        """Return both layers as one: the source's outputs first."""
        lateral = self.adapter["lateral"] if "lateral" in self.adapter else self.weight.new_zeros(())
        learned = torch.cat([lateral.expand(len(self.weight), self.before), self.weight], dim=1)
        if self.source is None:
            return Plain(learned, self.bias)
        weight = torch.cat([_widened(self.source.weight, learned.shape[1]), learned])
        return Plain(weight, torch.cat([self.source.bias, self.bias]))


class ResidualHead(AdaptedLayer):
    """The source's output plus a bounded correction; no plain layer equals it."""

    bound = 0.0

    def folded(self) -> Plain:
        """Return the layer of the correction, before it is bounded."""
        return Plain(functional.pad(self.weight, (self.before, 0)), self.bias)

    def folded_source(self) -> Plain:
        """Return the source's layer, on the features of both."""
        assert self.source is not None
        return Plain(_widened(self.source.weight, self.before + self.weight.shape[1]), self.source.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return source + bound * tanh(correction)."""
        return corrected(features, self.folded_source(), self.folded(), self.bound)


def corrected(features: torch.Tensor, source: Plain, correction: Plain, bound: float) -> torch.Tensor:
    """Return source(seen) + bound * tanh(correction(seen)), as `ResidualHead` and a stored policy both compute it."""
    return functional.linear(features, *source) + bound * torch.tanh(functional.linear(features, *correction))


def _widened(weight: torch.Tensor, inputs: int) -> torch.Tensor:
    """Return the weight with zeros for the features after its own."""
    return functional.pad(weight, (0, inputs - weight.shape[1]))
