"""The arm with a gripper: its task can be solved."""

import mujoco
import numpy as np
import pytest

from trl_suite.worlds.model.families import build
from trl_suite.worlds.stepping.env import RobotEnv

COLUMN, UPPER, FORE, TOOL = 0.333, 0.316, 0.384, 0.107 + 0.1034  # m
CLOSED_AT, RAISED_FROM = 50, 65  # control steps


def pointing_down(place: np.ndarray) -> np.ndarray:
    """Positions of the five joints that hold the gripper at a place (3,), pointing down, its fingers along y."""
    reach, height = np.hypot(*place[:2]), place[2] + TOOL - COLUMN
    elbow = np.arccos((reach**2 + height**2 - UPPER**2 - FORE**2) / (2 * UPPER * FORE))
    shoulder = np.arctan2(reach, height) - np.arctan2(FORE * np.sin(elbow), UPPER + FORE * np.cos(elbow))
    yaw = np.arctan2(place[1], place[0])
    return np.array([yaw, shoulder, elbow, np.pi - shoulder - elbow, yaw])


def grasp(step: int, cube: np.ndarray) -> tuple[np.ndarray, float]:
    """Place of the gripper (3,), and its control: above the cube, down, closed, up."""
    height = np.interp(step, [30, CLOSED_AT, RAISED_FROM, 105], [0.12, 0.02, 0.02, 0.25])
    return np.array([cube[0], cube[1], height]), 1.0 if step < CLOSED_AT else -1.0


def lifted(variant: str | None, seed: int) -> bool:
    """Whether the scripted policy raises the cube: servos are told to hold against gravity too."""
    env = RobotEnv("arm-lift", variant)
    env.reset(seed=seed)
    cube, pose = env.data.body("object").xpos.copy(), env.nominal_position[:5]
    stiffness = -env.model.actuator_biasprm[:5, 1]
    success = False
    for step in range(140):
        place, grip = grasp(step, cube)
        joints = pointing_down(place) + env.data.qfrc_bias[:5] / stiffness
        *_, info = env.step(np.array([*(joints - pose), grip], np.float32))
        success = info["is_success"]
    return success


@pytest.mark.parametrize(
    ("variant", "succeeds"),
    [(None, True), ("cube-1", True), ("long-fingers-1.5", True), ("inverted-actions", False)],
)
def test_a_scripted_policy_lifts_the_cube(variant: str | None, succeeds: bool):
    assert lifted(variant, seed=1) is succeeds


def test_a_scripted_policy_lifts_the_cube_by_displacing_the_hand():
    env = RobotEnv("arm-lift-displacement")
    env.reset(seed=1)
    cube, info = env.data.body("object").xpos.copy(), {}
    for step in range(140):
        place, grip = grasp(step, cube)
        way = 0.3 * (place - env.data.site("tip").xpos) / env.table.displacement.scale
        *_, info = env.step(np.array([*way.clip(-1, 1), 0.0, grip], np.float32))
    assert info["is_success"]


def test_the_fingers_are_one_gripper_of_the_hands_stroke():
    model = build("arm-with-gripper", {"joints": 5}).compile()
    left, right = model.joint("finger_left"), model.joint("finger_right")
    assert (left.range + right.range).tolist() == [0.0, 0.08]
    data = mujoco.MjData(model)
    data.qpos[left.qposadr] = data.qpos[right.qposadr] = 0.02
    mujoco.mj_forward(model, data)
    pads = [model.geom(name) for name in ("pad_left", "pad_right")]
    gap = data.geom("pad_left").xpos - data.geom("pad_right").xpos
    assert np.linalg.norm(gap) - sum(pad.size[1] for pad in pads) == pytest.approx(0.04)
    assert data.body("gripper").xpos == pytest.approx((data.geom("pad_left").xpos + data.geom("pad_right").xpos) / 2)
