"""What a cohort logs of an update is what Stable-Baselines3 logs of the same one: names and numbers."""

import numpy as np
import pytest
import torch

from trl_suite.algorithms.a2c import A2CHyperparameters
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.training.acting.evaluation import Episode
from trl_suite.training.run_log import of_evaluation

from . import test_a2c, test_off_policy, test_ppo
from .small import Keeping
from .small import job as a_job

NOT_LOGGED = {"train/n_updates"}  # SB3 keeps it out of TensorBoard


def logged(model) -> dict[str, float]:
    """What SB3 has recorded of its last update."""
    return {
        name: float(value)
        for name, value in model.logger.name_to_value.items()
        if name.startswith("train/") and name not in NOT_LOGGED
    }


def check(ours, theirs, member=0):
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name][member] == pytest.approx(value, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("more", [{}, {"ent_coef": 0.0, "vf_coef": 0.9}, {"clip_range": 0.02}], ids=str)
def test_ppos_scalars_are_sb3s(more):
    hyperparameters = PPOHyperparameters(n_envs=4, n_steps=97, batch_size=64, **{"ent_coef": 0.01} | more)
    model = test_ppo.learned(hyperparameters)
    learner, orders = test_ppo.cohort_of(model, hyperparameters, 2), test_ppo.orders_of(hyperparameters, 2)
    ours = learner.update(test_ppo.rollout_of(model, 2), orders, test_ppo.everything(learner))
    test_ppo.train(model, orders[0])
    check(ours, logged(model), 1)
    assert {"train/loss", "train/policy_gradient_loss", "train/explained_variance", "train/learning_rate"} <= set(ours)


def test_of_a_member_that_stops_early_they_are_those_until_it_stopped():
    hyperparameters = PPOHyperparameters(n_envs=4, n_steps=100, batch_size=64, target_kl=0.01, ent_coef=0.01)
    rates = (3e-4, 3e-3)
    models = [test_ppo.learned(hyperparameters) for _ in rates]
    learner = test_ppo.cohort_of(models[0], hyperparameters, 2)
    orders = test_ppo.orders_of(hyperparameters, 2)
    learner.adam._rates[:, 1] *= 10
    ours = learner.update(test_ppo.rollout_of(models[0], 2), orders, test_ppo.everything(learner))
    for member, (model, rate) in enumerate(zip(models, rates, strict=True)):
        model.lr_schedule = lambda _, rate=rate: rate
        test_ppo.train(model, orders[0])
        ours["train/learning_rate"][member] = rate
        check(ours, logged(model), member)


@pytest.mark.parametrize("normalised", [False, True])
def test_a2cs_scalars_are_sb3s(normalised):
    hyperparameters = A2CHyperparameters(n_envs=4, n_steps=20, ent_coef=0.01, normalize_advantage=normalised)
    model = test_a2c.learned(hyperparameters)
    learner = test_a2c.cohort_of(model, hyperparameters, torch.float32)
    order = np.arange(hyperparameters.minibatch)[None, None]
    ours = learner.update(test_ppo.rollout_of(model, 1), order, test_ppo.everything(learner))
    test_a2c.train(model, torch.float32)
    check(ours, logged(model))


@pytest.mark.parametrize(
    "hyperparameters",
    [
        SACHyperparameters(batch_size=30, hidden=(16,), buffer_size=10),
        SACHyperparameters(batch_size=30, hidden=(16,), buffer_size=10, ent_coef=0.2),
        TD3Hyperparameters(batch_size=30, hidden=(16,), buffer_size=10, policy_delay=1),
    ],
    ids=["sac", "sac with a fixed temperature", "td3"],
)
def test_off_policy_scalars_are_sb3s(hyperparameters, monkeypatch):
    monkeypatch.setattr(test_off_policy, "SIZE", 30)
    model = test_off_policy.sb3_model(hyperparameters, 0, torch.float32)
    learner = test_off_policy.cohort_of([model], hyperparameters, torch.float32)
    for batch, draws in test_off_policy.batches(hyperparameters, 1, 3, torch.float32):
        ours = learner.update(batch, draws)
        test_off_policy.train(model, batch, draws, 0)
        theirs = logged(model)
        del theirs["train/learning_rate"]  # the learner above adds it
        check(ours, theirs)


def test_nothing_is_computed_for_nobody(monkeypatch):
    """Runs without an event file pay nothing for scalars."""
    from trl_suite.training.cohort.cohort_training import train
    from trl_suite.training.cohort.learning import ppo_update

    monkeypatch.setattr(ppo_update, "_reported", lambda *_: pytest.fail("computed"))
    list(train([a_job()], [Keeping()], [None], torch.device("cpu")))


def test_evaluations_of_drawn_actions_have_names_of_their_own():
    episodes = [Episode(1.0, 10), Episode(3.0, 30), Episode(-2.0, 5, "stochastic")]
    assert of_evaluation(episodes) == {
        "eval/mean_reward": 2.0,
        "eval/mean_ep_length": 20.0,
        "eval/stochastic_mean_reward": -2.0,
        "eval/stochastic_mean_ep_length": 5.0,
    }
