"""SAC (Haarnoja et al. 2018)."""

from typing import ClassVar, Literal

from trl_suite.algorithms.descriptor import SQUASHED_ACTOR, TWIN_CRITICS, AlgorithmDescriptor
from trl_suite.algorithms.hyperparameters import Positive, TargetNetworkHyperparameters


class SACHyperparameters(TargetNetworkHyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SB3's SAC."""

    algorithm: ClassVar[str] = "sac"

    ent_coef: Literal["auto"] | Positive = "auto"


DESCRIPTOR = AlgorithmDescriptor(
    hyperparameters=SACHyperparameters,
    paper="Haarnoja et al. 2018, section 4",
    on_policy=False,
    log_std="head",
    temperature=True,
    targets=("critic",),
    parameter_rules=(*SQUASHED_ACTOR, TWIN_CRITICS),
    zip_signs=("target_entropy",),
    zip_hyperparameters=(
        "learning_rate", "buffer_size", "learning_starts", "batch_size", "tau", "gamma", "train_freq",
        "gradient_steps", "ent_coef", "target_update_interval", "target_entropy",
    ),
    activation="relu",
    optimizers=("actor", "critic"),
    sb3_class="stable_baselines3.sac.sac.SAC",
    sb3_policy="stable_baselines3.sac.policies.SACPolicy",
    sb3_arguments=(
        "batch_size", "buffer_size", "learning_starts", "tau", "train_freq", "gradient_steps", "ent_coef",
    ),
    cohort_update="trl_suite.training.cohort.learning.sac_update.SACUpdate",
)  # fmt: skip
