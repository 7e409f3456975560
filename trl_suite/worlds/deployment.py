"""Facts of an env that a controller needs to run its policies: rate, scales, default pose and gains."""

from typing import Any

import mujoco
import numpy as np

from trl_suite.interface import Deployment
from trl_suite.worlds.stepping.env import RobotEnv, interface_of, make
from trl_suite.worlds.terms.play_joints import seen_joints

_SINGLE_AXIS = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
_ON_JOINT = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))


def deployment_of(address: str) -> Deployment:
    """Facts of the env at an address; those that are not MuJoCo's have a rate at most.

    Raises:
        InputError: there is no such env.
    """
    env = make(address)
    try:
        raw: Any = env.unwrapped
        seconds = getattr(raw, "dt", None)
        rate = 1.0 / float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None
        model = getattr(raw, "model", None)
        if not isinstance(model, mujoco.MjModel) or env.action_space.shape != (model.nu,):
            return Deployment(control_hz=rate)
        if isinstance(raw, RobotEnv) and raw.table.displacement is not None:  # its actions are no controls
            return Deployment(control_hz=rate)
        pose = getattr(raw, "nominal_position", None)
        names = interface_of(env).action_names
        return _of_model(model, np.asarray(model.qpos0 if pose is None else pose), rate, names)
    finally:
        env.close()


def _of_model(model: mujoco.MjModel, pose: np.ndarray, rate: float | None, names: tuple[str, ...]) -> Deployment:
    joints = [index for index in seen_joints(model) if int(model.jnt_type[index]) in _SINGLE_AXIS]
    gains = {joint: _gains(model, joint) for joint in joints}
    return Deployment(
        control_hz=rate,
        action_names=names,
        action_scale=tuple(_scale(model, actuator) for actuator in range(model.nu)),
        action_offset=(0.0,) * model.nu,
        joint_names=tuple(model.joint(joint).name for joint in joints),
        default_joint_pos=tuple(float(pose[model.jnt_qposadr[joint]]) for joint in joints),
        joint_stiffness=tuple(gains[joint][0] for joint in joints),
        joint_damping=tuple(gains[joint][1] for joint in joints),
    )


def _is_servo(model: mujoco.MjModel, actuator: int) -> bool:
    return int(model.actuator_biastype[actuator]) == int(mujoco.mjtBias.mjBIAS_AFFINE)


def _scale(model: mujoco.MjModel, actuator: int) -> float:
    """Force or torque per unit of a motor's action; 1 of a servo, whose action is its set point."""
    if _is_servo(model, actuator):
        return 1.0
    return float(model.actuator_gear[actuator, 0] * model.actuator_gainprm[actuator, 0])


def _gains(model: mujoco.MjModel, joint: int) -> tuple[float, float]:
    """Stiffness and damping that servos give a joint: force = gear (kp ctrl + bias q gear + bias' v gear)."""
    stiffness = damping = 0.0
    for actuator in range(model.nu):
        on_joint = int(model.actuator_trntype[actuator]) in _ON_JOINT and model.actuator_trnid[actuator, 0] == joint
        if on_joint and _is_servo(model, actuator):
            gear = float(model.actuator_gear[actuator, 0])
            stiffness -= gear * gear * float(model.actuator_biasprm[actuator, 1])
            damping -= gear * gear * float(model.actuator_biasprm[actuator, 2])
    return stiffness, damping
