"""Where the components of a member lie in its rows of stacked parameters.

A member has as many rows of equal layout as it has networks of one shape, so that all of them go through one
batched product: PPO's actor and critic, or the two critics of SAC. A head has as many outputs as fill a line of the
cache, since a product with six takes three times as long; those that mean nothing stay 0.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch

from trl_suite.networks.card import Algorithm
from trl_suite.networks.components import LOG_STD, TEMPERATURE

ACTOR, CRITIC = 0, 1  # rows of PPO's networks
ALIGNMENT = 16  # numbers in a line of the cache: see `aligned`


@dataclass(frozen=True, kw_only=True)
class Part:
    """One layer, or numbers that belong to none: what is frozen and thawed as a whole."""

    name: str  # trunk.0, head, log_std, temperature
    start: int
    stop: int  # padded
    shape: tuple[int, ...]  # of the weight (outputs, inputs), or of the numbers

    @property
    def bias(self) -> int:
        """Where the layer's bias starts."""
        return self.start + math.prod(self.shape)


class Place(NamedTuple):
    """Where one component, or its share of twin networks, lies."""

    component: str
    row: int
    part: int  # which of the layout's
    outputs: int  # used
    prefix: str  # of its tensors' names: `q0_` for the first of twins


class Layout:
    """The parts of one row, in order, and the components in all rows."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], heads: Mapping[str, int], free: Mapping[str, int]) -> None:
        """Lay out a trunk, heads beside each other on top of it, and free numbers.

        Args:
            inputs: numbers that the first layer sees.
            hidden: widths of the trunk.
            heads: name -> outputs; equally many each.
            free: name -> how many numbers.
        """
        self.inputs, self.hidden = inputs, hidden
        self.outputs = max(heads.values(), default=0)  # of a head, those that mean something
        self.lane = padded(self.outputs)  # between the outputs of two heads
        widths = (inputs, *hidden)
        layers = [(f"trunk.{i}", (above, below)) for i, (below, above) in enumerate(zip(widths, hidden, strict=False))]
        layers += [(name, (self.lane, widths[-1])) for name in heads]
        parts: list[Part] = []
        for name, shape in (*layers, *((name, (size,)) for name, size in free.items())):
            start = parts[-1].stop if parts else 0
            bias = shape[0] if len(shape) == 2 else 0
            parts.append(Part(name=name, start=start, stop=padded(start + math.prod(shape) + bias), shape=shape))
        self.parts = tuple(parts)
        self.trunk, self.heads = self.parts[: len(hidden)], self.parts[len(hidden) : len(layers)]
        self.layers, self.free = self.parts[: len(layers)], self.parts[len(layers) :]
        self.size = self.parts[-1].stop
        self.places: tuple[Place, ...] = ()
        self.rows = 0

    @property
    def width(self) -> int:
        """Numbers that a network gives."""
        return self.lane * len(self.heads)

    def row(self, net: str, heads: Mapping[str, tuple[str, int]], prefix: str = "") -> Self:
        """Add a row, and return the layout.

        Args:
            net: what the names of its trunk's components begin with.
            heads: for a head or free numbers, the component that they are, and how many outputs it uses.
            prefix: of its tensors' names.
        """
        for index, part in enumerate(self.parts):
            if part in self.trunk:
                place = Place(f"{net}.{part.name}", self.rows, index, part.shape[0], prefix)
            elif part.name in heads:
                component, outputs = heads[part.name]
                place = Place(component, self.rows, index, outputs, prefix)
            else:
                continue
            self.places = (*self.places, place)
        self.rows += 1
        return self

    def components(self) -> Iterator[tuple[str, int, Part]]:
        """Yield (component, row, part) for everything that is a component's."""
        for place in self.places:
            yield place.component, place.row, self.parts[place.part]


def on_policy(observations: int, actions: int, hidden: tuple[int, ...]) -> Layout:
    """Return the layout of PPO: a row for the actor and one for the critic, which uses one output of its head."""
    layout = Layout(observations, hidden, {"head": actions}, {LOG_STD: actions})
    layout.row("actor", {"head": ("actor.head", actions), LOG_STD: (LOG_STD, actions)})
    return layout.row("critic", {"head": ("critic.head", 1)})


def actors(algorithm: Algorithm, observations: int, actions: int, hidden: tuple[int, ...], target: str = "") -> Layout:
    """Return the layout of SAC's actor, whose deviations are a second head, or of TD3's."""
    names = {"head": (f"{target}actor.head", actions)}
    if algorithm == "sac":
        names[LOG_STD] = (LOG_STD, actions)
    return Layout(observations, hidden, dict.fromkeys(names, actions), {}).row(f"{target}actor", names)


def critics(observations: int, actions: int, hidden: tuple[int, ...], target: str = "") -> Layout:
    """Return the layout of twin critics, which see an observation and an action."""
    layout = Layout(observations + actions, hidden, {"head": 1}, {})
    for twin in range(2):
        layout.row(f"{target}critic", {"head": (f"{target}critic.head", 1)}, f"q{twin}_")
    return layout


def temperature() -> Layout:
    """Return the layout of SAC's temperature."""
    return Layout(0, (), {}, {TEMPERATURE: 1}).row("", {TEMPERATURE: (TEMPERATURE, 1)})


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
