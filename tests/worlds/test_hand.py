"""The hand that turns a valve: its task can be solved, and it has the measures of its sources."""

from itertools import pairwise

import mujoco
import numpy as np
import pytest

from trl_suite.worlds.model.families import build
from trl_suite.worlds.stepping.env import RobotEnv

LINKS = (0.0675, 0.068)  # m: between the joints of a finger
STALL, FREE_SPEED = 3.0, 8.06  # N m, rad/s: XM430-W210 at 12 V


def angle_left(env: RobotEnv) -> float:
    """From the valve to the target, in rad, within ±π."""
    left = float(env.data.joint("target").qpos[0] - env.data.joint("valve").qpos[0])
    return (left + np.pi) % (2 * np.pi) - np.pi


def turned(variant: str | None, seed: int) -> bool:
    """Whether a scripted policy turns the valve: fingers swing with the angle that is left, and bend as they do."""
    env, info = RobotEnv("hand-turn", variant), {}
    env.reset(seed=seed)
    fingers, swing = env.model.nu // 3, 0.0
    for _ in range(100):
        left = angle_left(env)
        swing += float(np.clip(0.3 * left, -0.1, 0.1)) * (abs(left) > 0.05)
        swing = float(np.clip(swing, -1.0, 1.0))
        *_, info = env.step(np.tile(np.array([swing, abs(swing), abs(swing) / 2], np.float32), fingers))
    return bool(info["is_success"])


@pytest.mark.parametrize(
    ("variant", "seed", "succeeds"),
    [
        (None, 2, True),
        (None, 4, True),
        ("heavy-valve-4", 2, True),
        ("fingers-4", 2, True),
        ("inverted-actions", 2, False),
    ],
)
def test_a_scripted_policy_turns_the_valve(variant: str | None, seed: int, succeeds: bool):
    assert turned(variant, seed) is succeeds


def test_the_goal_is_an_angle_drawn_for_each_episode():
    env, goals = RobotEnv("hand-turn"), []
    for seed in range(20):
        env.reset(seed=seed)
        goals.append(abs(float(env.data.joint("target").qpos[0])))
    assert len(set(goals)) == 20
    assert 0.3 < min(goals) < max(goals) < 1.0


def test_a_turn_more_is_the_same_angle():
    env = RobotEnv("hand-turn")
    seen = []
    for turns in (0, 1, -2):
        env.reset(seed=0)
        env.data.joint("valve").qpos[0] = env.data.joint("target").qpos[0] + 0.05 + 2 * np.pi * turns
        mujoco.mj_forward(env.model, env.data)
        observation, reward, *_ = env.step(np.zeros(env.model.nu, np.float32))
        seen.append(np.append(observation, reward))
    assert seen[1] == pytest.approx(seen[0], abs=1e-9)
    assert seen[2] == pytest.approx(seen[0], abs=1e-9)


@pytest.mark.parametrize("fingers", [2, 3, 5])
def test_fingers_are_alike_and_of_the_sources_lengths(fingers: int):
    model = build("hand-with-valve", {"fingers": fingers}).compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    for number in range(1, fingers + 1):
        anchors = [data.joint(f"finger_{number}_{part}").xanchor for part in ("swing", "bend", "tip")]
        assert [np.linalg.norm(b - a) for a, b in pairwise(anchors)] == pytest.approx(LINKS)
        assert np.hypot(*anchors[0][:2]) == pytest.approx(0.06)
        outwards = data.joint(f"finger_{number}_swing").xaxis
        assert outwards == pytest.approx(np.append(anchors[0][:2], 0.0) / 0.06)
    lobes = [model.geom(index).name for index in range(model.ngeom) if model.geom(index).name.startswith("lobe")]
    assert len(lobes) == fingers


def test_a_joint_turns_no_faster_than_its_motor_does_without_load():
    env = RobotEnv("hand-turn")
    env.reset(seed=0)
    env.step(np.tile(np.array([0.0, -1.0, 0.0], np.float32), 3))
    speeds, forces = [], []
    joint = env.model.joint("finger_1_bend").dofadr[0]
    env.data.ctrl[:] = 0.0
    env.data.ctrl[1::3] = 1.0
    for _ in range(60):
        mujoco.mj_step(env.model, env.data)
        speeds.append(env.data.qvel[joint])
        forces.append(abs(env.data.qfrc_actuator).max())
    assert 0.8 * FREE_SPEED < max(speeds) < FREE_SPEED
    assert max(forces) == pytest.approx(STALL)
