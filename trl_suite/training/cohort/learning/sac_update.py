"""SAC's update for all members at once: the same as `stable_baselines3.SAC.train`, with the gradient written out.

Axes: P members, B of a batch.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch

from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.networks.policy import LOG_STD_RANGE
from trl_suite.training.cohort.learning.critics import OFF_POLICY_ADAM_EPSILON, Critics, Factors
from trl_suite.training.cohort.learning.replay_rings import TransitionBatch
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.network import Networks
from trl_suite.training.cohort.stacked.stack import Stack

SQUASH_EPSILON = 1e-6  # SB3 keeps the logarithm of 1 - a^2 finite with it


class SquashedActions(NamedTuple):
    """Actions of Gaussians that are squashed by tanh."""

    action: torch.Tensor  # (..., P, B, actions)
    log_prob: torch.Tensor  # (..., P, B)
    away: torch.Tensor  # from the mean, before tanh (..., P, B, actions)
    squashed: torch.Tensor  # 1 - action^2 (..., P, B, actions)
    free: torch.Tensor  # where the deviation is not at its bounds (..., P, B, actions)

    def of(self, index: int) -> "SquashedActions":
        """Return one of several batches."""
        return SquashedActions(*(values[index] for values in self))


class SACUpdate:
    """Stacked actors, twin critics and temperatures, and SAC's update of them."""

    updates, phases = 0, 1  # one update is made like the other: see TD3

    def __init__(self, hyperparameters: SACHyperparameters, stacks: Mapping[str, Stack], factors: Factors) -> None:
        """Begin with the parameters in `stacks`: actor, critic, target.critic, and temperature where it is tuned."""
        self.hyperparameters, self.stacks = hyperparameters, stacks
        actor = stacks["actor"]
        self.critics = Critics(hyperparameters, stacks["critic"], stacks["target.critic"], factors.get("critic"))
        self.adam = Adam(
            actor, actor.zeros_like(), hyperparameters.learning_rate, OFF_POLICY_ADAM_EPSILON, factors.get("actor")
        )
        self._here, self._ahead, self._acting = (
            Networks(actor, self.adam.gradient, hyperparameters.activation, learns) for learns in (True, False, False)
        )
        self.optimisers = {"actor": self.adam, "critic": self.critics.adam}
        self._temperature: Adam | None = None
        if "temperature" in stacks:
            tuned = stacks["temperature"]
            self._temperature = Adam(
                tuned, tuned.zeros_like(), hyperparameters.learning_rate, OFF_POLICY_ADAM_EPSILON, gentle=False
            )
            self.optimisers["temperature"] = self._temperature

    def act(self, normalized_obs: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return actions in [-1, 1] (P, W, actions) on what is seen (P, W, slots): the mean's, or drawn ones."""
        mean, log_std = self._heads(self._acting.forward(normalized_obs))
        return torch.tanh(mean if draws is None else mean + log_std.clamp(*LOG_STD_RANGE).exp() * draws)

    def update(self, batch: TransitionBatch, draws: torch.Tensor) -> dict[str, torch.Tensor]:
        """Make one step of everything; return what is worth telling, per member (P,).

        Args:
            batch: transitions, with observations as the networks see them and rewards as they are learned from.
            draws: standard normal numbers (2, P, B, actions), for the actions here and those that follow.
        """
        outputs = torch.stack([self._here.forward(batch.observation), self._ahead.forward(batch.next_obs)])
        drawn = self._drawn(outputs, draws)
        sampled, weight = drawn.of(0), self._weight()
        tuning = self._tune(sampled.log_prob)
        # V(s') = min_i Q_target_i(s', a') - alpha log pi(a'|s') (Haarnoja et al. 2018, arXiv 1812.05905, eq. 3)
        min_q = self.critics.targets(batch.next_obs, drawn.action[1])
        bootstrap_value = torch.addcmul(min_q, weight[:, None], drawn.log_prob[1], value=-1.0)
        # y = r + gamma (1 - d) V(s') (eq. 2)
        td_target = torch.addcmul(batch.reward, batch.not_done, bootstrap_value, value=self.hyperparameters.gamma)
        loss = self.critics.learn(batch.observation, batch.action, td_target, 0.5)
        value, grad = self.critics.min_q_grad(batch.observation, sampled.action)
        self._improve(batch.observation, sampled, weight, grad)
        self.critics.follow()
        actor_loss = (weight[:, None] * sampled.log_prob - value).mean(1)
        return {"train/critic_loss": loss, "train/actor_loss": actor_loss, "train/ent_coef": weight, **tuning}

    def _weight(self) -> torch.Tensor:
        """Return how much entropy is worth, before this update tunes it (P,)."""
        if self._temperature is None:
            assert self.hyperparameters.ent_coef != "auto"
            return self.adam.stack.flat.new_full((self.adam.stack.members,), self.hyperparameters.ent_coef)
        return self._temperature.stack.free[:, 0].exp()

    def _tune(self, log_prob: torch.Tensor) -> dict[str, torch.Tensor]:
        """Move the temperatures towards an entropy of one per action; return their loss (P,), where they are tuned."""
        if self._temperature is None:
            return {}
        # L(alpha) = -mean(log alpha (log pi + H_target)), H_target = -actions (eq. 17, as SB3 in log alpha)
        entropy = -float(self.adam.stack.layout.outputs)
        gradient = -(log_prob + entropy).mean(1)
        loss = self._temperature.stack.free[:, 0] * gradient
        self._temperature.gradient.free[:, 0] = gradient
        self._temperature.step()
        return {"train/ent_coef_loss": loss}

    def _improve(
        self, normalized_obs: torch.Tensor, sampled: SquashedActions, weight: torch.Tensor, grad: torch.Tensor
    ) -> None:
        """Move the actors by the gradient of mean(weight * log_prob - value) by their actions' values `slope`.

        The Gaussian's own density has no gradient by its mean where the noise is held, and -1 by its log deviation.
        """
        size = sampled.log_prob.shape[1]
        share = (weight / size)[:, None, None]
        squashed = sampled.squashed
        # L_pi = mean(alpha log pi(a|s) - min Q(s, a)), a = tanh(u), u = mu + sigma xi (eq. 7)
        # log pi = log N(u) - sum log(1 - a^2 + eps) (app. C), and da/du = 1 - a^2, so that
        # dL/du = (d(-min Q)/da + alpha/B 2 a / (1 - a^2 + eps)) (1 - a^2)
        inner = torch.addcmul(grad, share, sampled.action / (squashed + SQUASH_EPSILON), value=2.0).mul_(squashed)
        mean, log_std = self._heads(self._here.output_grads(size))
        # du/dmu = 1; du/dlog sigma = sigma xi; d log N / d log sigma = -1 at fixed xi
        mean.copy_(inner)
        torch.mul(inner.mul_(sampled.away).sub_(share), sampled.free, out=log_std)
        self._here.backward(size)
        self.adam.step()

    def _drawn(self, outputs: torch.Tensor, draws: torch.Tensor) -> SquashedActions:
        """Return the actions that standard normal numbers (..., P, B, actions) stand for."""
        mean, raw = self._heads(outputs)
        log_std = raw.clamp(*LOG_STD_RANGE)
        away = log_std.exp() * draws
        action = torch.tanh(mean + away)
        squashed = 1.0 - action.square()
        # log pi = -sum (xi^2 / 2 + log sigma + log(1 - a^2 + eps)) - n/2 log 2 pi
        terms = torch.addcmul(log_std, draws, draws, value=0.5).add_(torch.log(squashed + SQUASH_EPSILON))
        constant = -0.5 * math.log(2.0 * math.pi) * action.shape[-1]
        return SquashedActions(action, constant - terms.sum(-1), away, squashed, raw == log_std)

    def _heads(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log deviation of the Gaussians (P, B, actions each), as views."""
        layout = self.adam.stack.layout
        return outputs[..., : layout.outputs], outputs[..., layout.lane : layout.lane + layout.outputs]
