"""Where the components of a member lie in its rows of stacked parameters.

A member has as many rows of equal layout as it has networks of one shape, so that all of them go through one
batched product: PPO's actor and critic, or the two critics of SAC. A head has as many outputs as fill a line of the
cache, since a product with six takes three times as long; those that mean nothing stay 0.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import torch

from trl_suite.algorithms.registry import Algorithm, find
from trl_suite.mechanisms.adapters import Adapter, LowRank
from trl_suite.networks.components import ADAPTER, LOG_STD, NORM, TEMPERATURE

Shapes = Mapping[str, tuple[int, ...]]  # tensor -> its shape

ACTOR, CRITIC = 0, 1  # rows of PPO's networks
ALIGNMENT = 16  # numbers in a line of the cache: see `aligned`


@dataclass(frozen=True, kw_only=True)
class LayoutPart:
    """One layer, or numbers that belong to none: what is frozen and thawed as a whole."""

    name: str  # trunk.0, head, log_std, temperature, adapter.trunk.0
    start: int
    stop: int  # padded
    shape: tuple[int, ...]  # of the weight (outputs, inputs), or of the numbers
    tensors: Shapes = field(default_factory=dict[str, tuple[int, ...]])  # of numbers that belong to no layer, in order

    @property
    def bias(self) -> int:
        """Where the layer's bias starts."""
        return self.start + math.prod(self.shape)


class LayoutPlace(NamedTuple):
    """Where one component, or its share of twin networks, lies."""

    component: str
    row: int
    part: int  # which of the layout's
    outputs: int  # used
    prefix: str  # of its tensors' names: `q0_` for the first of twins


class ParameterLayout:
    """The parts of one row, in order, and the components in all rows."""

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        heads: Mapping[str, int],
        free: Mapping[str, Shapes],
        layer_norm: bool = False,
    ) -> None:
        """Lay out a trunk, heads beside each other on top of it, free numbers, and the norms of the trunk's layers.

        Args:
            inputs: numbers that the first layer sees.
            hidden: widths of the trunk.
            heads: name -> outputs; equally many each.
            free: name -> the tensors that the numbers are.
            layer_norm: whether each layer of the trunk is normalised before its activation.
        """
        norms = {f"trunk.{i}{NORM}": {"weight": (width,), "bias": (width,)} for i, width in enumerate(hidden)}
        free = {**free, **(norms if layer_norm else {})}
        self.inputs, self.hidden = inputs, hidden
        self.outputs = max(heads.values(), default=0)  # of a head, those that mean something
        self.lane = padded(self.outputs)  # between the outputs of two heads
        widths = (inputs, *hidden)
        layers: list[tuple[str, tuple[int, ...]]]
        layers = [(f"trunk.{i}", (above, below)) for i, (below, above) in enumerate(zip(widths, hidden, strict=False))]
        layers += [(name, (self.lane, widths[-1])) for name in heads]
        layers += [(name, (sum(map(math.prod, tensors.values())),)) for name, tensors in free.items()]
        parts: list[LayoutPart] = []
        for name, shape in layers:
            start = parts[-1].stop if parts else 0
            stop = padded(start + math.prod(shape) + (shape[0] if len(shape) == 2 else 0))
            parts.append(LayoutPart(name=name, start=start, stop=stop, shape=shape, tensors=free.get(name, {})))
        self.parts = tuple(parts)
        tops = len(hidden) + len(heads)
        self.trunk, self.heads = self.parts[: len(hidden)], self.parts[len(hidden) : tops]
        self.layers, self.free = self.parts[:tops], self.parts[tops:]
        self.norms = tuple(part for part in self.free if part.name.endswith(NORM))  # of the trunk, or none
        self.size = self.parts[-1].stop
        self.places: tuple[LayoutPlace, ...] = ()
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
            if part in self.trunk or part in self.norms:
                place = LayoutPlace(f"{net}.{part.name}", self.rows, index, part.shape[0], prefix)
            elif part.name in heads:
                component, outputs = heads[part.name]
                place = LayoutPlace(component, self.rows, index, outputs, prefix)
            else:
                continue
            self.places = (*self.places, place)
        self.rows += 1
        return self

    def components(self) -> Iterator[tuple[str, int, LayoutPart]]:
        """Yield (component, row, part) for everything that is a component's."""
        for place in self.places:
            yield place.component, place.row, self.parts[place.part]


def on_policy(
    observations: int,
    actions: int,
    hidden: tuple[int, ...],
    adapter: Adapter | None = None,
    layer_norm: bool = False,
) -> ParameterLayout:
    """Return the layout of PPO: a row for the actor and one for the critic, which uses one output of its head.

    Args:
        observations: slots.
        actions: likewise.
        hidden: widths of the trunks.
        adapter: of the members' method; low-rank products have parts of their own, and others none.
        layer_norm: whether the trunks' layers are normalised.
    """
    rank, on = (adapter.rank, adapter.on) if isinstance(adapter, LowRank) else (0, ())
    thin: dict[str, Shapes] = {
        f"{ADAPTER}trunk.{i}": {"up": (above, rank), "down": (rank, below), "shift": (above,)}
        for i, (below, above) in enumerate(itertools.pairwise((observations, *hidden)))
        if rank
    }
    free = {LOG_STD: {"value": (actions,)}, **thin}
    layout = ParameterLayout(observations, hidden, {"head": actions}, free, layer_norm)
    for net, heads in {
        "actor": {"head": ("actor.head", actions), LOG_STD: (LOG_STD, actions)},
        "critic": {"head": ("critic.head", 1)},
    }.items():
        beside = {name: (name.replace(ADAPTER, f"{ADAPTER}{net}."), 0) for name in thin if net in on}
        layout.row(net, heads | beside)
    return layout


def actors(
    algorithm: Algorithm,
    observations: int,
    actions: int,
    hidden: tuple[int, ...],
    target: str = "",
    layer_norm: bool = False,
) -> ParameterLayout:
    """Return the layout of SAC's actor, whose deviations are a second head, or of TD3's."""
    names = {"head": (f"{target}actor.head", actions)}
    if find(algorithm).log_std == "head":
        names[LOG_STD] = (LOG_STD, actions)
    layout = ParameterLayout(observations, hidden, dict.fromkeys(names, actions), {}, layer_norm)
    return layout.row(f"{target}actor", names)


def critics(
    observations: int, actions: int, hidden: tuple[int, ...], target: str = "", layer_norm: bool = False
) -> ParameterLayout:
    """Return the layout of twin critics, which see an observation and an action."""
    layout = ParameterLayout(observations + actions, hidden, {"head": 1}, {}, layer_norm)
    for twin in range(2):
        layout.row(f"{target}critic", {"head": (f"{target}critic.head", 1)}, f"q{twin}_")
    return layout


def temperature() -> ParameterLayout:
    """Return the layout of SAC's temperature."""
    return ParameterLayout(0, (), {}, {TEMPERATURE: {"value": (1,)}}).row("", {TEMPERATURE: (TEMPERATURE, 1)})


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
    """Return the padded buffer behind an `aligned` tensor as one flat view."""
    return rows.as_strided((rows.stride(0) * rows.shape[0],), (1,), rows.storage_offset())
