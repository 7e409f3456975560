"""Robots whose shape is a number, built with MjSpec: n links, n legs, n poles; every element has a name.

Where a member of a family is one of Gymnasium's robots, it has that robot's slots.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import mujoco
import numpy as np

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.model.measured_robots import arm, arm_with_gripper, arm_with_object, hand_with_valve, quadruped

_CAPSULE, _SPHERE, _PLANE = mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_PLANE
_HINGE, _SLIDE, _FREE = mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_FREE
_RK4 = mujoco.mjtIntegrator.mjINT_RK4
_GROUND = (0.8, 0.9, 0.8, 1.0)
_SKIN = (0.8, 0.6, 0.4, 1.0)


class Family(NamedTuple):
    """A family of robots: how one is built, and between which numbers."""

    build: Callable[[int], mujoco.MjSpec]
    number: str  # what is counted
    least: int
    most: int


def build(family: str, shape: Mapping[str, int]) -> mujoco.MjSpec:
    """Return the robot of a family that has the given number of links, legs or poles.

    Raises:
        InputError: there is no such family, or none of that number.
    """
    if family not in FAMILIES:
        raise unknown("family", family, FAMILIES)
    kind = FAMILIES[family]
    for name in shape:
        if name != kind.number:
            raise unknown("number", name, [kind.number], f"shape of {family}")
    count = shape.get(kind.number, 0)
    if not kind.least <= count <= kind.most:
        raise InputError(f"shape: {kind.number} is from {kind.least} to {kind.most}, not {count}")
    return kind.build(count)


def swimmer(links: int) -> mujoco.MjSpec:
    """Return a swimmer of n links of 1 m in a viscous fluid: of three, Gymnasium's."""
    spec = _model("swimmer", timestep=0.01)
    spec.option.density, spec.option.viscosity, spec.option.integrator = 4000.0, 0.1, _RK4
    _ground(spec, -0.1, contype=0, conaffinity=0)
    names = ["torso", "mid", "back", *(f"link_{number}" for number in range(4, links + 1))]
    body = spec.worldbody.add_body(name="torso")
    _joint(body, "slider1", _SLIDE, (1, 0, 0), armature=0.1)
    _joint(body, "slider2", _SLIDE, (0, 1, 0), armature=0.1)
    _joint(body, "free_body_rot", _HINGE, (0, 0, 1), armature=0.1)
    _limb(body, "torso_geom", (1.5, 0, 0), (0.5, 0, 0), 0.1, contype=0, conaffinity=0, density=1000.0)
    for number in range(1, links):
        body = body.add_body(name=names[number], pos=(0.5 if number == 1 else -1.0, 0, 0))
        _limb(body, f"{names[number]}_geom", (0, 0, 0), (-1, 0, 0), 0.1, contype=0, conaffinity=0, density=1000.0)
        _joint(body, f"motor{number}_rot", _HINGE, (0, 0, 1), armature=0.1, limits=(-100, 100))
        _motor(spec, f"motor{number}_rot", 150.0)
    return spec


def reacher(links: int) -> mujoco.MjSpec:
    """Return an arm of n links, 0.2 m in all, and a target in the plane: of two links, Gymnasium's."""
    spec = _model("reacher", timestep=0.01)
    spec.option.integrator = _RK4
    spec.worldbody.add_geom(
        name="ground", type=_PLANE, size=(1, 1, 10), rgba=(0.9, 0.9, 0.9, 1), contype=0, conaffinity=0
    )
    reach, body = 0.2 / links, spec.worldbody
    for number in range(links):
        place = (0, 0, 0.01) if number == 0 else (reach, 0, 0)
        body = body.add_body(name=f"body{number}", pos=place)
        limits = None if number == 0 else (-np.rad2deg(3.0), np.rad2deg(3.0))
        _joint(body, f"joint{number}", _HINGE, (0, 0, 1), armature=1.0, damping=1.0, limits=limits)
        _limb(body, f"link{number}", (0, 0, 0), (reach, 0, 0), 0.01, contype=0, conaffinity=1, rgba=(0, 0.4, 0.6, 1))
        _motor(spec, f"joint{number}", 200.0)
    tip = body.add_body(name="fingertip", pos=(reach + 0.01, 0, 0))
    tip.add_geom(name="fingertip", type=_SPHERE, size=(0.01, 0, 0), rgba=(0, 0.8, 0.6, 1), contype=0)
    target = spec.worldbody.add_body(name="target", pos=(0.1, -0.1, 0.01))
    _joint(target, "target_x", _SLIDE, (1, 0, 0), limits=(-0.27, 0.27), ref=0.1)
    _joint(target, "target_y", _SLIDE, (0, 1, 0), limits=(-0.27, 0.27), ref=-0.1)
    target.add_geom(name="target", type=_SPHERE, size=(0.009, 0, 0), rgba=(0.9, 0.2, 0.2, 1), contype=0, conaffinity=0)
    return spec


def ant(legs: int) -> mujoco.MjSpec:
    """Return an ant of n legs around its torso: of four, Gymnasium's, its motors in that one's order."""
    spec = _model("ant", timestep=0.01)
    spec.option.integrator = _RK4
    rough: dict[str, Any] = {"friction": (1, 0.5, 0.5), "margin": 0.01, "density": 5.0, "condim": 3}
    _ground(spec, 0.0, conaffinity=1, **rough)
    torso = spec.worldbody.add_body(name="torso", pos=(0, 0, 0.75))
    torso.add_geom(name="torso_geom", type=_SPHERE, size=(0.25, 0, 0), rgba=_SKIN, contype=1, conaffinity=0, **rough)
    torso.add_joint(name="root", type=_FREE, margin=0.01)
    names = ["front_left_leg", "front_right_leg", "back_leg", "right_back_leg", "leg_5", "leg_6"]
    for leg in range(legs):
        _leg(torso, leg, names[leg], np.deg2rad(45.0 + 360.0 * leg / legs), rough)
    for leg in (legs, *range(1, legs)):  # Gymnasium's order
        _motor(spec, f"hip_{leg}", 150.0)
        _motor(spec, f"ankle_{leg}", 150.0)
    return spec


