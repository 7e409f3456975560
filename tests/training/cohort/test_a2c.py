"""The cohort's A2C update is Stable-Baselines3's, on the same parameters and rollout."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from stable_baselines3 import A2C
from stable_baselines3.common.logger import Logger

from tests.training.cohort.small import job, numbers, run, same
from tests.training.cohort.test_ppo import difference, everything, rollout_of
from trl_suite.algorithms.a2c import A2CHyperparameters
from trl_suite.networks.components import group
from trl_suite.training.cohort.learning.a2c_update import A2CUpdate
from trl_suite.training.cohort.stacked.parameter_layout import on_policy
from trl_suite.training.cohort.stacked.stack import Stack
from trl_suite.training.sb3.models import sb3_model as sb3

HYPERPARAMETERS = A2CHyperparameters(n_envs=4, n_steps=20, ent_coef=0.01)


def learned(hyperparameters: A2CHyperparameters) -> A2C:
    """An SB3 model with a rollout in its buffer, from a policy that has moved already."""
    model = sb3.build("half-cheetah", hyperparameters, 0)
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.learn(hyperparameters.minibatch)
    with patch.object(model, "train"):
        model.learn(hyperparameters.minibatch, reset_num_timesteps=False)
    model.policy.optimizer.state.clear()  # the cohort's optimiser is fresh, as after a transplant
    return model


def cohort_of(model: A2C, hyperparameters: A2CHyperparameters, dtype: torch.dtype) -> A2CUpdate:
    stack = Stack.zeros(on_policy(17, 6, hyperparameters.hidden), 1, torch.device("cpu"), dtype)
    with torch.no_grad():
        stack.write(0, group("a2c", model.policy.named_parameters()))
    return A2CUpdate(hyperparameters, stack)


def train(model: A2C, dtype: torch.dtype) -> None:
    """SB3's own update."""
    if dtype == torch.float64:
        model.policy.double()
        for name in ("observations", "actions", "log_probs", "advantages", "returns", "values"):
            setattr(model.rollout_buffer, name, getattr(model.rollout_buffer, name).astype(np.float64))
    with patch("stable_baselines3.common.policies.preprocess_obs", lambda obs, *_, **__: obs.to(dtype)):
        model.train()


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["f64", "f32"])
@pytest.mark.parametrize("more", [{}, {"normalize_advantage": True}, {"use_rms_prop": False}], ids=str)
def test_three_updates_are_sb3s(more, dtype, limit):
    hyperparameters = replace(HYPERPARAMETERS, **more)
    model = learned(hyperparameters)
    learner, rollout = cohort_of(model, hyperparameters, dtype), rollout_of(model, 1, dtype)
    before = learner.stack.flat.clone()
    order = np.arange(hyperparameters.minibatch)[None, None]
    for _ in range(3):
        learner.update(rollout, order, everything(learner))
        train(model, dtype)
    assert float((learner.stack.flat - before).abs().max()) > 1e-4
    assert difference(model, learner) <= limit


def test_a_member_learns_the_same_alone_and_beside_another():
    hyperparameters = A2CHyperparameters(n_envs=4, n_steps=8, hidden=(16, 16))
    jobs = [job(seed=seed, hyperparameters=hyperparameters) for seed in range(2)]
    together, alone = run(jobs), run(jobs[:1])
    assert same(numbers(together[0]), numbers(alone[0]))
    assert not same(numbers(together[0]), numbers(together[1]))
