"""PPO's update for all members at once: the same as `stable_baselines3.PPO.train`, with the gradient written out.

Axes: P members, n transitions of a rollout, B of a minibatch.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.algorithms.hyperparameters import OnPolicyHyperparameters
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.training.cohort.adam import Adam, Cells, RateFactors
from trl_suite.training.cohort.graph import Launch
from trl_suite.training.cohort.low_rank import LowRankTrunks, adapters
from trl_suite.training.cohort.network import Networks
from trl_suite.training.cohort.parameter_layout import padded
from trl_suite.training.cohort.source_gradients import MemberDistillation
from trl_suite.training.cohort.stack import Stack, Tensors

KL_TOLERANCE = 1.5  # SB3 stops where the divergence exceeds target_kl by this factor
NORM_EPSILON = 1e-6  # as torch.nn.utils.clip_grad_norm_
ADVANTAGE_EPSILON = 1e-8
PPO_ADAM_EPSILON = 1e-5


class Transitions(NamedTuple):
    """A rollout of all members, in SB3's order: world by world, and in time within each (P, n, ...)."""

    observation: torch.Tensor  # (P, n, slots), as the networks saw it
    action: torch.Tensor  # (P, n, actions), before it was clipped to the action space
    log_prob: torch.Tensor  # (P, n)
    advantage: torch.Tensor  # (P, n)
    value_target: torch.Tensor  # (P, n)

    def packed(self) -> torch.Tensor:
        """Return everything of a transition in one row (P, n, numbers), so that a minibatch is one gather."""
        singles = [number[..., None] for number in (self.log_prob, self.advantage, self.value_target)]
        parts = [self.observation, self.action, *singles]
        size = sum(part.shape[-1] for part in parts)
        parts.append(self.action.new_zeros(*self.action.shape[:2], padded(size) - size))
        return torch.cat(parts, dim=-1)


class PPOMetrics(NamedTuple):
    """Means over the last epoch of an update, per member (P,)."""

    divergence: npt.NDArray[np.float64]  # approximate KL of the policy from the rollout's
    value_loss: npt.NDArray[np.float64]
    clip_fraction: npt.NDArray[np.float64]


class LossGradients(NamedTuple):
    """The loss's gradient by what the networks give, and what is worth reporting."""

    outputs: torch.Tensor  # (2 P, B, outputs)
    log_std: torch.Tensor  # (P, actions)
    report: torch.Tensor | None  # divergence, value loss and share of clipped samples (3, P), where they are wanted


class _MetricMeans:
    """The means over the last epoch of an update; of a member that stops early, over its own last one."""

    def __init__(self, members: int) -> None:
        self._sums, self._count = np.zeros((3, members)), np.zeros(members)

    def add(self, report: torch.Tensor, learning: Cells, first: bool) -> None:
        active = learning.any(axis=(0, 2))
        if first:
            self._sums[:, active], self._count[active] = 0.0, 0.0
        self._sums[:, active] += report.double().cpu().numpy()[:, active]
        self._count += active

    def report(self) -> PPOMetrics:
        return PPOMetrics(*(self._sums / np.maximum(self._count, 1)))


