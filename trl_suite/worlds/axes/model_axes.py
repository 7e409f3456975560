"""The axes of variation: each is an edit of the model before it is compiled, or of the task.

An edit of a live model would leave what MuJoCo derives from it stale; here the compiler derives everything anew.
What each axis promises of the compiled model, and that it does, is in `promises`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes.backlash import backlash
from trl_suite.worlds.axes.explicit import keep_muscles, scales_force, weaken_muscle, write_inertials, write_out
from trl_suite.worlds.axes.idle import feels_gravity, refuse_disabled, touches
from trl_suite.worlds.axes.shapes import length, put_back, size
from trl_suite.worlds.axes.simulator_axes import cone, contact_softness, integrator, solver
from trl_suite.worlds.axes.task_axes import TASK, edit_frame_skip
from trl_suite.worlds.axes.terrain import terrain
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
from trl_suite.worlds.terms.model_sensors import align_with_gravity

_FIXED, _AFFINE = int(mujoco.mjtGain.mjGAIN_FIXED), int(mujoco.mjtGain.mjGAIN_AFFINE)
_MUSCLE, _NO_BIAS = int(mujoco.mjtGain.mjGAIN_MUSCLE), int(mujoco.mjtBias.mjBIAS_NONE)
_BIASES = (_NO_BIAS, int(mujoco.mjtBias.mjBIAS_AFFINE), int(mujoco.mjtBias.mjBIAS_MUSCLE))
_BODY = int(mujoco.mjtTrn.mjTRN_BODY)
_LINEAR = slice(0, 3)  # the numbers of a gain or a bias that a force is linear in


class Axis(NamedTuple):
    """An axis, in words for the reader and as an edit of (uncompiled model, nominal model, change)."""

    about: str
    edit: Callable[[mujoco.MjSpec, mujoco.MjModel, Any], None]


def gravity(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Gravity) -> None:
    """Scale and tilt gravity, or replace its vector (m/s²).

    Raises:
        InputError: nothing in this model can feel it.
    """
    change = change if isinstance(change, Gravity) else Gravity(scale=change)
    refuse_disabled(nominal, "gravity")
    if change.value is not None:
        model.option.gravity = np.array(change.value)
        align_with_gravity(model.option, (sensor.name for sensor in model.sensors))
        return
    if not feels_gravity(nominal):
        raise InputError("no joint feels it")
    angle = np.deg2rad(change.tilt or 0.0)
    x, y, z = nominal.opt.gravity * (change.scale or 1.0)
    turned = (x * np.cos(angle) + z * np.sin(angle), y, z * np.cos(angle) - x * np.sin(angle))
    model.option.gravity = np.array(turned if angle else (x, y, z))
    align_with_gravity(model.option, (sensor.name for sensor in model.sensors))


def mass(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Mass | tuple[Mass, ...]) -> None:
    """Scale or set the mass of bodies; their inertia follows, and every other body keeps its own.

    Raises:
        InputError: a body does not exist, has no mass, cannot move, or is changed twice.
    """
    changes = _listed(change, Mass)
    bodies = write_inertials(model, nominal)
    moving = {name for name in bodies if nominal.body_weldid[nominal.body(name).id] > 0}
    if not moving:
        raise InputError("no body that moves has a mass")
    for name, part in _assigned("body", [(part.body, part) for part in changes], bodies):
        if part.body and name not in moving:
            raise InputError(f"body '{name}' is welded to the world: its mass does nothing")
        scale = _scale(part, bodies[name].mass)
        bodies[name].mass *= scale
        bodies[name].inertia = bodies[name].inertia * scale


def friction(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Change) -> None:
    """Scale the friction of everything, or set the sliding friction of everything.

    MuJoCo takes the larger coefficient of the two geoms that touch, so robot and floor change together.

    Raises:
        InputError: nothing in this model can touch with friction.
    """
    refuse_disabled(nominal, "friction")
    if not touches(nominal):
        raise InputError("no two of its geoms can touch with friction")
    change = change if isinstance(change, Change) else Change(scale=change)
    for element in (*model.geoms, *model.pairs, *model.flexes):
        if change.scale is not None:
            element.friction = element.friction * change.scale
        else:
            sliding = 1 if len(element.friction) == 3 else 2  # a pair has two tangential coefficients
            element.friction = np.concatenate((np.full(sliding, change.value), element.friction[sliding:]))


def joint_range(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Range | tuple[Range, ...]) -> None:
    """Scale or set the range of joints: both ends where 0 lies inside, else the width from the end nearest 0.

    Raises:
        InputError: a joint does not exist or has no limits, or is changed twice.
    """
    refuse_disabled(nominal, "joint_range")
    limited = {joint.name: joint for joint in model.joints if nominal.jnt_limited[nominal.joint(joint.name).id]}
    if not limited:
        raise InputError("no joint has a range")
    named = [(part.joint, part) for part in _listed(change, Range)]
    for name, part in _assigned("limited joint", named, limited):
        limited[name].range = _new_range(limited[name].range, nominal.joint(name).range, part)


def _new_range(written: Any, compiled: Any, change: Range) -> Any:
    """Return a joint's new range in the file's unit: that of a hinge is radians only where the file says so."""
    if change.value is not None:
        return np.array(change.value) * (np.abs(written).max() / np.abs(compiled).max())
    low, high = written
    near = 0.0 if low <= 0 <= high else low if low > 0 else high
    return near + (written - near) * change.scale


def damping(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Joint | tuple[Joint, ...]) -> None:
    """Scale or set the damping of joints and tendons (N s/m, N m s/rad).

    Raises:
        InputError: a joint or tendon does not exist or has none, or is changed twice.
    """
    _of_joints("damping", model, nominal, change)


def stiffness(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Joint | tuple[Joint, ...]) -> None:
    """Scale or set the stiffness of joints and tendons (N/m, N m/rad).

    Raises:
        InputError: a joint or tendon does not exist or has none, or is changed twice.
    """
    _of_joints("stiffness", model, nominal, change)


def armature(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Joint | tuple[Joint, ...]) -> None:
    """Scale or set the armature of joints and tendons (kg, kg m²).

    Raises:
        InputError: a joint or tendon does not exist or has none, or is changed twice.
    """
    _of_joints("armature", model, nominal, change)


def frictionloss(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Joint | tuple[Joint, ...]) -> None:
    """Scale or set the dry friction of joints and tendons (N, N m).

    Raises:
        InputError: a joint or tendon does not exist or has none, or is changed twice.
    """
    _of_joints("frictionloss", model, nominal, change)


def gear(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Gear | tuple[Gear, ...]) -> None:
    """Scale or set the force (N, N m) of actuators per unit of control, at any set point that they have.

    A motor's gear does that; a servo's would move its set point, so that its gains change in place of it.

    Raises:
        InputError: an actuator does not exist, is switched off or of a kind without a gain, or is changed twice.
    """
    actuators = _actuators(model, nominal, "gear")
    named = [(part.actuator, part) for part in _listed(change, Gear)]
    for name, part in _assigned("actuator", named, actuators):
        actuator = actuators[name]
        if is_motor(actuator):
            if actuator.gear[0] == 0 and part.value is not None:
                raise InputError(f"the first number of the gear of actuator '{name}' is 0: give a scale")
            actuator.gear = actuator.gear * _scale(part, actuator.gear[0])
        elif part.scale is None:
            raise InputError(f"actuator '{name}' is no motor, and its gear not its force: give a scale")
        else:
            _strengthen(actuator, part.scale)


def is_motor(actuator: Any) -> bool:
    """Return whether an actuator's force is its gear times a gain times its control, and nothing else."""
    plain = int(actuator.gaintype) == _FIXED and int(actuator.biastype) == _NO_BIAS
    loss = np.any(actuator.damping) or np.any(actuator.armature)
    return plain and int(actuator.trntype) != _BODY and not loss


