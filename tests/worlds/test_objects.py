"""Objects that are put at random places, clear of the goal and of each other, on every engine."""

from pathlib import Path

import numpy as np
import pytest

from tests.worlds.test_model_sensors import TABLE, table
from trl_suite.errors import InputError
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.warp import warp_library

__all__ = ["table"]  # a fixture
MODEL = """<mujoco><option gravity="0 0 0"/><worldbody>
<body name="goal"><joint name="goal_x" type="slide" axis="1 0 0"/><joint name="goal_y" type="slide" axis="0 1 0"/>
<geom size=".01" contype="0" conaffinity="0"/></body>
<body name="cube"><freejoint name="cube"/><geom size=".05" contype="0" conaffinity="0"/></body>
<body name="ball"><joint name="ball_x" type="slide" axis="1 0 0"/><joint name="ball_y" type="slide" axis="0 1 0"/>
<geom size=".05" contype="0" conaffinity="0"/></body></worldbody>
<actuator><motor joint="ball_x" ctrlrange="-1 1"/></actuator></mujoco>"""
START = """
goal = { joints = ["goal_x", "goal_y"], low = [-0.5, -0.5], high = [0.5, 0.5], within = 0.6 }
objects = [
  { joints = ["cube.x", "cube.y", "cube.z"], low = [-0.5, -0.5, 0.1], high = [0.5, 0.5, 0.2], clearance = 0.3 },
  { joints = ["ball_x", "ball_y"], low = [-0.5, -0.5], high = [0.5, 0.5], clearance = 0.2 },
]
position = { spread = 0.0, shape = "uniform" }
velocity = { spread = 0.0, shape = "uniform" }
"""


@pytest.fixture
def objects(table: Path) -> Path:
    """A table with two objects and a goal, in a workspace."""
    head = TABLE[: TABLE.index("observation = [")]
    observed = 'observation = [{ kind = "position", of = ["*"] }]\n'
    observed += 'reward = [{ term = "effort", weight = -0.1 }]\n[reset]'
    table.write_text(head + observed + START)
    (table.parent / "robot.xml").write_text(MODEL)
    return table


def check(starts: np.ndarray) -> None:
    goal, cube, ball = starts[:, :2], starts[:, 2:5], starts[:, 9:11]
    assert len(np.unique(starts[:, 2])) == len(starts)
    assert ((cube[:, 2] >= 0.1) & (cube[:, 2] <= 0.2)).all()
    assert np.allclose(starts[:, 5:9], [1, 0, 0, 0])
    assert (np.linalg.norm(cube[:, :2] - goal, axis=1) >= 0.3 - 1e-6).all()
    for other in (goal, cube[:, :2]):
        assert (np.linalg.norm(ball - other, axis=1) >= 0.2 - 1e-6).all()


def test_objects_are_clear_of_the_goal_and_of_each_other(objects: Path):
    starts = RobotVectorEnv(100, "walker").reset(seed=3)[0]
    check(starts)
    assert RobotEnv("walker").reset(seed=7)[0].tolist() == starts[4].tolist()


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("clearance = 0.3", "clearance = 9.0", "no place for cube.x, cube.y, cube.z has a clearance of 9 m"),
        ('["ball_x", "ball_y"], low', '["ball", "ball_y"], low', "reset.objects[1].joints: unknown joint 'ball'"),
        ('["cube.x", "cube.y", "cube.z"]', '["cube", "cube.y", "cube.z"]', "are 9 numbers: name single ones"),
        ("low = [-0.5, -0.5, 0.1]", "low = [-0.5, -0.5, 0.9]", "low lies above high"),
        ("low = [-0.5, -0.5, 0.1]", "low = [-0.5, -0.5]", "3 joints need as many numbers"),
    ],
)
def test_what_cannot_be_placed_is_one_line(objects: Path, wrong: str, right: str, message: str):
    text = objects.read_text()
    assert wrong in text
    objects.write_text(text.replace(wrong, right, 1))
    with pytest.raises(InputError) as caught:
        RobotEnv("walker").reset(seed=0)
    assert message in str(caught.value)


@pytest.mark.slow
@pytest.mark.xdist_group("warp")
@pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
def test_they_are_on_warp_too(objects: Path):
    from trl_suite.worlds.warp.warp_env import WarpVectorEnv

    check(WarpVectorEnv(50, "walker", device="cpu").reset(seed=3)[0].numpy())