class PPOUpdate:
    """Stacked parameters, their gradient and optimiser, and PPO's update of them."""

    def __init__(
        self, hyperparameters: OnPolicyHyperparameters, stack: Stack, factors: RateFactors | None = None
    ) -> None:
        self.hyperparameters, self.stack = hyperparameters, stack
        self.gradient = stack.zeros_like()
        self.low_rank = LowRankTrunks(stack, self.gradient) if adapters(stack) else None
        self.plain = self.low_rank.plain if self.low_rank else stack  # what the networks compute with
        self.networks = Networks(self.plain, self.gradient, hyperparameters.activation)
        self.adam = self.optimizer(hyperparameters, factors)
        if self.low_rank:
            self.adam.after.append(self.low_rank.fold)
        self.pulls: list[MemberDistillation] = []
        self._firsts = torch.arange(stack.members, device=stack.flat.device)[:, None]
        self._mask: torch.Tensor | None = None  # 1 where a number learns and 0 where it is frozen (rows, P, size)
        self._masked: Cells = np.zeros(0, dtype=bool)  # what `_mask` is of
        self._epochs = {
            reports: Launch(partial(self._epoch, reports=reports), [self.adam], stack.flat.device)
            for reports in (False, True)
        }

    def update(self, rollout: Transitions, orders: npt.NDArray[np.int64], learning: Cells) -> PPOMetrics:
        """Train on a rollout, as SB3 does; return what it did.

        A member whose divergence exceeds `target_kl` makes no further step, as in SB3, and does not hold up the others.

        Args:
            rollout: of all members.
            orders: the permutations of the transitions, (P, epochs, n).
            learning: the parts that learn (rows, P, parts).
        """
        self._learn(learning)
        packed = rollout.packed()
        rows = packed.reshape(-1, packed.shape[-1])
        shuffled = torch.as_tensor(orders, device=rows.device) + (self._firsts * packed.shape[1])[:, None]
        means = _MetricMeans(self.stack.members)
        for epoch in range(shuffled.shape[1]):
            inputs = {"rows": rows, "order": shuffled[:, epoch]}
            for pull in self.pulls:
                inputs |= pull.drawn(-(-packed.shape[1] // self.hyperparameters.minibatch))
            if self.hyperparameters.largest_divergence is not None:
                self._wary_epoch(inputs, means)
            else:
                outputs = self._epochs[epoch == shuffled.shape[1] - 1](inputs)
                for index, report in enumerate(outputs["reports"].cpu() if outputs else ()):
                    means.add(report, learning, index == 0)
            if not self.adam.learning.any():
                break
        return means.report()

    def _learn(self, learning: Cells) -> None:
        """Let exactly these parts move."""
        self.adam.set_learning(learning)
        if not np.array_equal(learning, self._masked):
            sizes = [part.stop - part.start for part in self.stack.layout.parts]
            mask = torch.as_tensor(learning.repeat(sizes, axis=2)).to(self.stack.flat)
            self._mask, self._masked = None if learning.all() else mask, learning.copy()

    def _epoch(self, inputs: Tensors, reports: bool) -> Tensors:
        """Make the steps of an epoch; return what each reports (minibatches, 3, P), if wanted. See `Launch`."""
        reports_of_steps: list[torch.Tensor] = []
        for batch in self._minibatches(inputs):
            grads = self.differentiate(batch, reports)
            if grads.report is not None:
                reports_of_steps.append(grads.report)
            self._clip()
            self.adam.step()
        return {"reports": torch.stack(reports_of_steps)} if reports_of_steps else {}

    def _wary_epoch(self, inputs: Tensors, means: _MetricMeans) -> None:
        """Make the steps of an epoch; members whose policy has gone too far make no further one."""
        assert self.hyperparameters.largest_divergence is not None
        for index, batch in enumerate(self._minibatches(inputs)):
            grads = self.differentiate(batch, True)
            assert grads.report is not None
            means.add(grads.report, self.adam.learning, index == 0)
            stopped = (grads.report[0] > KL_TOLERANCE * self.hyperparameters.largest_divergence).cpu().numpy()
            self.adam.set_learning(self.adam.learning & ~stopped[None, :, None])
            if not self.adam.learning.any():
                return
            self._clip()
            self.adam.step()

    def _minibatches(self, inputs: Tensors) -> Iterator[torch.Tensor]:
        """Yield packed transitions (P, B, numbers): the rows (P * n, numbers) in the order (P, n)."""
        for index, indices in enumerate(inputs["order"].split(self.hyperparameters.minibatch, dim=1)):
            for pull in self.pulls:
                pull.imitation.show(inputs, index)
            yield inputs["rows"].index_select(0, indices.reshape(-1)).view(*indices.shape, -1)

    def differentiate(self, batch: torch.Tensor, report: bool = False) -> LossGradients:
        """Write the gradient of PPO's loss on packed transitions (P, B, numbers) into `gradient`."""
        slots, actions = self.stack.layout.inputs, self.stack.layout.outputs
        normalized_obs = batch[..., :slots]
        recorded = batch[..., slots : slots + actions + 3]
        outputs = self.networks.forward(normalized_obs)
        grads = self.loss_gradients(outputs, recorded, self.networks.output_grads(batch.shape[1]), report)
        self.networks.backward(normalized_obs, grads.outputs)
        if self.low_rank:
            self.low_rank.differentiate()
        self.gradient.free.copy_(grads.log_std)
        return grads

    def loss_gradients(
        self, outputs: torch.Tensor, recorded: torch.Tensor, grad: torch.Tensor, report: bool
    ) -> LossGradients:
        """Return the gradient of PPO's loss; see `_loss_gradients`."""
        assert isinstance(self.hyperparameters, PPOHyperparameters)
        return _loss_gradients(outputs, self.stack.free, recorded, self.hyperparameters, grad, report)

    def optimizer(self, hyperparameters: OnPolicyHyperparameters, factors: RateFactors | None) -> Adam:
        """Return the optimizer of all parameters."""
        return Adam(self.stack, self.gradient, hyperparameters.learning_rate, PPO_ADAM_EPSILON, factors)

    def _clip(self) -> None:
        """Scale each member's gradient to the largest norm allowed; what is frozen does not count."""
        flat = self.gradient.flat
        if self._mask is not None:
            flat.mul_(self._mask)
        # g <- g min(1, max_grad_norm / (|g| + eps)) (Pascanu et al. 2013; torch.nn.utils.clip_grad_norm_)
        norms = torch.linalg.vector_norm(flat, dim=2).square().sum(0).sqrt()  # (P,)
        flat.mul_((self.hyperparameters.max_grad_norm / (norms + NORM_EPSILON)).clamp(max=1.0)[None, :, None])


class GaussianDensity(NamedTuple):
    """The density of actions under diagonal Gaussians."""

    by_mean: torch.Tensor  # slope of the log probability by the mean (..., actions)
    squares: torch.Tensor  # squared distance from the mean in deviations (..., actions)
    log_prob: torch.Tensor  # (...)


def gaussian(away: torch.Tensor, log_std: torch.Tensor) -> GaussianDensity:
    """Return the density at a distance from the mean (..., actions), for deviations that broadcast with it."""
    # d log N(a; mu, sigma) / d mu = (a - mu) / sigma^2
    by_mean = away * torch.exp(-2.0 * log_std)
    # ((a - mu) / sigma)^2
    squares = away * by_mean
    # log N = -1/2 sum ((a - mu) / sigma)^2 - sum log sigma - n/2 log 2 pi
    constant = log_std.sum(-1) + 0.5 * math.log(2 * math.pi) * away.shape[-1]
    return GaussianDensity(by_mean, squares, -0.5 * squares.sum(-1) - constant)


def _loss_gradients(
    outputs: torch.Tensor,
    log_std: torch.Tensor,
    recorded: torch.Tensor,
    hyperparameters: PPOHyperparameters,
    grad: torch.Tensor,
    report: bool,
) -> LossGradients:
    """Return the gradient of mean(-min(A r, A clip(r))) - ent_coef * entropy + vf_coef * mean((V - target)^2).

    Args:
        outputs: of the networks, (2 P, B, outputs).
        log_std: (P, actions).
        recorded: (P, B, actions + 3): action, log probability, advantage and value target of the rollout.
        hyperparameters: the loss's weights.
        grad: where to write the gradient by the outputs; 0 in what is no output.
        report: whether to report.
    """
    members, size, actions = recorded.shape[0], recorded.shape[1], log_std.shape[1]
    density = gaussian(recorded[..., :actions] - outputs[:members, :, :actions], log_std[:, None])
    # r = pi(a|s) / pi_old(a|s) (Schulman et al. 2017, eq. 6)
    log_ratio = density.log_prob - recorded[..., actions]
    ratio = log_ratio.exp()
    advantage = normalized_advantage(recorded[..., actions + 1])
    # L_CLIP = mean min(r A, clip(r, 1 - eps, 1 + eps) A) (eq. 7)
    gain, clipped = (
        advantage * ratio,
        advantage * ratio.clamp(1 - hyperparameters.clip_range, 1 + hyperparameters.clip_range),
    )
    # d(-L_CLIP) / d log pi = -r A / B where r A <= clip(r) A, and 0 where the clipped term is the minimum
    by_log_prob = torch.where(gain <= clipped, gain, 0.0).mul_(-1.0 / size)[..., None]
    # L_VF = vf_coef mean (V - V_target)^2 (eq. 9), so that dL_VF / dV = 2 vf_coef (V - V_target) / B
    error = outputs[members:, :, 0] - recorded[..., actions + 2]
    torch.mul(density.by_mean, by_log_prob, out=grad[:members, :, :actions])
    torch.mul(error, 2.0 * hyperparameters.vf_coef / size, out=grad[members:, :, 0])
    # d log N / d log sigma = ((a - mu) / sigma)^2 - 1; the entropy of a Gaussian grows by 1 with each log sigma
    return LossGradients(
        outputs=grad,
        log_std=((density.squares - 1.0) * by_log_prob).sum(1) - hyperparameters.ent_coef,
        report=_reported(ratio, log_ratio, error, hyperparameters) if report else None,
    )


def _reported(
    ratio: torch.Tensor, log_ratio: torch.Tensor, error: torch.Tensor, hyperparameters: PPOHyperparameters
) -> torch.Tensor:
    """Return divergence, value loss and clip fraction of a minibatch (3, P)."""
    # KL(pi_old || pi) = E[(r - 1) - log r] (http://joschu.net/blog/kl-approx.html)
    divergence = (ratio - 1.0 - log_ratio).mean(1)
    clipped = ((ratio - 1.0).abs() > hyperparameters.clip_range).to(ratio.dtype).mean(1)
    return torch.stack([divergence, error.square().mean(1), clipped])


def normalized_advantage(advantage: torch.Tensor) -> torch.Tensor:
    """Return the advantages of each member's minibatch (P, B) with mean 0 and deviation 1; a single one as it is."""
    if advantage.shape[1] == 1:
        return advantage
    # A <- (A - mean A) / (std A + eps), in each minibatch
    centred = advantage - advantage.mean(1, keepdim=True)
    return centred / (advantage.std(1, keepdim=True) + ADVANTAGE_EPSILON)
