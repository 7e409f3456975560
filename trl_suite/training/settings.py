"""Settings of a training beside the hyperparameters of its algorithm."""

import msgspec

from trl_suite.algorithms.hyperparameters import Count, NotNegative


class Dynamics(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Trunks that learn how the world moves, without any reward, from random actions (Pathak et al. 2017, §2.1)."""

    forward: NotNegative = 0.2  # weight of predicting the features of the next state from state and action
    inverse: NotNegative = 0.8  # weight of telling the action from the features of both states
    epochs: Count = 10  # passes over all transitions


class SourceTraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Options of the training of a source, or of a stage of a sequence."""

    heads: bool = False  # a head for each address of the mix, on a shared trunk
    dynamics: Dynamics | None = None  # learn this instead of the task
    keep: tuple[str, ...] = ()  # what is stored beside the weights: `replay`, `optimiser.actor`, ...
    transitions: Count | None = None  # that are drawn from its own replay to be stored; None stores all of it


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The grid on which a policy is measured; step 0, before any update, and the end are always on it."""

    every: Count = 10_000  # env steps; an evaluation waits for the update that follows
    episodes: Count = 5  # the same ones each time
    stochastic: bool = False  # measure the policy with its exploration noise too; TD3's has none
