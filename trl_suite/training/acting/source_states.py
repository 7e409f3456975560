"""States that a source visits in its own env, and how much its actions depend on each weight there."""

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.mechanisms.distillation import SOURCE_STATES
from trl_suite.mechanisms.weight_regularizer import WeightRegularizer, accumulated, fisher, sensitivity
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import Alias, align
from trl_suite.networks.policy import Policy
from trl_suite.networks.stage_memory import STAGE_IMPORTANCE
from trl_suite.training.reproducibility import seed_for
from trl_suite.worlds.stepping.vector_env import make_vector

SOURCE_ENVS = 10  # side by side, so that one call of the network serves them all


def visited_states(policy: Policy, count: int, seed: int) -> npt.NDArray[np.float64]:
    """Return `count` observations, (count, slots), unnormalised, of the policy acting with its own noise at home."""
    worlds = make_vector(policy.card.training.env, SOURCE_ENVS, autoreset=True)
    generator = torch.Generator().manual_seed(seed)
    observation, _ = worlds.reset(seed=[seed_for(seed, "home", i) for i in range(SOURCE_ENVS)])  # type: ignore[arg-type]
    seen: list[npt.NDArray[np.float64]] = []
    for _ in range(-(-count // SOURCE_ENVS)):
        seen.append(observation)
        action, _ = policy.predict(observation, deterministic=False, generator=generator)
        observation, *_ = worlds.step(action)
    worlds.close()
    return np.concatenate(seen)[:count]


def importance(
    source: Policy, learner: Policy, regularizer: WeightRegularizer, alias: Alias | None, seed: int
) -> dict[str, torch.Tensor]:
    """Return `component.tensor` -> the importance of what was just copied; empty where none is asked.

    Raises:
        InputError: an importance is asked for and the target observes more than the source, or the earlier stages'
            is of other layers.
    """
    if not regularizer.weighs:
        return {}
    actor = source_actor(source, learner.interface, align(source.interface, learner.interface, alias))
    states = actor.placed(visited_states(source, SOURCE_STATES, seed_for(seed, "home")))
    of_stage = fisher(learner, states) if regularizer.fisher else sensitivity(learner, states)
    return accumulated(of_stage, source.memory.get(STAGE_IMPORTANCE, {}), regularizer.carry)
