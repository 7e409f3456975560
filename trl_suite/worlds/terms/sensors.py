"""Where in MuJoCo's arrays each named slot lies, and its unit; knows nothing of tasks."""

from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import mujoco
import numpy as np

from trl_suite.errors import InputError, unknown
from trl_suite.interface import Slot
from trl_suite.worlds.terms import arrays
from trl_suite.worlds.terms.model_sensors import (
    SENSOR_KINDS,
    NamedScalar,
    element_names,
    model_sensor_numbers,
    sensor_numbers,
    suffix,
)
from trl_suite.worlds.terms.play_joints import seen_joints

SLIDE, HINGE = int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE)
FREE, BALL = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)

Fields = Callable[[str], Any]
"""Gives the array of a state under MjData's name, flat per world: (..., n), live, with any leading dimensions."""


class Quantity(NamedTuple):
    """Readable quantity of a state: the array that holds it, the lookup of names there, the form of a number."""

    field: str  # of MjData
    find: Callable[[mujoco.MjModel], list[NamedScalar]]  # every number of it, in the order of the model
    about: str
    form: Callable[[Any], Any] | None = None
    unit: str | None = None  # after `form`


class UnmatchedPattern(NamedTuple):
    """Pattern of a table that fits no number of a model."""

    pattern: str
    element: str  # kind of element that it is of: joint, body or site
    names: tuple[str, ...]  # that there are

    def refusal(self, where: str = "") -> InputError:
        """Error that names the place in the table, the pattern and the nearest name."""
        return unknown(self.element, self.pattern, self.names, where)


class Reading(NamedTuple):
    """Numbers to be taken from one array of a state, in order."""

    field: str
    indices: Any  # a slice where they are consecutive, else int array
    slots: tuple[Slot, ...]
    limit: float | None = None
    form: Callable[[Any], Any] | None = None
    origin: Any = None  # indices of what is subtracted, or None
    unmatched: tuple[UnmatchedPattern, ...] = ()  # patterns that fit nothing here

    @property
    def plain(self) -> bool:
        """Whether the numbers lie in MuJoCo's memory as they are read."""
        return isinstance(self.indices, slice) and self.limit is None and self.form is None and self.origin is None

    def moved(self, put: Callable[[Any], Any]) -> "Reading":
        """Return the reading for arrays that lie elsewhere: where `put` puts its indices."""
        indices, origin = (
            put(index) if isinstance(index, np.ndarray) else index for index in (self.indices, self.origin)
        )
        return self._replace(indices=indices, origin=origin)

    def of(self, fields: Fields) -> Callable[[], Any]:
        """Return the reader of the numbers (..., n) of a state that is stepped in place; a plain reading is no copy."""
        read = self._raw(fields(self.field))
        if self.form is not None:
            return _composed(self.form, read)
        limit = self.limit
        return read if limit is None else (lambda: arrays.clipped(read(), limit))

    def _raw(self, array: Any) -> Callable[[], Any]:
        indices, origin = self.indices, self.origin
        if origin is not None:
            return lambda: array[..., indices] - array[..., origin]
        if isinstance(indices, slice):
            view = array[..., indices]
            return lambda: view
        return lambda: array[..., indices]


