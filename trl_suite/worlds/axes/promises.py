"""The promise of each axis about a compiled model, computed from the compiled model that it starts from.

The promised model is a copy of the nominal one in which the axis' own fields are written and MuJoCo derives the
others (`mj_setConst`). The edited model, which the compiler made, must equal it in every field, be finite,
and have the promised forces. So an edit that the compiler undoes, or that moves something else, is found.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.worlds.axes.effects import common_limits, effects
from trl_suite.worlds.axes.explicit import index_of
from trl_suite.worlds.axes.shape_promises import Shares, misgrown_meshes, promise_length, promise_size
from trl_suite.worlds.axes.simulator_axes import promise_option, promise_softness
from trl_suite.worlds.axes.terrain import OF_TERRAIN, ground_breaches, promise_terrain
from trl_suite.worlds.axes.variation import Change, ControlRange, Gear, Gravity, Joint, Mass, Range, Variation
from trl_suite.worlds.terms.model_sensors import align_with_gravity

_NUMBER_TOLERANCE = 1e-6  # relative to the number, and to a thousandth of its field's largest
_OBJECT = mujoco.mjtObj
_PREFIXES = {
    "body": _OBJECT.mjOBJ_BODY,
    "geom": _OBJECT.mjOBJ_GEOM,
    "site": _OBJECT.mjOBJ_SITE,
    "cam": _OBJECT.mjOBJ_CAMERA,
    "light": _OBJECT.mjOBJ_LIGHT,
    "jnt": _OBJECT.mjOBJ_JOINT,
    "tendon": _OBJECT.mjOBJ_TENDON,
    "actuator": _OBJECT.mjOBJ_ACTUATOR,
    "eq": _OBJECT.mjOBJ_EQUALITY,
    "sensor": _OBJECT.mjOBJ_SENSOR,
}
ALL_BUT_JOINTS = tuple(prefix for prefix in _PREFIXES if prefix != "jnt")
# how MuJoCo lays a model out and bounds it; nothing of it moves a robot by itself
_TECHNICAL = (
    *("body_sameframe", "geom_sameframe", "site_sameframe", "body_simple", "dof_simplenum", "signature", "nbuffer"),
    *(
        "bvh_",
        "nbvh",
        "oct_",
        "noct",
        "M_",
        "B_",
        "D_",
        "mapM",
        "mapD",
        "nM",
        "nB",
        "nC",
        "nD",
        "nJ",
        "narena",
        "stat.",
        "body_bvh",
    ),
)
# what follows from where things are, and `mj_setConst` leaves alone
_OF_SHAPE = frozenset({"geom_fluid", "dof_length", "actuator_lengthrange", "geom_rbound", "geom_aabb"})
_OF_MESH = (
    "mesh_",
    "nmesh",
    "geom_dataid",
    "name_",
    "names_",
    "nnames",
    "npaths",
)  # a mesh's corners are compared by themselves
_OF_FORCE = frozenset(  # compared actuator by actuator where a force changes: see `_otherwise_driven`
    ["actuator_gear", "actuator_gainprm", "actuator_biasprm", "actuator_forcerange", "actuator_length0"]
) | {"actuator_acc0"}


_MOVES_MUSCLES = ("mass", "armature", "size", "length", "gear", "cripple")


class Law(NamedTuple):
    """The promised numbers of a variation, fields that follow from another law, and the forces that it promises."""

    model: mujoco.MjModel
    free: frozenset[str]
    strength: NDArray[np.float64]  # per actuator, of the nominal force
    comparable: bool  # whether forces can be compared at the same states: not where places or the timestep change
    growth: NDArray[np.float64]  # of each geom's sizes (ngeom, 3)


def breaches(nominal: mujoco.MjModel, edited: mujoco.MjModel, variation: Variation, shares: Shares | None) -> list[str]:
    """Return in which ways an edited model is not what its variation promises; none where it is.

    Args:
        nominal: the compiled model without the variation, of the same shape.
        edited: the compiled model under it.
        variation: of which the axes that change the model count.
        shares: the masses of the nominal model's geoms, where the variation changes sizes or lengths.
    """
    law = promised(nominal, variation, shares)
    if variation.size is not None and nominal.ngeom == edited.ngeom:
        broken = [*misgrown_meshes(nominal, edited, law.growth), *_not_finite(edited)]
        if broken:
            return broken
    broken = [*_differing(law, nominal, edited), *_not_finite(edited)]
    if variation.terrain is not None and not broken:
        broken += ground_breaches(nominal, edited, variation.terrain)
    if not broken:
        broken += _otherwise_driven(law, nominal, edited)
    if not broken and law.comparable:
        broken += _weaker(law.strength, nominal, edited)
    return broken


def promised(nominal: mujoco.MjModel, variation: Variation, shares: Shares | None) -> Law:
    """Return the law of a variation: what the nominal model becomes."""
    model = copy.copy(nominal)
    strength, growth = np.ones(nominal.nu), np.ones((nominal.ngeom, 3))
    shaped = variation.size is not None or variation.length is not None
    if shares is not None and variation.size is not None:
        growth = promise_size(model, nominal, variation.size, shares)
    if shares is not None and variation.length is not None:
        promise_length(model, nominal, variation.length, shares)
    start = copy.copy(model) if shaped else nominal
    for axis, change in variation.axes():
        if axis in _PROMISES:
            _PROMISES[axis](model, start, change)
        elif axis == "gear":
            for index, part in _parts(change, Gear, "actuator", start, range(nominal.nu)):
                strength[index] *= _scale(part, float(start.actuator_gear[index, 0]))
        elif axis == "cripple":
            strength[[index_of(nominal, _OBJECT.mjOBJ_ACTUATOR, name) for name in change]] = 0.0
    free = _free_fields(nominal, variation, bool(np.any(strength != 1.0)))
    comparable = not shaped and variation.timestep is None  # some forces look a timestep ahead
    return Law(model, free, strength, comparable, growth)


def _free_fields(nominal: mujoco.MjModel, variation: Variation, strengthened: bool) -> frozenset[str]:
    """Return the fields that follow from another law than the promised numbers."""
    free = set(_OF_SHAPE if variation.size is not None or variation.length is not None else ())
    if variation.size is not None:
        free |= {name for name in fields_of(nominal) if name.startswith(_OF_MESH) or name.endswith("pathadr")}
    if variation.terrain is not None:
        free |= {name for name in fields_of(nominal) if name.startswith(OF_TERRAIN)}
    free |= _OF_FORCE if strengthened else frozenset[str]()
    if derives_muscles(nominal) and any(getattr(variation, axis) is not None for axis in _MOVES_MUSCLES):
        free |= {"actuator_gainprm", "actuator_biasprm"}  # their peak force stays, what it is derived from does not
    return frozenset(free)


def derives_muscles(model: mujoco.MjModel) -> bool:
    """Whether the peak force of a muscle follows from the inertia that it moves."""
    muscles = model.actuator_gaintype == int(mujoco.mjtGain.mjGAIN_MUSCLE)
    return bool((model.actuator_gainprm[muscles, 2] < 0).any())


def fields_of(model: mujoco.MjModel) -> dict[str, NDArray[Any]]:
    """Return the numbers of a compiled model by MuJoCo's names, options and statistics as `opt.` and `stat.<name>`."""
    fields: dict[str, NDArray[Any]] = {}
    for prefix, holder in (("", model), ("opt.", model.opt), ("stat.", model.stat)):
        fields |= {prefix + name: np.asarray(getattr(holder, name)) for name in _numeric_names(holder)}
    return fields


