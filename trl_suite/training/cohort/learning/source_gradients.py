"""Penalties towards a source for some members of a cohort: as a run of its own has them, and all of them at once.

How many kernels a step takes does not depend on how many members have a penalty: their rows are gathered, moved side by
side, and put back. Axes: K members with a penalty, B of a batch.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import Algorithm, find
from trl_suite.mechanisms.distillation import Gaussian
from trl_suite.networks.policy import LOG_STD_RANGE
from trl_suite.training.cohort.stacked.adam import Adam, Cells
from trl_suite.training.cohort.stacked.network import Networks
from trl_suite.training.cohort.stacked.parameter_layout import ACTOR
from trl_suite.training.cohort.stacked.stack import Stack, Tensors, row_of

_PREFIX = "imitation."  # of the names of an update's inputs


class WeightDecay:
    """A decay of members' weights towards where they are now, after every step of their optimiser.

    Args:
        adam: the optimiser.
        strengths: member -> how strongly each of its numbers is pulled; nothing where it is not.
    """

    def __init__(self, adam: Adam, strengths: Mapping[int, Mapping[str, Tensors]]) -> None:
        flat = adam.stack.flat
        self._adam, self._members = adam, sorted(strengths)
        self._rows = torch.tensor(self._members, device=flat.device)
        self._anchor = flat.index_select(1, self._rows)
        rows = [row_of(adam.stack.layout, strengths[member]) for member in self._members]
        self._strength = torch.stack(rows, dim=1).to(flat)
        self._learning: Cells = np.zeros(0, dtype=bool)  # what `_moves` is of
        self._moves = torch.zeros(0)
        adam.after.append(self._apply)

    def _apply(self) -> None:
        """Move what learns towards its anchor."""
        self._follow_learning()
        flat = self._adam.stack.flat
        weights = flat.index_select(1, self._rows)
        # w <- w - min(rate * strength * importance, 1) (w - w_source) (decoupled as in Loshchilov & Hutter 2019)
        rates = self._adam.rates_of(self._rows)[:, None].to(weights)
        decayed = weights - (rates * self._strength).clamp(max=1.0) * (weights - self._anchor)
        flat.index_copy_(1, self._rows, torch.where(self._moves, decayed, weights))

    def _follow_learning(self) -> None:
        """Note which numbers learn (rows, K, size); captured work is thrown away where that changes (see `Launch`)."""
        learning = self._adam.learning[:, self._members]
        if not np.array_equal(learning, self._learning):
            sizes = [part.stop - part.start for part in self._adam.stack.layout.parts]
            self._moves = torch.from_numpy(learning.repeat(sizes, axis=2)).to(self._strength.device)
            self._learning = learning


class CohortDistillation(Protocol):
    """The imitation of a cohort's members, as an update knows it: what is drawn before the steps is shown to each."""

    gradient: "DistillationGradient"

    def drawn(self, count: int) -> Tensors:
        """Return the inputs of `count` optimiser steps (see `DistillationGradient.drawn`), none at strength 0."""
        ...


