"""Sensors and motors that a table adds to a model: what they read, on every engine alike, and what is refused."""

from pathlib import Path

import mujoco
import numpy as np
import pytest

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.certificate import certify
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.warp import warp_library

MODEL = """<mujoco><worldbody><geom name="floor" type="plane" size="5 5 1"/>
<body name="trunk" pos="0 0 .2"><freejoint name="root"/><geom name="trunk" type="box" size=".1 .08 .05"/>
<site name="imu" pos=".02 0 0" euler="0 0 90"/>
<body name="leg" pos=".1 0 0"><joint name="knee" axis="0 1 0" damping=".1"/>
<joint name="hip" axis="1 0 0" damping=".1"/>
<geom name="foot" pos="0 0 -.1" size=".04"/><site name="sole" pos="0 0 -.1" size=".05"/></body></body></worldbody>
<actuator><motor joint="knee"/></actuator><sensor><jointpos name="encoder" joint="knee"/></sensor>
<keyframe><key name="home" qpos="0 0 .3 1 0 0 0 .1 .2" ctrl=".5"/></keyframe></mujoco>"""
TABLE = """title = "walker"
about = ""
model = "robot.xml"
version = 0
frame_skip = 4
episode_steps = 100
observation = [
  { kind = "position", of = ["knee"] },
  { kind = "gyro", of = ["imu"] }, { kind = "accelerometer", of = ["trunk"] }, { kind = "body_velocity", of = ["imu"] },
  { kind = "projected_gravity", of = ["imu"] }, { kind = "touch", of = ["sole"] }, { kind = "force", of = ["leg.z"] },
  { kind = "joint_torque", of = ["*"] }, { kind = "contacts", of = ["foot"], relative_to = "floor" },
  { kind = "frame_place", of = ["foot"], relative_to = "trunk" }, { kind = "frame_orientation", of = ["leg"] },
  { kind = "frame_velocity", of = ["sole.x"] }, { kind = "sensor", of = ["encoder"] },
]
motors = [{ of = ["knee", "h*"], kp = 20.0, kv = 0.5, force = 3.0, scale = 0.25 }]
reward = [{ term = "effort", weight = -0.1 }]
[reset]
pose = { knee = 0.4, "root.z" = 0.25 }
position = { spread = 0.01, shape = "uniform" }
velocity = { spread = 0.1, shape = "uniform" }
[variants]
slope = { gravity = { tilt = 20 } }
weak = { gear = { actuator = "knee", scale = 0.5 } }
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The table of a small walker in a workspace."""
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    folder = tmp_path / "envs" / "walker"
    folder.mkdir(parents=True)
    (folder / "robot.xml").write_text(MODEL)
    (folder / "env.toml").write_text(TABLE)
    return folder / "env.toml"


def slots(env: RobotEnv, observation: np.ndarray) -> dict[str, float]:
    return dict(zip(env.interface.observation_names, observation.tolist(), strict=True))


def test_each_sensor_reads_what_kinematics_says(table: Path):
    env = RobotEnv("walker")
    seen = slots(env, env.reset(seed=1)[0])
    data = env.data
    rotation = data.site("imu").xmat.reshape(3, 3)
    assert [seen[f"imu.{axis}.projected_gravity"] for axis in "xyz"] == pytest.approx(rotation.T @ (0, 0, -1))
    twist = np.zeros(6)
    mujoco.mj_objectVelocity(env.model, data, mujoco.mjtObj.mjOBJ_SITE, data.site("imu").id, twist, 1)
    assert [seen[f"imu.r{axis}.gyro"] for axis in "xyz"] == pytest.approx(twist[:3])
    assert [seen[f"imu.{axis}.body_velocity"] for axis in "xyz"] == pytest.approx(twist[3:])
    trunk = data.body("trunk")
    expected = trunk.xmat.reshape(3, 3).T @ (data.geom("foot").xpos - trunk.xpos)
    assert [seen[f"foot.{axis}.frame_place_from_trunk"] for axis in "xyz"] == pytest.approx(expected)
    assert [seen[f"leg.q{part}.frame_orientation"] for part in "wxyz"] == pytest.approx(data.body("leg").xquat)
    assert seen["encoder.sensor"] == pytest.approx(seen["knee.position"])
    assert seen["foot.contacts_from_floor"] == seen["sole.touch"] == 0.0
    units = {slot.name: slot.unit for slot in env.interface.observation}
    assert units["imu.rx.gyro"] == "rad/s"
    assert units["leg.z.force"] == "N"


def test_a_robot_at_rest_feels_its_weight_and_its_contacts(table: Path):
    env = RobotEnv("walker")
    env.reset(seed=1)
    for _ in range(400):
        observation, *_ = env.step(np.zeros(2, np.float32))
    seen = slots(env, observation)
    felt = np.array([seen[f"trunk.{axis}.accelerometer"] for axis in "xyz"])
    assert np.linalg.norm(felt) == pytest.approx(9.81, rel=0.02)
    assert seen["foot.contacts_from_floor"] > 0
    assert seen["sole.touch"] > 0


