"""What holds for every env and every variant."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.mujoco.utils import check_mujoco_reset_state
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3

from trl_suite import content
from trl_suite.worlds.env import make
from trl_suite.worlds.spec import load

ADDRESSES = [
    address
    for name in content.names("envs")
    for address in (name, *(f"{name}.{variant}" for variant in load(name).variants))
]


def rollout(env: gymnasium.Env, seed: int, steps: int = 50):
    env.action_space.seed(seed)
    trace = [env.reset(seed=seed)[0]]
    rewards = []
    for _ in range(steps):
        observation, reward, *_, info = env.unwrapped.step(env.action_space.sample())
        assert "sim_unstable" not in info
        trace.append(observation)
        rewards.append(reward)
    return np.array(trace), np.array(rewards)


@pytest.mark.parametrize("address", ADDRESSES)
def test_gymnasium_and_sb3_accept_it(address: str):
    world = make(address).unwrapped
    with warnings.catch_warnings():
        # both advise bounded observations and actions within +-1: these are as Gymnasium's
        warnings.simplefilter("ignore", UserWarning)
        check_env(world, skip_render_check=True)
        check_sb3(world, skip_render_check=True)
    check_mujoco_reset_state(world)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_seed_decides_a_trajectory_and_no_slot_is_constant(address: str):
    first, rewards = rollout(make(address), seed=1)
    again, same = rollout(make(address), seed=1)
    assert np.array_equal(first, again)
    assert np.array_equal(rewards, same)
    assert np.isfinite(first).all()
    assert (np.ptp(first, axis=0) > 0).all()
    env = make(address)
    assert not np.array_equal(env.reset(seed=1)[0], env.reset()[0])


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_element_has_its_own_name(address: str):
    model = make(address).unwrapped.model
    for count, element in ((model.nbody, model.body), (model.njnt, model.joint), (model.ngeom, model.geom)):
        assert len({element(index).name for index in range(count)} - {""}) == count
    assert len({model.actuator(index).name for index in range(model.nu)} - {""}) == model.nu


@pytest.mark.parametrize("address", ADDRESSES)
def test_slots_are_what_they_say(address: str):
    world = make(address).unwrapped
    observation, _ = world.reset(seed=0)
    assert len(world.interface.observation) == len(observation)
    for slot, value in zip(world.interface.observation, observation, strict=True):
        joint, kind = slot.name.rsplit(".", 1)
        found = world.data.joint(joint)
        assert value == (found.qpos if kind == "position" else found.qvel)[0]
        sliding = world.model.joint(joint).type[0] == 2
        unit = "m" if sliding else "rad"
        assert slot.unit == (unit if kind == "position" else f"{unit}/s")
    assert all(slot.name.endswith(".control") for slot in world.interface.action)
    assert len(set(world.interface.observation_names)) == len(observation)


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_terms_sum_exactly_to_the_reward(address: str):
    world = make(address).unwrapped
    world.reset(seed=0)
    world.action_space.seed(0)
    for _ in range(20):
        *_, reward, _, _, info = world.step(world.action_space.sample())
        first, *rest = (value for key, value in info.items() if key.startswith("reward_"))
        for value in rest:
            first = first + value
        assert reward == first


def test_no_two_observations_share_memory():
    world = make("inverted-pendulum").unwrapped
    first, _ = world.reset(seed=0)
    kept = first.copy()
    world.step(world.action_space.sample())
    assert np.array_equal(first, kept)


def test_worlds_share_no_state():
    one, other = make("hopper").unwrapped, make("hopper").unwrapped
    one.model.opt.gravity[2] = 0.0
    assert other.model.opt.gravity[2] == -9.81
    assert make("hopper").unwrapped.model.opt.gravity[2] == -9.81


def test_without_warm_start_position_and_velocity_are_the_state():
    def after(steps: int, warm_start: bool):
        env = make("half-cheetah", warm_start=warm_start).unwrapped
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(steps):
            env.step(env.action_space.sample())
        return env

    def carried_on(env, fresh):
        fresh.reset(seed=5)
        fresh.data.qpos[:], fresh.data.qvel[:] = env.data.qpos, env.data.qvel
        action = np.full(6, 0.5, np.float32)
        return np.array_equal(env.step(action)[0], fresh.step(action)[0])

    assert carried_on(after(50, False), after(7, False))
    assert not np.array_equal(after(50, True).data.qpos, after(50, False).data.qpos)
