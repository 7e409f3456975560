"""Which slot of a source stands for each slot of a target: by name, never by position."""

from collections.abc import Mapping, Sequence

import msgspec

from trl_suite.errors import InputError, suggestion, unknown
from trl_suite.interface import Interface, Slot
from trl_suite.networks.components import Axis
from trl_suite.networks.units import UNKNOWN_UNIT, conversion

Alias = Mapping[str, str]  # slot, or what stands before its dot, in the target -> the same in the source


class Alignment(msgspec.Struct, frozen=True, kw_only=True):
    """For every slot of the target, the source's index of the slot that stands for it, or None."""

    observation: tuple[int | None, ...]
    action: tuple[int | None, ...]
    source_observations: int  # slots that the source observes
    unmatched: tuple[str, ...] = ()

    def indices(self, axis: Axis) -> tuple[int | None, ...]:
        """Return the map of one axis."""
        if axis == "both":
            shifted = (None if index is None else index + self.source_observations for index in self.action)
            return self.observation + tuple(shifted)
        return self.observation if axis == "observation" else self.action

    def shares(self, axis: Axis) -> tuple[float, ...]:
        """Return the part that each slot of one axis has in the source slot that stands for it.

        Two legs that an alias likens to one share its weights, so that what reaches the next layer keeps its scale
        when both move alike.
        """
        indices = self.indices(axis)
        return tuple(1.0 / indices.count(index) for index in indices)


def align(source: Interface, target: Interface, alias: Alias | None = None, learned: bool = False) -> Alignment:
    """Return the alignment of two interfaces.

    Args:
        source: what the policy was trained on.
        target: what it is to see and move.
        alias: names in the target -> names in the source, for slots whose names differ: whole slots
            (`thigh_left_joint.velocity`) or joints (`thigh_left_joint`).
        learned: whether what the names leave open is learned, so that no mismatch is refused.

    Raises:
        InputError: slots of one name have different units, or have no counterpart although both interfaces have the
            same shape, or no action has one; both lists are shown. An alias names a slot that does not exist.
    """
    alias = dict(alias or {})
    _check(alias, source, target)
    observation = _match(source.observation_names, target.observation_names, alias)
    action = _match(source.action_names, target.action_names, alias)
    if not learned:
        _check_units(source.observation, target.observation, observation)
        _check_units(source.action, target.action, action)
    unmatched = _unmatched(target.observation_names, observation) + _unmatched(target.action_names, action)
    if unmatched and not learned and _refusable(source, target, action):
        raise InputError(_mismatch(source, target, unmatched))
    return Alignment(
        observation=observation,
        action=action,
        source_observations=len(source.observation),
        unmatched=unmatched,
    )


def _check_units(source: Sequence[Slot], target: Sequence[Slot], indices: Sequence[int | None]) -> None:
    """Refuse slots of one quantity that count in different units: the same number would mean another thing."""
    for slot, index in zip(target, indices, strict=True):
        unit = slot.unit if index is None else source[index].unit
        if conversion(unit, slot.unit) not in (None, 1.0):
            raise InputError(
                f"{slot.name} is in {slot.unit} in the target and in {unit} in the source: slots of one name are to "
                "mean the same number; importing an ONNX file converts units"
            )


def other_quantities(source: Interface, target: Interface, alignment: Alignment) -> list[str]:
    """Lines on matched slots whose units are of different quantities, with both: `knee.position: rad ..., m ...`."""
    lines: list[str] = []
    for axis, slots in (("observation", target.observation), ("action", target.action)):
        for slot, index in zip(slots, getattr(alignment, axis), strict=True):
            unit = slot.unit if index is None else getattr(source, axis)[index].unit
            if UNKNOWN_UNIT not in (unit, slot.unit) and conversion(unit, slot.unit) is None:
                lines.append(f"{slot.name}: {unit} in the source, {slot.unit} in the target: other quantities")
    return lines


def _refusable(source: Interface, target: Interface, action: tuple[int | None, ...]) -> bool:
    """Equal shapes would let a check of shapes pass and mean other things; without one action nothing transfers."""
    same = len(source.observation) == len(target.observation) and len(source.action) == len(target.action)
    return same or all(index is None for index in action)


def _match(source: Sequence[str], target: Sequence[str], alias: Alias) -> tuple[int | None, ...]:
    places = {name: index for index, name in enumerate(source)}
    return tuple(places.get(renamed(name, alias)) for name in target)


def renamed(name: str, alias: Alias) -> str:
    """Name in the source of a slot of the target: by its own alias, or by its joint's."""
    stem, dot, kind = name.rpartition(".")
    return alias.get(name) or alias.get(stem, stem) + dot + kind


def _unmatched(names: Sequence[str], indices: Sequence[int | None]) -> tuple[str, ...]:
    return tuple(name for name, index in zip(names, indices, strict=True) if index is None)


def _check(alias: Alias, source: Interface, target: Interface) -> None:
    for key, value in alias.items():
        for name, interface, side in ((key, target, "target"), (value, source, "source")):
            slots = interface.observation_names + interface.action_names
            names = set(slots) | {slot.rpartition(".")[0] for slot in slots}
            if name not in names:
                raise unknown(f"slot of the {side}", name, names, "alias")


def _mismatch(source: Interface, target: Interface, unmatched: tuple[str, ...]) -> str:
    names = (*source.observation_names, *source.action_names)

    def shown(interface: Interface) -> str:
        return f"observes {', '.join(interface.observation_names)}; moves {', '.join(interface.action_names)}"

    return (
        f"{len(unmatched)} slots of the target have no counterpart in the source: "
        f"{', '.join(f'{name}{suggestion(name, names)}' for name in unmatched)}\n"
        f"  source {shown(source)}\n  target {shown(target)}\n"
        "  Give an alias (target name -> source name) for those that mean the same."
    )