_numeric_names_by_type: dict[type, tuple[str, ...]] = {}


def _numeric_names(holder: Any) -> tuple[str, ...]:
    """Return the names of the numbers that MuJoCo's struct has; they are the same for every model."""
    kind = type(holder)
    if kind not in _numeric_names_by_type:
        public = (name for name in dir(holder) if not name.startswith("_"))
        _numeric_names_by_type[kind] = tuple(name for name in public if _is_numeric(getattr(holder, name)))
    return _numeric_names_by_type[kind]


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray | float | int) and np.asarray(value).dtype.kind in "fiub"


def _differing(law: Law, nominal: mujoco.MjModel, edited: mujoco.MjModel) -> Iterator[str]:
    """Yield the first number of each field in which a model is not the promised one."""
    if others := [*_of_other_size(law, nominal, edited)]:
        yield from others
        return
    untouched = copy.copy(nominal)
    mujoco.mj_setConst(untouched, mujoco.MjData(untouched))
    before, derived = _compared(nominal), _compared(untouched)
    try:
        expected = _compared(_derived(law, edited))
    except mujoco.FatalError as error:
        yield f"its mass is elsewhere than promised ({' '.join(str(error).split())})"
        return
    for name, value in _compared(edited).items():
        if _is_free(name, law):
            continue
        if not _close(expected[name], value).all():
            # where the file gives what MuJoCo would derive otherwise, that stays
            stays = not _close(before[name], derived[name]).all() and _close(before[name], value).all()
            if not stays:
                yield _in_words(name, expected[name], value, nominal)


