"""States that a source visits in the world that it was trained in."""

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.networks.policy import Policy
from trl_suite.training.seeds import seed_for
from trl_suite.worlds.vector_env import make_vector

WORLDS = 10  # side by side, so that one call of the network serves them all


def home_states(policy: Policy, count: int, seed: int) -> npt.NDArray[np.float64]:
    """Return `count` observations, (count, slots), unnormalised, of the policy acting with its own noise at home."""
    worlds = make_vector(policy.card.training.env, WORLDS, autoreset=True)
    generator = torch.Generator().manual_seed(seed)
    observation, _ = worlds.reset(seed=[seed_for(seed, "home", i) for i in range(WORLDS)])  # type: ignore[arg-type]
    seen: list[npt.NDArray[np.float64]] = []
    for _ in range(-(-count // WORLDS)):
        seen.append(observation)
        action, _ = policy.predict(observation, deterministic=False, generator=generator)
        observation, *_ = worlds.step(action)
    worlds.close()
    return np.concatenate(seen)[:count]