def _leg(torso: Any, leg: int, name: str, angle: float, rough: Mapping[str, Any]) -> None:
    """Add a leg that points away from the torso; hips turn about z, ankles about the leg's horizontal normal."""
    number, x, y = leg + 1, np.cos(angle), np.sin(angle)
    hip, shank = 0.2 * np.sqrt(2), 0.4 * np.sqrt(2)
    near, far = np.array((hip * x, hip * y, 0.0)), np.array((shank * x, shank * y, 0.0))
    solid = {**rough, "contype": 1, "conaffinity": 0}
    first = torso.add_body(name=name)
    _limb(first, f"{name}_geom", (0, 0, 0), near, 0.08, **solid)
    second = first.add_body(name=f"aux_{number}", pos=near)
    joint: dict[str, Any] = {"armature": 1.0, "damping": 1.0}
    _joint(second, f"hip_{number}", _HINGE, (0, 0, 1), limits=(-30, 30), **joint)
    _limb(second, f"aux_{number}_geom", (0, 0, 0), near, 0.08, **solid)
    third = second.add_body(name=f"ankle_{number}", pos=near)
    turned = x < -1e-9  # as in Gymnasium's, whose left legs turn the other way
    axis, limits = ((y, -x, 0), (-70, -30)) if turned else ((-y, x, 0), (30, 70))
    _joint(third, f"ankle_{number}", _HINGE, axis, limits=limits, **joint)
    _limb(third, f"ankle_{number}_geom", (0, 0, 0), far, 0.08, **solid)


def cart(poles: int) -> mujoco.MjSpec:
    """Return a cart with n poles, one on the other, 1.2 m in all: of two, Gymnasium's double pendulum."""
    spec = _model("cart", timestep=0.01)
    spec.option.integrator = _RK4
    spec.option.gravity = np.array((1e-5, 0, -9.81))
    across = (0.707, 0, 0.707, 0)
    spec.worldbody.add_geom(
        name="rail", type=_CAPSULE, size=(0.02, 1, 0), quat=across, rgba=(0.3, 0.3, 0.7, 1), contype=0
    )
    body = spec.worldbody.add_body(name="cart")
    _joint(body, "slider", _SLIDE, (1, 0, 0), damping=0.05, limits=(-1, 1), margin=0.01)
    body.add_geom(name="cart", type=_CAPSULE, size=(0.1, 0.1, 0), quat=across, rgba=(0.7, 0.7, 0, 1), contype=0)
    pole_length = 1.2 / poles
    for number in range(1, poles + 1):
        suffix = "" if number == 1 else str(number)
        body = body.add_body(name=f"pole{suffix}", pos=(0, 0, 0 if number == 1 else pole_length))
        _joint(body, f"hinge{suffix}", _HINGE, (0, 1, 0), damping=0.05)
        _limb(body, f"cpole{suffix}", (0, 0, 0), (0, 0, pole_length), 0.045, contype=0, rgba=(0, 0.7, 0.7, 1))
    body.add_site(name="tip", pos=(0, 0, pole_length), size=(0.01, 0.01, 0.01))
    _motor(spec, "slider", 500.0, name="slide")
    return spec


FAMILIES = {
    "swimmer": Family(swimmer, "links", 2, 12),
    "reacher": Family(reacher, "links", 1, 8),
    "ant": Family(ant, "legs", 3, 6),
    "cart": Family(cart, "poles", 2, 4),
    "quadruped": Family(quadruped, "pairs", 2, 3),
    "arm": Family(arm, "joints", 3, 7),
    "arm-with-object": Family(arm_with_object, "joints", 3, 7),
    "arm-with-gripper": Family(arm_with_gripper, "joints", 5, 7),
    "hand-with-valve": Family(hand_with_valve, "fingers", 2, 5),
}


def _model(name: str, timestep: float) -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    spec.modelname = name
    spec.compiler.degree = True
    spec.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_TRUE
    spec.option.timestep = timestep
    spec.worldbody.add_light(name="sun", pos=(0, 0, 3), dir=(0, 0, -1), diffuse=(1, 1, 1))
    return spec


def _ground(spec: mujoco.MjSpec, height: float, **fields: Any) -> None:
    spec.worldbody.add_geom(name="floor", type=_PLANE, size=(40, 40, 40), pos=(0, 0, height), rgba=_GROUND, **fields)


def _limb(body: Any, name: str, start: Any, end: Any, radius: float, **fields: Any) -> None:
    ends = (*start, *end)
    body.add_geom(name=name, type=_CAPSULE, fromto=ends, size=(radius, 0, 0), **{"rgba": _SKIN, **fields})


def _joint(body: Any, name: str, kind: int, axis: Any, limits: Any = None, damping: float = 0.0, **fields: Any) -> None:
    limited = {"limited": 1, "range": limits} if limits is not None else {"limited": 0}
    body.add_joint(name=name, type=kind, axis=axis, damping=(damping, 0, 0), **limited, **fields)


def _motor(spec: mujoco.MjSpec, joint: str, gear: float, name: str = "") -> None:
    spec.add_actuator(
        name=name or joint,
        target=joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        gear=(gear, 0, 0, 0, 0, 0),
        ctrllimited=1,
        ctrlrange=(-1, 1),
    )
