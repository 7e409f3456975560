"""SAC's update for all members at once: the same as `stable_baselines3.SAC.train`, with the gradient written out.

Axes: P members, B of a batch.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch

from trl_suite.networks.policy import LOG_STD_RANGE
from trl_suite.training import settings
from trl_suite.training.cohort.adam import Adam
from trl_suite.training.cohort.critics import ADAM_EPSILON, Critics, Factors
from trl_suite.training.cohort.network import Networks
from trl_suite.training.cohort.replay import Batch
from trl_suite.training.cohort.stack import Stack

SQUASH_EPSILON = 1e-6  # SB3 keeps the logarithm of 1 - a^2 finite with it


class Drawn(NamedTuple):
    """Actions of Gaussians that are squashed by tanh."""

    action: torch.Tensor  # (P, B, actions)
    log_prob: torch.Tensor  # (P, B)
    away: torch.Tensor  # from the mean, before tanh (P, B, actions)
    free: torch.Tensor  # where the deviation is not at its bounds (P, B, actions)


class SAC:
    """Stacked actors, twin critics and temperatures, and SAC's update of them."""

    updates, phases = 0, 1  # one update is made like the other: see TD3

    def __init__(
        self, hyperparameters: settings.SACHyperparameters, stacks: Mapping[str, Stack], factors: Factors
    ) -> None:
        """Begin with the parameters in `stacks`: actor, critic, target.critic, and temperature where it is tuned."""
        self.hyperparameters, self.stacks = hyperparameters, stacks
        actor = stacks["actor"]
        self.critics = Critics(hyperparameters, stacks["critic"], stacks["target.critic"], factors.get("critic"))
        self.adam = Adam(actor, actor.zeros_like(), hyperparameters.learning_rate, ADAM_EPSILON, factors.get("actor"))
        self._here, self._ahead, self._acting = (
            Networks(actor, self.adam.gradient, hyperparameters.activation) for _ in range(3)
        )  # fmt: skip
        self.optimisers = {"actor": self.adam, "critic": self.critics.adam}
        self._temperature: Adam | None = None
        if "temperature" in stacks:
            tuned = stacks["temperature"]
            self._temperature = Adam(
                tuned, tuned.zeros_like(), hyperparameters.learning_rate, ADAM_EPSILON, gentle=False
            )
            self.optimisers["temperature"] = self._temperature

    def act(self, seen: torch.Tensor, draws: torch.Tensor | None) -> torch.Tensor:
        """Return actions in [-1, 1] (P, W, actions) on what is seen (P, W, slots): the mean's, or drawn ones."""
        mean, log_std = self._heads(self._acting.forward(seen))
        return torch.tanh(mean if draws is None else mean + log_std.clamp(*LOG_STD_RANGE).exp() * draws)

    def update(self, batch: Batch, draws: torch.Tensor) -> dict[str, torch.Tensor]:
        """Make one step of everything; return what is worth telling, per member (P,).

        Args:
            batch: transitions, with observations as the networks see them and rewards as they are learned from.
            draws: standard normal numbers (2, P, B, actions), for the actions here and those that follow.
        """
        here = self._drawn(self._here.forward(batch.observation), draws[0])
        weight = self._weight()
        self._tune(here.log_prob)
        ahead = self._drawn(self._ahead.forward(batch.following), draws[1])
        beyond = self.critics.targets(batch.following, ahead.action) - weight[:, None] * ahead.log_prob
        wanted = batch.reward + batch.goes_on * self.hyperparameters.gamma * beyond
        loss = self.critics.learn(batch.observation, batch.action, wanted, 0.5)
        value, slope = self.critics.slope_of_lesser(batch.observation, here.action)
        self._improve(batch.observation, here, weight, slope)
        self.critics.follow()
        actor_loss = (weight[:, None] * here.log_prob - value).mean(1)
        return {"train/critic_loss": loss, "train/actor_loss": actor_loss, "train/ent_coef": weight}

    def _weight(self) -> torch.Tensor:
        """Return how much entropy is worth, before this update tunes it (P,)."""
        if self._temperature is None:
            assert self.hyperparameters.ent_coef != "auto"
            return self.adam.stack.flat.new_full((self.adam.stack.members,), self.hyperparameters.ent_coef)
        return self._temperature.stack.free[:, 0].exp()

    def _tune(self, log_prob: torch.Tensor) -> None:
        """Move the temperatures towards an entropy of one per action."""
        if self._temperature is not None:
            entropy = -float(self.adam.stack.layout.outputs)
            self._temperature.gradient.free[:, 0] = -(log_prob + entropy).mean(1)
            self._temperature.step()

    def _improve(self, seen: torch.Tensor, here: Drawn, weight: torch.Tensor, slope: torch.Tensor) -> None:
        """Move the actors by the slope of mean(weight * log_prob - value) by their actions' values `slope`.

        The Gaussian's own density has no slope by its mean where the noise is held, and -1 by its log deviation.
        """
        size = here.log_prob.shape[1]
        share = (weight / size)[:, None, None]
        square = here.action.square()
        squashed = 1.0 - square
        inner = (slope + share * 2.0 * here.action / (squashed + SQUASH_EPSILON)) * squashed
        mean, log_std = self._heads(self._here.slopes(size))
        mean.copy_(inner)
        log_std.copy_((inner * here.away - share) * here.free)
        self._here.backward(seen, self._here.slopes(size))
        self.adam.step()

    def _drawn(self, outputs: torch.Tensor, draws: torch.Tensor) -> Drawn:
        mean, raw = self._heads(outputs)
        log_std = raw.clamp(*LOG_STD_RANGE)
        away = log_std.exp() * draws
        action = torch.tanh(mean + away)
        constant = 0.5 * math.log(2.0 * math.pi)
        gaussian = (-0.5 * draws.square() - log_std - constant).sum(-1)
        return Drawn(
            action=action,
            log_prob=gaussian - torch.log(1.0 - action.square() + SQUASH_EPSILON).sum(-1),
            away=away,
            free=(raw == log_std).to(raw.dtype),
        )

    def _heads(self, outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log deviation of the Gaussians (P, B, actions each), as views."""
        layout = self.adam.stack.layout
        return outputs[..., : layout.outputs], outputs[..., layout.lane : layout.lane + layout.outputs]
