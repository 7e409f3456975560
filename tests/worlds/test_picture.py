"""Pictures, where something to draw with is installed."""

from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import pytest
from PIL import Image

from trl_suite.errors import InputError, NotInstalledError, StorageError
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.variant_picture import beside, draw_without_a_screen, picture, show


@pytest.fixture(autouse=True)
def graphics() -> None:
    try:
        picture("inverted-pendulum", 32, 32)
    except NotInstalledError as error:
        pytest.skip(str(error))


pytestmark = pytest.mark.xdist_group("graphics")


@pytest.mark.parametrize("address", ["hopper.torso-length-2.0", "half-cheetah.carry-stuff", "legged-ant.legs-6"])
def test_a_change_of_shape_can_be_seen(address: str):
    image = beside(address, 120, 100)
    assert image.shape == (100, 244, 3)
    left, right = image[:, :120].astype(int), image[:, 124:].astype(int)
    assert (np.abs(left - right).max(axis=2) > 20).mean() > 0.002
    assert left.std() > 5


def test_a_world_without_a_variation_is_alone(tmp_path: Path):
    assert beside("hopper", 60, 50).shape == (50, 60, 3)
    path = show("hopper.foot-size-0.4", tmp_path / "foot.png", 60, 50)
    with Image.open(path) as image:
        assert image.size == (124, 50)


def test_a_bad_picture_names_what_is_wrong(tmp_path: Path):
    with pytest.raises(InputError, match=r"written as \.png"):
        show("hopper", tmp_path / "foot.jpg")
    with pytest.raises(InputError, match="unknown variant"):
        show("hopper.foot", tmp_path / "foot.png")
    with pytest.raises(StorageError, match="No such file"):
        show("hopper", tmp_path / "nowhere" / "foot.png", 60, 50)


def test_gymnasium_records_a_video(tmp_path: Path):
    pytest.importorskip("moviepy")
    draw_without_a_screen()
    env = gymnasium.wrappers.RecordVideo(
        gymnasium.make("trl_suite/Hopper-v0", render_mode="rgb_array", width=64, height=64), str(tmp_path / "videos")
    )
    env.reset(seed=0)
    for _ in range(5):
        if env.step(env.action_space.sample())[2]:
            break
    env.close()
    assert list((tmp_path / "videos").glob("*.mp4"))


def test_frames_and_depth():
    draw_without_a_screen()
    for mode, shape in (("rgb_array", (48, 64, 3)), ("depth_array", (48, 64))):
        env = gymnasium.make("trl_suite/Ant-v0", render_mode=mode, width=64, height=48)
        env.reset(seed=0)
        assert env.render().shape == shape
        env.close()


@pytest.mark.parametrize("env", ["half-cheetah", "ant", "hopper"])
def test_a_robot_that_has_run_far_is_still_in_the_picture(env: str):
    world = RobotEnv(env, render_mode="rgb_array", width=64, height=48)
    try:
        world.reset(seed=0)
        for metres in (0.0, 40.0):
            state = world.data.qpos.copy()
            state[0] += metres
            world.data.qpos[:] = state
            mujoco.mj_forward(world.model, world.data)
            robot = world.data.body(world.model.body(world.model.nbody - 1).name).xpos
            world.render()
            viewer = world._renderer.viewer
            assert np.abs(viewer.cam.lookat[0] - robot[0]) < 5
    finally:
        world.close()