def test_a_servo_stands_at_its_pose_and_turns_by_scale_per_action(table: Path):
    table.write_text(TABLE.replace("frame_skip = 4", "frame_skip = 100"))
    env = RobotEnv("walker", gravity={"value": (0.0, 0.0, 0.0)}, frictionloss=None)
    assert env.action_space.shape == (2,)
    assert [slot.name for slot in env.interface.action] == ["knee.control", "hip.control"]
    assert env.reset(seed=0)[0][0] == pytest.approx(0.4, abs=0.02)
    for action, angle in ((0.0, 0.4), (1.0, 0.65), (-1.0, 0.15)):
        for _ in range(20):
            observation, *_ = env.step(np.array([action, 0.0], np.float32))
        assert observation[0] == pytest.approx(angle, abs=0.01)
    assert np.abs(env.data.actuator_force).max() <= 3.0


def test_batch_and_single_env_are_equal_to_the_bit(table: Path):
    batch = RobotVectorEnv(3, "walker", [None, "slope", "weak"])
    alone = [RobotEnv("walker", variant) for variant in (None, "slope", "weak")]
    seen = batch.reset(seed=5)[0]
    for index, env in enumerate(alone):
        assert env.reset(seed=5 + index)[0].tolist() == seen[index].tolist()
    rng = np.random.default_rng(0)
    for _ in range(20):
        actions = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
        seen = batch.step(actions)[0]
        for index, env in enumerate(alone):
            assert env.step(actions[index])[0].tolist() == seen[index].tolist()


def test_gravity_that_is_tilted_is_tilted_for_the_sensor(table: Path):
    flat, slope = RobotEnv("walker"), RobotEnv("walker", "slope")
    seen = slots(slope, slope.reset(seed=1)[0])
    flat.reset(seed=1)
    down = slope.model.opt.gravity / np.linalg.norm(slope.model.opt.gravity)
    rotation = slope.data.site("imu").xmat.reshape(3, 3)
    assert [seen[f"imu.{axis}.projected_gravity"] for axis in "xyz"] == pytest.approx(rotation.T @ down)
    for variant in ("slope", "weak"):
        assert not certify("walker", variant).problems, variant


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ('of = ["imu"] }, { kind = "accel', 'of = ["imx"] }, { kind = "accel', "unknown site or body 'imx'"),
        ('relative_to = "trunk"', 'relative_to = "trunkk"', "relative_to: unknown site or body or geom 'trunkk'"),
        ('of = ["sole"]', 'of = ["trunk"]', "unknown site 'trunk'"),
        ('of = ["knee", "h*"]', 'of = ["kneee"]', "motors[0].of: unknown hinge or slide joint 'kneee'"),
        ('of = ["knee", "h*"]', 'of = ["root"]', "unknown hinge or slide joint 'root'"),
        ('of = ["knee", "h*"]', 'of = ["knee", "*"]', "joint 'knee' has a motor already"),
        ("kp = 20.0, kv = 0.5", "kv = 0.5", "give kp, or leave them out for a torque motor"),
        ("force = 3.0", "force = -3.0", "force"),
        ("pose = { knee", "pose = { knees", "reset.pose: unknown joint 'knees'"),
        ("pose = { knee", "pose = { root", "'root' is 7 numbers"),
        (
            '{ kind = "gyro", of = ["imu"] }',
            '{ kind = "gyro", of = ["imu"], relative_to = "trunk" }',
            "'gyro' is measured in no other frame",
        ),
        ('of = ["encoder"]', 'of = ["encode"]', "unknown sensor 'encode' (did you mean 'encoder'"),
    ],
)
def test_what_the_model_lacks_is_one_line(table: Path, wrong: str, right: str, message: str):
    assert wrong in TABLE
    table.write_text(TABLE.replace(wrong, right, 1))
    with pytest.raises(InputError) as caught:
        RobotEnv("walker")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.xdist_group("warp")
@pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
def test_warp_reads_the_same(table: Path):
    import torch

    from trl_suite.worlds.warp.warp_env import WarpVectorEnv

    still = TABLE.replace("spread = 0.01", "spread = 0.0").replace("spread = 0.1", "spread = 0.0")
    table.write_text(still)
    host = RobotVectorEnv(2, "walker", [None, "slope"])
    device = WarpVectorEnv(2, "walker", [None, "slope"], device="cpu")
    assert np.allclose(host.reset(seed=0)[0], device.reset(seed=0)[0].numpy(), atol=1e-4)
    for _ in range(5):
        actions = np.full((2, 2), 0.2, dtype=np.float32)
        assert np.allclose(host.step(actions)[0], device.step(torch.from_numpy(actions))[0].numpy(), atol=2e-2)
