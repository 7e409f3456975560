"""PPO (Schulman et al. 2017)."""

from typing import ClassVar

from trl_suite.algorithms.descriptor import ACTOR_CRITIC, AlgorithmDescriptor
from trl_suite.algorithms.hyperparameters import Count, OnPolicyHyperparameters, Positive, Schedule


class PPOHyperparameters(OnPolicyHyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SB3's PPO with observation and return normalisation; defaults are SB3's unless a comment says otherwise."""

    algorithm: ClassVar[str] = "ppo"
    by_member: ClassVar[tuple[str, ...]] = (*OnPolicyHyperparameters.by_member, "clip_range")

    n_envs: Count = 16  # SB3: 1; the same 2,048 steps per update from sixteen worlds need fewer network calls
    n_steps: Count = 128  # per env and update; SB3: 2,048
    batch_size: Count = 256  # SB3: 64; a quarter of the optimiser steps
    n_epochs: Count = 10
    clip_range: Positive = 0.2
    clip_range_schedule: Schedule = "constant"
    target_kl: Positive | None = None

    @property
    def minibatch(self) -> int:
        """Transitions of one gradient step."""
        return self.batch_size

    @property
    def passes(self) -> int:
        """Passes of an update over its rollout."""
        return self.n_epochs

    @property
    def largest_divergence(self) -> float | None:
        """Divergence from the rollout's policy at which an update ends; None never ends it."""
        return self.target_kl


DESCRIPTOR = AlgorithmDescriptor(
    hyperparameters=PPOHyperparameters,
    paper="Schulman et al. 2017, section 3",
    on_policy=True,
    log_std="number",
    parameter_rules=ACTOR_CRITIC,
    zip_signs=("gae_lambda", "n_epochs", "clip_range"),
    zip_hyperparameters=(
        "learning_rate", "n_steps", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range", "clip_range_vf",
        "normalize_advantage", "ent_coef", "vf_coef", "max_grad_norm", "target_kl",
    ),
    activation="tanh",
    optimizers=("policy",),
    sb3_class="stable_baselines3.ppo.ppo.PPO",
    sb3_policy="stable_baselines3.common.policies.ActorCriticPolicy",
    sb3_arguments=(
        "n_steps", "batch_size", "n_epochs", "gae_lambda", "clip_range", "ent_coef", "vf_coef", "max_grad_norm",
        "target_kl", "use_sde", "sde_sample_freq",
    ),
    cohort_update="trl_suite.training.cohort.learning.ppo_update.PPOUpdate",
)  # fmt: skip