def _of_other_size(law: Law, nominal: mujoco.MjModel, edited: mujoco.MjModel) -> Iterator[str]:
    """Yield the counts that differ, and the elements that have another name."""
    now = fields_of(edited)
    for name, value in fields_of(nominal).items():
        count = value.ndim == 0 and value.dtype.kind in "iu" and not name.startswith("opt.")
        if not _is_free(name, law) and (value.shape != now[name].shape or (count and value != now[name])):
            first, second = (int(number) if count else number.shape for number in (value, now[name]))
            yield f"{name} is {second} instead of {first}"
    yield from renamed(nominal, edited, tuple(_PREFIXES))


def renamed(nominal: mujoco.MjModel, edited: mujoco.MjModel, prefixes: Sequence[str] = ALL_BUT_JOINTS) -> Iterator[str]:
    """Yield the elements that have another name than before, of the kinds whose fields have these prefixes."""
    for prefix in prefixes:
        for row in range(nominal.nu if prefix == "actuator" else getattr(nominal, f"n{prefix}")):
            name, other = (mujoco.mj_id2name(model, _PREFIXES[prefix], row) for model in (nominal, edited))
            if other != name:
                yield f"'{name}' is called '{other}'"


def _is_free(name: str, law: Law) -> bool:
    return name.startswith(_TECHNICAL) or name in law.free or name in ("body_inertia", "body_iquat")


def _derived(law: Law, edited: mujoco.MjModel) -> mujoco.MjModel:
    """Return a copy of the edited model with the promised numbers wherever it has others, and what follows from them.

    An inertia that agrees is left as it is: its axes are known up to their order and sign.
    """
    model = copy.copy(edited)
    promised_tensors, tensors = _tensors(law.model), _tensors(edited)
    for body in np.flatnonzero(~_close(promised_tensors, tensors).all(axis=1)):
        model.body_inertia[body] = law.model.body_inertia[body]
        model.body_iquat[body] = law.model.body_iquat[body]
    for prefix, source, target in (("", law.model, model), ("opt.", law.model.opt, model.opt)):
        for name in _numeric_names(source):
            value = getattr(source, name)
            if _is_free(prefix + name, law):
                continue
            if not isinstance(value, np.ndarray):
                if prefix:
                    setattr(target, name, value)
            elif value.shape == getattr(target, name).shape:
                array = getattr(target, name)
                off = ~_close(value, array)
                array[off] = value[off]
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def _compared(model: mujoco.MjModel) -> dict[str, NDArray[Any]]:
    """Return the fields of a model, and each body's inertia about its own frame's axes, which no sign can blur."""
    return fields_of(model) | {"body_tensor": _tensors(model)}


