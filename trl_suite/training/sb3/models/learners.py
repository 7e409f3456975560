"""SB3's off-policy learners with one change: a transferred policy may act while `learning_starts` is waited for.

SB3 draws uniformly random actions then, which throws away what was transferred and fills the replay with it.
"""

from functools import cache
from typing import Any

from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from typing_extensions import TypeIs

from trl_suite.algorithms.registry import DESCRIPTORS, Algorithm, find
from trl_suite.errors import InputError

Model = PPO | SAC | TD3  # each stands for its kind: the functions below tell which kind a model is of


class ActsFirst(OffPolicyAlgorithm):
    """An off-policy learner whose own policy collects the first transitions where `acts_first` is set."""

    acts_first = False

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[Any, Any]:
        return super()._sample_action(0 if self.acts_first else learning_starts, action_noise, n_envs)


@cache
def learner_class(algorithm: Algorithm) -> Any:
    """Return SB3's class of an algorithm; off policy, one whose own policy may collect the first transitions.

    Raises:
        NotInstalledError: the package that has it is not there.
    """
    descriptor = find(algorithm)
    sb3_class = descriptor.imported()
    return sb3_class if descriptor.on_policy else type(f"{sb3_class.__name__}Learner", (ActsFirst, sb3_class), {})


def algorithm_of(model: Model) -> Algorithm:
    """Return the algorithm of an SB3 model.

    Raises:
        InputError: it is none of those that can be transplanted.
    """
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(model).__mro__}
    for name, descriptor in DESCRIPTORS.items():
        if descriptor.sb3_class in names:
            return name
    raise InputError(f"{type(model).__name__} cannot be transplanted; {', '.join(DESCRIPTORS)} can")


def is_on_policy(model: Model) -> TypeIs[PPO]:
    """Return whether a model learns from rollouts, as PPO does, and has one optimizer."""
    return find(algorithm_of(model)).on_policy


def has_temperature(model: Model) -> TypeIs[SAC]:
    """Return whether a model weighs its entropy by a temperature, as SAC does."""
    return find(algorithm_of(model)).temperature


def is_deterministic(model: Model) -> TypeIs[TD3]:
    """Return whether a model's policy has no deviation, as TD3's."""
    return find(algorithm_of(model)).log_std == "none"
