"""The batch as SB3's VecEnv gives what DummyVecEnv gives."""

import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from trl_suite.errors import InputError
from trl_suite.training.sb3.models.vec_env import BatchVecEnv
from trl_suite.worlds.stepping.env import make


@pytest.mark.parametrize("name", ["hopper", "ant"])
def test_it_gives_what_dummy_vec_env_gives(name: str):
    batch = BatchVecEnv(3, name, [None, "gravity-0.5", None], terms=True)
    dummy = DummyVecEnv([lambda: make(name), lambda: make(f"{name}.gravity-0.5"), lambda: make(name)])
    for one in (batch, dummy):
        one.seed(4)
    assert np.array_equal(batch.reset(), dummy.reset())
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(150):
        actions = rng.uniform(-1, 1, (3, *batch.action_space.shape)).astype(np.float32)
        left, right = batch.step(actions), dummy.step(actions)
        for mine, theirs in zip(left[:3], right[:3], strict=True):
            assert np.array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype
        for mine, theirs in zip(left[3], right[3], strict=True):
            for key in (key for key in theirs if key.startswith("reward_")):
                assert mine[key] == theirs[key]
            if "terminal_observation" in theirs:
                ended += 1
                assert np.array_equal(mine["terminal_observation"], theirs["terminal_observation"])
                assert mine["TimeLimit.truncated"] == theirs["TimeLimit.truncated"]
    assert ended or name == "ant"
    batch.close()


def test_truncation_is_told_apart_from_termination():
    batch = BatchVecEnv(2, "half-cheetah", max_episode_steps=3)
    batch.reset()
    zero = np.zeros((2, 6), np.float32)
    for _ in range(2):
        batch.step(zero)
    *_, ended, infos = batch.step(zero)
    assert ended.all()
    assert all(info["TimeLimit.truncated"] for info in infos)


@pytest.mark.slow
def test_ppo_learns_on_it():
    worlds = VecNormalize(VecMonitor(BatchVecEnv(8, "inverted-pendulum")))
    model = PPO("MlpPolicy", worlds, n_steps=128, batch_size=256, n_epochs=10, seed=0, learning_rate=1e-3, device="cpu")
    model.learn(20_000)
    lengths = [episode["l"] for episode in model.ep_info_buffer]
    assert np.mean(lengths[-20:]) > 100  # a random policy falls after 7


def test_what_a_batch_does_not_have_is_refused():
    batch = BatchVecEnv(2, "hopper")
    assert batch.get_attr("addresses", [0]) == [("hopper", "hopper")]
    assert batch.env_is_wrapped(VecMonitor) == [False, False]
    with pytest.raises(InputError, match="make the batch with variants"):
        batch.set_attr("gravity", 1.0)
    with pytest.raises(InputError, match="no method 'jump'"):
        batch.env_method("jump")
