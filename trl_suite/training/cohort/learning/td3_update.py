"""TD3's update for all members at once: the same as `stable_baselines3.TD3.train`, with the gradient written out.

Axes: P members, B of a batch.
"""

from collections.abc import Mapping

import torch

from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.training.cohort.learning.critics import OFF_POLICY_ADAM_EPSILON, Critics, Factors, follow
from trl_suite.training.cohort.learning.replay_rings import TransitionBatch
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.network import Networks
from trl_suite.training.cohort.stacked.stack import Stack

TARGET_NOISE, TARGET_NOISE_CLIP = 0.2, 0.5  # SB3's defaults


class TD3Update:
    """Stacked actors and twin critics, and TD3's update of them."""

    def __init__(self, hyperparameters: TD3Hyperparameters, stacks: Mapping[str, Stack], factors: Factors) -> None:
        """Begin with the parameters in `stacks`: actor, critic, target.actor and target.critic."""
        self.hyperparameters, self.stacks = hyperparameters, stacks
        actor = stacks["actor"]
        self.critics = Critics(hyperparameters, stacks["critic"], stacks["target.critic"], factors.get("critic"))
        self.adam = Adam(
            actor, actor.zeros_like(), hyperparameters.learning_rate, OFF_POLICY_ADAM_EPSILON, factors.get("actor")
        )
        self.optimisers = {"actor": self.adam, "critic": self.critics.adam}
        self.updates, self.phases = 0, hyperparameters.policy_delay  # so far, and after how many the same is due again
        self._here, self._acting = (
            Networks(actor, self.adam.gradient, hyperparameters.activation, learns) for learns in (True, False)
        )
        self._ahead = Networks(stacks["target.actor"], self.adam.gradient, hyperparameters.activation, learns=False)

    def act(self, normalized_obs: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return actions in [-1, 1] (P, W, actions) on what is seen (P, W, slots); none are drawn."""
        return torch.tanh(self._means(self._acting, normalized_obs))

    def update(self, batch: TransitionBatch, draws: torch.Tensor) -> dict[str, torch.Tensor]:
        """Make one step of everything that is due; return what is worth telling, per member (P,).

        Args:
            batch: transitions, with observations as the networks see them and rewards as they are learned from.
            draws: standard normal numbers (1, P, B, actions), which blur the actions that follow.
        """
        self.updates += 1
        # a' = clip(mu_target(s') + clip(N(0, 0.2), -0.5, 0.5), -1, 1) (Fujimoto et al. 2018, eq. 14)
        noise = (draws[0] * TARGET_NOISE).clamp(-TARGET_NOISE_CLIP, TARGET_NOISE_CLIP)
        next_action = (torch.tanh(self._means(self._ahead, batch.next_obs)) + noise).clamp(-1.0, 1.0)
        bootstrap_value = self.critics.targets(batch.next_obs, next_action)
        # y = r + gamma (1 - d) min_i Q_target_i(s', a') (eq. 10)
        td_target = torch.addcmul(batch.reward, batch.not_done, bootstrap_value, value=self.hyperparameters.gamma)
        metrics = {"train/critic_loss": self.critics.learn(batch.observation, batch.action, td_target, 1.0)}
        # actor and targets move once in `policy_delay` updates (section 5.2)
        if self.updates % self.hyperparameters.policy_delay == 0:
            metrics["train/actor_loss"] = self._improve(batch.observation)
            self.critics.follow()
            follow(self.stacks["target.actor"], self.stacks["actor"], self.hyperparameters.tau)
        return metrics

    def _improve(self, normalized_obs: torch.Tensor) -> torch.Tensor:
        """Move the actors towards what the first critic values; return the loss (P,)."""
        action = torch.tanh(self._means(self._here, normalized_obs))
        value, grad = self.critics.first_q_grad(normalized_obs, action)
        grads = self._here.output_grads(normalized_obs.shape[1])
        # d(-mean Q_1)/du = d(-mean Q_1)/da (1 - a^2) with a = tanh(u)
        grads[..., : action.shape[-1]] = grad * (1.0 - action.square())
        self._here.backward(normalized_obs.shape[1])
        self.adam.step()
        return -value.mean(1)

    def _means(self, networks: Networks, normalized_obs: torch.Tensor) -> torch.Tensor:
        return networks.forward(normalized_obs)[..., : self.adam.stack.layout.outputs]
