"""Description of a learning algorithm: all that the suite asks about one."""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, NamedTuple

from trl_suite.algorithms.hyperparameters import Activation, Hyperparameters
from trl_suite.errors import NotInstalledError


class ParameterRule(NamedTuple):
    """One SB3 parameter-name pattern and the component and tensor it stands for.

    The component may name groups of the pattern. Those with a meaning: `module`, the index in a Sequential; `stack`,
    the Sequential's name where its last layer is the head; `target`, not empty for a target network; `net`, which of
    twin critics; `role`, whether an adapter has added the tensor; `norm`, whether it is of the layer normalisation that
    stands before an activation.
    """

    pattern: re.Pattern[str]
    component: str
    tensor: str
    modules: int = 2  # of a layer in the Sequential: linear, activation; of three, the first normalises the inputs


def rule(pattern: str, component: str, tensor: str = "{tensor}", modules: int = 2) -> ParameterRule:
    """Return the rule for a pattern that matches a whole name."""
    return ParameterRule(re.compile(pattern + "$"), component, tensor, modules)


LAST = r"((?P<role>adapter|source)\.)?((?P<norm>norm)\.)?(?P<tensor>weight|bias|up|down|shift|map|lateral)"
TWIN_CRITICS = rule(
    rf"(?P<stack>critic(?P<target>_target)?\.qf(?P<net>\d))\.(?P<module>\d+)\.{LAST}",
    "critic.{part}",
    "q{net}_{tensor}",
)


def composed_rules(trunk: str) -> tuple[ParameterRule, ...]:
    """Return the rules of the frozen modules and attention heads that stand before a composed actor's trunk."""
    head = r"(?P<tensor>(query|key|value)_(weight|bias))"
    return (
        rule(rf"{trunk}\.attention\.(?P<head>output|input)\.{head}", "actor.attention.{head}"),
        rule(rf"{trunk}\.before\.(?P<index>\d+)\.(?P<own>[a-z_0-9.]+)\.(?P<tensor>\w+)", "module.{index}.{own}"),
    )


ACTOR_CRITIC = (  # SB3's ActorCriticPolicy
    rule(rf"mlp_extractor\.policy_net\.(?P<module>\d+)\.{LAST}", "actor.{part}"),
    *composed_rules(r"mlp_extractor\.policy_net"),
    rule(rf"action_net\.{LAST}", "actor.head"),
    rule(r"log_std", "log_std", "value"),
    rule(rf"mlp_extractor\.value_net\.(?P<module>\d+)\.{LAST}", "critic.{part}"),
    rule(rf"value_net\.{LAST}", "critic.head"),
)
SQUASHED_ACTOR = (  # the actor of SB3's SACPolicy
    rule(rf"actor\.latent_pi\.(?P<module>\d+)\.{LAST}", "actor.{part}"),
    *composed_rules(r"actor\.latent_pi"),
    rule(rf"actor\.mu\.{LAST}", "actor.head"),
    rule(rf"actor\.log_std\.{LAST}", "log_std"),
)


@dataclass(frozen=True, kw_only=True)
class AlgorithmDescriptor:
    """One learning algorithm, as data: nothing heavy is imported for it."""

    hyperparameters: type[Hyperparameters]
    paper: str  # `Schulman et al. 2017, section 3`
    on_policy: bool  # learns from rollouts, and its critic sees states alone; else from a replay, with twin critics
    # where the deviation of its Gaussian is: a free number per action, a head on the actor, or nowhere
    log_std: Literal["number", "head", "none"]
    temperature: bool = False  # tunes the weight of the entropy
    targets: tuple[str, ...] = ()  # networks that have a slowly following copy
    critic_outputs: int = 1  # numbers that a critic gives: one value, or quantiles of it
    normalises_inputs: bool = False  # whether each layer normalises its inputs by running statistics
    parameter_rules: tuple[ParameterRule, ...]  # SB3's parameter names -> components
    zip_signs: tuple[str, ...]  # plain fields of its zip; of two algorithms with all theirs, the one with more signs
    zip_hyperparameters: tuple[str, ...] = ()  # plain fields that a card keeps; `sb3_arguments` where there are none
    activation: Activation  # SB3's default, which a zip does not name
    optimizers: tuple[str, ...]  # networks with an optimizer each; `policy` is one for all
    sb3_class: str  # dotted path
    sb3_policy: str  # dotted path of the class of its MlpPolicy
    sb3_extra: str = ""  # the extra that installs it; none where it is a dependency
    sb3_arguments: tuple[str, ...]  # hyperparameters that its constructor takes under the same name
    cohort_update: str = ""  # dotted path of its update in a cohort
    no_cohort: str = ""  # why a cohort has none

    def cohort_class(self) -> Any:
        """Return the class of the algorithm's update in a cohort, which is imported now."""
        module, _, name = self.cohort_update.rpartition(".")
        return getattr(import_module(module), name)

    def imported(self) -> Any:
        """Return SB3's class of the algorithm, which is imported now.

        Raises:
            NotInstalledError: the package that has it is not there.
        """
        module, _, name = self.sb3_class.rpartition(".")
        try:
            return getattr(import_module(module), name)
        except ImportError:
            package = module.partition(".")[0].replace("_", "-")
            raise NotInstalledError(
                f"{name} needs {package}, which is not installed: pip install 'trl-suite[{self.sb3_extra}]'"
            ) from None
