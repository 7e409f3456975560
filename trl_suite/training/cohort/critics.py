"""Twin critics of all members and the copies that follow them: what SAC and TD3 have in common.

Axes: P members, B of a batch.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.training import settings
from trl_suite.training.cohort.adam import Adam
from trl_suite.training.cohort.layout import aligned
from trl_suite.training.cohort.network import Networks
from trl_suite.training.cohort.stack import Stack

ADAM_EPSILON = 1e-8  # torch's default, which SB3 leaves to SAC and TD3
Factors = Mapping[str, npt.NDArray[np.float64]]  # stack -> factors of the learning rate (rows, members, parts)


class Critics:
    """Values of actions on what is seen."""

    def __init__(
        self,
        hyperparameters: settings.OffPolicyHyperparameters,
        stack: Stack,
        target: Stack,
        factors: npt.NDArray[np.float64] | None,
    ) -> None:
        self.stack, self.target = stack, target
        self.adam = Adam(stack, stack.zeros_like(), hyperparameters.learning_rate, ADAM_EPSILON, factors)
        self._tau = hyperparameters.tau
        self._networks = Networks(stack, self.adam.gradient, hyperparameters.activation)
        self._first = Networks(stack.first(), self.adam.gradient.first(), hyperparameters.activation)
        self._targets = Networks(target, self.adam.gradient, hyperparameters.activation)
        self._pairs: dict[int, torch.Tensor] = {}

    def targets(self, seen: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Return the lesser of what both following copies expect of actions (P, B)."""
        first, second = self._values(self._targets, self._pair(seen, action))
        return torch.minimum(first, second)

    def learn(self, seen: torch.Tensor, action: torch.Tensor, wanted: torch.Tensor, weight: float) -> torch.Tensor:
        """Make a step by weight * sum over both of mean((Q - wanted)^2), and return that loss (P,)."""
        pair = self._pair(seen, action)
        errors = [values - wanted for values in self._values(self._networks, pair)]
        slopes = self._networks.slopes(wanted.shape[1])
        for row, error in zip(slopes.unflatten(0, (2, self.stack.members)), errors, strict=True):
            row[..., 0] = error * (2.0 * weight / wanted.shape[1])
        self._networks.backward(pair, slopes)
        self.adam.step()
        return weight * (errors[0].square().mean(1) + errors[1].square().mean(1))

    def slope_of_lesser(self, seen: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the lesser of both values (P, B), and the slope of -mean of it by the actions (P, B, actions)."""
        first, second = self._values(self._networks, self._pair(seen, action))
        slopes, share = self._networks.slopes(first.shape[1]), -1.0 / first.shape[1]
        chosen = first <= second
        slopes.unflatten(0, (2, self.stack.members))[0, ..., 0] = chosen * share
        slopes.unflatten(0, (2, self.stack.members))[1, ..., 0] = ~chosen * share
        inward = self._networks.inward(seen.shape[-1], slopes).unflatten(0, (2, self.stack.members))
        return torch.minimum(first, second), inward[0] + inward[1]

    def slope_of_first(self, seen: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first critic's values (P, B), and the slope of -mean of them by the actions (P, B, actions)."""
        values = self._first.forward(self._pair(seen, action))[..., 0]
        slopes = self._first.slopes(values.shape[1])
        slopes[..., 0] = -1.0 / values.shape[1]
        return values, self._first.inward(seen.shape[-1], slopes)

    def follow(self) -> None:
        """Let the copies follow by a step."""
        follow(self.target, self.stack, self._tau)

    def _values(self, networks: Networks, pair: torch.Tensor) -> torch.Tensor:
        """Return what both expect (2, P, B)."""
        return networks.forward(pair)[..., 0].unflatten(0, (2, self.stack.members))

    def _pair(self, seen: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Return what is seen beside the action, in whole lines (P, B, slots + actions)."""
        slots, rows = seen.shape[-1], seen.shape[1]
        if rows not in self._pairs:
            self._pairs[rows] = aligned((*seen.shape[:2], slots + action.shape[-1]), self.stack.flat)
        pair = self._pairs[rows]
        pair[..., :slots], pair[..., slots:] = seen, action
        return pair


def follow(target: Stack, stack: Stack, tau: float) -> None:
    """Move a copy by a share of its distance, in the order of SB3's `polyak_update`."""
    target.flat.mul_(1 - tau).add_(stack.flat, alpha=tau)