def _strengthen(actuator: Any, scale: float) -> None:
    """Scale an actuator's force at every control and state by its gains."""
    gain, bias = int(actuator.gaintype), int(actuator.biastype)
    if gain not in (_FIXED, _AFFINE, _MUSCLE) or bias not in _BIASES:
        name = mujoco.mjtGain(gain).name.removeprefix("mjGAIN_").lower()
        raise InputError(f"actuator '{actuator.name}' is of kind '{name}', whose force no single number scales")
    for field in ("gainprm", "biasprm"):
        numbers = getattr(actuator, field).copy()
        numbers[scales_force(numbers) if gain == _MUSCLE else _LINEAR] *= scale
        setattr(actuator, field, numbers)
    actuator.forcerange = actuator.forcerange * scale


def control_range(
    model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | ControlRange | tuple[ControlRange, ...]
) -> None:
    """Scale the range of actuators' controls; the action space changes with it.

    Raises:
        InputError: an actuator does not exist, has no range, or is changed twice.
    """
    actuators = _actuators(model, nominal, "control_range")
    limited = {name: element for name, element in actuators.items() if nominal.actuator(name).ctrllimited[0]}
    if not limited:
        raise InputError("no control of it has a range")
    parts = _listed(change, ControlRange)
    for part in parts:
        if part.actuator in actuators and part.actuator not in limited:
            raise InputError(f"the control of actuator '{part.actuator}' has no range")
    named = [(part.actuator, part) for part in parts]
    for name, part in _assigned("actuator", named, limited, actuators):
        limited[name].ctrlrange = nominal.actuator(name).ctrlrange * part.scale


