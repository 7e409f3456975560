"""CrossQ: SAC without target networks, whose layers normalise their inputs (Bhatt et al. 2024)."""

from typing import ClassVar, Literal

from trl_suite.algorithms.descriptor import AlgorithmDescriptor, rule
from trl_suite.algorithms.hyperparameters import Count, OffPolicyHyperparameters, Positive


class CrossQHyperparameters(OffPolicyHyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """sb3-contrib's CrossQ; its critics are as wide as the actor here, where sb3-contrib has 1,024 units."""

    algorithm: ClassVar[str] = "crossq"

    learning_rate: Positive = 1e-3
    ent_coef: Literal["auto"] | Positive = "auto"
    policy_delay: Count = 3  # updates of the critics for one of the actor

    def __post_init__(self) -> None:
        """Refuse a second normalisation.

        Raises:
            ValueError: `layer_norm` is asked for.
        """
        if self.layer_norm:
            raise ValueError("layer_norm: the layers of crossq normalise their inputs already")


_TENSOR = r"(?P<tensor>weight|bias|scale|ra_mean|ra_var|steps)"  # of a linear layer, and of the norm before it

DESCRIPTOR = AlgorithmDescriptor(
    hyperparameters=CrossQHyperparameters,
    paper="Bhatt et al. 2024",
    on_policy=False,
    log_std="head",
    temperature=True,
    normalises_inputs=True,
    parameter_rules=(
        rule(rf"(?P<stack>actor\.latent_pi)\.(?P<module>\d+)\.{_TENSOR}", "actor.{part}", modules=3),
        rule(rf"actor\.mu\.{_TENSOR}", "actor.head"),
        rule(rf"actor\.log_std\.{_TENSOR}", "log_std"),
        rule(
            rf"(?P<stack>critic\.qf(?P<net>\d))\.(?P<module>\d+)\.{_TENSOR}",
            "critic.{part}", "q{net}_{tensor}", modules=3,
        ),
    ),
    zip_signs=("target_entropy", "policy_delay"),
    zip_hyperparameters=(
        "learning_rate", "buffer_size", "learning_starts", "batch_size", "gamma", "train_freq", "gradient_steps",
        "ent_coef", "policy_delay", "target_entropy",
    ),
    activation="relu",
    optimizers=("actor", "critic"),
    sb3_class="sb3_contrib.crossq.crossq.CrossQ",
    sb3_policy="sb3_contrib.crossq.policies.CrossQPolicy",
    sb3_extra="contrib",
    sb3_arguments=(
        "batch_size", "buffer_size", "learning_starts", "train_freq", "gradient_steps", "ent_coef", "policy_delay",
    ),
    no_cohort="a cohort has no update of CrossQ: its layers normalise batches",
)  # fmt: skip