def _composed(form: Callable[[Any], Any], read: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: form(read())


def flat_fields(data: Any) -> Fields:
    """Return the fields of one MjData."""
    return lambda name: getattr(data, name).reshape(-1)


_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
_TWIST = ("x", "y", "z", "rx", "ry", "rz")
_BALL = {"position": ("qw", "qx", "qy", "qz"), "velocity": ("rx", "ry", "rz")}


def _positions(model: mujoco.MjModel) -> list[NamedScalar]:
    """Return every coordinate: `<joint>`, or `<joint>.<part>` where a joint has several."""
    numbers: list[NamedScalar] = []
    for index in seen_joints(model):
        name, kind, first = model.joint(index).name, model.jnt_type[index], int(model.jnt_qposadr[index])
        if kind in (SLIDE, HINGE):
            numbers.append(NamedScalar(name, first, "m" if kind == SLIDE else "rad"))
        else:
            parts = _POSE if kind == FREE else _BALL["position"]
            numbers += [
                NamedScalar(f"{name}.{part}", first + i, "1" if "q" in part else "m") for i, part in enumerate(parts)
            ]
    return numbers


def _velocities(model: mujoco.MjModel) -> list[NamedScalar]:
    return _degrees_of_freedom(model, "m/s", "rad/s")


def _forces(model: mujoco.MjModel) -> list[NamedScalar]:
    return _degrees_of_freedom(model, "N", "N m")


def _degrees_of_freedom(model: mujoco.MjModel, sliding: str, turning: str) -> list[NamedScalar]:
    """Return every degree of freedom; of a free joint the turning is about its own axes, the sliding the world's."""
    numbers: list[NamedScalar] = []
    for index in seen_joints(model):
        name, kind, first = model.joint(index).name, model.jnt_type[index], int(model.jnt_dofadr[index])
        if kind in (SLIDE, HINGE):
            numbers.append(NamedScalar(name, first, sliding if kind == SLIDE else turning))
        else:
            parts = _TWIST if kind == FREE else _BALL["velocity"]
            units = (turning if part.startswith("r") else sliding for part in parts)
            numbers += [
                NamedScalar(f"{name}.{part}", first + i, unit)
                for i, (part, unit) in enumerate(zip(parts, units, strict=True))
            ]
    return numbers


def _per_body(parts: Sequence[tuple[str, str]]) -> Callable[[mujoco.MjModel], list[NamedScalar]]:
    def find(model: mujoco.MjModel) -> list[NamedScalar]:
        names = [model.body(index).name for index in range(model.nbody)]
        return _named_parts(names, parts)

    return find


def _sites(model: mujoco.MjModel) -> list[NamedScalar]:
    return _named_parts([model.site(index).name for index in range(model.nsite)], _SPACE)


def _named_parts(names: Sequence[str], parts: Sequence[tuple[str, str]]) -> list[NamedScalar]:
    return [
        NamedScalar(f"{name}.{part}", row * len(parts) + column, unit)
        for row, name in enumerate(names)
        for column, (part, unit) in enumerate(parts)
    ]


_SPACE = (("x", "m"), ("y", "m"), ("z", "m"))
_WRENCH = (("rx", "N m"), ("ry", "N m"), ("rz", "N m"), ("x", "N"), ("y", "N"), ("z", "N"))
_MOTION = (("rx", "rad/s"), ("ry", "rad/s"), ("rz", "rad/s"), ("x", "m/s"), ("y", "m/s"), ("z", "m/s"))
_INERTIA = (
    *((part, "kg m²") for part in ("xx", "yy", "zz", "xy", "xz", "yz")),
    *((part, "kg m") for part in ("mx", "my", "mz")),
    ("m", "kg"),
)

_ABOUT_CENTRE = "about its tree's centre of mass"
QUANTITIES: dict[str, Quantity] = {
    "position": Quantity("qpos", _positions, "position of a joint"),
    "velocity": Quantity("qvel", _velocities, "velocity of a joint; a free joint turns about its own axes"),
    "cosine": Quantity("qpos", _positions, "cosine of a joint's position", arrays.cosine, "1"),
    "sine": Quantity("qpos", _positions, "sine of a joint's position", arrays.sine, "1"),
    "motor_force": Quantity("qfrc_actuator", _forces, "force of all actuators on a joint"),
    "constraint_force": Quantity("qfrc_constraint", _forces, "force of all constraints on a joint"),
    "place": Quantity("xpos", _per_body(_SPACE), "place of a body's frame in the world"),
    "site": Quantity("site_xpos", _sites, "place of a site in the world"),
    "mass_centre": Quantity("xipos", _per_body(_SPACE), "place of a body's centre of mass in the world"),
    "contact_force": Quantity("cfrc_ext", _per_body(_WRENCH), f"contact torque and force on a body, {_ABOUT_CENTRE}"),
    "motion": Quantity("cvel", _per_body(_MOTION), f"turning and velocity of a body, {_ABOUT_CENTRE}"),
    "inertia": Quantity("cinert", _per_body(_INERTIA), f"inertia, first moment and mass of a body, {_ABOUT_CENTRE}"),
    "sensor": Quantity("sensordata", model_sensor_numbers, "number of a sensor that the model's file has"),
    **{
        kind: Quantity("sensordata", partial(sensor_numbers, kind=kind), entry.about)
        for kind, entry in SENSOR_KINDS.items()
    },
}
AFTER_STEP = {"cfrc_ext"}  # fields that a step leaves to `mj_rnePostConstraint`


def reading(
    model: mujoco.MjModel, kind: str, names: Sequence[str], limit: float | None = None, relative_to: str = ""
) -> Reading:
    """Return where the quantity `kind` of the named elements lies.

    A name stands for one number (`thigh_joint`, `root.z`), for all of an element (`torso`), or, with `*`,
    for all elements that match it, and `!root` for all but that one, both without the world's own body;
    a pattern that nothing matches is nothing, and stands in the reading's `unmatched`.
    `relative_to` is an element whose numbers are subtracted, or, of a sensor, the frame that it measures in.

    Raises:
        InputError: there is no such quantity, or no such element in the model.
    """
    if kind not in QUANTITIES:
        raise unknown("kind", kind, QUANTITIES)
    quantity = QUANTITIES[kind]
    if kind in SENSOR_KINDS:
        return _sensor_reading(model, kind, names, limit, relative_to)
    candidates = quantity.find(model)
    places = [place for name in names for place in matching(name, candidates, kind)]
    suffix = f"{kind}_from_{relative_to}" if relative_to else kind
    slots = tuple(Slot(f"{place.name}.{suffix}", quantity.unit or place.unit) for place in places)
    origin = None
    if relative_to:
        origin = _compact([_counterpart(place, relative_to, candidates, kind).address for place in places])
    indices = _compact([place.address for place in places])
    absent = unmatched(names, [place.name for place in candidates], element(kind))
    return Reading(quantity.field, indices, slots, limit, quantity.form, origin, absent)


def _counterpart(place: NamedScalar, relative_to: str, candidates: Sequence[NamedScalar], kind: str) -> NamedScalar:
    """Number that is subtracted from another: that of `relative_to`, or the same part of it where it has several.

    Raises:
        InputError: there is none, or it has another unit.
    """
    name = f"{relative_to}.{place.name.rpartition('.')[2]}" if "." in place.name else relative_to
    number = next((candidate for candidate in candidates if candidate.name == name), None)
    if number is None:
        raise unknown(element(kind), name, [candidate.name for candidate in candidates], "relative_to")
    if number.unit != place.unit:
        raise InputError(f"relative_to: '{name}' is in {number.unit}, and '{place.name}' in {place.unit}")
    return number


def _sensor_reading(
    model: mujoco.MjModel, kind: str, names: Sequence[str], limit: float | None, relative_to: str
) -> Reading:
    """Reading of sensors that were added to the model because the table reads them."""
    elements = element_names(model)
    known_names = list(dict.fromkeys(name for word in SENSOR_KINDS[kind].elements for name in elements[word]))
    if relative_to and not SENSOR_KINDS[kind].framed:
        framed = ", ".join(name for name, entry in SENSOR_KINDS.items() if entry.framed)
        raise InputError(f"relative_to: '{kind}' is measured in no other frame; these are: {framed}")
    if relative_to and relative_to not in known_names:
        raise unknown(element(kind), relative_to, known_names, "relative_to")
    candidates = sensor_numbers(model, kind, relative_to)
    for name in names:
        if not is_pattern(name) and not {name, name.rpartition(".")[0]}.intersection(known_names):
            raise unknown(element(kind), name, known_names)
    places = [place for name in names for place in matching(name, candidates, kind)]
    slots = tuple(Slot(f"{place.name}.{suffix(kind, relative_to)}", place.unit) for place in places)
    word = SENSOR_KINDS[kind].elements[0]  # a pattern is of sites where a name may be of a body too
    absent = unmatched(names, [place.name for place in candidates], word, elements[word])
    return Reading("sensordata", _compact([place.address for place in places]), slots, limit, unmatched=absent)


def matching(name: str, candidates: Iterable[NamedScalar], kind: str) -> list[NamedScalar]:
    """Numbers that a table's name means: one, all of an element, or those of a pattern.

    Args:
        name: in the table.
        candidates: all numbers that there are.
        kind: quantity, or word for the element where it is none.

    Raises:
        InputError: a plain name is of none.
    """
    moving = [place for place in candidates if not place.name.startswith("world.")]
    if "*" in name:
        return [place for place in moving if fnmatchcase(place.name, name)]
    if name.startswith("!"):
        return [place for place in moving if not _is_of(place.name, name[1:])]
    numbers = [place for place in candidates if _is_of(place.name, name)]
    if not numbers:
        raise unknown(element(kind) if kind in QUANTITIES else kind, name, [place.name for place in candidates])
    return numbers


def is_pattern(name: str) -> bool:
    """Whether a table's name may mean several elements: it has a `*`, or opens with `!`."""
    return "*" in name or name.startswith("!")


def unmatched(
    patterns: Iterable[str], names: Sequence[str], word: str, elements: Sequence[str] = ()
) -> tuple[UnmatchedPattern, ...]:
    """Patterns that fit nothing, `!root` where there is no root among them; plain names are refused elsewhere.

    Args:
        patterns: of a table, plain names among them.
        names: of all numbers that can be read.
        word: kind of element that they are of.
        elements: names of all elements, where not each has its numbers among `names`.
    """
    absent = [
        pattern
        for pattern in patterns
        if is_pattern(pattern)
        and not any(_fits(name, pattern) for name in (names if "*" in pattern else (*names, *elements)))
    ]
    return tuple(UnmatchedPattern(pattern, word, tuple(dict.fromkeys(elements or names))) for pattern in absent)


def _fits(name: str, pattern: str) -> bool:
    if "*" in pattern:
        return fnmatchcase(name, pattern) and not name.startswith("world.")
    return _is_of(name, pattern[1:])


def _is_of(name: str, element_name: str) -> bool:
    """Whether a number is the one of that name, or one of the element's: `root.x` is both `root.x` and `root`'s."""
    return element_name != "" and element_name in (name, name.rpartition(".")[0])


_ELEMENT = dict.fromkeys(("place", "mass_centre", "contact_force", "motion", "inertia"), "body") | {
    "site": "site",
    "sensor": "sensor",
}


def element(kind: str) -> str:
    """The kind of element that a quantity is of: joint, body or site."""
    if kind in SENSOR_KINDS:
        return " or ".join(SENSOR_KINDS[kind].elements)
    return _ELEMENT.get(kind, "joint")


def controls(model: mujoco.MjModel) -> tuple[Slot, ...]:
    """Return the slots of the action: an actuator is named after its joint where it alone drives it."""
    joints = [driven(model, index) for index in range(model.nu)]
    alone = [name if joints.count(name) == 1 else model.actuator(i).name for i, name in enumerate(joints)]
    names = [
        name if alone.count(name) == 1 else f"{joint}.{model.actuator(i).name}"
        for i, (name, joint) in enumerate(zip(alone, joints, strict=True))
    ]
    return tuple(Slot(f"{name}.control", "1") for name in names)


def driven(model: mujoco.MjModel, actuator: int) -> str:
    """Return the name of the joint that an actuator drives, or the actuator's own."""
    if model.actuator_trntype[actuator] == int(mujoco.mjtTrn.mjTRN_JOINT):
        return model.joint(int(model.actuator_trnid[actuator, 0])).name
    return model.actuator(actuator).name


def single(model: mujoco.MjModel, kind: str, name: str) -> Reading:
    """Return the reading of exactly one number.

    Raises:
        InputError: the name is of none, or of several.
    """
    numbers = reading(model, kind, [name])
    for absent in numbers.unmatched:
        raise absent.refusal()
    if len(numbers.slots) != 1:
        raise InputError(f"'{name}' is {len(numbers.slots)} numbers: {', '.join(slot.name for slot in numbers.slots)}")
    return numbers


def _compact(indices: list[int]) -> Any:
    """Return a slice where the indices are consecutive: it reads without a copy."""
    if indices and indices == list(range(indices[0], indices[0] + len(indices))):
        return slice(indices[0], indices[0] + len(indices))
    return np.array(indices, dtype=np.intp)
