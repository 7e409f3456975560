"""States at home: of as many episodes as it takes."""

import numpy as np

from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.training.acting.source_states import visited_states
from trl_suite.training.from_scratch import train


def test_a_policy_that_falls_early_is_seen_in_other_episodes_too():
    hyperparameters = PPOHyperparameters(n_envs=2, n_steps=64, batch_size=64, n_epochs=1, hidden=(8, 8))
    policy = train("hopper", steps=128, hyperparameters=hyperparameters)  # it falls after some twenty steps
    states = visited_states(policy, 2_000, seed=0)
    assert states.shape == (2_000, len(policy.interface.observation))
    assert len(np.unique(states, axis=0)) > 1_900
    heights = states[:, policy.interface.observation_names.index("rootz.position")]
    assert (heights > 1.2).sum() > 500  # up again, episode after episode
    assert np.array_equal(states, visited_states(policy, 2_000, seed=0))
