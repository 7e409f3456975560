"""Probes of a policy that learned next to nothing, whose answers are known nevertheless."""

import math

import numpy as np
import pytest
import stable_baselines3
import torch

import trl_suite
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.errors import InputError
from trl_suite.experiment.measuring.transfer_probe import probe
from trl_suite.networks import activations
from trl_suite.networks.policy import Policy
from trl_suite.training.acting.evaluation import Evaluator
from trl_suite.training.acting.paired_steps import paired
from trl_suite.training.acting.recording import Recording, record


@pytest.fixture(scope="module")
def policy() -> Policy:
    hyperparameters = PPOHyperparameters(n_envs=2, n_steps=64, batch_size=64, n_epochs=1, hidden=(8, 8))
    return trl_suite.train("inverted-pendulum", steps=256, hyperparameters=hyperparameters)


def test_a_world_is_no_distance_from_itself(policy):
    found = paired(policy, "inverted-pendulum", 200, 0)
    assert found.names == ("slider", "hinge")
    np.testing.assert_array_equal(found.source, found.target)
    assert np.ptp(found.source, axis=0).min() > 0


def test_more_gravity_pulls_the_pole_and_a_stronger_motor_the_cart(policy):
    gravity = probe(policy, "inverted-pendulum.gravity-1.5", episodes=2)
    assert 0 < gravity.probes.dynamics < 1
    assert set(gravity.joints) == {"slider", "hinge"}
    assert gravity.joints["hinge"] > gravity.joints["slider"]
    farther = probe(policy, "inverted-pendulum.gravity-2.0", episodes=2)
    assert farther.probes.dynamics > gravity.probes.dynamics


def test_at_home_nothing_is_lost(policy):
    found = probe(policy, "inverted-pendulum", episodes=4)
    assert found.target_return == found.source_return > found.random_return
    assert (found.probes.zero_shot, found.probes.dynamics) == (1, 0)
    assert len(found.probes.layers) == 3
    assert found.notes == ()
    assert probe(policy, "inverted-pendulum", episodes=4, reference=2 * found.source_return).probes.zero_shot < 1


def test_what_two_worlds_do_not_allow_is_said(policy):
    found = probe(policy, "hopper", episodes=2)
    assert math.isnan(found.target_return)
    assert found.probes.layers == ()
    assert math.isnan(found.probes.dynamics)
    assert [note.split(":")[0] for note in found.notes] == ["no zero-shot, critic and layers", "no dynamics"]
    with pytest.raises(InputError, match="at least 2"):
        probe(policy, "inverted-pendulum", episodes=1)


def test_gymnasiums_own_world_is_the_same_world(policy):
    found = paired(policy, "gymnasium:InvertedPendulum-v5", 50, 0)
    np.testing.assert_array_equal(found.source, found.target)


def test_features_and_values_are_those_of_the_networks(policy):
    observations = np.random.default_rng(0).normal(0, 1, (5, 4))
    layers = activations.trunk(policy, observations)
    assert [layer.shape for layer in layers] == [(5, 4), (5, 8), (5, 8)]
    head = policy.components["actor.head"]
    actions = layers[-1] @ head["weight"].numpy().T + head["bias"].numpy()
    np.testing.assert_allclose(policy.predict(observations)[0], np.clip(actions, -3, 3), rtol=1e-4, atol=1e-5)
    assert activations.values(policy, observations, actions).shape == (5,)


def test_the_critic_of_an_off_policy_learner_sees_the_action(tmp_path):
    hyperparameters = SACHyperparameters(learning_starts=50, hidden=(8, 8), batch_size=16)
    policy = trl_suite.train("inverted-pendulum", steps=100, hyperparameters=hyperparameters)
    model = stable_baselines3.SAC.load(policy.to_sb3(tmp_path / "policy.zip")[0], device="cpu")
    with torch.no_grad():
        twins = model.policy.critic(torch.zeros(3, 4), torch.tensor([[-1.0], [0.0], [1.0]]))
    found = activations.values(policy, np.zeros((3, 4)), np.array([[-3.0], [0.0], [3.0]]))
    np.testing.assert_allclose(found, torch.minimum(*twins)[:, 0].numpy(), rtol=1e-5)


def test_a_recording_holds_the_episodes_of_an_evaluation(policy):
    found = record("inverted-pendulum", lambda seen: policy.predict(seen)[0], 3)
    evaluator = Evaluator("inverted-pendulum", 3)
    episodes = evaluator(lambda seen: policy.predict(seen)[0])
    evaluator.close()
    np.testing.assert_array_equal(found.returns, [episode.value for episode in episodes])
    np.testing.assert_array_equal(np.bincount(found.episodes), [episode.length for episode in episodes])
    rows = np.flatnonzero(found.episodes == 0)
    np.testing.assert_allclose(found.observations[rows[1]], found.observations[rows[0]] + found.changes[rows[0]])


def test_returns_to_go_by_hand_and_what_a_time_limit_cuts():
    zeros = np.zeros((5, 1))
    found = Recording(
        zeros, zeros, np.array([1.0, 2, 4, 8, 16]), zeros, np.array([0, 0, 0, 1, 1]), np.array([True, False])
    )
    np.testing.assert_array_equal(found.to_go(0.5), [3, 4, 4, 16, 16])
    np.testing.assert_array_equal(found.settled(0.99), [True, True, False, True, True])
    np.testing.assert_array_equal(found.settled(0.05), [True] * 5)
