"""TD3 (Fujimoto et al. 2018)."""

from typing import ClassVar

from trl_suite.algorithms.descriptor import LAST, TWIN_CRITICS, AlgorithmDescriptor, composed_rules, rule
from trl_suite.algorithms.hyperparameters import Count, NotNegative, Positive, TargetNetworkHyperparameters


class TD3Hyperparameters(TargetNetworkHyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SB3's TD3."""

    algorithm: ClassVar[str] = "td3"

    learning_rate: Positive = 1e-3
    action_noise: NotNegative = 0.1  # SB3: none, which explores nothing
    policy_delay: Count = 2
    hidden: tuple[Count, ...] = (400, 300)


DESCRIPTOR = AlgorithmDescriptor(
    hyperparameters=TD3Hyperparameters,
    paper="Fujimoto et al. 2018, algorithm 1",
    on_policy=False,
    log_std="none",
    targets=("actor", "critic"),
    parameter_rules=(
        *composed_rules(r"actor(?P<target>_target)?\.mu"),
        rule(rf"(?P<stack>actor(?P<target>_target)?\.mu)\.(?P<module>\d+)\.{LAST}", "actor.{part}"),
        TWIN_CRITICS,
    ),
    zip_signs=("target_policy_noise", "policy_delay"),
    zip_hyperparameters=(
        "learning_rate", "buffer_size", "learning_starts", "batch_size", "tau", "gamma", "train_freq",
        "gradient_steps", "policy_delay", "target_policy_noise", "target_noise_clip", "action_noise",
    ),
    activation="relu",
    optimizers=("actor", "critic"),
    sb3_class="stable_baselines3.td3.td3.TD3",
    sb3_policy="stable_baselines3.td3.policies.TD3Policy",
    sb3_arguments=(
        "batch_size", "buffer_size", "learning_starts", "tau", "train_freq", "gradient_steps", "policy_delay",
    ),
    cohort_update="trl_suite.training.cohort.learning.td3_update.TD3Update",
)  # fmt: skip
