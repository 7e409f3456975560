"""The axes of variation: each is an edit of the model before it is compiled, or of the task.

An edit of a live model would leave what MuJoCo derives from it stale; here the compiler derives everything anew.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes.shapes import length, size
from trl_suite.worlds.axes.task_axes import TASK, edit_frame_skip
from trl_suite.worlds.axes.variation import (
    Change,
    ControlRange,
    Fluid,
    Gear,
    Gravity,
    Joint,
    Mass,
    Range,
    Timestep,
    Variation,
)
from trl_suite.worlds.env_spec import EnvSpec
from trl_suite.worlds.terms.sensors import HINGE, SLIDE


class Axis(NamedTuple):
    """What an axis does, in words for the reader and as an edit of (uncompiled model, nominal model, change)."""

    about: str
    edit: Callable[[mujoco.MjSpec, mujoco.MjModel, Any], None]
    explains: frozenset[str]  # the compiled fields that it may change


def gravity(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Gravity) -> None:
    """Scale and tilt gravity, or replace its vector (m/s²).

    Raises:
        InputError: nothing in this model can feel it.
    """
    wanted = change if isinstance(change, Gravity) else Gravity(scale=change)
    if wanted.value is not None:
        model.option.gravity = np.array(wanted.value)
        return
    if not _feels_gravity(nominal):
        raise InputError("no joint feels it")
    angle = np.deg2rad(wanted.tilt or 0.0)
    x, y, z = nominal.opt.gravity * (wanted.scale or 1.0)
    turned = (x * np.cos(angle) + z * np.sin(angle), y, z * np.cos(angle) - x * np.sin(angle))
    model.option.gravity = np.array(turned if angle else (x, y, z))


def mass(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Mass | tuple[Mass, ...]) -> None:
    """Scale or set the mass of bodies; their inertia follows, and every other body keeps its own.

    The compiled inertias are written out first. Otherwise `settotalmass` (HalfCheetah) would undo a scale
    of all masses without a word, and a body's change would move the mass of all others.

    Raises:
        InputError: a body does not exist, has no mass, or is changed twice.
    """
    changes = _listed(change, Mass)
    bodies = {body.name: body for body in model.bodies if nominal.body_mass[nominal.body(body.name).id] > 0}
    for name, body in bodies.items():
        index = nominal.body(name).id
        body.mass, body.inertia = float(nominal.body_mass[index]), nominal.body_inertia[index]
        body.ipos, body.iquat = nominal.body_ipos[index], nominal.body_iquat[index]
        body.explicitinertial = True
    model.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO
    model.compiler.settotalmass = -1
    for name, wanted in _assigned("body", [(one.body, one) for one in changes], bodies):
        scale = _scale(wanted, bodies[name].mass)
        bodies[name].mass *= scale
        bodies[name].inertia = bodies[name].inertia * scale


def friction(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Change) -> None:
    """Scale the friction of everything, or set the sliding friction of everything.

    MuJoCo takes the larger coefficient of the two geoms that touch, so robot and floor change together.

    Raises:
        InputError: nothing in this model can touch with friction.
    """
    if not _touches(nominal):
        raise InputError("no two of its geoms can touch with friction")
    wanted = change if isinstance(change, Change) else Change(scale=change)
    for element in (*model.geoms, *model.pairs):
        if wanted.scale is not None:
            element.friction = element.friction * wanted.scale
        else:
            sliding = 1 if len(element.friction) == 3 else 2  # a pair has two tangential coefficients
            element.friction = np.concatenate((np.full(sliding, wanted.value), element.friction[sliding:]))


def joint_range(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Range | tuple[Range, ...]) -> None:
    """Scale or set the range of joints: both ends where 0 lies inside, else the width from the end nearest 0.

    Raises:
        InputError: a joint does not exist or has no limits, or is changed twice.
    """
    limited = {joint.name: joint for joint in model.joints if nominal.jnt_limited[nominal.joint(joint.name).id]}
    if not limited:
        raise InputError("no joint has a range")
    named = [(one.joint, one) for one in _listed(change, Range)]
    for name, wanted in _assigned("limited joint", named, limited):
        joint = limited[name]
        if wanted.value is not None:
            turned = model.compiler.degree and nominal.jnt_type[nominal.joint(name).id] == HINGE
            joint.range = np.rad2deg(wanted.value) if turned else np.array(wanted.value)
        else:
            low, high = joint.range
            near = 0.0 if low <= 0 <= high else low if low > 0 else high
            joint.range = near + (joint.range - near) * wanted.scale


def damping(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Joint | tuple[Joint, ...]) -> None:
    """Scale or set the damping of joints (N s/m, N m s/rad).

    Raises:
        InputError: a joint does not exist or has none, or is changed twice.
    """
    _of_joints("damping", model, nominal, change)


def stiffness(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Joint | tuple[Joint, ...]) -> None:
    """Scale or set the stiffness of joints (N/m, N m/rad).

    Raises:
        InputError: a joint does not exist or has none, or is changed twice.
    """
    _of_joints("stiffness", model, nominal, change)


def armature(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Joint | tuple[Joint, ...]) -> None:
    """Scale or set the armature of joints (kg, kg m²).

    Raises:
        InputError: a joint does not exist or has none, or is changed twice.
    """
    _of_joints("armature", model, nominal, change)


def gear(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Gear | tuple[Gear, ...]) -> None:
    """Scale or set the gear of actuators: the force (N, N m) per unit of control.

    Raises:
        InputError: an actuator does not exist, or is changed twice.
    """
    actuators = {actuator.name: actuator for actuator in model.actuators}
    named = [(one.actuator, one) for one in _listed(change, Gear)]
    for name, wanted in _assigned("actuator", named, actuators):
        actuators[name].gear = actuators[name].gear * _scale(wanted, actuators[name].gear[0])


def control_range(
    model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | ControlRange | tuple[ControlRange, ...]
) -> None:
    """Scale the range of actuators' controls; the action space changes with it.

    Raises:
        InputError: an actuator does not exist, or is changed twice.
    """
    actuators = {actuator.name: actuator for actuator in model.actuators}
    named = [(one.actuator, one) for one in _listed(change, ControlRange)]
    for name, wanted in _assigned("actuator", named, actuators):
        actuators[name].ctrlrange = nominal.actuator(name).ctrlrange * wanted.scale


def cripple(model: mujoco.MjSpec, nominal: mujoco.MjModel, names: tuple[str, ...]) -> None:
    """Cut actuators off: their controls do nothing any more.

    Raises:
        InputError: an actuator does not exist, or none is named.
    """
    actuators = {actuator.name: actuator for actuator in model.actuators}
    if not names:
        raise InputError("which actuators?")
    for name in names:
        if name not in actuators:
            raise unknown("actuator", name, actuators)
        actuators[name].gear = np.zeros(6)


def fluid(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Fluid) -> None:
    """Set the medium's density, viscosity and wind.

    Raises:
        InputError: a wind without a medium would do nothing.
    """
    density = nominal.opt.density if change.density is None else change.density
    viscosity = nominal.opt.viscosity if change.viscosity is None else change.viscosity
    if change.wind is not None and not (density or viscosity):
        raise InputError("a wind needs a medium: give a density (1.2 kg/m³ is air) or a viscosity")
    model.option.density, model.option.viscosity = density, viscosity
    if change.wind is not None:
        model.option.wind = np.array(change.wind)


def timestep(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Timestep) -> None:
    """Scale or set the timestep of the simulation (s), up to 0.1 s.

    Raises:
        InputError: it would be longer.
    """
    wanted = change if isinstance(change, Timestep) else Timestep(scale=change)
    model.option.timestep = nominal.opt.timestep * _scale(wanted, nominal.opt.timestep)
    if model.option.timestep > 0.1:
        raise InputError(f"a timestep is 0.1 s at most, not {model.option.timestep:g} s")


# what MuJoCo derives from masses and places, and from shapes
_INERTIAL = frozenset(
    [
        *("body_mass", "body_inertia", "body_ipos", "body_iquat", "body_subtreemass", "body_invweight0"),
        *("body_sameframe", "body_simple", "dof_simplenum", "dof_invweight0", "dof_M0", "actuator_acc0"),
        *("tendon_invweight0", "cam_pos0", "cam_poscom0", "light_pos0", "light_poscom0"),
        *("stat.meanmass", "stat.meaninertia"),
    ]
)
_SHAPED = _INERTIAL | frozenset(
    [
        *("geom_size", "geom_pos", "geom_quat", "geom_rbound", "geom_aabb", "geom_sameframe", "geom_fluid", "bvh_aabb"),
        *("body_pos", "jnt_pos", "site_pos", "dof_length", "tendon_length0", "actuator_length0"),
        *("stat.center", "stat.extent", "stat.meansize"),
    ]
)
SHAPE: dict[str, Axis] = {
    "size": Axis("size of the geoms", size, _SHAPED),
    "length": Axis("length of the limbs", length, _SHAPED),
}
MODEL: dict[str, Axis] = {
    "gravity": Axis("gravity", gravity, frozenset({"opt.gravity"})),
    "mass": Axis("mass and inertia of the bodies", mass, _INERTIAL),
    "friction": Axis("friction of robot and floor", friction, frozenset({"geom_friction", "pair_friction"})),
    "joint_range": Axis("range of the joints", joint_range, frozenset({"jnt_range"})),
    "damping": Axis("damping of the joints", damping, frozenset({"dof_damping"})),
    "stiffness": Axis("stiffness of the joints", stiffness, frozenset({"jnt_stiffness"})),
    "armature": Axis("armature of the joints", armature, frozenset({"dof_armature"}) | _INERTIAL),
    "gear": Axis("force per unit of control", gear, frozenset({"actuator_gear", "actuator_acc0", "actuator_length0"})),
    "control_range": Axis("range of the controls", control_range, frozenset({"actuator_ctrlrange"})),
    "cripple": Axis(
        "motors that no longer pull", cripple, frozenset({"actuator_gear", "actuator_acc0", "actuator_length0"})
    ),
    "fluid": Axis("medium and wind", fluid, frozenset({"opt.density", "opt.viscosity", "opt.wind"})),
    "timestep": Axis("timestep of the simulation", timestep, frozenset({"opt.timestep"})),
}


def changes_model(variation: Variation) -> Variation:
    """Return the part of a variation that changes the model."""
    return Variation(**{name: value for name, value in variation.axes() if name in (*SHAPE, *MODEL)})


def edit_model(
    model: mujoco.MjSpec,
    nominal: mujoco.MjModel,
    variation: Variation,
    compile_it: Callable[[mujoco.MjSpec], mujoco.MjModel],
) -> None:
    """Apply the axes that change the model; `nominal` is the model compiled without them.

    Shapes come first: masses are changed on the shaped robot.

    Raises:
        InputError: an axis does not apply to this model.
    """
    changed = dict(variation.axes())
    for name in SHAPE.keys() & changed.keys():
        _apply(name, SHAPE[name], model, nominal, changed[name])
        nominal = compile_it(model)
    for name, axis in MODEL.items():
        if name in changed:
            _apply(name, axis, model, nominal, changed[name])


def edit_task(spec: EnvSpec, variation: Variation, model: mujoco.MjModel) -> EnvSpec:
    """Return the task under the axes that change it; `model` is compiled under the same variation.

    Raises:
        InputError: an axis does not apply to this task.
    """
    for name, change in variation.axes():
        try:
            if name == "timestep":
                spec = edit_frame_skip(spec, change, model)
            elif name in TASK:
                spec = TASK[name](spec, change)
        except InputError as error:
            raise InputError(f"{name} does not apply: {error}") from None
    return spec


def _apply(name: str, axis: Axis, model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Any) -> None:
    try:
        axis.edit(model, nominal, change)
    except InputError as error:
        raise InputError(f"{name} does not apply: {error}") from None


def _of_joints(field: str, model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Any) -> None:
    """Change a property of joints; a scale without a name is of all hinges and slides that have the property."""
    joints = {
        joint.name: joint for joint in model.joints if nominal.jnt_type[nominal.joint(joint.name).id] in (HINGE, SLIDE)
    }
    having = {name: joint for name, joint in joints.items() if np.any(getattr(joint, field))}
    for one in _listed(change, Joint):
        known = joints if one.value is not None else having
        if not having and not one.joint:
            raise InputError(f"no joint has {field}")
        if one.joint in joints and one.joint not in known:
            raise InputError(f"joint '{one.joint}' has no {field} to scale: give a value")
    pairs = [(one.joint, one) for one in _listed(change, Joint)]
    for name, wanted in _assigned("joint", pairs, having, joints):
        old = getattr(joints[name], field)
        if np.ndim(old) == 0:
            setattr(joints[name], field, old * wanted.scale if wanted.scale is not None else wanted.value)
        else:  # its first number is the linear coefficient
            new = old * wanted.scale if wanted.scale is not None else np.array([wanted.value, *old[1:]])
            setattr(joints[name], field, new)


def _listed(change: Any, kind: type[Any]) -> tuple[Any, ...]:
    if isinstance(change, tuple):
        return change
    return (change if isinstance(change, kind) else kind(scale=change),)


def _assigned(
    kind: str, named: Sequence[tuple[str, Any]], every: dict[str, Any], known: dict[str, Any] | None = None
) -> list[tuple[str, Any]]:
    """Return (element, change) pairs; an unnamed change stands for `every` element, a named one is of `known`."""
    pairs = [(one, change) for name, change in named for one in ([name] if name else every)]
    known = every if known is None else known
    seen: set[str] = set()
    for name, _ in pairs:
        if name not in known:
            raise unknown(kind, name, known)
        if name in seen:
            raise InputError(f"{kind} '{name}' is changed twice")
        seen.add(name)
    return pairs


def _scale(change: Change, nominal: float) -> float:
    return change.scale if change.scale is not None else (change.value or 0.0) / nominal


def _feels_gravity(nominal: mujoco.MjModel) -> bool:
    """Return whether gravity moves any joint, tried in a pose off the symmetric ones; without any, nothing can tell."""
    if not nominal.opt.gravity.any():
        return False
    data, weightless = mujoco.MjData(nominal), mujoco.MjData(nominal)
    data.qpos[:] += 0.1 + 0.01 * np.arange(nominal.nq)
    weightless.qpos[:] = data.qpos
    mujoco.mj_forward(nominal, data)
    kept = nominal.opt.gravity.copy()
    nominal.opt.gravity[:] = 0.0
    mujoco.mj_forward(nominal, weightless)
    nominal.opt.gravity[:] = kept
    return bool(np.abs(data.qfrc_bias - weightless.qfrc_bias).max(initial=0.0) > 1e-9)


def _touches(nominal: mujoco.MjModel) -> bool:
    """Return whether two geoms of different bodies can touch with friction."""
    if nominal.npair:
        return True
    affine = nominal.geom_contype[:, None] & nominal.geom_conaffinity[None, :]
    rough = np.maximum(nominal.geom_condim[:, None], nominal.geom_condim[None, :]) > 1
    apart = nominal.geom_bodyid[:, None] != nominal.geom_bodyid[None, :]
    return bool((((affine | affine.T) != 0) & rough & apart).any())