def _tensors(model: mujoco.MjModel) -> NDArray[np.float64]:
    """Return the inertia of each body in its own axes, about its centre of mass (nbody, 9)."""
    tensors = np.zeros((model.nbody, 9))
    turn = np.zeros(9)
    for body in range(model.nbody):
        mujoco.mju_quat2Mat(turn, model.body_iquat[body])
        matrix = turn.reshape(3, 3)
        tensors[body] = (matrix * model.body_inertia[body] @ matrix.T).reshape(-1)
    return tensors


def _close(expected: NDArray[Any], value: NDArray[Any]) -> NDArray[np.bool_]:
    equal = np.asarray(expected == value)
    if expected.dtype.kind != "f" or equal.all():
        return equal
    size = np.abs(expected[np.isfinite(expected)]).max(initial=0.0)
    return np.isclose(
        value, expected, rtol=_NUMBER_TOLERANCE, atol=_NUMBER_TOLERANCE * max(1e-6, 1e-3 * size), equal_nan=True
    )


def _in_words(name: str, expected: NDArray[Any], value: NDArray[Any], model: mujoco.MjModel) -> str:
    """Return which element's number is another one than promised, in words."""
    place = int(np.flatnonzero(~_close(expected, value).reshape(-1))[0])
    where = field_of_element(name, expected, place, model)
    return f"{where} is {value.reshape(-1)[place]:.6g} instead of {expected.reshape(-1)[place]:.6g}"


def field_of_element(name: str, numbers: NDArray[Any], place: int, model: mujoco.MjModel) -> str:
    """Field and the element of a number of it, in words: `geom_size of 'foot'`.

    Args:
        name: of the field.
        numbers: its numbers in the model.
        place: of the number among them, counted flat.
        model: the compiled model that names the elements.
    """
    row, prefix = place // max(numbers[0].size, 1) if numbers.ndim else 0, name.partition("_")[0]
    if prefix == "dof":
        row, prefix = int(model.dof_jntid[row]), "jnt"
    kind = _PREFIXES.get(prefix)
    return f"{name} of {_name_of(model, kind, row) if kind is not None else f'[{row}]'}"


def _name_of(model: mujoco.MjModel, kind: mujoco.mjtObj, row: int) -> str:
    return f"'{mujoco.mj_id2name(model, kind, row) or row}'"


def _not_finite(edited: mujoco.MjModel) -> Iterator[str]:
    for name, value in fields_of(edited).items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            yield f"{name} is not finite"


def _weaker(strength: NDArray[np.float64], nominal: mujoco.MjModel, edited: mujoco.MjModel) -> Iterator[str]:
    """Yield the actuators whose force is not the promised share of the nominal one, at the same states and controls."""
    if not nominal.nu:
        return
    limits = common_limits(nominal, edited)
    before, after = effects(nominal, limits), effects(edited, limits)
    for index in range(nominal.nu):
        expected = before[:, index] * strength[index]
        tolerance = _NUMBER_TOLERANCE * max(1e-6, float(np.abs(before[:, index]).max()))
        if not np.allclose(after[:, index], expected, rtol=10 * _NUMBER_TOLERANCE, atol=10 * tolerance):
            name = _name_of(nominal, _OBJECT.mjOBJ_ACTUATOR, index)
            yield f"the force of actuator {name} is not {strength[index]:g} of what it was"


def _otherwise_driven(law: Law, nominal: mujoco.MjModel, edited: mujoco.MjModel) -> Iterator[str]:
    """Yield the actuators of which neither the gear nor the gains are the promised share of what they were."""
    for index, share in enumerate(law.strength):
        before, after = _drive(nominal, index), _drive(edited, index)
        loose = _set_by_force(nominal, index, bool(share != 1.0))
        ways = [np.where(loose, after, before * scales) for scales in _ways(nominal, index, float(share))]
        if not any(_close(way, after).all() for way in ways):
            name = _name_of(nominal, _OBJECT.mjOBJ_ACTUATOR, index)
            yield f"gear, gains or force range of actuator {name} are not {share:g} of what they were"


def _drive(model: mujoco.MjModel, index: int) -> NDArray[np.float64]:
    """Return the gear (6,), the gains and the biases (10, each) and the force range (2,) of an actuator."""
    gains = (model.actuator_gainprm[index], model.actuator_biasprm[index])
    return np.concatenate([model.actuator_gear[index], *gains, model.actuator_forcerange[index]])


