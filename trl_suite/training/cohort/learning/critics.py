"""Twin critics of all members and the copies that follow them: what SAC and TD3 have in common.

Axes: P members, B of a batch.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.algorithms.hyperparameters import Activation, TargetNetworkHyperparameters
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.network import Networks
from trl_suite.training.cohort.stacked.stack import Stack

OFF_POLICY_ADAM_EPSILON = 1e-8  # torch's default, which SB3 leaves to SAC and TD3
Factors = Mapping[str, npt.NDArray[np.float64]]  # stack -> factors of the learning rate (rows, members, parts)


class _PairViews(NamedTuple):
    """Views of the inputs and outputs of networks that see an observation and an action, for batches of one size."""

    normalized_obs: torch.Tensor  # (P, B, slots)
    action: torch.Tensor  # (P, B, actions)
    values: torch.Tensor  # (critics, P, B)
    grads: torch.Tensor  # the loss's gradient by the values (critics, P, B)


class _ValueNetworks:
    """Networks of some critics; see `Networks`."""

    def __init__(self, stack: Stack, gradient: Stack, activation: Activation, learns: bool = True) -> None:
        self._networks = Networks(stack, gradient, activation, learns)
        self._shape = (stack.flat.shape[0], stack.members)
        self._views: dict[int, _PairViews] = {}

    def forward(self, normalized_obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Return the values (critics, P, B)."""
        views = self.views(normalized_obs.shape[1], normalized_obs.shape[2])
        views.normalized_obs.copy_(normalized_obs)
        views.action.copy_(action)
        self._networks.forward(self._networks.inputs(normalized_obs.shape[1]))
        return views.values

    def backward(self, rows: int) -> None:
        """Write the gradient of all weights and biases, given that by the values."""
        self._networks.backward(rows)

    def action_grad(self, rows: int, slots: int) -> torch.Tensor:
        """Return the loss's gradient by the actions (critics, P, B, actions), given that by the values."""
        return self._networks.input_grad(rows, slots).unflatten(0, self._shape)

    def views(self, rows: int, slots: int) -> _PairViews:
        """Return the views of batches of so many rows."""
        if rows not in self._views:
            inputs, grads = self._networks.inputs(rows), self._networks.output_grads(rows)
            outputs = self._networks.forward(inputs)
            self._views[rows] = _PairViews(
                inputs[..., :slots],
                inputs[..., slots:],
                outputs[..., 0].unflatten(0, self._shape),
                grads[..., 0].unflatten(0, self._shape),
            )
        return self._views[rows]


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
        self._tau, activation = hyperparameters.tau, hyperparameters.activation
        self._networks = _ValueNetworks(stack, self.adam.gradient, activation)
        self._first = _ValueNetworks(stack.first(), self.adam.gradient.first(), activation)
        self._targets = _ValueNetworks(target, self.adam.gradient, activation, learns=False)

    def targets(self, normalized_obs: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        """Return min over both target critics of Q_target(s, a), (P, B)."""
        # clipped double Q: min_i Q_target_i(s', a') (Fujimoto et al. 2018, eq. 10)
        return self._targets.forward(normalized_obs, action).amin(0)

    def learn(
        self, normalized_obs: torch.Tensor, action: torch.Tensor, td_target: torch.Tensor, weight: float
    ) -> torch.Tensor:
        """Make a step by weight * sum over both of mean((Q - td_target)^2), and return that loss (P,)."""
        rows, slots = normalized_obs.shape[1:]
        errors = self._networks.forward(normalized_obs, action) - td_target
        # L = w sum_i mean (Q_i - y)^2, so that dL / dQ_i = 2 w (Q_i - y) / B
        torch.mul(errors, 2.0 * weight / rows, out=self._networks.views(rows, slots).grads)
        self._networks.backward(rows)
        self.adam.step()
        return errors.square_().sum((0, 2)).mul_(weight / rows)

    def min_q_grad(self, normalized_obs: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return min_i Q_i (P, B), and the gradient of -mean of it by the actions (P, B, actions)."""
        rows, slots = normalized_obs.shape[1:]
        first, second = self._networks.forward(normalized_obs, action)
        by_first, by_second = self._networks.views(rows, slots).grads
        # d(-mean min(Q_1, Q_2)) / dQ_i = -1/B where Q_i is the minimum, and 0 elsewhere
        torch.mul(first <= second, -1.0 / rows, out=by_first)
        torch.sub(-1.0 / rows, by_first, out=by_second)
        grads = self._networks.action_grad(rows, slots)
        return torch.minimum(first, second), grads[0] + grads[1]

    def first_q_grad(self, normalized_obs: torch.Tensor, action: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first critic's values (P, B), and the gradient of -mean of them by the actions (P, B, actions)."""
        rows, slots = normalized_obs.shape[1:]
        values = self._first.forward(normalized_obs, action)
        # d(-mean Q_1) / dQ_1 = -1/B (deterministic policy gradient, Silver et al. 2014)
        self._first.views(rows, slots).grads.fill_(-1.0 / rows)
        return values[0], self._first.action_grad(rows, slots)[0]

    def follow(self) -> None:
        """Let the copies follow by a step."""
        follow(self.target, self.stack, self._tau)


def follow(target: Stack, stack: Stack, tau: float) -> None:
    """Move a copy by a share of its distance, in one pass."""
    # theta_target <- theta_target + tau (theta - theta_target) (Lillicrap et al. 2016, alg. 1)
    target.flat.lerp_(stack.flat, tau)
