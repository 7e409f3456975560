"""What holds for every env and every variant."""

import re
import warnings
from functools import reduce
from operator import add

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.mujoco.utils import check_mujoco_reset_state
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_sb3

from trl_suite import content
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.stepping.env import make
from trl_suite.worlds.terms.memory import MEMORY_KINDS, MemoryLayout, block_readings
from trl_suite.worlds.terms.model_sensors import SENSOR_KINDS


def addresses() -> list:
    """Every env and variant; a variant whose axes others before it have is marked slow."""
    found: list = []
    seen: set[str] = set()
    for name in content.names("envs"):
        found.append(name)
        for variant, change in load(name).variants.items():
            address, axes = f"{name}.{variant}", {axis for axis, _ in change.axes()}
            found.append(address if axes - seen else pytest.param(address, marks=pytest.mark.slow))
            seen |= axes
    return found


ADDRESSES = addresses()

# what stands still by its nature: a goal or command within an episode, a body's mass, the height of what lies on a
# table, a root that no motor pulls, a force on what touches nothing
CONSTANT = re.compile(
    r"target_[xy]\.position|goal\.[xyz]\.place|object\.z\.place|.*\.m\.inertia|.*\.contact_force"
    r"|slider\.constraint_force|(object|target_x|target_y)\..*|target\.[xyz]\.place|.*\.command"
)


def env_interface(address: str):
    return make(address).unwrapped.interface.observation


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
    constant = {
        slot.name for slot, moved in zip(env_interface(address), np.ptp(first, axis=0), strict=True) if moved == 0
    }
    variation = make(address).unwrapped.variation
    masked = [*(variation.observation_mask or ()), *(f"{joint}.motor_force" for joint in variation.cripple or ())]
    assert not {name for name in constant if not CONSTANT.fullmatch(name) and name not in masked}
    env = make(address)
    assert not np.array_equal(env.reset(seed=1)[0], env.reset()[0])


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_element_has_its_own_name(address: str):
    model = make(address).unwrapped.model
    for count, element in ((model.nbody, model.body), (model.njnt, model.joint), (model.ngeom, model.geom)):
        assert len({element(index).name for index in range(count)} - {""}) == count
    assert len({model.actuator(index).name for index in range(model.nu)} - {""}) == model.nu


def value_of(world, slot: str) -> float:
    """What a slot's name says, looked up by MuJoCo's own names."""
    element, kind = slot.rsplit(".", 1)
    element, _, part = element.partition(".")
    kind, _, other = kind.partition("_from_")
    data = world.data
    if kind in ("position", "velocity", "cosine", "sine", "motor_force", "constraint_force"):
        joint = data.joint(element)
        found = {"velocity": joint.qvel, "motor_force": joint.qfrc_actuator, "constraint_force": joint.qfrc_constraint}
        parts = ("x", "y", "z", "qw", "qx", "qy", "qz") if kind == "position" else ("x", "y", "z", "rx", "ry", "rz")
        value = found.get(kind, joint.qpos)[parts.index(part) if part else 0]
        value -= data.joint(other).qpos[0] if other else 0.0
        return {"cosine": np.cos, "sine": np.sin}.get(kind, float)(value)
    if kind == "place":
        place = data.body(element).xpos - (data.body(other).xpos if other else 0.0)
        return place["xyz".index(part)]
    body = data.body(element)
    wrench = ("rx", "ry", "rz", "x", "y", "z")
    inertia = ("xx", "yy", "zz", "xy", "xz", "yz", "mx", "my", "mz", "m")
    if kind == "inertia":
        return body.cinert[inertia.index(part)]
    return (body.cvel if kind == "motion" else data.cfrc_ext[body.id])[wrench.index(part)]


@pytest.mark.parametrize("name", content.names("envs"))
def test_slots_are_what_they_say(name: str):
    world = make(name).unwrapped
    world.reset(seed=0)
    world.action_space.seed(0)
    limits = [
        block.limit or np.inf
        for block in world.table.observation
        if block.visible
        for part in block_readings(block, world.model, MemoryLayout(world.table, world.model, world.dt))
        for _ in part.slots
    ]
    for _ in range(20):
        observation, *_ = world.step(world.action_space.sample())
    assert len(set(world.interface.observation_names)) == len(observation)
    for slot, value, limit in zip(world.interface.observation, observation, limits, strict=True):
        kind = slot.name.rpartition(".")[2]
        if (
            kind not in MEMORY_KINDS and kind.partition("_from_")[0] not in SENSOR_KINDS
        ):  # see test_task_memory and test_model_sensors
            assert value == np.clip(value_of(world, slot.name), -limit, limit), slot
        assert slot.unit != "?"
    assert all(slot.name.endswith(".control") for slot in world.interface.action)


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_terms_sum_exactly_to_the_reward(address: str):
    world = make(address).unwrapped
    world.reset(seed=0)
    world.action_space.seed(0)
    for _ in range(20):
        *_, reward, _, _, info = world.step(world.action_space.sample())
        info.pop("is_success", None)
        groups: dict[str, list] = {}
        for term, value in zip(world.table.reward, info.values(), strict=True):
            groups.setdefault(term.group, []).append(value)
        assert [key for key in info] == [f"reward_{term.label}" for term in world.table.reward]
        assert reward == reduce(add, (reduce(add, values) for values in groups.values()))


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_second_of_noise_at_full_control_is_calm_and_finite(address: str):
    world = make(address).unwrapped
    world.reset(seed=0)
    rng = np.random.default_rng(0)
    low, high = world.action_limits
    for _ in range(round(1.0 / world.dt)):
        action = np.where(rng.random(len(low)) < 0.5, low, high).astype(np.float32)
        observation, reward, _, _, info = world.step(action)
        assert np.isfinite(observation).all()
        assert np.isfinite(reward)
        assert "sim_unstable" not in info


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_spec_survives_json(address: str):
    env = make(address)
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.address == env.unwrapped.address


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