class DistillationGradient:
    """The gradient of strength * KL(source || member) for members' actors, added before a step of their optimiser.

    The host draws the states, and asks the sources, for several steps ahead: a step itself asks nothing of the host.

    Args:
        adam: the optimiser.
        activation: of the members' networks.
        algorithm: what the members learn by.
        members: who imitates.
    """

    def __init__(self, adam: Adam, activation: Activation, algorithm: Algorithm, members: Sequence[int]) -> None:
        self._adam, self._algorithm = adam, algorithm
        layout, flat = adam.stack.layout, adam.stack.flat
        self._rows = torch.tensor(list(members), device=flat.device)
        self._actors, self._grad = (Stack(layout, flat.new_zeros(1, len(members), layout.size)) for _ in range(2))
        self._networks = Networks(self._actors, self._grad, activation)
        self._shown: Tensors = {}
        adam.before.append(self.add)

    def drawn(self, examples: Sequence[Tensors], indices: torch.Tensor, strengths: Sequence[float]) -> Tensors:
        """Return the examples of all members in one, those that some steps use, and their weight, by names of its own.

        Args:
            examples: of every member: see `examples`.
            indices: of every member's, those that steps use (K, steps, B).
            strengths: of every member.
        """
        count = indices.shape[2]
        device = self._rows.device
        firsts = np.cumsum([0, *(len(member["mean"]) for member in examples[:-1])])
        rows_drawn = (indices + torch.from_numpy(firsts)[:, None, None]).movedim(0, 1).flatten(1)
        share = torch.tensor([strength / count for strength in strengths], dtype=torch.float32)
        inputs = {name: torch.cat([member[name] for member in examples]) for name in examples[0]}
        inputs |= {"chosen": rows_drawn, "share": share[:, None, None]}
        return {f"{_PREFIX}{name}": value.to(device) for name, value in inputs.items()}

    def show(self, inputs: Tensors, index: int) -> None:
        """Let the next step use the examples that were drawn for the step `index`; none, where none are given."""
        visible = {name.removeprefix(_PREFIX): values for name, values in inputs.items() if name.startswith(_PREFIX)}
        if visible:
            rows_drawn, share = visible.pop("chosen")[index], visible.pop("share")
            members = len(self._rows)
            visible = {
                name: values.index_select(0, rows_drawn).unflatten(0, (members, -1)) for name, values in visible.items()
            }
            visible["share"] = share
        self._shown = visible

    def add(self) -> None:
        """Add the gradient on what is shown to the members'."""
        if not self._shown:
            return
        torch.index_select(self._adam.stack.flat[ACTOR], 0, self._rows, out=self._actors.flat[0])
        normalized_obs = self._shown["normalized_obs"]
        outputs = self._networks.forward(normalized_obs)
        grad = self._networks.output_grads(normalized_obs.shape[1])
        act = {"number": self._free_deviation, "head": self._headed_deviation, "none": self._no_deviation}[
            find(self._algorithm).log_std
        ]
        act(outputs, grad, self._shown)
        self._networks.backward(normalized_obs.shape[1])
        self._adam.gradient.flat[ACTOR].index_add_(0, self._rows, self._grad.flat[0])

    def _free_deviation(self, outputs: torch.Tensor, grad: torch.Tensor, examples: Tensors) -> None:
        """Write the gradient for Gaussians with one deviation per action, as PPO's."""
        actions, log_std = self._actors.layout.outputs, self._actors.free[:, None]
        away, variance = outputs[..., :actions] - examples["mean"], (2.0 * log_std).exp()
        spread = (2.0 * examples["log_std"]).exp() + away.square()
        # KL(source || member) = log sigma/sigma_s + (sigma_s^2 + (mu - mu_s)^2) / (2 sigma^2) - 1/2, per action
        # dKL/dmu = (mu - mu_s) / sigma^2; dKL/dlog sigma = 1 - (sigma_s^2 + (mu - mu_s)^2) / sigma^2
        grad[..., :actions] = away / variance * examples["share"]
        count = examples["normalized_obs"].shape[1]
        self._grad.free.copy_((1.0 - spread / variance).mean(1) * (examples["share"][:, 0] * count))

    def _headed_deviation(self, outputs: torch.Tensor, grad: torch.Tensor, examples: Tensors) -> None:
        """Write the gradient for Gaussians whose deviations are a head, as SAC's; tanh changes no divergence."""
        actions, lane = self._actors.layout.outputs, self._actors.layout.lane
        raw = outputs[..., lane : lane + actions]
        log_std = raw.clamp(*LOG_STD_RANGE)
        away, variance = outputs[..., :actions] - examples["mean"], (2.0 * log_std).exp()
        spread = (2.0 * examples["log_std"]).exp() + away.square()
        # as above; the clamp of log sigma passes no gradient at its bounds
        grad[..., :actions] = away / variance * examples["share"]
        grad[..., lane : lane + actions] = (1.0 - spread / variance) * (raw == log_std) * examples["share"]

    def _no_deviation(self, outputs: torch.Tensor, grad: torch.Tensor, examples: Tensors) -> None:
        """Write the gradient of the squared distance of actions, which stands for the divergence in TD3."""
        actions = self._actors.layout.outputs
        action = torch.tanh(outputs[..., :actions])
        away = action - torch.tanh(examples["mean"])
        # d(a - a_s)^2/du = 2 (a - a_s) (1 - a^2) with a = tanh(u)
        grad[..., :actions] = 2.0 * away * (1.0 - action.square()) * examples["share"]


def examples(imitated: Gaussian, normalized_obs: torch.Tensor) -> Tensors:
    """Return states as `normalized_obs`, and the Gaussians imitated there: `mean` and, but for TD3, `log_std`.

    Args:
        imitated: mean and log std (count, actions).
        normalized_obs: the states as the member's network sees them (count, slots).
    """
    mean, log_std = imitated
    of_states = {"normalized_obs": normalized_obs, "mean": mean.to(normalized_obs)}
    return of_states if log_std is None else of_states | {"log_std": log_std.to(normalized_obs)}
