"""A policy that is transplanted onto its own robot acts as before, whatever the robot; no two slots share a name."""

from pathlib import Path

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

import trl_suite
from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.stepping.env import RobotEnv, make

ZOO = sorted((Path(__file__).parents[1] / "worlds" / "zoo").glob("*.xml"))
ACTED = (  # models whose slots are awkward to name
    *("actuator_several_on_a_joint", "awkward_names", "ball_joint", "free_joint", "unnamed", "attach"),
    *("tendon_spatial", "actuator_site"),
)
TABLE = """title = "zoo"
about = ""
model = "robot.xml"
version = 0
frame_skip = 2
episode_steps = 100
observation = [{ kind = "position", of = ["*"] }, { kind = "velocity", of = ["*"] }, { kind = "place", of = ["*"] }]
reward = [{ term = "effort", weight = -0.1 }]
reset = { position = { spread = 0.0, shape = "uniform" }, velocity = { spread = 0.0, shape = "uniform" } }
"""


@pytest.fixture
def lay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Lays out an env of a model of the zoo; these files are ours: no child looks at them first."""
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    monkeypatch.setattr(mjcf, "vet", lambda path: None)

    def lay_out(path: Path) -> str:
        name = path.stem.replace("_", "-")
        folder = tmp_path / "envs" / name
        folder.mkdir(parents=True)
        (folder / "robot.xml").write_bytes(path.read_bytes())
        _copy(path.parent, folder)
        (folder / "env.toml").write_text(TABLE)
        return name

    return lay_out


def _copy(source: Path, target: Path) -> None:
    for file in source.rglob("*"):
        if file.is_file() and file.parent != source:
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())


def untrained(env: str, seed: int) -> PPO:
    return PPO("MlpPolicy", DummyVecEnv([lambda: make(env)]), n_steps=8, batch_size=8, device="cpu", seed=seed)


def acts_as_before(env: str, folder: Path) -> None:
    source, target = untrained(env, 0), untrained(env, 1)
    source.save(folder / "source.zip")
    policy = trl_suite.load_policy(folder / "source.zip", env=env)
    states = np.random.default_rng(0).normal(size=(1000, len(policy.interface.observation))) * 3
    expected = source.predict(states, deterministic=True)[0]
    assert not np.array_equal(target.predict(states, deterministic=True)[0], expected)
    record = trl_suite.transplant(policy, into=target)
    assert record.unmatched == ()
    assert np.array_equal(target.predict(states, deterministic=True)[0], expected)
    assert np.array_equal(policy.predict(states)[0], expected)


@pytest.mark.parametrize("env", content.names("envs"))
def test_a_policy_on_its_own_robot_acts_as_before(env: str, tmp_path: Path):
    acts_as_before(env, tmp_path)


@pytest.mark.parametrize("name", ACTED)
def test_a_policy_on_an_awkward_robot_of_its_own_acts_as_before(lay, name: str, tmp_path: Path):
    acts_as_before(lay(next(path for path in ZOO if path.stem == name)), tmp_path)


def distinct(env: RobotEnv) -> None:
    for names in (env.interface.observation_names, env.interface.action_names):
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("env", content.names("envs"))
def test_no_slot_of_a_shipped_robot_shares_its_name(env: str):
    spec = load(env)
    shaped = [name for name, variant in spec.variants.items() if variant.shape or variant.observe]
    for variant in (None, *shaped):
        distinct(RobotEnv(env, variant))


@pytest.mark.parametrize("path", ZOO, ids=lambda path: path.stem)
def test_no_slot_of_an_awkward_robot_shares_its_name(lay, path: Path):
    name = lay(path)
    try:
        robot = RobotEnv(name)
    except InputError as error:
        pytest.skip(f"refused as a whole: {error}")
    distinct(robot)
