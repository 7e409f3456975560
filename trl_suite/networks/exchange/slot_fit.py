"""How the numbers of somebody else's policy stand to the slots of an env: order, unit, scale, offset and default pose.

What differs is folded in or refused, and never passed over; each difference is one line with both values.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trl_suite.errors import InputError, suggestion
from trl_suite.interface import Deployment, Slot, Spaces
from trl_suite.networks.align import Alias, renamed
from trl_suite.networks.exchange.feed_forward import Floats
from trl_suite.networks.units import UNKNOWN_UNIT, conversion

POSE_TOLERANCE = 1e-3  # rad or m; mjlab writes three digits
TOLD_MAX = 6  # names of a list that a line shows

_AXES = ("x", "y", "z")
_COMMAND = ("x", "y", "yaw")
_POSITIONS = ("joint_pos", "joint_pos_rel", "dof_pos")  # relative to the default pose
_PER_JOINT = {  # term of Isaac Lab's and mjlab's observations -> what it shows of each joint, and its unit
    **dict.fromkeys(_POSITIONS, ("position", "rad")),
    **dict.fromkeys(("joint_vel", "joint_vel_rel", "dof_vel"), ("velocity", "rad/s")),
}
_PER_ACTION = ("actions", "last_action", "last_actions", "previous_actions")
_FIXED = {
    "base_lin_vel": (_AXES, "m/s"),
    "base_ang_vel": (_AXES, "rad/s"),
    "projected_gravity": (_AXES, "1"),
    **dict.fromkeys(("velocity_commands", "command", "commands", "twist"), (_COMMAND, UNKNOWN_UNIT)),
}


class FileSlots(NamedTuple):
    """Slots that a file names for its numbers; None where it names none."""

    observation: tuple[Slot, ...] | None
    action: tuple[Slot, ...] | None
    relative: frozenset[str] = frozenset()  # observations that are relative to the default pose
    unread: str = ""  # why names could not be given to the numbers


class SlotFit(NamedTuple):
    """Place of each slot in the file, and how the file's numbers follow from the env's."""

    observation: tuple[int | None, ...]  # for each slot of the env
    action: tuple[int, ...]
    factor: Floats  # (file observations,): file's number = factor env's number + offset
    offset: Floats
    action_factor: Floats  # (env actions,): env's action = factor file's action + offset
    action_offset: Floats
    notes: tuple[str, ...]


def named_slots(
    names: Sequence[str], units: Sequence[str], actions: Sequence[str], facts: Deployment, sizes: tuple[int, int]
) -> FileSlots:
    """Slots of a file by its metadata; a term that stands for several numbers is spelt out where its size is known.

    Args:
        names: of the observation.
        units: likewise, or none.
        actions: names of the actions, or none.
        facts: joints and default pose.
        sizes: numbers that the graph takes and gives.
    """
    actions = actions or (facts.joint_names if len(facts.joint_names) == sizes[1] else ())
    action = tuple(Slot(name, UNKNOWN_UNIT) for name in actions) if len(actions) == sizes[1] else None
    if not names:
        return FileSlots(None, action)
    if len(names) == sizes[0]:
        stated = units if len(units) == len(names) else (UNKNOWN_UNIT,) * len(names)
        return FileSlots(tuple(map(Slot, names, stated)), action)
    spelt = [slot for name in names for slot in _spelt_out(name, facts.joint_names, actions)]
    if len(spelt) != sizes[0]:
        return FileSlots(None, action, unread=f"it names {len(names)} observations for {sizes[0]} numbers")
    shift = {f"{joint}.position" for joint in facts.joint_names} if {*names} & {*_POSITIONS} else set[str]()
    return FileSlots(tuple(spelt), action, frozenset(shift))


def _spelt_out(term: str, joints: Sequence[str], actions: Sequence[str]) -> list[Slot]:
    if term in _PER_JOINT:
        kind, unit = _PER_JOINT[term]
        return [Slot(f"{joint}.{kind}", unit) for joint in joints]
    if term in _PER_ACTION:
        return [Slot(f"{action}.{term}", "1") for action in actions]
    if term in _FIXED:
        parts, unit = _FIXED[term]
        return [Slot(f"{term}.{part}", unit) for part in parts]
    return [Slot(term, UNKNOWN_UNIT)]


def fit(
    slots: FileSlots,
    sizes: tuple[int, int],
    file: Deployment,
    spaces: Spaces,
    env: Deployment,
    alias: Alias,
    where: str,
) -> SlotFit:
    """The fit of a file's numbers to an env.

    Args:
        slots: of the file.
        sizes: numbers that the graph takes and gives.
        file: what its metadata tell a controller.
        spaces: of the env.
        env: what a controller of the env must know.
        alias: names in the env -> names in the file.
        where: opens every message.

    Raises:
        InputError: the file needs a slot that the env has not, the env moves one that it does not, or units, control
            or default pose differ in a way that no scale makes up for.
    """
    interface = spaces.interface
    _check_history(file, env, sizes[0], spaces, where)
    observation = _places(slots.observation, interface.observation, sizes[0], alias, f"{where}: observes", spaces.env)
    action = _places(slots.action, interface.action, sizes[1], alias, f"{where}: moves", spaces.env)
    idle = [slot.name for slot, place in zip(interface.action, action, strict=True) if place is None]
    if idle:
        raise InputError(
            f"{where}: does not move {_listed(idle)} of {spaces.env}; --alias ENV_NAME=FILE_NAME pairs names"
        )
    moved = tuple(place for place in action if place is not None)
    notes: list[str] = []
    factor, offset = np.ones(sizes[0]), np.zeros(sizes[0])
    for slot, place in zip(interface.observation, observation, strict=True):
        if place is not None and slots.observation is not None:
            factor[place] = _factor(slots.observation[place], slot, spaces.env, where, notes)
    _fold_pose(slots, file, env, offset, spaces.env, where, notes)
    scales = _action_scales(moved, file, env, spaces, where, notes)
    notes = [*_order_notes(slots, interface.observation, observation, moved, spaces), *notes]
    return SlotFit(observation, moved, factor, offset, *scales, tuple([*notes, *_rate_notes(file, env, spaces.env)]))


def _places(
    names: tuple[Slot, ...] | None, target: tuple[Slot, ...], size: int, alias: Alias, verb: str, env: str
) -> tuple[int | None, ...]:
    if names is None:
        if size != len(target):
            whole = verb.endswith("observes") and target and size % len(target) == 0
            times = size // len(target) if whole else 0
            hint = f"; {times} times as many are what a history of {times} control steps gives" if times > 1 else ""
            raise InputError(f"{verb} {size} numbers without names; {env} has {len(target)}{hint}")
        return tuple(range(size))
    places = {slot.name: index for index, slot in enumerate(names)}
    stems = len(places) == len(names) and not any("." in slot.name for slot in names)
    asked = [renamed(slot.name, alias) for slot in target]
    paired = tuple(places.get(name, places.get(name.rpartition(".")[0]) if stems else None) for name in asked)
    unused = [slot.name for index, slot in enumerate(names) if index not in paired]
    if unused:
        near = [slot.name for slot in target]
        listed = _listed([f"{name}{suggestion(name, near)}" for name in unused])
        raise InputError(f"{verb} {listed}, which {env} has not; --alias ENV_NAME=FILE_NAME pairs names")
    return paired


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - TOLD_MAX
    return ", ".join(names[:TOLD_MAX]) + (f" and {rest} more" if rest > 0 else "")


def _check_history(file: Deployment, env: Deployment, size: int, spaces: Spaces, where: str) -> None:
    if file.history_length != env.history_length:
        raise InputError(
            f"{where}: observes a history of {file.history_length} control steps ({size} numbers); {spaces.env} shows "
            f"{env.history_length} ({len(spaces.interface.observation)} numbers)"
        )


def _factor(slot: Slot, target: Slot, env: str, where: str, notes: list[str]) -> float:
    """The file's number per number of the env."""
    if slot.unit == target.unit or UNKNOWN_UNIT in (slot.unit, target.unit):
        return 1.0
    factor = conversion(target.unit, slot.unit)
    if factor is None:
        raise InputError(f"{where}: {slot.name} is in {slot.unit}, and {target.name} of {env} in {target.unit}")
    notes.append(f"{slot.name}: {slot.unit} in the file, {target.unit} in {env}: folded in ({factor:.6g})")
    return factor


