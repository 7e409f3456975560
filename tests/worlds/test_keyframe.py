"""`[reset] keyframe` starts episodes from a keyframe of the model, with its controls, on every engine alike."""

import numpy as np
import pytest

from tests.worlds.conftest import MOTOR, Robot
from trl_suite.errors import InputError
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.warp import warp_library

HOME = '<keyframe><key name="up" qpos="2"/><key name="home" qpos="1.0" qvel="0.5" ctrl="0.3"/></keyframe>'
SERVO = '<actuator><position joint="j" kp="5" ctrlrange="-1 1"/></actuator>'


@pytest.mark.parametrize("actuator", [MOTOR, SERVO])
def test_an_episode_starts_from_the_keyframe_with_its_controls(robot: Robot, actuator: str):
    robot("key", actuator + HOME, key='keyframe = "home",')
    env = RobotEnv("key")
    assert env.reset(seed=0)[0].tolist() == [1.0, 0.5]
    assert env.data.ctrl.tolist() == [0.3]
    batch = RobotVectorEnv(2, "key", autoreset_mode="SameStep", max_episode_steps=3)
    assert batch.reset(seed=0)[0].tolist() == [[1.0, 0.5]] * 2
    for _ in range(3):
        alone = env.step(np.array([0.7], dtype=np.float32))[0]
        together, *_, infos = batch.step(np.full((2, 1), 0.7, dtype=np.float32))
    assert infos["final_obs"][0].tolist() == alone.tolist()
    assert together.tolist() == [[1.0, 0.5]] * 2


def test_without_the_key_it_starts_from_the_models_own_state(robot: Robot):
    robot("key", MOTOR + HOME)
    assert RobotEnv("key").reset(seed=0)[0].tolist() == [0.0, 0.0]


def test_a_delayed_action_is_the_keyframes_control_until_the_first_one_arrives(robot: Robot):
    robot("key", MOTOR + HOME, key='keyframe = "home",')
    env = RobotEnv("key", action_delay=1, action_scale=2.0)
    batch = RobotVectorEnv(1, "key", [{"action_delay": 1, "action_scale": 2.0}])
    env.reset(seed=0), batch.reset(seed=0)
    for control in (0.3, -1.4):
        first = env.step(np.array([-0.7], dtype=np.float32))[0]
        assert env.data.ctrl[0] == pytest.approx(control)
        assert batch.step(np.array([[-0.7]], dtype=np.float32))[0][0].tolist() == first.tolist()


def test_a_keyframe_that_is_missing_is_one_line_with_those_there_are(robot: Robot):
    path = robot("key", MOTOR + HOME, key='keyframe = "hom",')
    with pytest.raises(InputError) as caught:
        RobotEnv("key")
    assert str(path) in str(caught.value)
    assert "reset.keyframe: unknown keyframe 'hom' (did you mean 'home'?); known: home, up" in str(caught.value)


@pytest.mark.xdist_group("warp")
@pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
@pytest.mark.parametrize("actuator", [MOTOR, SERVO])
def test_warp_starts_from_it_as_well(robot: Robot, actuator: str):
    import torch

    from trl_suite.worlds.warp.warp_env import WarpVectorEnv

    table = 'observation = [{ kind = "motor_force", of = ["j"] }, { kind = "position", of = ["j"] }'
    path = robot("key", actuator + HOME, key='keyframe = "home",')
    path.write_text(path.read_text().replace('observation = [{ kind = "position", of = ["*"] }', table))
    host, device = RobotVectorEnv(2, "key"), WarpVectorEnv(2, "key", device="cpu")
    first, there = host.reset(seed=0)[0], device.reset(seed=0)[0]
    assert first[0, 0] != 0.0
    assert np.allclose(first, there.numpy(), atol=1e-5)
    for _ in range(5):
        actions = np.full((2, 1), 0.2, dtype=np.float32)
        assert np.allclose(host.step(actions)[0], device.step(torch.from_numpy(actions))[0].numpy(), atol=1e-4)
