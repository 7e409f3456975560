"""Writes into a model, before it is compiled again, what its compiler derived: an edit then moves nothing else.

A damping that follows from an inertia, or a control's range from a joint's, would change with an axis that promises
to change something else.
"""

from typing import Any

import mujoco
import numpy as np

_MUSCLE = int(mujoco.mjtGain.mjGAIN_MUSCLE)
_FORCE, _SCALE = 2, 3  # of a muscle's parameters: its peak force, and what gives it where the force is below 0
_SMALLEST = 1e-15  # mjMINVAL: MuJoCo divides by nothing below it
_NO_FULL_INERTIA = np.full(6, np.nan)


def index_of(model: mujoco.MjModel, kind: mujoco.mjtObj, name: str) -> int:
    """Return where an element stands in a compiled model, -1 where the compiler left it out."""
    return mujoco.mj_name2id(model, kind, name)


def write_out(model: mujoco.MjSpec, nominal: mujoco.MjModel, shaped: bool) -> None:
    """Write out the springs, servos, muscles and inherited ranges that `nominal` holds.

    Args:
        model: the model, not yet compiled.
        nominal: what it compiles to.
        shaped: whether places and sizes are to change: the lengths of muscles are then derived anew.
    """
    for joint in model.joints:
        index = index_of(nominal, mujoco.mjtObj.mjOBJ_JOINT, joint.name)
        if joint.springdamper.any() and index >= 0:
            joint.stiffness[0] = nominal.jnt_stiffness[index]
            joint.damping[0] = nominal.dof_damping[nominal.jnt_dofadr[index]]
            joint.springdamper = np.zeros(2)
    for actuator in model.actuators:
        index = index_of(nominal, mujoco.mjtObj.mjOBJ_ACTUATOR, actuator.name)
        if index >= 0:
            _write_out_actuator(actuator, nominal, index, shaped)


def _write_out_actuator(actuator: Any, nominal: mujoco.MjModel, index: int, shaped: bool) -> None:
    actuator.gainprm = nominal.actuator_gainprm[index].copy()
    actuator.biasprm = nominal.actuator_biasprm[index].copy()
    if actuator.inheritrange > 0:
        actuator.inheritrange = 0.0
        for limited, limits in (("ctrllimited", "ctrlrange"), ("actlimited", "actrange")):
            if getattr(nominal, f"actuator_{limited}")[index]:
                setattr(actuator, limited, 1)
                setattr(actuator, limits, getattr(nominal, f"actuator_{limits}")[index].copy())
    if not shaped and nominal.actuator_lengthrange[index].any():
        actuator.lengthrange = nominal.actuator_lengthrange[index].copy()


def scales_force(numbers: Any) -> int:
    """Return which of a muscle's numbers its peak force is proportional to."""
    return _SCALE if numbers[_FORCE] < 0 else _FORCE


def weaken_muscle(actuator: Any) -> None:
    """Take all force from a muscle, that of stretching it too."""
    for field in ("gainprm", "biasprm"):
        numbers = getattr(actuator, field).copy()
        numbers[_FORCE] = 0.0
        setattr(actuator, field, numbers)


def keep_muscles(model: mujoco.MjSpec, nominal: mujoco.MjModel, edited: mujoco.MjModel) -> bool:
    """Keep the peak force of muscles that MuJoCo derives from the inertia at every step; return whether any moved."""
    moved = False
    for actuator in model.actuators:
        index = index_of(nominal, mujoco.mjtObj.mjOBJ_ACTUATOR, actuator.name)
        if index < 0 or int(actuator.gaintype) != _MUSCLE or actuator.gainprm[_FORCE] >= 0:
            continue
        before, after = nominal.actuator_acc0[index], edited.actuator_acc0[index]
        if before == after:
            continue
        for field in ("gainprm", "biasprm"):
            numbers = getattr(actuator, field).copy()
            numbers[_SCALE] *= max(after, _SMALLEST) / max(before, _SMALLEST)
            setattr(actuator, field, numbers)
        moved = True
    return moved


def write_inertials(model: mujoco.MjSpec, nominal: mujoco.MjModel) -> dict[str, Any]:
    """Write out every body's mass and inertia; return the bodies that have a mass, by name.

    Otherwise `settotalmass` (HalfCheetah) would undo a scale of all masses without a word, and a body's change
    would move the mass of all others.
    """
    bodies: dict[str, Any] = {}
    for body in model.bodies:
        index = index_of(nominal, mujoco.mjtObj.mjOBJ_BODY, body.name)
        if index < 0 or nominal.body_mass[index] <= 0:
            continue
        bodies[body.name] = body
        body.fullinertia = _NO_FULL_INERTIA
        body.ialt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
        body.mass, body.inertia = float(nominal.body_mass[index]), nominal.body_inertia[index]
        body.ipos, body.iquat = nominal.body_ipos[index], nominal.body_iquat[index]
        body.explicitinertial = True
    if model.compiler.inertiafromgeom == mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_TRUE:
        model.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO
    model.compiler.settotalmass = -1
    model.compiler.boundmass = model.compiler.boundinertia = 0.0
    return bodies