def _fold_pose(
    slots: FileSlots, file: Deployment, env: Deployment, offset: Floats, name: str, where: str, notes: list[str]
) -> None:
    """Positions relative to the file's default pose become the env's; another pose of absolute ones is refused."""
    of_env = dict(zip(env.joint_names, env.default_joint_pos, strict=False))
    places = {slot.name: index for index, slot in enumerate(slots.observation or ())}
    for joint, value in zip(file.joint_names, file.default_joint_pos, strict=False):
        place = places.get(f"{joint}.position")
        if place is not None and f"{joint}.position" in slots.relative:
            offset[place] -= value
            if value:
                notes.append(f"{joint}: relative to {value:g} in the file, to 0 in {name}: folded in")
        elif joint in of_env and not math.isclose(value, of_env[joint], abs_tol=POSE_TOLERANCE):
            raise InputError(
                f"{where}: default_joint_pos of {joint} is {value:g}, and {of_env[joint]:g} in {name}: its positions "
                "have another zero or its robot another pose"
            )


def _action_scales(
    moved: tuple[int, ...], file: Deployment, env: Deployment, spaces: Spaces, where: str, notes: list[str]
) -> tuple[Floats, Floats]:
    """Factor and offset from the file's actions to the env's: (s a + o - o_env) / s_env."""
    _check_control(file, env, spaces.env, where)
    count = len(moved)
    scale, offset = _spread(file.action_scale, moved, 1.0, where), _spread(file.action_offset, moved, 0.0, where)
    env_scale, env_offset = np.array(env.action_scale or (1.0,) * count), np.array(env.action_offset or (0.0,) * count)
    if not file.action_scale or not env.action_scale or len(env_scale) != count:
        scale = env_scale = np.ones(count)
    if not np.all(env_scale):
        env_scale = np.where(env_scale == 0, 1.0, env_scale)  # a crippled joint: nothing that it is told matters
    factor, shift = scale / env_scale, (offset - env_offset) / env_scale
    for slot, of_file, of_env, ratio in zip(spaces.interface.action, scale, env_scale, factor, strict=True):
        if not math.isclose(ratio, 1.0, rel_tol=POSE_TOLERANCE):
            notes.append(f"{slot.name}: action_scale {of_file:g} in the file, {of_env:g} in {spaces.env}: folded in")
    for slot, of_file, of_env in zip(spaces.interface.action, offset, env_offset, strict=True):
        if not math.isclose(of_file, of_env, abs_tol=POSE_TOLERANCE):
            notes.append(f"{slot.name}: action offset {of_file:g} in the file, {of_env:g} in {spaces.env}: folded in")
    factor = np.where(np.isclose(factor, 1.0, rtol=POSE_TOLERANCE, atol=0), 1.0, factor)
    return factor, np.where(np.isclose(shift, 0.0, atol=POSE_TOLERANCE * 1e-3), 0.0, shift)


