"""The cohort's PPO update is Stable-Baselines3's, on the same parameters, rollout and order of minibatches."""

from unittest.mock import patch

import msgspec
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import Logger

from trl_suite.networks.components import group
from trl_suite.training import settings
from trl_suite.training.cohort.layout import Layout
from trl_suite.training.cohort.ppo import Learner, Transitions
from trl_suite.training.cohort.stack import Stack
from trl_suite.training.sb3 import model as sb3

HOW = settings.PPO(n_envs=4, n_steps=100, ent_coef=0.01, batch_size=64)


def learned(how: settings.PPO, seed: int = 0) -> PPO:
    """An SB3 model with a rollout in its buffer, from a policy that has moved already."""
    whole = msgspec.structs.replace(how, batch_size=how.n_envs * how.n_steps)  # SB3 warns of a short last minibatch
    model = sb3.build("half-cheetah", whole, seed)
    model.batch_size = how.batch_size
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.learn(how.n_envs * how.n_steps)
    with patch.object(model, "train"):
        model.learn(how.n_envs * how.n_steps, reset_num_timesteps=False)
    model.policy.optimizer.state.clear()  # the cohort's optimiser is fresh, as after a transplant
    return model


def cohort_of(model: PPO, how: settings.PPO, members: int, dtype=torch.float32) -> Learner:
    layout = Layout(17, 6, how.hidden)
    stack = Stack(layout, members, torch.device("cpu"), dtype)
    components = group("ppo", model.policy.named_parameters())
    with torch.no_grad():
        for member in range(members):
            stack.write(member, components)
    return Learner(how, stack, np.ones((2, members, len(layout.parts))))


def rollout_of(model: PPO, members: int, dtype=torch.float32) -> Transitions:
    buffer = model.rollout_buffer
    names = ("observations", "actions", "log_probs", "advantages", "returns")
    arrays = [buffer.swap_and_flatten(getattr(buffer, name)) for name in names]
    tensors = [torch.as_tensor(np.stack([array] * members)).to(dtype) for array in arrays]
    return Transitions(*tensors[:2], *(one[..., 0] for one in tensors[2:]))


def orders_of(how: settings.PPO, members: int, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    orders = np.stack([rng.permutation(how.n_envs * how.n_steps) for _ in range(how.n_epochs)])
    return np.stack([orders] * members)


def train(model: PPO, orders: np.ndarray, dtype=torch.float32) -> None:
    """SB3's own update, with these permutations."""
    if dtype == torch.float64:
        model.policy.double()
        buffer = model.rollout_buffer
        for name in ("observations", "actions", "log_probs", "advantages", "returns", "values"):
            array = getattr(buffer, name)
            setattr(buffer, name, array.astype(np.float32).astype(np.float64))
    permutations = iter(orders)
    with (
        patch("numpy.random.permutation", lambda size: next(permutations)),
        patch("stable_baselines3.common.policies.preprocess_obs", lambda obs, *_, **__: obs.to(dtype)),
    ):
        model.train()


def difference(model: PPO, learner: Learner, member: int = 0) -> float:
    theirs, ours = group("ppo", model.policy.named_parameters()), learner.stack.member(member)
    assert theirs.keys() == ours.keys()
    return max(
        float((value.double() - ours[name][tensor].double()).abs().max().detach())
        for name, tensors in theirs.items()
        for tensor, value in tensors.items()
    )


def everything(learner: Learner) -> np.ndarray:
    return np.ones_like(learner.adam.learning)


@pytest.mark.parametrize("batch_size", [64, 100, 256])
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["f64", "f32"])
def test_a_whole_update_is_sb3s(batch_size, dtype, limit):
    how = settings.PPO(n_envs=4, n_steps=97, ent_coef=0.01, batch_size=batch_size)
    model = learned(how)
    learner, orders = cohort_of(model, how, 1, dtype), orders_of(how, 1)
    rollout = rollout_of(model, 1, dtype)
    before = learner.stack.flat.clone()
    learner.update(rollout, orders, everything(learner))
    train(model, orders[0], dtype)
    assert float((learner.stack.flat - before).abs().max()) > 1e-3
    assert difference(model, learner) <= limit
