"""States that a source visits in the world that it was trained in."""

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.networks.policy import Policy
from trl_suite.worlds.env import make


def home_states(policy: Policy, count: int, seed: int) -> npt.NDArray[np.float64]:
    """Return `count` observations, (count, slots), unnormalised, of the policy acting with its own noise at home."""
    world = make(policy.card.training.env)
    generator = torch.Generator().manual_seed(seed)
    observation, _ = world.reset(seed=seed)
    states = np.empty((count, len(policy.interface.observation)))
    for step in range(count):
        states[step] = observation
        action, _ = policy.predict(observation[None], deterministic=False, generator=generator)
        observation, _, terminated, truncated, _ = world.step(action[0])
        if terminated or truncated:
            observation, _ = world.reset()
    world.close()
    return states