def _spread(values: tuple[float, ...], moved: tuple[int, ...], default: float, where: str) -> Floats:
    """One number for all actions, or one for each, in the env's order."""
    if len(values) <= 1:
        return np.full(len(moved), values[0] if values else default)
    if len(values) != len(moved):
        raise InputError(f"{where}: its action_scale or offset has {len(values)} numbers for {len(moved)} actions")
    return np.array(values)[list(moved)]


def _check_control(file: Deployment, env: Deployment, name: str, where: str) -> None:
    """Refuse set points of servos where the env's actions are forces, and the other way round."""
    kinds = [any(facts.joint_stiffness) or any(facts.joint_damping) for facts in (file, env)]
    if file.joint_stiffness and env.joint_stiffness and kinds[0] != kinds[1]:
        stiff = [max(map(abs, facts.joint_stiffness)) for facts in (file, env)]
        raise InputError(
            f"{where}: joint_stiffness is {stiff[0]:g} in the file and {stiff[1]:g} in {name}: one commands set points "
            "of servos, the other forces"
        )


def _order_notes(
    slots: FileSlots, target: tuple[Slot, ...], places: tuple[int | None, ...], moved: tuple[int, ...], spaces: Spaces
) -> list[str]:
    notes: list[str] = []
    if slots.observation is None or slots.action is None:
        sides = " and ".join(
            side for side, names in (("observations", slots.observation), ("actions", slots.action)) if names is None
        )
        reason = f" ({slots.unread})" if slots.unread else ""
        notes.append(f"{sides} without names{reason}: taken in the order of {spaces.env}")
    known_places = [place for place in places if place is not None]
    if known_places != sorted(known_places):
        notes.append(f"observations reordered: {_pairs(target, places)}")
    if list(moved) != sorted(moved):
        notes.append(f"actions reordered: {_pairs(spaces.interface.action, moved)}")
    if unseen := [slot.name for slot, place in zip(target, places, strict=True) if place is None]:
        notes.append(f"not observed by it: {_listed(unseen)}")
    return notes


