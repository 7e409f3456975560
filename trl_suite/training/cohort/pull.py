"""Penalties towards a source for single members of a cohort: the same as `training.sb3.pull` gives a run of its own."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from trl_suite.networks.actor import SourceActor
from trl_suite.networks.card import Activation, Algorithm
from trl_suite.networks.policy import LOG_STD_RANGE
from trl_suite.training.cohort.adam import Adam
from trl_suite.training.cohort.layout import ACTOR
from trl_suite.training.cohort.network import Networks
from trl_suite.training.cohort.stack import Tensors, row_of


class WeightDecay:
    """A decay of one member's weights towards where they are now, after every step of their optimiser."""

    def __init__(self, adam: Adam, member: int, strengths: Mapping[str, Tensors]) -> None:
        self._adam, self._member = adam, member
        rows = adam.stack.flat[:, member]
        self._anchor = rows.clone()
        self._share = (adam.rate * row_of(adam.stack.layout, strengths)).clamp(max=1.0).to(rows)
        adam.after.append(self._apply)

    def _apply(self) -> None:
        """Move what learns towards its anchor."""
        parts, learning = self._adam.stack.layout.parts, self._adam.learning[:, self._member]
        for row, part in np.argwhere(learning):
            span = slice(parts[part].start, parts[part].stop)
            numbers = self._adam.stack.flat[row, self._member, span]
            numbers.sub_(self._share[row, span] * (numbers - self._anchor[row, span]))


class Example(NamedTuple):
    """What a source does on states."""

    seen: torch.Tensor  # states as the member's network sees them (count, slots)
    mean: torch.Tensor  # of the source's actions, before any bound (count, actions)
    log_std: torch.Tensor | None  # None for TD3, whose actions have no deviation

    def at(self, chosen: torch.Tensor) -> "Example":
        """Return some of the states."""
        return Example(self.seen[chosen], self.mean[chosen], None if self.log_std is None else self.log_std[chosen])


class Imitation:
    """The gradient of strength * KL(source || member) for one member's actor."""

    def __init__(
        self, adam: Adam, activation: Activation, algorithm: Algorithm, member: int, source: SourceActor
    ) -> None:
        self._adam, self._algorithm, self._member, self._source = adam, algorithm, member, source
        self._one = adam.stack.alone(member)
        self._slope = self._one.zeros_like()
        self._networks = Networks(self._one, self._slope, activation)

    def example(self, raw: np.ndarray, seen: torch.Tensor) -> Example:
        """Return what the source does on states, given as they are and as the member sees them (count, slots)."""
        mean, log_std = self._source.gaussian(raw)
        return Example(seen, mean.to(seen), None if log_std is None else log_std.to(seen))

    def add(self, example: Example, strength: float) -> None:
        """Add the gradient on states to the member's."""
        seen, size = example.seen[None], len(example.seen)
        outputs = self._networks.forward(seen)
        slope = self._networks.slopes(size)
        act = {"ppo": self._free_deviation, "sac": self._headed_deviation, "td3": self._no_deviation}[self._algorithm]
        act(outputs, slope, example, strength / size)
        self._networks.backward(seen, slope)
        self._adam.gradient.flat[ACTOR, self._member] += self._slope.flat[ACTOR, 0]

    def _free_deviation(self, outputs: torch.Tensor, slope: torch.Tensor, example: Example, share: float) -> None:
        """Write the slope for Gaussians with one deviation per action, as PPO's."""
        assert example.log_std is not None  # a source of another algorithm is refused before
        actions, log_std = self._one.layout.outputs, self._one.free[:, None]
        away, variance = outputs[:1, :, :actions] - example.mean, (2.0 * log_std).exp()
        spread = (2.0 * example.log_std).exp() + away.square()
        slope[:1, :, :actions] = away / variance * share
        self._slope.free.copy_((1.0 - spread / variance).mean(1) * (share * len(example.seen)))

    def _headed_deviation(self, outputs: torch.Tensor, slope: torch.Tensor, example: Example, share: float) -> None:
        """Write the slope for Gaussians whose deviations are a head, as SAC's; tanh changes no divergence."""
        assert example.log_std is not None
        actions, lane = self._one.layout.outputs, self._one.layout.lane
        raw = outputs[..., lane : lane + actions]
        log_std = raw.clamp(*LOG_STD_RANGE)
        away, variance = outputs[..., :actions] - example.mean, (2.0 * log_std).exp()
        spread = (2.0 * example.log_std).exp() + away.square()
        slope[..., :actions] = away / variance * share
        slope[..., lane : lane + actions] = (1.0 - spread / variance) * (raw == log_std) * share

    def _no_deviation(self, outputs: torch.Tensor, slope: torch.Tensor, example: Example, share: float) -> None:
        """Write the slope of the squared distance of actions, which stands for the divergence in TD3."""
        actions = self._one.layout.outputs
        action = torch.tanh(outputs[..., :actions])
        slope[..., :actions] = 2.0 * (action - torch.tanh(example.mean)) * (1.0 - action.square()) * share
