"""Worlds that are taken out of one batch go on in another, to the last digit."""

import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.worlds.stepping import rng_state
from trl_suite.worlds.stepping.env import make
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv

DISTURBED = {"action_noise": 0.1, "action_delay": 2, "observation_noise": 0.05, "observation_delay": 1}
CASES = [
    ("hopper", None),  # ends by falling
    ("ant", None),  # contact forces: an MjData per world
    ("humanoid", None),
    ("reacher", None),  # sees a derived field
    ("half-cheetah", DISTURBED),
]


def actions(batch: RobotVectorEnv, steps: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    shape = (steps, batch.num_envs, *batch.single_action_space.shape)
    return generator.uniform(-0.4, 0.4, shape).astype(np.float32)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize(("env", "variant"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("before", [7, 40])
def test_worlds_that_move_to_another_batch_go_on_as_they_would_have(env, variant, mode, before):
    """Mid-episode and right at its end (40 steps), from places 1 and 2 of three to places 0 and 3 of five."""
    longer = {"action_delay": 3, "observation_delay": 4} if variant else None  # another ring, turned another way
    kwargs = {"autoreset_mode": mode, "max_episode_steps": 40}
    whole = RobotVectorEnv(3, env, [variant] * 3, threads=1, **kwargs)
    other = RobotVectorEnv(5, env, [variant, longer, None, variant, None], threads=2, **kwargs)
    whole.reset(seed=3)
    other.reset(seed=50)
    for one in actions(other, 5, seed=1):
        other.step(one)
    given = actions(whole, 70, seed=2)
    for one in given[:before]:
        whole.step(one)
    other.restore([0, 3], whole.state([1, 2]))
    theirs = actions(other, 70, seed=4)
    for mine, all_ in zip(given[before:], theirs, strict=False):
        all_[[0, 3]] = mine[[1, 2]]
        left, right = whole.step(mine), other.step(all_)
        for ours, moved in zip(left[:4], right[:4], strict=True):
            assert np.array_equal(ours[[1, 2]], moved[[0, 3]])
        assert np.array_equal(whole._ended[[1, 2]], other._ended[[0, 3]])


def test_a_batch_that_was_never_reset_takes_a_state_and_others_go_their_own_way():
    first, second, third = (RobotVectorEnv(2, "ant", threads=1) for _ in range(3))
    first.reset(seed=0)
    third.reset(seed=0)
    given = actions(first, 20, seed=0)
    for one in given[:10]:
        first.step(one)
        third.step(one)
    second.restore(None, first.state())
    third.restore([1], first.state([0]))  # world 0 is left alone
    for one in given[10:]:
        expected, found, partly = first.step(one)[0], second.step(one)[0], third.step(one)[0]
        assert np.array_equal(expected, found)
        assert np.array_equal(expected[0], partly[0])
        assert not np.array_equal(expected[1], partly[1])


def test_a_masked_reset_sees_the_restored_state_of_the_others():
    """Derived fields lag a substep behind: computing them anew would show another observation."""
    first, second = (RobotVectorEnv(2, "reacher", threads=1, autoreset_mode="Disabled") for _ in range(2))
    first.reset(seed=0)
    for one in actions(first, 5, seed=0):
        first.step(one)
    second.restore(None, first.state())
    mask = {"reset_mask": np.array([True, False])}
    assert np.array_equal(first.reset(options=mask)[0], second.reset(options=mask)[0])


@pytest.mark.parametrize("address", ["hopper", "ant", "half-cheetah?action_noise=0.1&observation_delay=2"])
def test_a_single_world_goes_on_in_another(address):
    first, second = make(address).unwrapped, make(address).unwrapped
    first.reset(seed=1)
    second.reset(seed=2)
    given = np.random.default_rng(0).uniform(-0.4, 0.4, (20, *first.action_space.shape)).astype(np.float32)
    for action in given[:10]:
        first.step(action)
    second.restore(first.state())
    for action in given[10:]:
        for left, right in zip(first.step(action)[:3], second.step(action)[:3], strict=True):
            assert np.array_equal(left, right)
    assert np.array_equal(first.reset()[0], second.reset()[0])


def test_what_cannot_be_taken_or_put_back_is_refused():
    batch = RobotVectorEnv(3, "hopper", threads=1)
    with pytest.raises(InputError, match="no state before its first reset"):
        batch.state()
    batch.reset(seed=0)
    with pytest.raises(InputError, match="a state of 2 worlds for 1"):
        batch.restore([0], batch.state([0, 1]))


def test_a_generator_goes_on_where_it_was_kept_half_draws_included():
    first, second = np.random.default_rng(1), np.random.default_rng(2)
    first.integers(0, 10, dtype=np.uint32)  # half of 64 bits is kept for the next draw
    rng_state.restore_rng(second, rng_state.pack_rng([first])[0])
    assert (
        first.integers(0, 10**6, 9, dtype=np.uint32).tolist() == second.integers(0, 10**6, 9, dtype=np.uint32).tolist()
    )
    assert first.standard_normal() == second.standard_normal()
