"""PPO's update for all members at once: the same as `stable_baselines3.PPO.train`, with the gradient written out.

Axes: P members, n transitions of a rollout, B of a minibatch.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.algorithms.hyperparameters import OnPolicyHyperparameters
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.training.cohort.learning.source_gradients import CohortDistillation
from trl_suite.training.cohort.learning.update_metrics import (
    APPROX_KL,
    UpdateMetrics,
    UpdateScalars,
    explained_variance,
)
from trl_suite.training.cohort.stacked.adam import Adam, Cells, RateFactors
from trl_suite.training.cohort.stacked.coefficients import Coefficient, coefficient, column
from trl_suite.training.cohort.stacked.graph import Launch
from trl_suite.training.cohort.stacked.low_rank import LowRankTrunks, adapters
from trl_suite.training.cohort.stacked.network import Networks
from trl_suite.training.cohort.stacked.parameter_layout import padded
from trl_suite.training.cohort.stacked.stack import Stack, Tensors

KL_TOLERANCE = 1.5  # SB3 stops where the divergence exceeds target_kl by this factor
NORM_EPSILON = 1e-6  # as torch.nn.utils.clip_grad_norm_
ADVANTAGE_EPSILON = 1e-8
PPO_ADAM_EPSILON = 1e-5
POLICY_GRADIENT_LOSS, VALUE_LOSS, ENTROPY_LOSS = (
    "train/policy_gradient_loss", "train/value_loss", "train/entropy_loss",
)  # fmt: skip


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


class LossGradients(NamedTuple):
    """The loss's gradient by the log deviations, and scalars; that by the networks' outputs is written in place."""

    log_std: torch.Tensor  # (P, actions)
    report: torch.Tensor | None  # the scalars of `PPOUpdate.scalars` (Q, P), where they are wanted


class LossWeights(NamedTuple):
    """Hyperparameters of the loss: one number for all members, or one per member (P, 1)."""

    by_value: Coefficient  # 2 vf_coef / B, of the value's error in its gradient
    ent_coef: Coefficient
    clip_range: Coefficient = 0.0
    lowest_ratio: Coefficient = 0.0  # 1 - clip_range
    highest_ratio: Coefficient = 0.0  # 1 + clip_range


class PPOUpdate:
    """Stacked parameters, their gradient and optimiser, and PPO's update of them."""

    scalars: ClassVar[tuple[str, ...]] = (  # of each minibatch, by SB3's tags
        APPROX_KL, POLICY_GRADIENT_LOSS, VALUE_LOSS, "train/clip_fraction", ENTROPY_LOSS,
    )  # fmt: skip

    def __init__(
        self,
        hyperparameters: OnPolicyHyperparameters,
        stack: Stack,
        factors: RateFactors | None = None,
        by_member: Sequence[OnPolicyHyperparameters] = (),
    ) -> None:
        """Begin with the parameters in `stack`.

        Args:
            hyperparameters: what all members have in common.
            stack: their parameters.
            factors: of the learning rate (rows, members, parts).
            by_member: each member's hyperparameters, where they differ in those of `by_member`.
        """
        self.hyperparameters, self.stack = hyperparameters, stack
        self.by_member = by_member or [hyperparameters] * stack.members
        largest_norm = coefficient(self.column("max_grad_norm"), stack.flat)
        self._largest_norm = largest_norm[:, 0] if isinstance(largest_norm, torch.Tensor) else largest_norm  # (P,)
        self._bounds = self._clip_coefficients()
        self._loss_weights: dict[int, LossWeights] = {}  # by the size of the minibatch
        self.gradient = stack.zeros_like()
        self.low_rank = LowRankTrunks(stack, self.gradient) if adapters(stack) else None
        self.plain = self.low_rank.plain if self.low_rank else stack  # what the networks compute with
        self.networks = Networks(self.plain, self.gradient, hyperparameters.activation)
        self.adam = self.optimizer(hyperparameters, factors)
        if self.low_rank:
            self.adam.after.append(self.low_rank.fold)
        self.distillation: CohortDistillation | None = None
        self._stopped = np.zeros(stack.members, dtype=bool)  # in this update, for their divergence (P,)
        self._firsts = torch.arange(stack.members, device=stack.flat.device)[:, None]
        self._mask: torch.Tensor | None = None  # 1 where a number learns and 0 where it is frozen (rows, P, size)
        self._masked: Cells = np.zeros(0, dtype=bool)  # what `_mask` is of
        self._epochs = {
            reports: Launch(partial(self._epoch, reports=reports), [self.adam], stack.flat.device)
            for reports in (False, True)
        }

    def update(
        self, rollout: Transitions, orders: npt.NDArray[np.int64], learning: Cells, report: bool = True
    ) -> UpdateScalars:
        """Train on a rollout, as SB3 does; return SB3's `train/` scalars of it, if they are wanted.

        A member whose divergence exceeds `target_kl` makes no further step, as in SB3, and does not hold up the others.

        Args:
            rollout: of all members.
            orders: the permutations of the transitions, (P, epochs, n).
            learning: the parts that learn (rows, P, parts).
            report: whether anybody reads the scalars, which are computed for nobody else.
        """
        self._learn(learning)
        packed = rollout.packed()
        rows = packed.reshape(-1, packed.shape[-1])
        shuffled = torch.as_tensor(orders, device=rows.device) + (self._firsts * packed.shape[1])[:, None]
        metrics, everyone = UpdateMetrics(self.scalars, self.stack.members), np.ones(self.stack.members, dtype=bool)
        self._stopped = ~everyone
        for epoch in range(shuffled.shape[1]):
            inputs = {"rows": rows, "order": shuffled[:, epoch]}
            if self.distillation is not None:
                inputs |= self.distillation.drawn(-(-packed.shape[1] // self.hyperparameters.minibatch))
            if self.hyperparameters.largest_divergence is not None:
                self._wary_epoch(inputs, metrics, epoch)
            elif outputs := self._epochs[report](inputs):
                metrics.add(outputs["reports"], everyone, epoch)
            if not self.adam.learning.any():
                break
        return self._described(metrics, rollout) if report else {}

    def _described(self, metrics: UpdateMetrics, rollout: Transitions) -> UpdateScalars:
        """Return SB3's `train/` scalars of an update."""
        return {
            **metrics.means(),
            **self.losses(metrics.last()),
            "train/explained_variance": explained_variance(rollout.advantage, rollout.value_target),
            "train/std": self.stack.free.exp().mean(1).double().cpu().numpy(),
            "train/learning_rate": self.adam.rates(),
        }

    def losses(self, last: UpdateScalars) -> UpdateScalars:
        """Return the whole loss of the last minibatch, which SB3 logs for PPO, and the range of the clipping."""
        # L = L_CLIP + c_1 L_VF + c_2 L_entropy (Schulman et al. 2017, eq. 9)
        policy, value, entropy = last[POLICY_GRADIENT_LOSS], last[VALUE_LOSS], last[ENTROPY_LOSS]
        loss = policy + self.column("ent_coef")[:, 0] * entropy + self.column("vf_coef")[:, 0] * value
        clip_range = self._bounds[0]
        now = clip_range[:, 0].double().cpu().numpy() if isinstance(clip_range, torch.Tensor) else clip_range
        return {"train/loss": loss, "train/clip_range": np.broadcast_to(now, loss.shape)}

    def column(self, name: str) -> npt.NDArray[np.float64]:
        """Values of a hyperparameter (members, 1)."""
        return column(self.by_member, name)

    def anneal(self, left: float) -> None:
        """Let what has a linear schedule be this share of its first value, from now on."""
        if self.hyperparameters.learning_rate_schedule == "linear":
            self.adam.anneal(left)
        if (
            isinstance(self.hyperparameters, PPOHyperparameters)
            and self.hyperparameters.clip_range_schedule == "linear"
        ):
            for place, bound in zip(self._bounds, _clip_bounds(left * self.column("clip_range")), strict=True):
                assert isinstance(place, torch.Tensor)
                place.copy_(torch.as_tensor(bound))

    def _learn(self, learning: Cells) -> None:
        """Let exactly these parts move."""
        self.adam.set_learning(learning)
        if not np.array_equal(learning, self._masked):
            sizes = [part.stop - part.start for part in self.stack.layout.parts]
            mask = torch.as_tensor(learning.repeat(sizes, axis=2)).to(self.stack.flat)
            self._mask, self._masked = None if learning.all() else mask, learning.copy()

    def _epoch(self, inputs: Tensors, reports: bool) -> Tensors:
        """Make the steps of an epoch; return what each reports (minibatches, Q, P), if wanted. See `Launch`."""
        reports_of_steps: list[torch.Tensor] = []
        for batch in self._minibatches(inputs):
            grads = self.differentiate(batch, reports)
            if grads.report is not None:
                reports_of_steps.append(grads.report)
            self._clip()
            self.adam.step()
        return {"reports": torch.stack(reports_of_steps)} if reports_of_steps else {}

    def _wary_epoch(self, inputs: Tensors, metrics: UpdateMetrics, epoch: int) -> None:
        """Make the steps of an epoch; members whose policy has gone too far make no further one."""
        assert self.hyperparameters.largest_divergence is not None
        for batch in self._minibatches(inputs):
            grads = self.differentiate(batch, True)
            assert grads.report is not None
            metrics.add(grads.report[None], ~self._stopped, epoch)
            too_far = grads.report[0] > KL_TOLERANCE * self.hyperparameters.largest_divergence
            self._stopped = self._stopped | too_far.cpu().numpy()
            self.adam.set_learning(self.adam.learning & ~self._stopped[None, :, None])
            if not self.adam.learning.any():
                return
            self._clip()
            self.adam.step()

    def _minibatches(self, inputs: Tensors) -> Iterator[torch.Tensor]:
        """Yield packed transitions (P, B, numbers): the rows (P * n, numbers) in the order (P, n)."""
        for index, indices in enumerate(inputs["order"].split(self.hyperparameters.minibatch, dim=1)):
            if self.distillation is not None:
                self.distillation.gradient.show(inputs, index)
            yield inputs["rows"].index_select(0, indices.reshape(-1)).view(*indices.shape, -1)

    def differentiate(self, batch: torch.Tensor, report: bool = False) -> LossGradients:
        """Write the gradient of PPO's loss on packed transitions (P, B, numbers) into `gradient`."""
        slots, actions = self.stack.layout.inputs, self.stack.layout.outputs
        normalized_obs = batch[..., :slots]
        recorded = batch[..., slots : slots + actions + 3]
        outputs = self.networks.forward(normalized_obs)
        grads = self.loss_gradients(outputs, recorded, self.networks.output_grads(batch.shape[1]), report)
        self.networks.backward(batch.shape[1])
        if self.low_rank:
            self.low_rank.differentiate()
        self.gradient.free.copy_(grads.log_std)
        return grads

    def loss_gradients(
        self, outputs: torch.Tensor, recorded: torch.Tensor, grad: torch.Tensor, report: bool
    ) -> LossGradients:
        """Return the gradient of PPO's loss; see `_loss_gradients`."""
        return _loss_gradients(outputs, self.stack.free, recorded, self.loss_weights(recorded.shape[1]), grad, report)

    def loss_weights(self, size: int) -> LossWeights:
        """Weights of the loss for minibatches of a size."""
        if size not in self._loss_weights:
            self._loss_weights[size] = self._weights(size)
        return self._loss_weights[size]

    def _weights(self, size: int) -> LossWeights:
        like = self.stack.flat
        common = (coefficient(2.0 * self.column("vf_coef") / size, like), coefficient(self.column("ent_coef"), like))
        return LossWeights(*common, *self._bounds)

    def _clip_coefficients(self) -> tuple[Coefficient, ...]:
        """Clip range and bounds of the ratio; numbers that stay where they are if they follow a schedule."""
        if not isinstance(self.hyperparameters, PPOHyperparameters):
            return ()
        bounds, like = _clip_bounds(self.column("clip_range")), self.stack.flat
        if self.hyperparameters.clip_range_schedule == "linear":
            return tuple(torch.as_tensor(bound).to(like) for bound in bounds)
        return tuple(coefficient(bound, like) for bound in bounds)

    def optimizer(self, hyperparameters: OnPolicyHyperparameters, factors: RateFactors | None) -> Adam:
        """Return the optimizer of all parameters."""
        return Adam(self.stack, self.gradient, self.column("learning_rate"), PPO_ADAM_EPSILON, factors)

    def _clip(self) -> None:
        """Scale each member's gradient to the largest norm allowed; what is frozen does not count."""
        flat = self.gradient.flat
        self.adam.apply_masks()
        if self._mask is not None:
            flat.mul_(self._mask)
        # g <- g min(1, max_grad_norm / (|g| + eps)) (Pascanu et al. 2013; torch.nn.utils.clip_grad_norm_)
        norms = torch.linalg.vector_norm(flat, dim=2).square().sum(0).sqrt()  # (P,)
        shares = ((norms + NORM_EPSILON).reciprocal() * self._largest_norm).clamp(max=1.0)
        flat.mul_(shares[None, :, None])


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


def _clip_bounds(clip_range: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], ...]:
    """Clip range, and the lowest and highest ratio that it lets count."""
    return clip_range, 1.0 - clip_range, 1.0 + clip_range


def _loss_gradients(
    outputs: torch.Tensor,
    log_std: torch.Tensor,
    recorded: torch.Tensor,
    weights: LossWeights,
    grad: torch.Tensor,
    report: bool,
) -> LossGradients:
    """Return the gradient of mean(-min(A r, A clip(r))) - ent_coef * entropy + vf_coef * mean((V - target)^2).

    Args:
        outputs: of the networks, (2 P, B, outputs).
        log_std: (P, actions).
        recorded: (P, B, actions + 3): action, log probability, advantage and value target of the rollout.
        weights: of the loss.
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
        advantage * _clamped(ratio, weights),
    )
    # d(-L_CLIP) / d log pi = -r A / B where r A <= clip(r) A, and 0 where the clipped term is the minimum
    by_log_prob = torch.where(gain <= clipped, gain, 0.0).mul_(-1.0 / size)[..., None]
    # L_VF = vf_coef mean (V - V_target)^2 (eq. 9), so that dL_VF / dV = 2 vf_coef (V - V_target) / B
    error = outputs[members:, :, 0] - recorded[..., actions + 2]
    torch.mul(density.by_mean, by_log_prob, out=grad[:members, :, :actions])
    torch.mul(error, weights.by_value, out=grad[members:, :, 0])
    # d log N / d log sigma = ((a - mu) / sigma)^2 - 1; the entropy of a Gaussian grows by 1 with each log sigma
    return LossGradients(
        log_std=((density.squares - 1.0) * by_log_prob).sum(1) - weights.ent_coef,
        report=_reported(log_ratio, torch.minimum(gain, clipped), error, log_std, weights.clip_range)
        if report
        else None,
    )


def _clamped(ratio: torch.Tensor, weights: LossWeights) -> torch.Tensor:
    """The ratio within its bounds."""
    lowest, highest = weights.lowest_ratio, weights.highest_ratio
    if isinstance(lowest, torch.Tensor) and isinstance(highest, torch.Tensor):
        return ratio.clamp(lowest, highest)
    return ratio.clamp(float(lowest), float(highest))


def _reported(
    log_ratio: torch.Tensor,
    objective: torch.Tensor,
    error: torch.Tensor,
    log_std: torch.Tensor,
    clip_range: Coefficient,
) -> torch.Tensor:
    """Return the scalars of a minibatch (Q, P), in the order of `PPOUpdate.scalars`."""
    off_policy = torch.expm1(log_ratio)  # r - 1
    # KL(pi_old || pi) = E[(r - 1) - log r] (http://joschu.net/blog/kl-approx.html)
    divergence = off_policy - log_ratio
    clipped = (off_policy.abs() > clip_range).to(objective.dtype)
    means = torch.stack([divergence, -objective, error.square(), clipped]).mean(2)
    return torch.cat([means, entropy_loss(log_std)[None]])


def entropy_loss(log_std: torch.Tensor) -> torch.Tensor:
    """Return minus the entropy of Gaussians with these log deviations (P, actions): (P,)."""
    # H = sum log sigma + n/2 (1 + log 2 pi)
    return -(log_std.sum(1) + 0.5 * (1.0 + math.log(2 * math.pi)) * log_std.shape[1])


def normalized_advantage(advantage: torch.Tensor) -> torch.Tensor:
    """Return the advantages of each member's minibatch (P, B) with mean 0 and deviation 1; a single one as it is."""
    if advantage.shape[1] == 1:
        return advantage
    # A <- (A - mean A) / (std A + eps), in each minibatch
    centred = advantage - advantage.mean(1, keepdim=True)
    return centred / (advantage.std(1, keepdim=True) + ADVANTAGE_EPSILON)