_GAINS = (6, 16)  # where the gains and the biases begin in `_drive`
_DRIVE_NUMBERS = 28


def _ways(model: mujoco.MjModel, index: int, share: float) -> list[NDArray[np.float64]]:
    """Return by how much each number of an actuator's drive changes: with its gear, or with its gains."""
    gear, gains = np.ones(_DRIVE_NUMBERS), np.ones(_DRIVE_NUMBERS)
    gear[: _GAINS[0]] = share
    gains[-2:] = share
    if not _is_muscle(model, index):
        for first in _GAINS:
            gains[first : first + 3] = share  # a force is linear in these
    return [gear, gains]


def _set_by_force(model: mujoco.MjModel, index: int, changes: bool) -> NDArray[np.bool_]:
    """Return the numbers of a muscle's drive that its peak force, or MuJoCo, decides: `_weaker` compares the force."""
    loose = np.zeros(_DRIVE_NUMBERS, dtype=bool)
    if _is_muscle(model, index):
        for first in _GAINS:
            loose[first + 2] = changes
            loose[first + 3] = changes or model.actuator_gainprm[index, 2] < 0
    return loose


def _is_muscle(model: mujoco.MjModel, index: int) -> bool:
    return bool(model.actuator_gaintype[index] == int(mujoco.mjtGain.mjGAIN_MUSCLE))


def _gravity(model: mujoco.MjModel, nominal: mujoco.MjModel, change: float | Gravity) -> None:
    change = change if isinstance(change, Gravity) else Gravity(scale=change)
    angle = np.deg2rad(change.tilt or 0.0)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    turned = turn @ nominal.opt.gravity * (change.scale or 1.0)
    model.opt.gravity[:] = turned if change.value is None else change.value
    align_with_gravity(model.opt, (model.sensor(index).name for index in range(model.nsensor)))


def _mass(model: mujoco.MjModel, nominal: mujoco.MjModel, change: Any) -> None:
    massive = [index for index in range(nominal.nbody) if nominal.body_mass[index] > 0]
    for index, part in _parts(change, Mass, "body", nominal, massive):
        scale = _scale(part, float(nominal.body_mass[index]))
        model.body_mass[index] *= scale
        model.body_inertia[index] *= scale


def _friction(model: mujoco.MjModel, nominal: mujoco.MjModel, change: float | Change) -> None:
    change = change if isinstance(change, Change) else Change(scale=change)
    for field, sliding in (("geom_friction", 1), ("pair_friction", 2), ("flex_friction", 1)):
        numbers = getattr(model, field)
        if change.scale is not None:
            numbers *= change.scale
        else:
            numbers[:, :sliding] = change.value


def _joint_range(model: mujoco.MjModel, nominal: mujoco.MjModel, change: Any) -> None:
    limited = [index for index in range(nominal.njnt) if nominal.jnt_limited[index]]
    for index, part in _parts(change, Range, "joint", nominal, limited):
        low, high = nominal.jnt_range[index]
        if part.value is not None:
            model.jnt_range[index] = part.value
        elif low <= 0 <= high:
            model.jnt_range[index] = nominal.jnt_range[index] * part.scale
        else:
            near = low if low > 0 else high
            model.jnt_range[index] = near + (nominal.jnt_range[index] - near) * part.scale


def _of_joints(joint: str, tendon: str, has_poly: bool) -> Callable[[mujoco.MjModel, mujoco.MjModel, Any], None]:
    """Return the promise of an axis that changes one field of joints or of their degrees of freedom, and of tendons."""

    def promise(model: mujoco.MjModel, nominal: mujoco.MjModel, change: Any) -> None:
        for part in _listed(change, Joint):
            if not part.tendon:
                for row in _rows_of_joint(nominal, part.joint, joint):
                    _put(model, joint, row, part, has_poly)
            if not part.joint:
                named = index_of(nominal, _OBJECT.mjOBJ_TENDON, part.tendon) if part.tendon else None
                for row in range(nominal.ntendon) if named is None else [named]:
                    _put(model, tendon, row, part, has_poly)

    return promise


