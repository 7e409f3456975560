"""Where the components of a member lie in its rows of the stacked parameters.

A member has two rows of equal layout, its actor's and its critic's: both networks go through one batched product. The
critic uses the first output of its head only, and no deviations. A head has as many outputs as fill a line of the
cache, since a product with six takes three times as long; those that stand for no action stay 0.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from trl_suite.networks.components import LOG_STD

ACTOR, CRITIC = 0, 1  # rows
NETS = ("actor", "critic")
ALIGNMENT = 16  # numbers in a line of the cache: see `aligned`


@dataclass(frozen=True, kw_only=True)
class Part:
    """One layer, or the deviations: what is frozen and thawed as a whole."""

    name: str  # trunk.0, head, log_std
    start: int
    stop: int  # padded
    shape: tuple[int, ...]  # of the weight (outputs, inputs), or of the deviations

    @property
    def bias(self) -> int:
        """Where the layer's bias starts."""
        return self.start + math.prod(self.shape)


class Layout:
    """The parts of one row, in order."""

    def __init__(self, observations: int, actions: int, hidden: tuple[int, ...]) -> None:
        self.observations, self.actions, self.hidden = observations, actions, hidden
        self.outputs = padded(actions)  # of a head
        widths = (observations, *hidden, self.outputs)
        names = (*(f"trunk.{layer}" for layer in range(len(hidden))), "head")
        parts: list[Part] = []
        start = 0
        for name, inputs, outputs in zip(names, widths[:-1], widths[1:], strict=True):
            stop = padded(start + outputs * inputs + outputs)
            parts.append(Part(name=name, start=start, stop=stop, shape=(outputs, inputs)))
            start = stop
        self.layers = tuple(parts)
        self.deviations = Part(name=LOG_STD, start=start, stop=padded(start + actions), shape=(actions,))
        self.parts = (*self.layers, self.deviations)
        self.size = self.deviations.stop

    def components(self) -> Iterator[tuple[str, int, Part]]:
        """Yield (component, row, part) for every component that learns."""
        for row, net in enumerate(NETS):
            for part in self.layers:
                yield f"{net}.{part.name}", row, part
        yield LOG_STD, ACTOR, self.deviations

    def used(self, row: int, part: Part) -> int:
        """Return how many of a layer's outputs are used in a row."""
        if part.name != "head":
            return part.shape[0]
        return 1 if row == CRITIC else self.actions


def padded(size: int) -> int:
    """Return the size up to the end of its line of the cache."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def aligned(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Return zeros (..., numbers) whose rows begin with a line of the cache each.

    The last bits of a product depend on where its factors lie within a line, and those of a function on whether it was
    computed in a vector or in the rest behind the last one. Rows of whole lines make them the same for every member.
    """
    return like.new_zeros(*shape[:-1], padded(shape[-1]))[..., : shape[-1]]


def whole(rows: torch.Tensor) -> torch.Tensor:
    """Return what `aligned` made with what lies between the rows, in one stretch."""
    return rows.as_strided((rows.stride(0) * rows.shape[0],), (1,), rows.storage_offset())
