"""SB3's SAC and TD3 with one change: a transferred policy may act while `learning_starts` is waited for.

SB3 draws uniformly random actions then, which throws away what was transferred and fills the replay with it.
"""

from typing import Any

from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from trl_suite.errors import InputError
from trl_suite.networks.card import Algorithm

Model = PPO | SAC | TD3


class ActsFirst(OffPolicyAlgorithm):
    """An off-policy learner whose own policy collects the first transitions where `acts_first` is set."""

    acts_first = False

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[Any, Any]:
        return super()._sample_action(0 if self.acts_first else learning_starts, action_noise, n_envs)


class SACLearner(ActsFirst, SAC):
    """SAC whose own policy may collect the first transitions."""


class TD3Learner(ActsFirst, TD3):
    """TD3 whose own policy may collect the first transitions."""


def algorithm_of(model: Model) -> Algorithm:
    """Return the algorithm of an SB3 model.

    Raises:
        InputError: it is none of those that can be transplanted.
    """
    kinds: dict[Algorithm, type[Model]] = {"ppo": PPO, "sac": SAC, "td3": TD3}
    for name, kind in kinds.items():
        if isinstance(model, kind):
            return name
    raise InputError(f"{type(model).__name__} cannot be transplanted; {', '.join(kinds)} can")