def _rows_of_joint(nominal: mujoco.MjModel, joint: str, field: str) -> Sequence[int]:
    """Return the rows of a field of joints, or of degrees of freedom, that belong to a joint, or to all."""
    if not joint:
        return range(len(getattr(nominal, field)))
    index = index_of(nominal, _OBJECT.mjOBJ_JOINT, joint)
    return [index] if field.startswith("jnt") else [int(row) for row in np.flatnonzero(nominal.dof_jntid == index)]


def _put(model: mujoco.MjModel, field: str, row: int, change: Joint, has_poly: bool) -> None:
    """Scale a number and its higher coefficients, or set the number; an unnamed value is of all that have any."""
    values, higher = getattr(model, field), getattr(model, f"{field}poly") if has_poly else None
    if change.scale is not None:
        values[row] *= change.scale
        if higher is not None:
            higher[row] *= change.scale
    elif change.joint or change.tendon or values[row] or (higher is not None and higher[row].any()):
        values[row] = change.value


def _control_range(model: mujoco.MjModel, nominal: mujoco.MjModel, change: Any) -> None:
    limited = [index for index in range(nominal.nu) if nominal.actuator_ctrllimited[index]]
    for index, part in _parts(change, ControlRange, "actuator", nominal, limited):
        model.actuator_ctrlrange[index] = nominal.actuator_ctrlrange[index] * part.scale


def _fluid(model: mujoco.MjModel, nominal: mujoco.MjModel, change: Any) -> None:
    if change.density is not None:
        model.opt.density = change.density
    if change.viscosity is not None:
        model.opt.viscosity = change.viscosity
    if change.wind is not None:
        model.opt.wind[:] = change.wind


def _timestep(model: mujoco.MjModel, nominal: mujoco.MjModel, change: Any) -> None:
    scale = change.scale if isinstance(change, Change) else change
    model.opt.timestep = nominal.opt.timestep * scale if scale is not None else change.value


_PROMISES: dict[str, Callable[[mujoco.MjModel, mujoco.MjModel, Any], None]] = {
    "gravity": _gravity,
    "mass": _mass,
    "friction": _friction,
    "joint_range": _joint_range,
    "damping": _of_joints("dof_damping", "tendon_damping", True),
    "stiffness": _of_joints("jnt_stiffness", "tendon_stiffness", True),
    "armature": _of_joints("dof_armature", "tendon_armature", False),
    "frictionloss": _of_joints("dof_frictionloss", "tendon_frictionloss", False),
    "control_range": _control_range,
    "fluid": _fluid,
    "timestep": _timestep,
    "integrator": lambda model, _, change: promise_option("integrator", model, change),
    "solver": lambda model, _, change: promise_option("solver", model, change),
    "cone": lambda model, _, change: promise_option("cone", model, change),
    "contact_softness": promise_softness,
    "terrain": promise_terrain,
}
_OBJECT_TYPES = {"body": _OBJECT.mjOBJ_BODY, "joint": _OBJECT.mjOBJ_JOINT, "actuator": _OBJECT.mjOBJ_ACTUATOR}


def _listed(change: Any, kind: type[Any]) -> tuple[Any, ...]:
    if isinstance(change, tuple):
        return change
    return (change if isinstance(change, kind) else kind(scale=change),)


def _parts(
    change: Any, kind: type[Any], element: str, nominal: mujoco.MjModel, every: Sequence[int]
) -> Iterator[tuple[int, Any]]:
    """Yield each element's index in the compiled model with its change; an unnamed change is of `every`."""
    for part in _listed(change, kind):
        name = getattr(part, element)
        for index in [index_of(nominal, _OBJECT_TYPES[element], name)] if name else every:
            yield index, part


def _scale(change: Any, nominal: float) -> float:
    return change.scale if change.scale is not None else change.value / nominal
