"""How a source's components fit into a learner, and what is refused before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch

from trl_suite.errors import InputError
from trl_suite.mechanisms.adapters import Adapter, Lateral, Residual, in_source_slots
from trl_suite.mechanisms.mechanism import Share
from trl_suite.mechanisms.normaliser_statistics import StatisticsKeys
from trl_suite.mechanisms.self_composing import modules
from trl_suite.networks.align import Alignment
from trl_suite.networks.components import (
    MODULE_PREFIX,
    OBSERVATION_STATISTICS,
    OPTIMISER,
    OPTIONAL,
    REPLAY,
    SOURCE_PREFIX,
    TARGET,
    Axis,
    Components,
    select,
    slot_axes,
)
from trl_suite.networks.policy import Policy

_DRIFT = {"normaliser", OBSERVATION_STATISTICS}  # selectors that thaw the statistics


class Copies(StatisticsKeys, Protocol):
    """The keys of a method that decide what is copied, and how it fits."""

    @property
    def fresh(self) -> Sequence[str]:
        """Selectors of copied components that stay fresh after all."""
        ...

    @property
    def heads(self) -> Sequence[str]:
        """Selectors of copied components that each task has of its own, and that stay fresh too."""
        ...

    @property
    def keep(self) -> Mapping[str, Share]:
        """Selector -> share of the source that is kept."""
        ...

    @property
    def shuffle(self) -> Sequence[str]:
        """Selectors of components whose rows are permuted."""
        ...

    @property
    def thaw(self) -> Mapping[str, Share]:
        """Selector -> share of the budget after which it learns."""
        ...

    @property
    def adapter(self) -> Adapter | None:
        """Weights beside the layers."""
        ...

    @property
    def composition(self) -> object:
        """A learner of which the source becomes a frozen module."""
        ...

    @property
    def compress(self) -> object:
        """A compress phase, after which the source's own network is the policy."""
        ...

    @property
    def needs_source(self) -> bool:
        """Whether a source has any part in it."""
        ...

    @property
    def copied_selectors(self) -> tuple[str, ...]:
        """The selectors of all that is copied."""
        ...

    @property
    def frozen_selectors(self) -> tuple[str, ...]:
        """The selectors of all that begins frozen."""
        ...


@dataclass(frozen=True)
class Fit:
    """A source's components beside those of the learner that is to take them."""

    where: str  # opens every message
    source: Policy
    into: Components
    alignment: Alignment
    method: Copies
    frozen: tuple[str, ...]

    @cached_property
    def offered(self) -> Mapping[str, Mapping[str, torch.Tensor]]:
        """The source's components, under both names where one also makes a column beside the learner's own."""
        components = self.source.components
        return {
            **components,
            **self.source.memory,
            **{name: components[self.origin(name)] for name in self.columns},
        }

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The components of the learner that are the source's own, frozen beside it."""
        return columns(self.into)

    def origin(self, component: str) -> str:
        """Return the name of a learner's component in the source."""
        return self._modules.get(component, component.removeprefix(SOURCE_PREFIX))

    @cached_property
    def _modules(self) -> Mapping[str, str]:
        return modules(self.source.components) if self.method.composition else {}

    @cached_property
    def requested(self) -> tuple[str, ...]:
        """The components that the method asks for, whoever has them."""
        names = {**dict.fromkeys(self.into), **self.offered}
        fresh = select((*self.method.fresh, *self.method.heads), names, f"{self.where}: fresh")
        chosen_names = select((*self.method.copied_selectors, *self.columns), names, self.where)
        return tuple(name for name in chosen_names if name not in fresh)

    @cached_property
    def copied(self) -> tuple[str, ...]:
        """The components that the method asks for and both have."""
        return tuple(component for component in self.requested if component in self.offered and component in self.into)

    @cached_property
    def unmoved(self) -> frozenset[str]:
        """The components that keep the source's slots."""
        return in_source_slots(self.method.adapter)

    @property
    def same_slots(self) -> bool:
        """Whether the learner has the source's slots, in the same order."""
        slots = self.source.interface
        observation, action = (tuple(range(len(side))) for side in (slots.observation, slots.action))
        return self.alignment.observation == observation and self.alignment.action == action

    def axes(self, component: str, tensor: str) -> dict[int, Axis]:
        """Return which dimensions of a tensor follow their slots."""
        return {} if component in self.unmoved else slot_axes(component, tensor)

    def shape(self, component: str, tensor: str) -> tuple[int, ...]:
        """Return the shape that a tensor of the source has at the target's slots."""
        axes = self.axes(component, tensor)
        sizes = self.offered[component][tensor].shape
        return tuple(len(self.alignment.indices(axes[i])) if i in axes else size for i, size in enumerate(sizes))


