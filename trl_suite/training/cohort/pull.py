"""Penalties towards a source for single members of a cohort: as a run of its own has them."""

from collections.abc import Mapping
from typing import Protocol

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


class Pull(Protocol):
    """One member's imitation, as an update knows it: what was drawn before the steps is shown to each of them."""

    imitation: "Imitation"

    def drawn(self, count: int) -> Tensors:
        """Return what the next `count` steps of the optimiser need, as `Imitation.drawn`; nothing at strength 0."""
        ...


class Imitation:
    """The gradient of strength * KL(source || member) for one member's actor, added before a step of its optimiser.

    The host draws the states, and asks the source, for several steps ahead: a step itself asks nothing of the host.
    """

    def __init__(
        self, adam: Adam, activation: Activation, algorithm: Algorithm, member: int, source: SourceActor
    ) -> None:
        self._adam, self._algorithm, self._member, self._source = adam, algorithm, member, source
        self._one = adam.stack.alone(member)
        self._slope = self._one.zeros_like()
        self._networks = Networks(self._one, self._slope, activation)
        self._shown: Tensors = {}
        adam.before.append(self.add)

    def examples(self, raw: np.ndarray, seen: torch.Tensor) -> Tensors:
        """Return states and what the source does there: `seen`, and its Gaussians' `mean` and, but for TD3, `log_std`.

        Args:
            raw: the states as they are (count, slots).
            seen: the same as the member's network sees them.
        """
        mean, log_std = self._source.gaussian(raw)
        found = {"seen": seen, "mean": mean.to(seen)}
        return found if log_std is None else found | {"log_std": log_std.to(seen)}

    def drawn(self, examples: Tensors, chosen: torch.Tensor, strength: float) -> Tensors:
        """Return examples (n, ...), those that some steps use (steps, count), and their weight, by names of its own."""
        steps, count = chosen.shape
        share = examples["mean"].new_full((steps,), strength / count)
        found = examples | {"chosen": chosen.to(share.device), "share": share}
        return {f"{self._prefix}{name}": value for name, value in found.items()}

    def show(self, given: Tensors, index: int) -> None:
        """Let the next step use the examples that were chosen for the step `index`; none, where none are given."""
        own = {name.removeprefix(self._prefix): each for name, each in given.items() if name.startswith(self._prefix)}
        if own:
            chosen, share = own.pop("chosen")[index], own.pop("share")[index]
            own = {name: each.index_select(0, chosen) for name, each in own.items()} | {"share": share}
        self._shown = own

    @property
    def _prefix(self) -> str:
        return f"imitation.{self._member}."

    def add(self) -> None:
        """Add the gradient on what is shown to the member's."""
        if not self._shown:
            return
        seen = self._shown["seen"][None]
        outputs = self._networks.forward(seen)
        slope = self._networks.slopes(seen.shape[1])
        act = {"ppo": self._free_deviation, "sac": self._headed_deviation, "td3": self._no_deviation}[self._algorithm]
        act(outputs, slope, self._shown)
        self._networks.backward(seen, slope)
        self._adam.gradient.flat[ACTOR, self._member] += self._slope.flat[ACTOR, 0]

    def _free_deviation(self, outputs: torch.Tensor, slope: torch.Tensor, shown: Tensors) -> None:
        """Write the slope for Gaussians with one deviation per action, as PPO's."""
        actions, log_std = self._one.layout.outputs, self._one.free[:, None]
        away, variance = outputs[:1, :, :actions] - shown["mean"], (2.0 * log_std).exp()
        spread = (2.0 * shown["log_std"]).exp() + away.square()
        slope[:1, :, :actions] = away / variance * shown["share"]
        self._slope.free.copy_((1.0 - spread / variance).mean(1) * (shown["share"] * len(shown["seen"])))

    def _headed_deviation(self, outputs: torch.Tensor, slope: torch.Tensor, shown: Tensors) -> None:
        """Write the slope for Gaussians whose deviations are a head, as SAC's; tanh changes no divergence."""
        actions, lane = self._one.layout.outputs, self._one.layout.lane
        raw = outputs[..., lane : lane + actions]
        log_std = raw.clamp(*LOG_STD_RANGE)
        away, variance = outputs[..., :actions] - shown["mean"], (2.0 * log_std).exp()
        spread = (2.0 * shown["log_std"]).exp() + away.square()
        slope[..., :actions] = away / variance * shown["share"]
        slope[..., lane : lane + actions] = (1.0 - spread / variance) * (raw == log_std) * shown["share"]

    def _no_deviation(self, outputs: torch.Tensor, slope: torch.Tensor, shown: Tensors) -> None:
        """Write the slope of the squared distance of actions, which stands for the divergence in TD3."""
        actions = self._one.layout.outputs
        action = torch.tanh(outputs[..., :actions])
        away = action - torch.tanh(shown["mean"])
        slope[..., :actions] = 2.0 * away * (1.0 - action.square()) * shown["share"]
