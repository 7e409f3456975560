"""Commands, past observations, clocks, tracking rewards and success: formulas, engines alike, what is refused."""

from pathlib import Path

import numpy as np
import pytest

from tests.worlds.test_model_sensors import MODEL, table
from trl_suite.errors import InputError
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.warp import warp_library

__all__ = ["table"]  # a fixture

COMMANDED = """title = "walker"
about = ""
model = "robot.xml"
version = 0
frame_skip = 4
episode_steps = 40
observation = [
  { kind = "position", of = ["knee", "hip"], history = 3 }, { kind = "last_action", of = ["*"] },
  { kind = "command", of = ["speed"] }, { kind = "phase", of = ["gait"] },
  { kind = "projected_gravity", of = ["trunk"] },
]
motors = [{ of = ["knee", "hip"], kp = 20.0, kv = 0.5, force = 3.0, scale = 0.25 }]
commands = [
  { name = "speed", parts = ["x", "y"], low = [-1.0, 0.5], high = [1.0, 0.5], unit = ["m/s", "m/s"], every = 0.08 },
  { name = "stand", parts = ["z"], low = [0.2], high = [0.3], unit = ["m"], zero = 0.5 },
]
clocks = [{ name = "gait", period = 0.4 }]
reward = [
  { term = "exponential_tracking", TRACKED, width = 0.5, weight = 1.0 },
  { term = "gaussian_tracking", TRACKED, width = 0.5, weight = 1.0 },
  { term = "tolerance", kind = "place", of = "trunk.z", bounds = [0.3, 0.5], margin = 0.2, weight = 1.0 },
  { term = "squares", kind = "velocity", of = ["knee", "hip"], weight = 1.0 },
  { term = "upright", of = "trunk", weight = 1.0 },
  { term = "action_rate", weight = 1.0 },
  { term = "torque", of = ["knee", "hip"], weight = 1.0 },
  { term = "joint_limit", of = "*", weight = 1.0 },
  { term = "foot_slip", of = "foot", weight = 1.0 },
  { term = "air_time", of = ["foot"], target = 0.02, weight = 1.0 },
  { term = "touching", of = ["foot", "trunk"], relative_to = "floor", weight = 1.0 },
  { term = "success", weight = 1.0 },
]
success = { conditions = [{ kind = "place", of = ["trunk.z"], range = [-1.0, 0.22] }], hold = 0.03, when = "end" }
[reset]
pose = { knee = 0.4, "root.z" = 0.3 }
position = { spread = 0.01, shape = "uniform" }
velocity = { spread = 0.1, shape = "uniform" }
""".replace("TRACKED", 'kind = "body_velocity", of = ["trunk.x", "trunk.y"], command = "speed"')
LIMITED = MODEL.replace('axis="0 1 0" damping', 'axis="0 1 0" range="-20 20" damping')


@pytest.fixture
def commanded(table: Path) -> Path:
    """The walker with commands, in a workspace."""
    table.write_text(COMMANDED)
    (table.parent / "robot.xml").write_text(LIMITED)
    return table


def named(env: RobotEnv, observation: np.ndarray) -> dict[str, float]:
    return dict(zip(env.interface.observation_names, observation.tolist(), strict=True))


def test_the_past_the_last_action_commands_and_clocks_are_seen(commanded: Path):
    env = RobotEnv("walker")
    rows = [named(env, env.reset(seed=3)[0])]
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (30, 2)).astype(np.float32)
    rows += [named(env, env.step(action)[0]) for action in actions]
    for step, row in enumerate(rows):
        for age in (1, 2):
            assert row[f"knee.position.ago-{age}"] == rows[max(step - age, 0)]["knee.position"]
        last = actions[step - 1].tolist() if step else [0.0, 0.0]
        assert [row["knee.last_action"], row["hip.last_action"]] == last
        angle = 2 * np.pi * step * env.dt / 0.4
        assert row["gait.sine.phase"] == pytest.approx(np.sin(angle), abs=1e-9)
        assert row["gait.cosine.phase"] == pytest.approx(np.cos(angle), abs=1e-9)
        assert -1 <= row["speed.x.command"] <= 1
        assert row["speed.y.command"] == 0.5
    speeds = [row["speed.x.command"] for row in rows]
    assert all((speeds[i] == speeds[i + 1]) == ((i + 1) % 10 != 0) for i in range(30)), "another every 10 steps"
    assert named(env, env.reset(seed=4)[0])["knee.last_action"] == 0.0