def cripple(model: mujoco.MjSpec, nominal: mujoco.MjModel, names: tuple[str, ...]) -> None:
    """Cut actuators off: their controls do nothing any more.

    Raises:
        InputError: an actuator does not exist, or none is named.
    """
    actuators = _actuators(model, nominal, "cripple")
    if not names:
        raise InputError("which actuators?")
    for name in names:
        if name not in actuators:
            raise unknown("actuator", name, actuators)
        if int(actuators[name].gaintype) == _MUSCLE:
            weaken_muscle(actuators[name])  # without a gear its length would have no range
        elif int(actuators[name].trntype) == _BODY:
            _strengthen(actuators[name], 0.0)  # adhesion knows no gear
        else:
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
    change = change if isinstance(change, Timestep) else Timestep(scale=change)
    model.option.timestep = nominal.opt.timestep * _scale(change, nominal.opt.timestep)
    if model.option.timestep > 0.1:
        raise InputError(f"a timestep is 0.1 s at most, not {model.option.timestep:g} s")


SHAPE: dict[str, Axis] = {
    "size": Axis("size of the geoms", size),
    "length": Axis("length of the limbs", length),
}
MODEL: dict[str, Axis] = {
    "gravity": Axis("gravity", gravity),
    "mass": Axis("mass and inertia of the bodies", mass),
    "friction": Axis("friction of robot and floor", friction),
    "joint_range": Axis("range of the joints", joint_range),
    "damping": Axis("damping of the joints", damping),
    "stiffness": Axis("stiffness of the joints", stiffness),
    "armature": Axis("armature of the joints", armature),
    "frictionloss": Axis("dry friction of the joints", frictionloss),
    "gear": Axis("force per unit of control", gear),
    "control_range": Axis("range of the controls", control_range),
    "cripple": Axis("motors that no longer pull", cripple),
    "fluid": Axis("medium and wind", fluid),
    "timestep": Axis("timestep of the simulation", timestep),
    "integrator": Axis("scheme that integrates motion", integrator),
    "solver": Axis("algorithm that solves contacts and limits", solver),
    "cone": Axis("cone that bounds friction", cone),
    "contact_softness": Axis("time constant of the contacts", contact_softness),
    "terrain": Axis("uneven ground", terrain),
    "backlash": Axis("play between motors and links", backlash),  # last: it adds joints to those that others change
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
    shaped, start = SHAPE.keys() & changed.keys(), nominal
    write_out(model, nominal, shaped=bool(shaped))
    for name in (name for name in SHAPE if name in shaped):
        _apply(name, SHAPE[name], model, nominal, changed[name])
        edited = compile_it(model)
        nominal = compile_it(model) if name == "size" and put_back(model, nominal, edited) else edited
    for name, axis in MODEL.items():
        if name in changed:
            _apply(name, axis, model, nominal, changed[name])
    if any(int(actuator.gaintype) == _MUSCLE for actuator in model.actuators):
        keep_muscles(model, start, compile_it(model))


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


def _actuators(model: mujoco.MjSpec, nominal: mujoco.MjModel, axis: str) -> dict[str, Any]:
    """Return the actuators by name, all of them switched on."""
    refuse_disabled(nominal, axis)
    off = int(nominal.opt.disableactuator)
    actuators = {actuator.name: actuator for actuator in model.actuators if not off >> max(int(actuator.group), 0) & 1}
    if not actuators:
        raise InputError("all of its actuators are switched off by their group")
    return actuators


def _of_joints(field: str, model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Any) -> None:
    """Change a property of joints and tendons; a scale without a name is of all that have the property."""
    refuse_disabled(nominal, field)
    elements = {f"joint '{joint.name}'": joint for joint in model.joints}
    elements |= {f"tendon '{tendon.name}'": tendon for tendon in model.tendons}
    having = {name: element for name, element in elements.items() if np.any(getattr(element, field))}
    changes, pairs = _listed(change, Joint), list[tuple[str, Joint]]()
    for part in changes:
        name = _joint_or_tendon(part, model)
        if not name and not having:
            raise InputError(f"no joint{' or tendon' if model.tendons else ''} has {field}")
        if name and part.value is None and name not in having:
            raise InputError(f"{name} has no {field} to scale: give a value")
        pairs += [(element, part) for element in ([name] if name else having)]
    for name, part in _once(pairs):
        old = getattr(elements[name], field)
        if part.scale is not None:
            setattr(elements[name], field, old * part.scale)
        else:  # the first number is the linear coefficient, where there are several
            setattr(elements[name], field, np.array([part.value, *old[1:]]) if np.ndim(old) else part.value)


def _joint_or_tendon(change: Joint, model: mujoco.MjSpec) -> str:
    """Return which joint or tendon a change is of, in words, "" where it is of all."""
    for kind, name, elements in (("joint", change.joint, model.joints), ("tendon", change.tendon, model.tendons)):
        if name:
            names = [element.name for element in elements]
            if name not in names:
                raise unknown(kind, name, names)
            return f"{kind} '{name}'"
    return ""


def _once(pairs: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """Return pairs of an element in words and its change; no element stands twice."""
    changed: set[str] = set()
    for name, _ in pairs:
        if name in changed:
            raise InputError(f"{name} is changed twice")
        changed.add(name)
    return pairs


def _listed(change: Any, kind: type[Any]) -> tuple[Any, ...]:
    if isinstance(change, tuple):
        return change
    return (change if isinstance(change, kind) else kind(scale=change),)


def _assigned(
    kind: str, named: Sequence[tuple[str, Any]], every: dict[str, Any], names: dict[str, Any] | None = None
) -> list[tuple[str, Any]]:
    """Return (element, change) pairs; an unnamed change stands for `every` element, a named one is of `names`."""
    names = every if names is None else names
    pairs = [(element, change) for name, change in named for element in ([name] if name else every)]
    for name, _ in pairs:
        if name not in names:
            raise unknown(kind, name, names)
    _once([(f"{kind} '{name}'", change) for name, change in pairs])
    return pairs


def _scale(change: Change, nominal: float) -> float:
    return change.scale if change.scale is not None else (change.value or 0.0) / nominal
