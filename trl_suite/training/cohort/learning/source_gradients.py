"""Penalties towards a source for single members of a cohort: as a run of its own has them."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import Algorithm, find
from trl_suite.networks.actor import SourceActor
from trl_suite.networks.policy import LOG_STD_RANGE
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.network import Networks
from trl_suite.training.cohort.stacked.parameter_layout import ACTOR
from trl_suite.training.cohort.stacked.stack import Tensors, row_of


class WeightDecay:
    """A decay of one member's weights towards where they are now, after every step of their optimiser."""

    def __init__(self, adam: Adam, member: int, strengths: Mapping[str, Tensors]) -> None:
        self._adam, self._member = adam, member
        rows = adam.stack.flat[:, member]
        self._anchor = rows.clone()
        self._strength = row_of(adam.stack.layout, strengths).to(rows)
        adam.after.append(self._apply)

    def _apply(self) -> None:
        """Move what learns towards its anchor."""
        parts, learning = self._adam.stack.layout.parts, self._adam.learning[:, self._member]
        rate = self._adam.rate_of(self._member)
        for row, part in np.argwhere(learning):
            span = slice(parts[part].start, parts[part].stop)
            numbers = self._adam.stack.flat[row, self._member, span]
            share = (rate * self._strength[row, span]).clamp(max=1.0)
            numbers.sub_(share * (numbers - self._anchor[row, span]))


class MemberDistillation(Protocol):
    """One member's imitation, as an update knows it: what was drawn before the steps is shown to each of them."""

    imitation: "DistillationGradient"

    def drawn(self, count: int) -> Tensors:
        """Return the inputs of `count` optimiser steps (see `DistillationGradient.drawn`), none at strength 0."""
        ...


class DistillationGradient:
    """The gradient of strength * KL(source || member) for one member's actor, added before a step of its optimiser.

    The host draws the states, and asks the source, for several steps ahead: a step itself asks nothing of the host.
    """

    def __init__(
        self, adam: Adam, activation: Activation, algorithm: Algorithm, member: int, source: SourceActor
    ) -> None:
        self._adam, self._algorithm, self._member, self._source = adam, algorithm, member, source
        self._one = adam.stack.alone(member)
        self._grad = self._one.zeros_like()
        self._networks = Networks(self._one, self._grad, activation)
        self._shown: Tensors = {}
        adam.before.append(self.add)

    def examples(self, raw: np.ndarray, normalized_obs: torch.Tensor) -> Tensors:
        """Return states as `normalized_obs`, and the source's Gaussians there: `mean` and, but for TD3, `log_std`.

        Args:
            raw: the states as they are (count, slots).
            normalized_obs: the same as the member's network sees them.
        """
        mean, log_std = self._source.gaussian(raw)
        examples = {"normalized_obs": normalized_obs, "mean": mean.to(normalized_obs)}
        return examples if log_std is None else examples | {"log_std": log_std.to(normalized_obs)}

    def drawn(self, examples: Tensors, indices: torch.Tensor, strength: float) -> Tensors:
        """Return examples (n, ...), those that some steps use (steps, count), and their weight, by names of its own."""
        steps, count = indices.shape
        share = examples["mean"].new_full((steps,), strength / count)
        inputs = examples | {"chosen": indices.to(share.device), "share": share}
        return {f"{self._prefix}{name}": value for name, value in inputs.items()}

    def show(self, inputs: Tensors, index: int) -> None:
        """Let the next step use the examples that were chosen for the step `index`; none, where none are given."""
        of_member = {
            name.removeprefix(self._prefix): values for name, values in inputs.items() if name.startswith(self._prefix)
        }
        if of_member:
            indices, share = of_member.pop("chosen")[index], of_member.pop("share")[index]
            of_member = {name: values.index_select(0, indices) for name, values in of_member.items()} | {"share": share}
        self._shown = of_member

    @property
    def _prefix(self) -> str:
        return f"imitation.{self._member}."

    def add(self) -> None:
        """Add the gradient on what is shown to the member's."""
        if not self._shown:
            return
        normalized_obs = self._shown["normalized_obs"][None]
        outputs = self._networks.forward(normalized_obs)
        grad = self._networks.output_grads(normalized_obs.shape[1])
        act = {"number": self._free_deviation, "head": self._headed_deviation, "none": self._no_deviation}[
            find(self._algorithm).log_std
        ]
        act(outputs, grad, self._shown)
        self._networks.backward(normalized_obs, grad)
        self._adam.gradient.flat[ACTOR, self._member] += self._grad.flat[ACTOR, 0]

    def _free_deviation(self, outputs: torch.Tensor, grad: torch.Tensor, examples: Tensors) -> None:
        """Write the gradient for Gaussians with one deviation per action, as PPO's."""
        actions, log_std = self._one.layout.outputs, self._one.free[:, None]
        away, variance = outputs[:1, :, :actions] - examples["mean"], (2.0 * log_std).exp()
        spread = (2.0 * examples["log_std"]).exp() + away.square()
        # KL(source || member) = log sigma/sigma_s + (sigma_s^2 + (mu - mu_s)^2) / (2 sigma^2) - 1/2, per action
        # dKL/dmu = (mu - mu_s) / sigma^2; dKL/dlog sigma = 1 - (sigma_s^2 + (mu - mu_s)^2) / sigma^2
        grad[:1, :, :actions] = away / variance * examples["share"]
        self._grad.free.copy_((1.0 - spread / variance).mean(1) * (examples["share"] * len(examples["normalized_obs"])))

    def _headed_deviation(self, outputs: torch.Tensor, grad: torch.Tensor, examples: Tensors) -> None:
        """Write the gradient for Gaussians whose deviations are a head, as SAC's; tanh changes no divergence."""
        actions, lane = self._one.layout.outputs, self._one.layout.lane
        raw = outputs[..., lane : lane + actions]
        log_std = raw.clamp(*LOG_STD_RANGE)
        away, variance = outputs[..., :actions] - examples["mean"], (2.0 * log_std).exp()
        spread = (2.0 * examples["log_std"]).exp() + away.square()
        # as above; the clamp of log sigma passes no gradient at its bounds
        grad[..., :actions] = away / variance * examples["share"]
        grad[..., lane : lane + actions] = (1.0 - spread / variance) * (raw == log_std) * examples["share"]

    def _no_deviation(self, outputs: torch.Tensor, grad: torch.Tensor, examples: Tensors) -> None:
        """Write the gradient of the squared distance of actions, which stands for the divergence in TD3."""
        actions = self._one.layout.outputs
        action = torch.tanh(outputs[..., :actions])
        away = action - torch.tanh(examples["mean"])
        # d(a - a_s)^2/du = 2 (a - a_s) (1 - a^2) with a = tanh(u)
        grad[..., :actions] = 2.0 * away * (1.0 - action.square()) * examples["share"]