def test_each_reward_is_its_formula(commanded: Path):
    env = RobotEnv("walker")
    seen = named(env, env.reset(seed=3)[0])
    data, last, air, held = env.data, np.zeros(2), 0.0, 0
    rng = np.random.default_rng(0)
    touchdowns = 0
    for _ in range(150):
        action = rng.uniform(-1, 1, 2).astype(np.float32)
        command = np.array([seen["speed.x.command"], seen["speed.y.command"]])
        observation, reward, *_, info = env.step(action)
        seen = named(env, observation)
        sensor = {env.model.sensor(i).name: data.sensor(i).data.copy() for i in range(env.model.nsensor)}
        error = np.linalg.norm(sensor["trunk.body_velocity"][:2] - command)
        foot, trunk = sensor["foot.contacts"][0] > 0, sensor["trunk.contacts_from_floor"][0] > 0
        height, knee = data.body("trunk").xpos[2], data.qpos[7]
        margin, limit = max(0.3 - height, height - 0.5, 0), np.deg2rad(20) * 0.9
        held = held + 1 if height <= 0.22 else 0
        expected = {
            "exponential_tracking": np.exp(-error / 0.5),
            "gaussian_tracking": np.exp(-(error**2) / (2 * 0.25)),
            "tolerance": 0.1 ** ((margin / 0.2) ** 2),
            "squares": (data.qvel[6:8] ** 2).sum(),
            "upright": data.body("trunk").xmat[8],
            "action_rate": ((action - last) ** 2).sum(),
            "torque": (data.qfrc_actuator[6:8] ** 2).sum(),
            "joint_limit": max(abs(knee) - limit, 0),
            "foot_slip": (sensor["foot.frame_velocity"][:2] ** 2).sum() * foot,
            "air_time": (air - 0.02) if foot and air > 0 else 0.0,
            "touching": float(foot) + float(trunk),
            "success": float(held >= 4),  # 0.03 s of 8 ms
        }
        touchdowns += expected["air_time"] != 0
        for name, value in expected.items():
            assert info[f"reward_{name}"] == pytest.approx(value, rel=1e-6, abs=1e-5), name
        assert reward == pytest.approx(sum(info[f"reward_{name}"] for name in expected))
        assert info["is_success"] is (held >= 4)
        last, air = action, 0.0 if foot else air + env.dt
    assert touchdowns
    assert held >= 4


def test_batch_and_single_env_are_equal_to_the_bit_and_can_be_resumed(commanded: Path):
    """The second one's control step is half as long: its times, clock and commands follow its own."""
    variants = [{}, {"timestep": {"scale": 1.0, "frame_skip": 2}}, {}]
    batch = RobotVectorEnv(3, "walker", variants, autoreset_mode="SameStep")
    alone = [RobotEnv("walker", **variant) for variant in variants]
    seen = batch.reset(seed=5)[0]
    for index, env in enumerate(alone):
        assert env.reset(seed=5 + index)[0].tolist() == seen[index].tolist()
    rng = np.random.default_rng(0)
    for step in range(60):
        actions = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
        seen, rewards, *_, infos = batch.step(actions)
        for index, env in enumerate(alone):
            observation, reward, *_, info = env.step(actions[index])
            ended = step == 39
            assert reward == rewards[index]
            kept = infos["final_info"] if ended else infos
            assert kept["is_success"][index] == info["is_success"]
            assert kept["is_success"].dtype == bool
            expected = env.reset()[0] if ended else observation
            assert expected.tolist() == seen[index].tolist()
        if step == 25:  # in the middle of everything
            other = RobotVectorEnv(3, "walker", variants, autoreset_mode="SameStep")
            other.restore(None, batch.state())
            batch = other


