"""TD3's update for all members at once: the same as `stable_baselines3.TD3.train`, with the gradient written out.

Axes: P members, B of a batch.
"""

from collections.abc import Mapping

import torch

from trl_suite.training import settings
from trl_suite.training.cohort.adam import Adam
from trl_suite.training.cohort.critics import ADAM_EPSILON, Critics, Factors, follow
from trl_suite.training.cohort.network import Networks
from trl_suite.training.cohort.replay import Batch
from trl_suite.training.cohort.stack import Stack

TARGET_NOISE, TARGET_NOISE_CLIP = 0.2, 0.5  # SB3's defaults


class TD3:
    """Stacked actors and twin critics, and TD3's update of them."""

    def __init__(
        self, hyperparameters: settings.TD3Hyperparameters, stacks: Mapping[str, Stack], factors: Factors
    ) -> None:
        """Begin with the parameters in `stacks`: actor, critic, target.actor and target.critic."""
        self.hyperparameters, self.stacks = hyperparameters, stacks
        actor = stacks["actor"]
        self.critics = Critics(hyperparameters, stacks["critic"], stacks["target.critic"], factors.get("critic"))
        self.adam = Adam(actor, actor.zeros_like(), hyperparameters.learning_rate, ADAM_EPSILON, factors.get("actor"))
        self.optimisers = {"actor": self.adam, "critic": self.critics.adam}
        self.updates, self.phases = 0, hyperparameters.policy_delay  # so far, and after how many the same is due again
        self._here, self._acting = (Networks(actor, self.adam.gradient, hyperparameters.activation) for _ in range(2))
        self._ahead = Networks(stacks["target.actor"], self.adam.gradient, hyperparameters.activation)

    def act(self, seen: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return actions in [-1, 1] (P, W, actions) on what is seen (P, W, slots); none are drawn."""
        return torch.tanh(self._means(self._acting, seen))

    def update(self, batch: Batch, draws: torch.Tensor) -> dict[str, torch.Tensor]:
        """Make one step of everything that is due; return what is worth telling, per member (P,).

        Args:
            batch: transitions, with observations as the networks see them and rewards as they are learned from.
            draws: standard normal numbers (1, P, B, actions), which blur the actions that follow.
        """
        self.updates += 1
        noise = (draws[0] * TARGET_NOISE).clamp(-TARGET_NOISE_CLIP, TARGET_NOISE_CLIP)
        following = (torch.tanh(self._means(self._ahead, batch.following)) + noise).clamp(-1.0, 1.0)
        beyond = self.critics.targets(batch.following, following)
        wanted = batch.reward + batch.goes_on * self.hyperparameters.gamma * beyond
        told = {"train/critic_loss": self.critics.learn(batch.observation, batch.action, wanted, 1.0)}
        if self.updates % self.hyperparameters.policy_delay == 0:
            told["train/actor_loss"] = self._improve(batch.observation)
            self.critics.follow()
            follow(self.stacks["target.actor"], self.stacks["actor"], self.hyperparameters.tau)
        return told

    def _improve(self, seen: torch.Tensor) -> torch.Tensor:
        """Move the actors towards what the first critic values; return the loss (P,)."""
        action = torch.tanh(self._means(self._here, seen))
        value, slope = self.critics.slope_of_first(seen, action)
        slopes = self._here.slopes(seen.shape[1])
        slopes[..., : action.shape[-1]] = slope * (1.0 - action.square())
        self._here.backward(seen, slopes)
        self.adam.step()
        return -value.mean(1)

    def _means(self, networks: Networks, seen: torch.Tensor) -> torch.Tensor:
        return networks.forward(seen)[..., : self.adam.stack.layout.outputs]
