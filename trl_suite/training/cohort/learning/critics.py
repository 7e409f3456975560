"""Twin critics of all members and the copies that follow them: what SAC and TD3 have in common.

Axes: P members, B of a batch.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.algorithms.hyperparameters import TargetNetworkHyperparameters
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.network import Networks
from trl_suite.training.cohort.stacked.parameter_layout import aligned
from trl_suite.training.cohort.stacked.stack import Stack

OFF_POLICY_ADAM_EPSILON = 1e-8  # torch's default, which SB3 leaves to SAC and TD3
Factors = Mapping[str, npt.NDArray[np.float64]]  # stack -> factors of the learning rate (rows, members, parts)


class Critics:
    """Values of actions on what is seen."""

    def __init__(
        self,
        hyperparameters: TargetNetworkHyperparameters,
        stack: Stack,
        target: Stack,
        factors: npt.NDArray[np.float64] | None,
    ) -> None:
        self.stack, self.target = stack, target
        self.adam = Adam(stack, stack.zeros_like(), hyperparameters.learning_rate, OFF_POLICY_ADAM_EPSILON, factors)
        self._tau = hyperparameters.tau
        self._networks = Networks(stack, self.adam.gradient, hyperparameters.activation)
        self._first = Networks(stack.first(), self.adam.gradient.first(), hyperparameters.activation)
        self._targets = Networks(target, self.adam.gradient, hyperparameters.activation, learns=False)
        self._pairs: dict[int, torch.Tensor] = {}

    def targets(self, normalized_obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Return min over both target critics of Q_target(s, a), (P, B)."""
        # clipped double Q: min_i Q_target_i(s', a') (Fujimoto et al. 2018, eq. 10)
        first, second = self._values(self._targets, self._pair(normalized_obs, action))
        return torch.minimum(first, second)

    def learn(
        self, normalized_obs: torch.Tensor, action: torch.Tensor, td_target: torch.Tensor, weight: float
    ) -> torch.Tensor:
        """Make a step by weight * sum over both of mean((Q - td_target)^2), and return that loss (P,)."""
        pair = self._pair(normalized_obs, action)
        errors = [values - td_target for values in self._values(self._networks, pair)]
        grads = self._networks.output_grads(td_target.shape[1])
        # L = w sum_i mean (Q_i - y)^2, so that dL / dQ_i = 2 w (Q_i - y) / B
        for row, error in zip(grads.unflatten(0, (2, self.stack.members)), errors, strict=True):
            row[..., 0] = error * (2.0 * weight / td_target.shape[1])
        self._networks.backward(pair, grads)
        self.adam.step()
        return weight * (errors[0].square().mean(1) + errors[1].square().mean(1))

    def min_q_grad(self, normalized_obs: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return min_i Q_i (P, B), and the gradient of -mean of it by the actions (P, B, actions)."""
        first, second = self._values(self._networks, self._pair(normalized_obs, action))
        grads, share = self._networks.output_grads(first.shape[1]), -1.0 / first.shape[1]
        # d(-mean min(Q_1, Q_2)) / dQ_i = -1/B where Q_i is the minimum, and 0 elsewhere
        first_is_min = first <= second
        grads.unflatten(0, (2, self.stack.members))[0, ..., 0] = first_is_min * share
        grads.unflatten(0, (2, self.stack.members))[1, ..., 0] = ~first_is_min * share
        input_grad = self._networks.input_grad(normalized_obs.shape[-1], grads).unflatten(0, (2, self.stack.members))
        return torch.minimum(first, second), input_grad[0] + input_grad[1]

    def first_q_grad(self, normalized_obs: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first critic's values (P, B), and the gradient of -mean of them by the actions (P, B, actions)."""
        values = self._first.forward(self._pair(normalized_obs, action))[..., 0]
        grads = self._first.output_grads(values.shape[1])
        # d(-mean Q_1) / dQ_1 = -1/B (deterministic policy gradient, Silver et al. 2014)
        grads[..., 0] = -1.0 / values.shape[1]
        return values, self._first.input_grad(normalized_obs.shape[-1], grads)

    def follow(self) -> None:
        """Let the copies follow by a step."""
        follow(self.target, self.stack, self._tau)

    def _values(self, networks: Networks, pair: torch.Tensor) -> torch.Tensor:
        """Return the values of both critics (2, P, B)."""
        return networks.forward(pair)[..., 0].unflatten(0, (2, self.stack.members))

    def _pair(self, normalized_obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Return observation and action side by side, in whole lines (P, B, slots + actions)."""
        slots, rows = normalized_obs.shape[-1], normalized_obs.shape[1]
        if rows not in self._pairs:
            self._pairs[rows] = aligned((*normalized_obs.shape[:2], slots + action.shape[-1]), self.stack.flat)
        pair = self._pairs[rows]
        pair[..., :slots], pair[..., slots:] = normalized_obs, action
        return pair


def follow(target: Stack, stack: Stack, tau: float) -> None:
    """Move a copy by a share of its distance, in the order of SB3's `polyak_update`."""
    # theta_target <- (1 - tau) theta_target + tau theta (Lillicrap et al. 2016, alg. 1)
    target.flat.mul_(1 - tau).add_(stack.flat, alpha=tau)
