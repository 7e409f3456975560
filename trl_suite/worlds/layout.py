"""Where in MuJoCo's arrays each named slot lies, and its unit; knows nothing of tasks."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np

from trl_suite.errors import InputError, unknown
from trl_suite.interface import Slot
from trl_suite.worlds import terms

SLIDE, HINGE = int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE)


class Place(NamedTuple):
    """One number of a model's state: its index in an array of MjData, and its unit."""

    address: int
    unit: str


class Quantity(NamedTuple):
    """What can be read of a state: which array holds it, and how a name is looked up there."""

    field: str  # of MjData
    find: Callable[[mujoco.MjModel, str], Place]


class Reading(NamedTuple):
    """Numbers to be taken from one array of a state, in order."""

    field: str
    indices: Any  # a slice where they are consecutive, else int array
    slots: tuple[Slot, ...]
    limit: float | None

    def of(self, state: Any) -> Callable[[], Any]:
        """Return what reads the numbers (..., n) of a state that is stepped in place.

        `state` has MjData's arrays, with any leading dimensions. Consecutive numbers are not copied.
        """
        array, indices, limit = getattr(state, self.field), self.indices, self.limit
        if isinstance(indices, slice):
            view = array[..., indices]
            return (lambda: view) if limit is None else (lambda: terms.clipped(view, limit))
        if limit is None:
            return lambda: array[..., indices]
        return lambda: terms.clipped(array[..., indices], limit)


def _position(model: mujoco.MjModel, name: str) -> Place:
    joint = _joint(model, name)
    return Place(int(model.jnt_qposadr[joint]), "m" if model.jnt_type[joint] == SLIDE else "rad")


def _velocity(model: mujoco.MjModel, name: str) -> Place:
    joint = _joint(model, name)
    return Place(int(model.jnt_dofadr[joint]), "m/s" if model.jnt_type[joint] == SLIDE else "rad/s")


QUANTITIES: dict[str, Quantity] = {
    "position": Quantity("qpos", _position),
    "velocity": Quantity("qvel", _velocity),
}


def reading(model: mujoco.MjModel, kind: str, names: Sequence[str], limit: float | None = None) -> Reading:
    """Return where the quantity `kind` of the named elements lies.

    Raises:
        InputError: there is no such quantity, or no such element in the model.
    """
    if kind not in QUANTITIES:
        raise unknown("kind", kind, QUANTITIES)
    quantity = QUANTITIES[kind]
    places = [quantity.find(model, name) for name in names]
    slots = tuple(Slot(f"{name}.{kind}", place.unit) for name, place in zip(names, places, strict=True))
    return Reading(quantity.field, _compact([place.address for place in places]), slots, limit)


def controls(model: mujoco.MjModel) -> tuple[Slot, ...]:
    """Return the slots of the action: an actuator is named after the joint that it drives, if it drives one."""
    return tuple(Slot(f"{_driven(model, index)}.control", "1") for index in range(model.nu))


def _driven(model: mujoco.MjModel, actuator: int) -> str:
    if model.actuator_trntype[actuator] == int(mujoco.mjtTrn.mjTRN_JOINT):
        return model.joint(int(model.actuator_trnid[actuator, 0])).name
    return model.actuator(actuator).name


def _joint(model: mujoco.MjModel, name: str) -> int:
    known = {model.joint(index).name: index for index in range(model.njnt)}
    if name not in known:
        raise unknown("joint", name, known)
    if model.jnt_type[known[name]] not in (SLIDE, HINGE):
        raise InputError(f"joint '{name}' is more than one number")
    return known[name]


def _compact(indices: list[int]) -> Any:
    """Return a slice where the indices are consecutive: it reads without a copy."""
    if indices and indices == list(range(indices[0], indices[0] + len(indices))):
        return slice(indices[0], indices[0] + len(indices))
    return np.array(indices, dtype=np.intp)
