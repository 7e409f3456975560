"""A2C (Mnih et al. 2016, synchronous)."""

from typing import ClassVar

from trl_suite.algorithms.descriptor import ACTOR_CRITIC, AlgorithmDescriptor
from trl_suite.algorithms.hyperparameters import Count, Fraction, OnPolicyHyperparameters, Positive


class A2CHyperparameters(OnPolicyHyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SB3's A2C with observation and return normalisation; defaults are SB3's unless a comment says otherwise."""

    algorithm: ClassVar[str] = "a2c"

    n_envs: Count = 16  # SB3: 1
    n_steps: Count = 5  # per env and update
    learning_rate: Positive = 7e-4
    gae_lambda: Fraction = 1.0
    rms_prop_eps: Positive = 1e-5
    use_rms_prop: bool = True  # else Adam
    normalize_advantage: bool = False

    @property
    def has_moments(self) -> bool:
        """Whether its optimiser is Adam's, with two moments of each gradient."""
        return not self.use_rms_prop


DESCRIPTOR = AlgorithmDescriptor(
    hyperparameters=A2CHyperparameters,
    paper="Mnih et al. 2016, section 4",
    on_policy=True,
    log_std="number",
    parameter_rules=ACTOR_CRITIC,
    zip_signs=("gae_lambda", "vf_coef"),
    zip_hyperparameters=(
        "learning_rate", "n_steps", "gamma", "gae_lambda", "normalize_advantage", "ent_coef", "vf_coef",
        "max_grad_norm",
    ),
    activation="tanh",
    optimizers=("policy",),
    sb3_class="stable_baselines3.a2c.a2c.A2C",
    sb3_policy="stable_baselines3.common.policies.ActorCriticPolicy",
    sb3_arguments=(
        "n_steps", "gae_lambda", "ent_coef", "vf_coef", "max_grad_norm", "rms_prop_eps", "use_rms_prop",
        "normalize_advantage", "use_sde", "sde_sample_freq",
    ),
    cohort_update="trl_suite.training.cohort.learning.a2c_update.A2CUpdate",
)  # fmt: skip
