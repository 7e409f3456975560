"""Joints that a variant adds between a motor's joint and its link, and that no table sees; knows no task.

A model has them under the axis `backlash` alone. Slots, first positions and rewards are of the other joints, so that
an env with play has the numbers of the env without.
"""

from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

PLAY_SUFFIX = "~play"  # after the name of the motor's joint
_POSITION_WIDTHS = {int(mujoco.mjtJoint.mjJNT_FREE): 7, int(mujoco.mjtJoint.mjJNT_BALL): 4}
_VELOCITY_WIDTHS = {int(mujoco.mjtJoint.mjJNT_FREE): 6, int(mujoco.mjtJoint.mjJNT_BALL): 3}


class SeenNumbers(NamedTuple):
    """Indices of the numbers of a state that belong to joints which a table sees."""

    positions: NDArray[np.intp]  # among qpos
    velocities: NDArray[np.intp]  # among qvel


def is_play(model: mujoco.MjModel, joint: int) -> bool:
    """Whether a joint is the play of another."""
    return bool(model.joint(joint).name.endswith(PLAY_SUFFIX))


def seen_joints(model: mujoco.MjModel) -> list[int]:
    """Indices of the joints that a table sees, in the model's order."""
    return [index for index in range(model.njnt) if not is_play(model, index)]


def seen_numbers(model: mujoco.MjModel) -> SeenNumbers | None:
    """Numbers of the joints that a table sees; None where these are all."""
    joints = seen_joints(model)
    if len(joints) == model.njnt:
        return None
    return SeenNumbers(
        _indices(model, joints, model.jnt_qposadr, _POSITION_WIDTHS),
        _indices(model, joints, model.jnt_dofadr, _VELOCITY_WIDTHS),
    )


def seen_positions(model: mujoco.MjModel, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positions (..., nq) without those of play: a copy."""
    seen = seen_numbers(model)
    return positions.copy() if seen is None else positions[..., seen.positions]


def _indices(
    model: mujoco.MjModel, joints: list[int], addresses: NDArray[np.int32], widths: dict[int, int]
) -> NDArray[np.intp]:
    ranges = [int(addresses[joint]) + np.arange(widths.get(int(model.jnt_type[joint]), 1)) for joint in joints]
    return np.concatenate(ranges, dtype=np.intp) if ranges else np.zeros(0, np.intp)
