"""TQC: SAC whose critics give quantiles, of which the highest are dropped (Kuznetsov et al. 2020)."""

from typing import ClassVar, Literal

from trl_suite.algorithms.descriptor import SQUASHED_ACTOR, TWIN_CRITICS, AlgorithmDescriptor
from trl_suite.algorithms.hyperparameters import Positive, TargetNetworkHyperparameters, Whole


class TQCHyperparameters(TargetNetworkHyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """sb3-contrib's TQC."""

    algorithm: ClassVar[str] = "tqc"

    ent_coef: Literal["auto"] | Positive = "auto"
    top_quantiles_to_drop_per_net: Whole = 2  # of 25 in each of two critics


DESCRIPTOR = AlgorithmDescriptor(
    hyperparameters=TQCHyperparameters,
    paper="Kuznetsov et al. 2020",
    on_policy=False,
    log_std="head",
    temperature=True,
    targets=("critic",),
    critic_outputs=25,
    parameter_rules=(*SQUASHED_ACTOR, TWIN_CRITICS),
    zip_signs=("target_entropy", "top_quantiles_to_drop_per_net"),
    zip_hyperparameters=(
        "learning_rate", "buffer_size", "learning_starts", "batch_size", "tau", "gamma", "train_freq",
        "gradient_steps", "ent_coef", "target_update_interval", "target_entropy",
    ),
    activation="relu",
    optimizers=("actor", "critic"),
    sb3_class="sb3_contrib.tqc.tqc.TQC",
    sb3_policy="sb3_contrib.tqc.policies.TQCPolicy",
    sb3_extra="contrib",
    sb3_arguments=(
        "batch_size", "buffer_size", "learning_starts", "tau", "train_freq", "gradient_steps", "ent_coef",
        "top_quantiles_to_drop_per_net",
    ),
    no_cohort="a cohort has no update of TQC: its critics give quantiles",
)  # fmt: skip
