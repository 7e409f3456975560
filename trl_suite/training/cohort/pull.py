"""Penalties towards a source for single members of a cohort: the same as `training.sb3.pull` gives a run of its own."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.networks.actor import SourceActor
from trl_suite.networks.methods import BehaviourPull
from trl_suite.training.cohort import noise
from trl_suite.training.cohort.layout import ACTOR
from trl_suite.training.cohort.network import Networks
from trl_suite.training.cohort.ppo import Learner
from trl_suite.training.cohort.stack import row_of
from trl_suite.training.sb3.pull import BATCH, strength_at


class WeightDecay:
    """A decay of one member's weights towards where they are now, after every step of its optimiser."""

    def __init__(self, learner: Learner, member: int, strengths: Mapping[str, dict[str, torch.Tensor]]) -> None:
        self._learner, self._member = learner, member
        rows = learner.stack.flat[:, member]
        self._anchor = rows.clone()
        self._share = (learner.how.learning_rate * row_of(learner.stack.layout, strengths)).clamp(max=1.0).to(rows)

    def apply(self) -> None:
        """Move what learns towards its anchor."""
        parts, learning = self._learner.stack.layout.parts, self._learner.adam.learning[:, self._member]
        for row, part in np.argwhere(learning):
            span = slice(parts[part].start, parts[part].stop)
            numbers = self._learner.stack.flat[row, self._member, span]
            numbers.sub_(self._share[row, span] * (numbers - self._anchor[row, span]))


class Imitation:
    """The gradient of strength * KL(source || member) on a batch of states, added before every step."""

    def __init__(self, learner: Learner, member: int, seed: int, pull: BehaviourPull, source: SourceActor) -> None:
        self._learner, self._member, self._seed, self._pull, self._source = learner, member, seed, pull, source
        self._one = learner.stack.alone(member)
        self._slope = self._one.zeros_like()
        self._networks = Networks(self._one, self._slope, learner.how.activation)
        self._strength = 0.0

    def begin(self, iteration: int, progress: float, raw: npt.NDArray[np.float64], seen: torch.Tensor) -> None:
        """Take the states of the next update.

        Args:
            iteration: which update.
            progress: share of the budget that is used.
            raw: states (count, slots), unnormalised.
            seen: the same as the member's networks see them.
        """
        self._strength = strength_at(self._pull, progress)
        if self._strength > 0:
            mean, log_std = self._source.gaussian(raw)
            assert log_std is not None  # a source of another algorithm is refused before
            self._seen, self._mean, self._log_std = seen, mean.to(seen), log_std.to(seen)
            self._draws = noise.generator(self._seed, noise.Stream.PULL, iteration)

    def apply(self) -> None:
        """Add the gradient to the member's."""
        if self._strength <= 0:
            return
        chosen = torch.as_tensor(self._draws.integers(len(self._seen), size=BATCH), device=self._seen.device)
        seen = self._seen[chosen][None]
        outputs = self._networks.forward(seen)
        log_std, actions = self._one.log_std[:, None], self._one.layout.actions
        away, variance = outputs[:1, :, :actions] - self._mean[chosen], (2.0 * log_std).exp()
        spread = (2.0 * self._log_std[chosen]).exp() + away.square()
        slope = self._networks.slopes(BATCH)
        slope[:1, :, :actions] = away / variance * (self._strength / BATCH)
        self._networks.backward(seen, slope)
        by_log_std = (1.0 - spread / variance).mean(1) * self._strength
        self._slope.log_std.copy_(by_log_std)
        self._learner.gradient.flat[ACTOR, self._member] += self._slope.flat[ACTOR, 0]
