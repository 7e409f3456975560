"""Hyperparameters that a training may set, with SB3's names and checked ranges."""

from typing import Annotated, ClassVar, Literal

import msgspec

from trl_suite.networks.card import Activation, Algorithm

Count = Annotated[int, msgspec.Meta(gt=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Discount = Annotated[float, msgspec.Meta(gt=0, le=1)]
Whole = Annotated[int, msgspec.Meta(ge=0)]


class PPOHyperparameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SB3's PPO with observation and return normalisation; defaults are SB3's unless a comment says otherwise."""

    algorithm: ClassVar[Algorithm] = "ppo"

    n_envs: Count = 16  # SB3: 1; the same 2,048 steps per update from sixteen worlds need fewer network calls
    n_steps: Count = 128  # per env and update; SB3: 2,048
    batch_size: Count = 256  # SB3: 64; a quarter of the optimiser steps
    n_epochs: Count = 10
    learning_rate: Positive = 3e-4
    gamma: Discount = 0.99
    gae_lambda: Fraction = 0.95
    clip_range: Positive = 0.2
    ent_coef: NotNegative = 0.0
    vf_coef: NotNegative = 0.5
    max_grad_norm: Positive = 0.5
    target_kl: Positive | None = None
    hidden: tuple[Count, ...] = (64, 64)  # of actor and critic each
    activation: Activation = "tanh"
    log_std_init: float = 0.0
    normalise_observation: bool = True
    normalise_reward: bool = True


class OffPolicyHyperparameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What SAC and TD3 have in common; defaults are SB3's unless a comment says otherwise."""

    n_envs: Count = 1
    learning_rate: Positive = 3e-4
    buffer_size: Count = 1_000_000
    learning_starts: Whole = 10_000  # SB3: 100; as RL Zoo for MuJoCo. A transferred policy acts itself meanwhile
    batch_size: Count = 256
    tau: Fraction = 0.005
    gamma: Discount = 0.99
    train_freq: Count = 1
    gradient_steps: int = 1
    hidden: tuple[Count, ...] = (256, 256)  # of actor and critics each
    activation: Activation = "relu"
    normalise_observation: bool = False
    normalise_reward: bool = False


class SACHyperparameters(OffPolicyHyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SB3's SAC."""

    algorithm: ClassVar[Algorithm] = "sac"

    ent_coef: Literal["auto"] | Positive = "auto"


class TD3Hyperparameters(OffPolicyHyperparameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SB3's TD3."""

    algorithm: ClassVar[Algorithm] = "td3"

    learning_rate: Positive = 1e-3
    action_noise: NotNegative = 0.1  # SB3: none, which explores nothing
    policy_delay: Count = 2
    hidden: tuple[Count, ...] = (400, 300)


Hyperparameters = PPOHyperparameters | SACHyperparameters | TD3Hyperparameters
BY_ALGORITHM: dict[Algorithm, type[Hyperparameters]] = {
    kind.algorithm: kind for kind in (PPOHyperparameters, SACHyperparameters, TD3Hyperparameters)
}


class Dynamics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Trunks that learn how the world moves, without any reward, from random actions (Pathak et al. 2017, §2.1)."""

    forward: NotNegative = 0.2  # weight of predicting the features of the next state from state and action
    inverse: NotNegative = 0.8  # weight of telling the action from the features of both states
    epochs: Count = 10  # passes over all transitions


class SourceTraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a source's training may have that a target's has not."""

    heads: bool = False  # a head for each address of the mix, on a shared trunk
    dynamics: Dynamics | None = None  # learn this instead of the task
    keep: tuple[str, ...] = ()  # what is stored beside the weights: `replay`, `optimiser.actor`, ...


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The grid on which a policy is measured; step 0, before any update, and the end are always on it."""

    every: Count = 10_000  # env steps; an evaluation waits for the update that follows
    episodes: Count = 5  # the same ones each time
    stochastic: bool = False  # measure the policy with its exploration noise too; TD3's has none
