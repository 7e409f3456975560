"""An env of a pool draws another model at each episode, from its own generator; the same bits across a resume."""

import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.warp import warp_library

POOL = [{"gravity": 0.5}, {"gravity": 2.0, "observation_noise": 0.01}, {"timestep": 0.5}, {"target_speed": 1.0}]
ENVS = ["hopper", "ant"]  # the second observes contact forces: an MjData per env


def run(batch: RobotVectorEnv, steps: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    results: list[np.ndarray] = []
    for _ in range(steps):
        actions = rng.uniform(-1, 1, batch.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, _ = batch.step(actions)
        results += [observation.copy(), reward, terminated, truncated]
    return results


@pytest.mark.parametrize("env", ENVS)
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_each_episode_is_of_another_draw_also_of_one_env(env: str, mode: str):
    batch = RobotVectorEnv(1, env, pools=[POOL], autoreset_mode=mode, max_episode_steps=5)
    batch.reset(seed=0)
    seen = set()
    for _ in range(40):
        batch.step(np.zeros(batch.action_space.shape, dtype=np.float32))
        seen.add(batch.addresses[0])
    assert seen == {f"{env}?{'&'.join(f'{k}={v}' for k, v in axes.items())}" for axes in POOL}


@pytest.mark.parametrize("env", ENVS)
def test_what_was_drawn_acts_as_that_env_alone(env: str):
    """Between two resets a drawn env goes the way of `RobotEnv` at its address from the same state."""
    batch = RobotVectorEnv(3, env, pools=[POOL, POOL[:1], POOL], autoreset_mode="Disabled")
    batch.reset(seed=5)
    for _ in range(3):
        batch.reset()
        state = batch.state([1])
    alone = RobotVectorEnv(1, env, POOL[:1], autoreset_mode="Disabled")
    alone.reset(seed=0)
    alone.restore(None, {name: values for name, values in state.items() if name != "drawn" and "channel" not in name})
    actions = np.random.default_rng(0).uniform(-1, 1, batch.action_space.shape).astype(np.float32)
    for _ in range(5):
        together, single = batch.step(actions), alone.step(actions[1:2])
        assert together[0][1].tolist() == single[0][0].tolist()
        assert together[1][1] == single[1][0]


@pytest.mark.parametrize("env", ENVS)
def test_the_same_seed_gives_the_same_bits_and_a_state_goes_on_exactly(env: str):
    first, second, third = (
        RobotVectorEnv(2, env, pools=[POOL] * 2, autoreset_mode="SameStep", max_episode_steps=7) for _ in "abc"
    )
    first.reset(seed=3), second.reset(seed=3)
    for one, other in zip(run(first, 20, 0), run(second, 20, 0), strict=True):
        assert np.array_equal(one, other)
    third.restore(None, first.state())
    assert third.addresses == first.addresses
    for one, other in zip(run(first, 20, 1), run(third, 20, 1), strict=True):
        assert np.array_equal(one, other)


def test_an_env_draws_the_same_whoever_else_is_in_the_batch():
    one, many = RobotVectorEnv(1, "hopper", pools=[POOL]), RobotVectorEnv(3, "hopper", pools=[POOL] * 3)
    one.reset(seed=4), many.reset(seed=[4, 8, 9])
    for _ in range(4):
        assert one.addresses[0] == many.addresses[0]
        assert one.reset()[0][0].tolist() == many.reset()[0][0].tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pools": [POOL]}, "hopper: 1 pools for 2 envs"),
        ({"pools": [POOL, []]}, "hopper: 2 pools for 2 envs, each of one variant at least"),
        ({"pools": [POOL] * 2, "variant": "gravity-0.5"}, "either variants or pools"),
        ({"pools": [[{"gravty": 1.0}]] * 2}, "unknown key 'gravty'"),
        ({"pools": [[{}, {"observe": ["velocity"]}]] * 2}, "hopper"),
    ],
)
def test_a_pool_that_cannot_be_is_one_line(arguments: dict, message: str):
    with pytest.raises(InputError) as caught:
        RobotVectorEnv(2, "hopper", **arguments)
    assert message in str(caught.value)


@pytest.mark.xdist_group("warp")
@pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
def test_warp_refuses_a_pool_by_name():
    from trl_suite.worlds.warp.warp_env import WarpVectorEnv

    with pytest.raises(InputError, match="draws no models anew"):
        WarpVectorEnv(1, "hopper", pools=[POOL], device="cpu")


def test_a_single_env_has_no_pool():
    with pytest.raises(InputError, match="unknown key 'pools'"):
        RobotEnv("hopper", pools=[POOL])
