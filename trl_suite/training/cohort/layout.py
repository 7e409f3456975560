"""Where the components of a member lie in its rows of the stacked parameters.

A member has two rows of equal layout, its actor's and its critic's: both networks go through one batched product. The
critic uses the first output of its head only, and no deviations.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from trl_suite.networks.components import LOG_STD

ACTOR, CRITIC = 0, 1  # rows
NETS = ("actor", "critic")
ALIGNMENT = 16  # numbers: a part begins where a vector register does, so that Adam's vectors never straddle two parts


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
        widths = (observations, *hidden, actions)
        names = (*(f"trunk.{layer}" for layer in range(len(hidden))), "head")
        parts: list[Part] = []
        start = 0
        for name, inputs, outputs in zip(names, widths[:-1], widths[1:], strict=True):
            stop = _padded(start + outputs * inputs + outputs)
            parts.append(Part(name=name, start=start, stop=stop, shape=(outputs, inputs)))
            start = stop
        self.layers = tuple(parts)
        self.deviations = Part(name=LOG_STD, start=start, stop=_padded(start + actions), shape=(actions,))
        self.parts = (*self.layers, self.deviations)
        self.size = self.deviations.stop

    def components(self) -> Iterator[tuple[str, int, Part]]:
        """Yield (component, row, part) for every component that learns."""
        for row, net in enumerate(NETS):
            for part in self.layers:
                yield f"{net}.{part.name}", row, part
        yield LOG_STD, ACTOR, self.deviations

    def outputs(self, row: int, part: Part) -> int:
        """Return how many of a layer's outputs are used in a row."""
        return 1 if row == CRITIC and part.name == "head" else part.shape[0]


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
