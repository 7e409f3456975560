"""What a fixed policy gets on Warp is what it gets on MuJoCo, over 256 first episodes of each."""

import numpy as np
import pytest
import torch

from trl_suite import content
from trl_suite.training.policy_import import load_policy
from trl_suite.worlds.stepping.vector_env import RobotVectorEnv
from trl_suite.worlds.warp.warp_env import WarpVectorEnv

pytestmark = pytest.mark.xdist_group("warp")
EPISODES = 256
STEPS = 300  # at most, of an episode
TRAINED = [name for name in content.names("envs") if f"{name}-ppo-seed-0" in content.names("policies")]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in content.names("envs") if name != "hopper"]


def returns(batch, policy, step) -> tuple[np.ndarray, np.ndarray]:
    """Return the returns and lengths of each world's first episode."""
    observation = batch.reset(seed=0)[0]
    total, length, going = np.zeros(EPISODES), np.zeros(EPISODES), np.ones(EPISODES, dtype=bool)
    rng = np.random.default_rng(5)
    while going.any():
        observation, reward, terminated, truncated, *_ = step(policy(np.asarray(observation), rng))
        total += np.where(going, np.asarray(reward), 0.0)
        length += going
        going &= ~np.asarray(terminated | truncated)
    return total, length


def untrained(kind: str, batch: RobotVectorEnv):
    """A policy that draws its actions, or one that is linear in what it sees."""
    high = batch.single_action_space.high
    weights = np.random.default_rng(6).normal(size=(len(batch.interface.observation), len(high))) * 0.3

    def act(observation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        linear = np.tanh(np.clip(observation, -10, 10) @ weights)
        return (high * (rng.uniform(-1, 1, (EPISODES, len(high))) if kind == "uniform" else linear)).astype(np.float32)

    return act


@pytest.mark.parametrize("name", ["hopper", *SLOW])
@pytest.mark.parametrize("kind", [pytest.param("uniform", marks=pytest.mark.slow), "linear"])
def test_returns_and_lengths_agree_within_three_standard_errors(name: str, kind: str):
    agree(name, lambda batch: untrained(kind, batch))


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_those_of_a_trained_policy_agree_too(name: str):
    policy = load_policy(f"{name}-ppo-seed-0")
    agree(name, lambda _: lambda observation, rng: policy.predict(observation)[0])


def agree(name: str, make_policy) -> None:
    """What a policy gets on Warp is what it gets on MuJoCo."""
    theirs = RobotVectorEnv(EPISODES, name, max_episode_steps=STEPS, autoreset_mode="Disabled")
    ours = WarpVectorEnv(EPISODES, name, device="cpu", max_episode_steps=STEPS, autoreset_mode="Disabled")
    policy = make_policy(theirs)
    on_mujoco = returns(theirs, policy, theirs.step)
    on_warp = returns(ours, policy, lambda actions: ours.step(torch.from_numpy(actions)))
    for mine, wanted in zip(on_warp, on_mujoco, strict=True):
        error = np.sqrt((mine.var(ddof=1) + wanted.var(ddof=1)) / EPISODES)
        assert abs(mine.mean() - wanted.mean()) <= 3 * error + 1e-3 * abs(wanted.mean())
    assert ours.overflown() == 0
