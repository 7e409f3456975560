"""A2C's update for all members at once: the same as `stable_baselines3.A2C.train`, with the gradient written out.

Axes: P members, B transitions of a rollout, which is one batch.
"""

from typing import ClassVar

import torch

from trl_suite.algorithms.a2c import A2CHyperparameters
from trl_suite.algorithms.hyperparameters import OnPolicyHyperparameters
from trl_suite.training.cohort.learning.ppo_update import (
    ENTROPY_LOSS,
    VALUE_LOSS,
    LossGradients,
    PPOUpdate,
    entropy_loss,
    gaussian,
    normalized_advantage,
)
from trl_suite.training.cohort.learning.update_metrics import UpdateScalars
from trl_suite.training.cohort.stacked.adam import Adam, RateFactors, RMSprop


class A2CUpdate(PPOUpdate):
    """One step on the whole rollout by the plain policy gradient."""

    scalars: ClassVar[tuple[str, ...]] = ("train/policy_loss", VALUE_LOSS, ENTROPY_LOSS)

    def optimizer(self, hyperparameters: OnPolicyHyperparameters, factors: RateFactors | None) -> Adam:
        """Return the optimizer of all parameters."""
        assert isinstance(hyperparameters, A2CHyperparameters)
        if not hyperparameters.use_rms_prop:
            return super().optimizer(hyperparameters, factors)
        rates = self.column("learning_rate")
        return RMSprop(self.stack, self.gradient, rates, hyperparameters.rms_prop_eps, factors)

    def loss_gradients(
        self, outputs: torch.Tensor, recorded: torch.Tensor, grad: torch.Tensor, report: bool
    ) -> LossGradients:
        """Return the gradient of -mean(A log pi) - ent_coef * entropy + vf_coef * mean((V - target)^2).

        Args:
            outputs: of the networks, (2 P, B, outputs).
            recorded: (P, B, actions + 3): action, log probability, advantage and value target of the rollout.
            grad: where to write the gradient by the outputs; 0 in what is no output.
            report: whether to report.
        """
        assert isinstance(self.hyperparameters, A2CHyperparameters)
        hyperparameters, log_std = self.hyperparameters, self.stack.free
        weights = self.loss_weights(recorded.shape[1])
        members, size, actions = recorded.shape[0], recorded.shape[1], log_std.shape[1]
        density = gaussian(recorded[..., :actions] - outputs[:members, :, :actions], log_std[:, None])
        advantage = recorded[..., actions + 1]
        if hyperparameters.normalize_advantage:
            advantage = normalized_advantage(advantage)
        # L_pi = -mean(A log pi(a|s)), so that dL_pi / d log pi = -A / B (Mnih et al. 2016, section 4)
        by_log_prob = (advantage * (-1.0 / size))[..., None]
        # L_V = vf_coef mean (V - V_target)^2, so that dL_V / dV = 2 vf_coef (V - V_target) / B
        error = outputs[members:, :, 0] - recorded[..., actions + 2]
        torch.mul(density.by_mean, by_log_prob, out=grad[:members, :, :actions])
        torch.mul(error, weights.by_value, out=grad[members:, :, 0])
        return LossGradients(
            # d log N / d log sigma = ((a - mu) / sigma)^2 - 1; the entropy grows by 1 with each log sigma
            log_std=((density.squares - 1.0) * by_log_prob).sum(1) - weights.ent_coef,
            report=self._reported(advantage * density.log_prob, error) if report else None,
        )

    def losses(self, last: UpdateScalars) -> UpdateScalars:
        """Return nothing: SB3 logs no whole loss of A2C."""
        return {}

    def _reported(self, objective: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Return the scalars (Q, P), in the order of `scalars`."""
        return torch.stack([-objective.mean(1), error.square().mean(1), entropy_loss(self.stack.free)])