def columns(into: Components) -> tuple[str, ...]:
    """Return the components of a learner that are a source's own, frozen beside it: columns and modules."""
    return tuple(component for component in into if component.startswith((SOURCE_PREFIX, MODULE_PREFIX)))


def refuse_missing_critic(source: Policy, method: Copies, where: str) -> None:
    """Refuse a method that copies a critic, of a source that has none.

    Raises:
        InputError: the source is an actor alone; the methods that do with it are named.
    """
    copied = [name for name in method.copied_selectors if name.startswith("critic")]
    if copied and source.card.network.actor_only:
        raise InputError(
            f"{where} copies {', '.join(copied)}, and the source is an actor alone, as of an ONNX file: "
            "take actor-only, jsrl, or a method that copies no critic"
        )


def check(fit: Fit) -> None:
    """Refuse what cannot be copied as the method says.

    Raises:
        InputError: only one side has a layer, a tensor's shape differs, the source is a residual, an adapter stands
            around what is not the source, or moments would be of other slots.
    """
    _check_composed(fit)
    _check_sides(fit)
    _check_residual(fit)
    _check_adapter(fit)
    _check_moments(fit)
    _check_slots(fit)
    _check_shapes(fit)


def _check_sides(fit: Fit) -> None:
    """Refuse a layer that only one side has: what lies above it would work on other features."""
    for component in fit.requested:
        if component not in fit.offered and component.startswith((REPLAY, OPTIMISER)):
            reason = f"the source has kept no {component}: make it in an experiment with this method"
            raise InputError(f"{fit.where}: {reason}")
        if component not in fit.copied and component not in OPTIONAL:
            owner, other = ("source", "target") if component in fit.offered else ("target", "source")
            reason = f"the {owner} has {component} and the {other} has not; name the layers to copy"
            raise InputError(f"{fit.where}: {reason}")


def _check_residual(fit: Fit) -> None:
    acting = any(component.removeprefix(SOURCE_PREFIX).startswith("actor.") for component in fit.copied)
    if acting and fit.source.card.network.residual is not None:
        raise InputError(
            f"{fit.where}: the source is a residual policy, whose actor is more than layers: it can guide and be "
            "imitated (jsrl, kickstart), and its actor cannot be copied"
        )


def _check_composed(fit: Fit) -> None:
    acting = any(component.removeprefix(SOURCE_PREFIX).startswith("actor.") for component in fit.copied)
    if acting and fit.source.card.network.composed is not None:
        raise InputError(
            f"{fit.where}: the source is a composed policy, whose actor is more than layers: it can guide, be imitated "
            "and be composed (jsrl, kickstart, componet), and its actor cannot be copied"
        )


def _check_adapter(fit: Fit) -> None:
    """Refuse an adapter around layers that are not the source's, or whose inputs would drift away from them."""
    behind = {name for name in fit.unmoved if not name.startswith(TARGET)} - {*fit.copied}
    if behind:
        layers = ", ".join(sorted(behind))
        raise InputError(f"{fit.where}: a learned input leads into the source's own layer: copy {layers} too")
    name, released = OBSERVATION_STATISTICS, fit.method.thaw.keys() & _DRIFT
    frozen = name in fit.copied and name in fit.frozen and not released
    beside = isinstance(fit.method.adapter, Lateral | Residual) or fit.method.composition is not None
    if beside and name in fit.source.components and not frozen:
        raise InputError(f"{fit.where}: the source's column sees what its own statistics give: copy and freeze {name}")


def _check_moments(fit: Fit) -> None:
    """Refuse moments whose slots have moved: they are of single weights, and nobody aligns them."""
    if not fit.same_slots and any(name.startswith(OPTIMISER) for name in fit.copied):
        raise InputError(f"{fit.where}: an optimiser's moments are copied between equal interfaces only")


def _check_slots(fit: Fit) -> None:
    """Refuse other slots where the source's own network goes on acting in the target."""
    for key in ("compress", "composition"):
        if getattr(fit.method, key) is not None and not fit.same_slots:
            raise InputError(
                f"{fit.where}: {key}: the source's own network acts on, and the target has other slots: take one of "
                "the same slots, or finetune, which aligns them"
            )


def _check_shapes(fit: Fit) -> None:
    """Refuse a whole component if one of its tensors does not fit."""
    for component in fit.copied:
        for tensor, target in fit.into[component].items():
            if tensor not in fit.offered[component]:
                raise InputError(f"{fit.where}: the source's {component} has no {tensor}; leave this component out")
            shape = fit.shape(component, tensor)
            if shape != tuple(target.shape):
                raise InputError(
                    f"{component}.{tensor}: {shape} from the source, {tuple(target.shape)} in the target; "
                    "copy between networks of equal widths, or leave this component out"
                )
