import json
import pickle
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from trl_suite import content
from trl_suite.interface import anonymous
from trl_suite.worlds import registration
from trl_suite.worlds.address import Address
from trl_suite.worlds.stepping.env import RobotEnv, interface_of, make

AXES = {"gravity": 1.5, "mass": {"body": "torso", "scale": 2}, "friction": 0.5}


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_env_is_registered_under_gymnasiums_kind_of_name():
    ids = {"trl_suite/HalfCheetah-v0", "trl_suite/Hopper-v0", "trl_suite/Walker2d-v0", "trl_suite/InvertedPendulum-v0"}
    assert ids <= set(gymnasium.registry)
    before = dict(gymnasium.registry)
    registration.register()
    assert gymnasium.registry == before


@pytest.mark.parametrize("kwargs", [{}, {"variant": "gravity-1.5"}, AXES, {"variant": "gear-0.5", "mass": 2}])
def test_a_spec_survives_json(kwargs: dict):
    env = gymnasium.make("trl_suite/HalfCheetah-v0", **kwargs)
    assert json.loads(env.spec.to_json())
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.address == env.unwrapped.address
    env.reset(seed=0)
    again.reset(seed=0)
    action = env.action_space.sample()
    assert np.array_equal(env.step(action)[0], again.step(action)[0])


@pytest.mark.parametrize("kwargs", [{}, {"variant": "gravity-1.5"}, AXES, {"variant": "gear-0.5", "mass": 2}])
def test_an_address_finds_the_same_world_again(kwargs: dict):
    world = RobotEnv("half-cheetah", **kwargs)
    again = make(world.address).unwrapped
    assert again.address == world.address
    assert np.array_equal(again.model.body_mass, world.model.body_mass)
    assert np.array_equal(again.model.opt.gravity, world.model.opt.gravity)


@pytest.mark.parametrize(
    "text", ["hopper", "hopper.gravity-1.5", "hopper?gravity=1.3&gear=0.9", 'hopper.gear-0.5?mass={"scale":2.0}']
)
def test_an_address_reads_as_it_is_written(text: str):
    assert str(Address.parse(text)) == text


def test_a_world_survives_a_pickle():
    world = pickle.loads(pickle.dumps(RobotEnv("hopper", variant="gravity-1.5", mass=2.0)))
    assert world.address == "hopper.gravity-1.5?mass=2.0"


def test_gymnasiums_vector_envs_take_it():
    for mode in ("sync", "async"):
        envs = gymnasium.make_vec("trl_suite/Hopper-v0", num_envs=2, vectorization_mode=mode, gravity=1.5)
        assert envs.reset(seed=0)[0].shape == (2, 11)
        envs.close()


def test_an_unstable_simulation_ends_the_episode_with_a_finite_reward():
    world = make("half-cheetah").unwrapped
    world.reset(seed=0)
    world.data.qvel[0] = 1e11
    observation, reward, terminated, truncated, info = world.step(np.zeros(6, np.float32))
    assert terminated
    assert not truncated
    assert info["sim_unstable"] is True
    assert reward == 0.0
    assert np.isfinite(observation).all()
    world.reset(seed=1)
    *_, terminated, _, info = world.step(np.zeros(6, np.float32))
    assert not terminated
    assert "sim_unstable" not in info


def test_a_state_that_stops_being_finite_in_the_last_substep_is_caught_too(monkeypatch: pytest.MonkeyPatch):
    world = make("half-cheetah").unwrapped
    world.reset(seed=0)

    def break_it(model, data, nstep):
        data.qpos[1] = np.nan

    monkeypatch.setattr("trl_suite.worlds.stepping.env.mujoco.mj_step", break_it)
    observation, reward, terminated, _, info = world.step(np.zeros(6, np.float32))
    assert terminated
    assert info["sim_unstable"]
    assert reward == 0.0
    assert np.isfinite(observation).all()


def test_interfaces_of_all_kinds_of_env():
    ours = interface_of(make("half-cheetah.gravity-1.5"))
    assert ours.observation_names[0] == "rootz.position"
    assert ours.action_names == tuple(f"{j}.control" for j in ("bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"))
    assert interface_of(make("inverted-pendulum")).action_names == ("slider.control",)
    assert interface_of(make("gymnasium:Hopper-v5")) == interface_of(make("hopper"))
    assert interface_of(gymnasium.make("Walker2d-v5")) == interface_of(make("walker2d"))


def test_an_interface_is_not_guessed():
    """Other slots, another observation, an env that nobody described: all are anonymous."""
    shown = gymnasium.make("Hopper-v5", exclude_current_positions_from_observation=False)
    assert interface_of(shown) == anonymous(12, 3)
    stacked = gymnasium.wrappers.FrameStackObservation(make("hopper"), 2)
    assert interface_of(stacked) == anonymous(22, 3)
    assert interface_of(gymnasium.make("CartPole-v1")) == anonymous(4, 2)
    assert interface_of(gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False)) == anonymous(27, 8)


def test_equal_shapes_have_other_slots():
    """HalfCheetah and Walker2d have the same shapes and different meanings."""
    cheetah, walker = make("half-cheetah"), make("walker2d")
    assert cheetah.observation_space.shape == walker.observation_space.shape
    assert interface_of(cheetah).digest() != interface_of(walker).digest()


def test_importing_the_package_loads_no_physics(tmp_path: Path):
    run("import sys, trl_suite; assert not {'mujoco', 'torch', 'stable_baselines3'} & set(sys.modules)", tmp_path)


def test_no_log_appears_in_the_users_folder_and_nothing_is_printed(tmp_path: Path):
    code = """
import gymnasium, numpy as np, trl_suite
env = gymnasium.make("trl_suite/HalfCheetah-v0", mass=1.5).unwrapped
env.reset(seed=0)
env.data.qvel[0] = 1e11
assert env.step(np.zeros(6, np.float32))[4]["sim_unstable"]
"""
    assert run(code, tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_gymnasium_imports_the_package_by_itself(tmp_path: Path):
    run("import gymnasium; gymnasium.make('trl_suite:trl_suite/Hopper-v0', variant='gravity-1.5')", tmp_path)


def test_worlds_never_import_networks_or_training():
    for path in (content.shipped() / "trl_suite" / "worlds").glob("*.py"):
        for room in ("torch", "stable_baselines3", "trl_suite.networks", "trl_suite.training", "trl_suite.experiment"):
            assert f"import {room}" not in path.read_text()
            assert f"from {room}" not in path.read_text()
