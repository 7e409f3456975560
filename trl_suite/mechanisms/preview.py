"""Preview of a transplant before any training: the transplant itself, into a learner of zeros."""

from collections.abc import Mapping
from typing import Literal

import msgspec
import torch

from trl_suite.errors import InputError
from trl_suite.interface import Interface, Slot
from trl_suite.mechanisms.adapters import LearnedInput, additions
from trl_suite.mechanisms.copy import transplant
from trl_suite.mechanisms.methods import Method, sequence_key
from trl_suite.mechanisms.self_composing import composed
from trl_suite.networks.align import Alias, Alignment, align
from trl_suite.networks.components import Axis, Components, slot_axes
from trl_suite.networks.composition import own_actor
from trl_suite.networks.policy import Policy
from trl_suite.record import Transplant

Kind = Literal["observation", "action"]


class SlotMatch(msgspec.Struct, frozen=True, kw_only=True):
    """One slot of the target and the slot of the source that stands for it."""

    kind: Kind
    slot: str
    unit: str
    source: str | None  # None: nothing stands for it


class ComponentPreview(msgspec.Struct, frozen=True, kw_only=True):
    """One component of the target: copied, synced or fresh, and whether it is frozen."""

    name: str
    shapes: dict[str, tuple[int, ...]]  # tensor -> its shape in the target
    fate: Literal["copied", "synced", "fresh"]
    frozen: bool
    matched: str  # how much of a copied component the source fills: "5 of 8 observations"; "" where all of it


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """All slots and components of a transplant that has not been made."""

    method: str
    slots: tuple[SlotMatch, ...]
    unused: tuple[str, ...]  # slots of the source that no slot of the target asks for
    parts: tuple[ComponentPreview, ...]
    left_over: tuple[str, ...]  # components of the source that the method does not ask for


def preview(policy: Policy, target: Interface, name: str, method: Method, alias: Alias | None = None) -> Preview:
    """Return the slots and components that a method would copy into a learner of the same widths on another interface.

    Args:
        policy: the source.
        target: the slots of the target env.
        name: the method's name.
        method: what is copied and frozen.
        alias: names in the target -> names in the source.

    Raises:
        InputError: the interfaces or the method do not fit the policy, as in a real transplant.
    """
    if key := sequence_key(method):
        raise InputError(f"method '{name}': {key} takes from stage to stage, in a [sequence]")
    alignment = align(policy.interface, target, alias, learned=isinstance(method.adapter, LearnedInput))
    blank = _blank(own_actor(policy.components, len(policy.interface.observation)), alignment)
    if method.adapter:
        blank |= additions(method.adapter, blank, policy.components, alignment, torch.Generator())
    if method.composition:
        blank |= composed(method.composition, blank, policy, torch.Generator(), f"method '{name}'")
    record = transplant(policy, blank, alignment, name, method, torch.Generator())
    return Preview(
        method=name,
        slots=_slots(policy.interface, target, alignment),
        unused=_unused(policy.interface, alignment),
        parts=tuple(_part(component, tensors, record, alignment) for component, tensors in blank.items()),
        left_over=record.left_over,
    )


def _blank(components: Components, alignment: Alignment) -> dict[str, dict[str, torch.Tensor]]:
    """Return zeros in the shapes that the components have on the target's slots."""
    return {
        component: {
            name: torch.zeros(_shape(component, name, tensor, alignment), dtype=tensor.dtype)
            for name, tensor in tensors.items()
        }
        for component, tensors in components.items()
    }


def _shape(component: str, name: str, tensor: torch.Tensor, alignment: Alignment) -> tuple[int, ...]:
    axes = slot_axes(component, name)
    return tuple(len(alignment.indices(axes[i])) if i in axes else size for i, size in enumerate(tensor.shape))


def _slots(source: Interface, target: Interface, alignment: Alignment) -> tuple[SlotMatch, ...]:
    def matches(kind: Kind, target_slots: tuple[Slot, ...], source_slots: tuple[Slot, ...]) -> list[SlotMatch]:
        indices = alignment.indices(kind)
        return [
            SlotMatch(
                kind=kind, slot=slot.name, unit=slot.unit, source=None if index is None else source_slots[index].name
            )
            for slot, index in zip(target_slots, indices, strict=True)
        ]

    observations = matches("observation", target.observation, source.observation)
    return (*observations, *matches("action", target.action, source.action))


def _unused(source: Interface, alignment: Alignment) -> tuple[str, ...]:
    sides = ((source.observation_names, alignment.observation), (source.action_names, alignment.action))
    return tuple(name for names, used in sides for index, name in enumerate(names) if index not in used)


def _part(
    component: str, tensors: Mapping[str, torch.Tensor], record: Transplant, alignment: Alignment
) -> ComponentPreview:
    copied = component in record.copied
    axes: dict[Axis, None] = {axis: None for name in tensors for axis in slot_axes(component, name).values()}
    filled = [text for axis in axes if (text := _filled(axis, alignment))] if copied else []
    return ComponentPreview(
        name=component,
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        fate="copied" if copied else "synced" if component in record.synced else "fresh",
        frozen=component in record.frozen,
        matched=", ".join(filled),
    )


def _filled(axis: Axis, alignment: Alignment) -> str:
    indices = alignment.indices(axis)
    matched = sum(index is not None for index in indices)
    what = "observations and actions" if axis == "both" else f"{axis}s"
    return "" if matched == len(indices) else f"{matched} of {len(indices)} {what}"