def _pairs(target: tuple[Slot, ...], places: Sequence[int | None]) -> str:
    return _listed(
        [f"{slot.name} is number {place}" for index, (slot, place) in enumerate(zip(target, places, strict=True))
         if place is not None and place != index]
    )  # fmt: skip


def _rate_notes(file: Deployment, env: Deployment, name: str) -> list[str]:
    """Lines on differences that cannot be folded in: they change the world, not the meaning of a number."""
    notes: list[str] = []
    if file.control_hz and env.control_hz and not math.isclose(file.control_hz, env.control_hz, rel_tol=POSE_TOLERANCE):
        notes.append(f"control rate: {file.control_hz:g} Hz in the file, {env.control_hz:g} Hz in {name}: not changed")
    for label in ("stiffness", "damping"):
        gains: list[Mapping[str, float]] = [
            dict(zip(facts.joint_names, getattr(facts, f"joint_{label}"), strict=False)) for facts in (file, env)
        ]
        for joint in gains[0].keys() & gains[1].keys():
            pair = gains[0][joint], gains[1][joint]
            if not math.isclose(*pair, rel_tol=POSE_TOLERANCE, abs_tol=POSE_TOLERANCE):
                notes.append(f"{joint}: {label} {pair[0]:g} in the file, {pair[1]:g} in {name}: not changed")
    return notes


def differences(home: Deployment, target: Deployment, name: str, alias: Alias) -> tuple[str, ...]:
    """Lines on what differs between a policy's env and a target besides the slots, with both values.

    Args:
        home: of the env that the policy was trained in.
        target: of the target.
        name: the target's.
        alias: names in the target -> names in the policy's env.
    """
    lines: list[str] = []
    if home.control_hz and target.control_hz and not _equal(home.control_hz, target.control_hz):
        lines.append(f"control rate: {home.control_hz:g} Hz at home, {target.control_hz:g} Hz in {name}")
    if home.history_length != target.history_length:
        lines.append(f"history: {home.history_length} control steps at home, {target.history_length} in {name}")
    for label in ("default_joint_pos", "joint_stiffness", "joint_damping"):
        values = [dict(zip(facts.joint_names, getattr(facts, label), strict=False)) for facts in (home, target)]
        for joint, value in values[1].items():
            of_home = values[0].get(alias.get(joint, joint))
            if of_home is not None and not _equal(of_home, value):
                lines.append(f"{joint}: {label} {of_home:g} at home, {value:g} in {name}")
    scales = [dict(zip(facts.action_names, facts.action_scale, strict=False)) for facts in (home, target)]
    for action, scale in scales[1].items():
        of_home = scales[0].get(renamed(action, alias))
        if of_home is not None and not _equal(of_home, scale):
            lines.append(f"{action}: action_scale {of_home:g} at home, {scale:g} in {name}")
    return tuple(lines)


def _equal(one_value: float, other_value: float) -> bool:
    return math.isclose(one_value, other_value, rel_tol=POSE_TOLERANCE, abs_tol=POSE_TOLERANCE)