def test_success_ends_an_episode_and_stays_where_it_ever_held(commanded: Path):
    ever = COMMANDED.replace('when = "end"', 'when = "ever"').replace("[-1.0, 0.22]", "[0.24, 0.27]")
    commanded.write_text(ever)
    env = RobotEnv("walker")
    env.reset(seed=0)
    flags = [env.step(np.zeros(2, np.float32))[4]["is_success"] for _ in range(60)]
    assert flags == sorted(flags)
    assert flags[0] is False
    assert flags[-1] is True
    assert env.step(np.zeros(2, np.float32))[4]["reward_success"] == 0.0, "it holds no longer"
    commanded.write_text(ever.replace('when = "ever"', "ends = true"))
    env = RobotEnv("walker")
    env.reset(seed=0)
    ended = [env.step(np.zeros(2, np.float32))[2] for _ in range(60)]
    assert ended.index(True) == flags.index(True)


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("low = [-1.0, 0.5]", "low = [2.0, 0.5]", "the range of 'x', [2, 1], is empty"),
        ("low = [-1.0, 0.5]", "low = [0.5]", "2 parts need as many numbers"),
        ('name = "stand"', 'name = "speed"', "commands: 'speed' stands twice"),
        ('{ kind = "command", of = ["speed"] }', '{ kind = "command", of = ["sped"] }', "unknown command 'sped'"),
        ('of = ["gait"]', 'of = ["trot"]', "observation[3]: unknown clock 'trot'"),
        ('command = "speed"', 'command = "sped"', "unknown command 'sped' (did you mean 'speed'?)"),
        ('"trunk.y"], command', '"trunk.y", "trunk.z"], command', "'speed' is 2 numbers, and `of` names 3"),
        ('of = "trunk", weight', 'of = "trunks", weight', "reward[4].of: unknown site or body 'trunks'"),
        ('{ term = "upright"', '{ term = "upright", kind = "place"', "it reads no `kind`"),
        ('{ term = "squares", kind = "velocity"', '{ term = "squares"', "of which kind of quantity?"),
        ('{ term = "foot_slip", of = "foot"', '{ term = "foot_slip", of = "feet"', "unknown geom or body 'feet'"),
        ('{ term = "joint_limit", of = "*"', '{ term = "joint_limit", of = "hip"', "no joint of hip has limits"),
        ("range = [-1.0, 0.22]", "within = 0.2, range = [0.0, 1.0]", "give either within or range"),
        ("history = 3", "history = 0", "history"),
        ("period = 0.4", "period = 0.0", "period"),
    ],
)
def test_what_makes_no_sense_is_one_line(commanded: Path, wrong: str, right: str, message: str):
    assert wrong in COMMANDED
    commanded.write_text(COMMANDED.replace(wrong, right, 1))
    with pytest.raises(InputError) as caught:
        RobotEnv("walker")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reward_for_success_needs_success(commanded: Path):
    lines = [line for line in COMMANDED.splitlines() if not line.startswith("success =")]
    commanded.write_text("\n".join(lines))
    with pytest.raises(InputError, match=r"reward\[11\]: reward term 'success' needs a table \[success\]"):
        RobotEnv("walker")


@pytest.mark.slow
@pytest.mark.xdist_group("warp")
@pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
def test_warp_remembers_the_same(commanded: Path):
    import torch

    from trl_suite.worlds.warp.warp_env import WarpVectorEnv

    text = COMMANDED
    for wrong, right in (("0.01", "0.0"), ("spread = 0.1", "spread = 0.0"), ("-1.0, 0.5]", "0.2, 0.5]"),
                         ("high = [1.0", "high = [0.2"), ("zero = 0.5", "zero = 0.0")):  # fmt: skip
        text = text.replace(wrong, right)
    commanded.write_text(text)
    host, device = RobotVectorEnv(2, "walker"), WarpVectorEnv(2, "walker", device="cpu")
    assert np.allclose(host.reset(seed=0)[0], device.reset(seed=0)[0].numpy(), atol=1e-4)
    rng = np.random.default_rng(0)
    for step in range(45):
        actions = rng.uniform(-1, 1, (2, 2)).astype(np.float32)
        here, there = host.step(actions), device.step(torch.from_numpy(actions))
        if step < 12 or step >= 40:
            assert np.allclose(here[0], there[0].numpy(), atol=1e-2), step
            assert np.allclose(here[1], there[1].numpy(), atol=0.3), step
        assert here[3].tolist() == there[3].tolist()
        assert bool(there[4]["is_success"][0]) in (True, False)
