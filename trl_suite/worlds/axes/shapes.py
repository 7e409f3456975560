"""Edits of a robot's shape: the size of its geoms and the length of its limbs, masses following at constant density."""

from typing import Any

import mujoco
import numpy as np

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes.variation import Length, Size

_LONG = (int(mujoco.mjtGeom.mjGEOM_CAPSULE), int(mujoco.mjtGeom.mjGEOM_CYLINDER))
_ROOT = {"rootx", "rootz", "rooty", "root", "slider1", "slider2", "free_body_rot"}


def size(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Size | tuple[Size, ...]) -> None:
    """Scale geoms in place: all of a body, one, or all of all bodies that move.

    Raises:
        InputError: a body or geom does not exist, or a geom is changed twice.
    """
    free_total_mass(model, nominal)
    seen: set[str] = set()
    for one in change if isinstance(change, tuple) else (change,):
        for geom in _geoms(model, one):
            if geom.name in seen:
                raise InputError(f"geom '{geom.name}' is changed twice")
            seen.add(geom.name)
            _written_out(geom, nominal)
            factors = {"radius": (one.scale, 1.0), "length": (1.0, one.scale), None: (one.scale, one.scale)}[one.only]
            radius, rest = factors
            geom.size = geom.size * np.array([radius, rest, rest])


def length(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Length | tuple[Length, ...]) -> None:
    """Stretch bodies along their main geom; other geoms, child bodies and sites move along and keep their size.

    Raises:
        InputError: a body does not exist, has no long geom, or is changed twice.
    """
    free_total_mass(model, nominal)
    seen: set[str] = set()
    for one in change if isinstance(change, tuple) else (change,):
        if one.body in seen:
            raise InputError(f"body '{one.body}' is changed twice")
        seen.add(one.body)
        _stretch(model, nominal, one)


def _stretch(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Length) -> None:
    bodies = {body.name: body for body in model.bodies if body.name != "world"}
    if change.body not in bodies:
        raise unknown("body", change.body, bodies)
    body = bodies[change.body]
    main = _main(body, change)
    for geom in body.geoms:
        _written_out(geom, nominal)
    joints = [joint for joint in body.joints if joint.name not in _ROOT]
    fixed = np.array(change.about) if change.about else joints[0].pos.copy() if joints else np.zeros(3)
    axis = _direction(main.quat)
    shift = change.scale - 1.0
    for moved in (*body.geoms, *body.sites, *joints):
        moved.pos = moved.pos + shift * np.dot(moved.pos - fixed, axis) * axis
    for child in body.bodies:  # goes with the place that it hangs on, its joint: its frame may lie elsewhere
        child.pos = child.pos + shift * np.dot(_hung_on(child) - fixed, axis) * axis
    main.size = main.size * np.array([1.0, change.scale, 1.0])


def _hung_on(child: Any) -> Any:
    """Return the place of a body's first joint in its parent's frame, that of the body where it has none."""
    joint = child.joints[0].pos if child.joints else np.zeros(3)
    return child.pos + _turned(child.quat, joint)


def _main(body: Any, change: Length) -> Any:
    long = {geom.name: geom for geom in body.geoms if int(geom.type) in _LONG}
    if not long:
        raise InputError(f"body '{body.name}' has no capsule or cylinder to stretch")
    if change.geom and change.geom not in long:
        raise unknown("long geom", change.geom, long)
    return long[change.geom] if change.geom else next(iter(long.values()))


def _geoms(model: mujoco.MjSpec, change: Size) -> list[Any]:
    moving = [geom for body in model.bodies if body.name != "world" for geom in body.geoms]
    if change.geom:
        found = [geom for geom in moving if geom.name == change.geom]
        if not found:
            raise unknown("geom", change.geom, [geom.name for geom in moving])
        return found
    if not change.body:
        return moving
    bodies = {body.name: body for body in model.bodies if body.name != "world"}
    if change.body not in bodies:
        raise unknown("body", change.body, bodies)
    return list(bodies[change.body].geoms)


def _written_out(geom: Any, nominal: mujoco.MjModel) -> None:
    """Write a geom as place, turn and size: where the file gives its two ends, an edit of its size would be lost."""
    if np.isnan(geom.fromto).all() and geom.alt.type == mujoco.mjtOrientation.mjORIENTATION_QUAT:
        return
    index = nominal.geom(geom.name).id
    geom.fromto = np.full(6, np.nan)
    geom.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
    geom.pos, geom.quat, geom.size = nominal.geom_pos[index], nominal.geom_quat[index], nominal.geom_size[index]


def free_total_mass(model: mujoco.MjSpec, nominal: mujoco.MjModel) -> None:
    """Write `settotalmass` (HalfCheetah) into the densities: a body's new shape then leaves the other masses alone."""
    if model.compiler.settotalmass <= 0:
        return
    model.compiler.settotalmass = -1
    scale = nominal.body_mass.sum() / model.compile().body_mass.sum()
    for geom in model.geoms:
        if np.isnan(geom.mass):
            geom.density *= scale
        else:
            geom.mass *= scale


def _direction(quaternion: Any) -> Any:
    """Return the z axis of a geom in its body's frame."""
    return _turned(quaternion, np.array((0.0, 0.0, 1.0)))


def _turned(quaternion: Any, vector: Any) -> Any:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quaternion / np.linalg.norm(quaternion))
    return matrix.reshape(3, 3) @ vector
