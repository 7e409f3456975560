"""Axes that would do nothing to a compiled model: what they change is switched off in it, or nothing can feel it."""

import mujoco
import numpy as np

from trl_suite.errors import InputError

_BITS = mujoco.mjtDisableBit
_DISABLING_BITS: dict[str, dict[str, int]] = {
    "gravity": {"gravity": _BITS.mjDSBL_GRAVITY},
    "friction": {"contact": _BITS.mjDSBL_CONTACT, "constraint": _BITS.mjDSBL_CONSTRAINT},
    "joint_range": {"limit": _BITS.mjDSBL_LIMIT, "constraint": _BITS.mjDSBL_CONSTRAINT},
    "damping": {"damper": _BITS.mjDSBL_DAMPER},
    "stiffness": {"spring": _BITS.mjDSBL_SPRING},
    "frictionloss": {"frictionloss": _BITS.mjDSBL_FRICTIONLOSS, "constraint": _BITS.mjDSBL_CONSTRAINT},
    "gear": {"actuation": _BITS.mjDSBL_ACTUATION},
    "control_range": {"actuation": _BITS.mjDSBL_ACTUATION},
    "terrain": {"contact": _BITS.mjDSBL_CONTACT, "constraint": _BITS.mjDSBL_CONSTRAINT},
    "backlash": {"limit": _BITS.mjDSBL_LIMIT, "constraint": _BITS.mjDSBL_CONSTRAINT},
    "cripple": {"actuation": _BITS.mjDSBL_ACTUATION},
}


def refuse_disabled(model: mujoco.MjModel, axis: str) -> None:
    """Refuse an axis of something that the model's flags switch off.

    Raises:
        InputError: they do.
    """
    for flag, bit in _DISABLING_BITS.get(axis, {}).items():
        if model.opt.disableflags & int(bit):
            raise InputError(f"the model switches it off: <flag {flag}='disable'/>")
    if axis == "friction" and model.opt.enableflags & int(mujoco.mjtEnableBit.mjENBL_OVERRIDE):
        raise InputError("the model gives all contacts one friction: <flag override='enable'/>")


def feels_gravity(model: mujoco.MjModel) -> bool:
    """Return whether gravity moves any joint, tried in a pose off the symmetric ones; without any, nothing can tell."""
    if not model.opt.gravity.any():
        return False
    nominal = model.opt.gravity.copy()
    try:
        heavy = _passive_forces(model)
        model.opt.gravity[:] = 0.0
        weightless = _passive_forces(model)
    finally:
        model.opt.gravity[:] = nominal
    return bool(np.abs(heavy - weightless).max(initial=0.0) > 1e-9)


def _passive_forces(model: mujoco.MjModel) -> np.ndarray:
    """Return the forces of gravity, springs and compensation on each degree of freedom (nv,)."""
    data = mujoco.MjData(model)
    data.qpos[:] += 0.1 + 0.01 * np.arange(model.nq)
    mujoco.mj_forward(model, data)
    return data.qfrc_bias - data.qfrc_passive


def touches(model: mujoco.MjModel) -> bool:
    """Return whether two geoms that move against each other can touch with friction, by MuJoCo's own filters."""
    return _pairs_touch(model) or _geoms_touch(model) or _flexes_touch(model)


def _pairs_touch(model: mujoco.MjModel) -> bool:
    welds = model.body_weldid[model.geom_bodyid]
    apart = welds[model.pair_geom1] != welds[model.pair_geom2]
    rough = (model.pair_dim > 1) & (model.pair_friction[:, 0] > 0)
    return bool((apart & rough).any())


def _geoms_touch(model: mujoco.MjModel) -> bool:
    """MuJoCo's documentation, "Computation", "Selection" of contacts: weld, parent, exclusion, type and affinity."""
    body, weld = model.geom_bodyid, model.body_weldid[model.geom_bodyid]
    affine = model.geom_contype[:, None] & model.geom_conaffinity[None, :]
    able = ((affine | affine.T) != 0) & (weld[:, None] != weld[None, :])
    if not model.opt.disableflags & int(_BITS.mjDSBL_FILTERPARENT):
        above = model.body_weldid[model.body_parentid[weld]]
        child = (above[:, None] == weld[None, :]) & (weld[None, :] > 0)
        able &= ~(child | child.T)
    for signature in model.exclude_signature:
        first, second = int(signature) >> 16, int(signature) & 0xFFFF
        excluded = (body[:, None] == first) & (body[None, :] == second)
        able &= ~(excluded | excluded.T)
    return bool((able & _rough(model)).any())


def _rough(model: mujoco.MjModel) -> np.ndarray:
    """Return which pairs of geoms touch with friction (ngeom, ngeom): the one of higher priority decides alone."""
    dimension, priority, sliding = model.geom_condim, model.geom_priority, model.geom_friction[:, 0]
    first, second = priority[:, None] > priority[None, :], priority[:, None] < priority[None, :]
    condim = np.maximum(dimension[:, None], dimension[None, :])
    condim = np.where(first, dimension[:, None], np.where(second, dimension[None, :], condim))
    friction = np.maximum(sliding[:, None], sliding[None, :])
    friction = np.where(first, sliding[:, None], np.where(second, sliding[None, :], friction))
    return (condim > 1) & (friction > 0)


def _flexes_touch(model: mujoco.MjModel) -> bool:
    if not model.nflex:
        return False
    affine = model.flex_contype[:, None] & model.geom_conaffinity[None, :]
    affine |= model.flex_conaffinity[:, None] & model.geom_contype[None, :]
    return bool((affine != 0).any() or model.flex_selfcollide.any())
