"""The forces of actuators at a few states and controls, as MuJoCo computes them from a compiled model."""

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

_SAMPLED_STATES = 3
_BODY = int(mujoco.mjtTrn.mjTRN_BODY)  # adhesion: its moment needs a contact, its force does not


def common_limits(first: mujoco.MjModel, second: mujoco.MjModel) -> NDArray[np.float64]:
    """Return the controls that two models both allow (2, actuators): -1 to 1 where there is no range."""
    low, high = (np.full(first.nu, number) for number in (-1.0, 1.0))
    for model in (first, second):
        limited = model.actuator_ctrllimited.astype(bool)
        low[limited] = np.maximum(low[limited], model.actuator_ctrlrange[limited, 0])
        high[limited] = np.minimum(high[limited], model.actuator_ctrlrange[limited, 1])
    return np.array([np.minimum(low, high), high])


def effects(model: mujoco.MjModel, limits: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """Return each actuator's force on each degree of freedom (states, actuators, nv); of adhesion the bare force.

    Args:
        model: the compiled model.
        limits: between which the controls are drawn (2, actuators).
        seed: of the states and the controls.
    """
    rng = np.random.default_rng(seed)
    data = mujoco.MjData(model)
    forces = np.zeros((_SAMPLED_STATES, model.nu, max(model.nv, 1)))
    for row in range(_SAMPLED_STATES):
        mujoco.mj_resetData(model, data)
        mujoco.mj_integratePos(model, data.qpos, rng.uniform(-1, 1, model.nv), 0.3)
        data.qvel[:], data.act[:] = rng.uniform(-1, 1, model.nv), rng.uniform(0, 1, model.na)
        data.ctrl[:] = rng.uniform(*limits)
        mujoco.mj_fwdPosition(model, data)
        mujoco.mj_fwdVelocity(model, data)
        mujoco.mj_fwdActuation(model, data)
        forces[row, :, : model.nv] = data.actuator_force[:, None] * _moments(model, data)
        bodily = model.actuator_trntype == _BODY
        forces[row, bodily] = 0.0
        forces[row, bodily, 0] = data.actuator_force[bodily]
    return forces


def _moments(model: mujoco.MjModel, data: Any) -> NDArray[np.float64]:
    """Return how each actuator's force acts on each degree of freedom (actuators, nv)."""
    moments = np.zeros((model.nu, model.nv))
    for index in range(model.nu):
        first, count = int(data.moment_rowadr[index]), int(data.moment_rownnz[index])
        columns = data.moment_colind.reshape(-1)[first : first + count]
        moments[index, columns] = data.actuator_moment.reshape(-1)[first : first + count]
    return moments
