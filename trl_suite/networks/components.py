"""The names of a learner's parts, the same for every algorithm, and how they stand for SB3's parameter names.

A component is a whole layer or a whole statistic, never a single tensor: a bias without its weight means nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch

from trl_suite.errors import InputError, suggestion

Axis = Literal["observation", "action", "both"]  # both: observations, then actions, as a Q network sees them
Components = Mapping[str, Mapping[str, torch.Tensor]]  # component -> tensor name -> numbers

OBSERVATION_STATISTICS = "normaliser.observation"
RETURN_STATISTICS = "normaliser.return"
LOG_STD = "log_std"  # PPO: one free number per action; SAC: a head beside the actor's
TEMPERATURE = "temperature"  # SAC: log_ent_coef
TARGET = "target."  # opens the slowly following copies of SAC and TD3: target.critic.head
SOURCE = "source."  # opens the layers of a source that stand, frozen, beside the learner's: source.actor.trunk.0
ADAPTER = "adapter."  # opens the weights that an adapter adds to a layer: adapter.actor.trunk.0
REPLAY = "replay"  # SAC and TD3: transitions
OPTIMISER = "optimiser."  # opens the moments of the optimisers: optimiser.actor
OPTIONAL = (OBSERVATION_STATISTICS, RETURN_STATISTICS, LOG_STD, TEMPERATURE)  # not every learner has them


class Rule(NamedTuple):
    """One SB3 parameter-name pattern and the component and tensor it stands for.

    Groups of the pattern: `module`, the index in a Sequential (layer i is module 2i, its activation 2i + 1); `stack`,
    the Sequential's name where its last module is the head; `target`, not empty for a target network; `net`, which of
    twin critics; `role`, whether an adapter has added the tensor.
    """

    pattern: re.Pattern[str]
    component: str
    tensor: str


def _rule(pattern: str, component: str, tensor: str = "{tensor}") -> Rule:
    return Rule(re.compile(pattern + "$"), component, tensor)


_LAST = r"((?P<role>adapter|source)\.)?(?P<tensor>weight|bias|up|down|shift|map|lateral)"
_TWINS = _rule(
    rf"(?P<stack>critic(?P<target>_target)?\.qf(?P<net>\d))\.(?P<module>\d+)\.{_LAST}",
    "critic.{part}",
    "q{net}_{tensor}",
)
_RULES: dict[str, tuple[Rule, ...]] = {
    "ppo": (
        _rule(rf"mlp_extractor\.policy_net\.(?P<module>\d+)\.{_LAST}", "actor.{part}"),
        _rule(rf"action_net\.{_LAST}", "actor.head"),
        _rule(r"log_std", LOG_STD, "value"),
        _rule(rf"mlp_extractor\.value_net\.(?P<module>\d+)\.{_LAST}", "critic.{part}"),
        _rule(rf"value_net\.{_LAST}", "critic.head"),
    ),
    "sac": (
        _rule(rf"actor\.latent_pi\.(?P<module>\d+)\.{_LAST}", "actor.{part}"),
        _rule(rf"actor\.mu\.{_LAST}", "actor.head"),
        _rule(rf"actor\.log_std\.{_LAST}", LOG_STD),
        _TWINS,
    ),
    "td3": (
        _rule(rf"(?P<stack>actor(?P<target>_target)?\.mu)\.(?P<module>\d+)\.{_LAST}", "actor.{part}"),
        _TWINS,
    ),
}


def component_of(algorithm: str, parameter: str, heads: Mapping[str, int] | None = None) -> tuple[str, str]:
    """Return (component, tensor) for an SB3 parameter name.

    Args:
        algorithm: ppo, sac or td3.
        parameter: SB3's name.
        heads: for each Sequential that ends in a head, the index of that last module.

    Raises:
        InputError: the parameter belongs to a network that is not an MLP policy of that algorithm.
    """
    rule, groups = _matched(algorithm, parameter)
    module = int(groups.get("module") or 0)
    last = (heads or {}).get(groups.get("stack") or "") == module
    part = "head" if last else f"trunk.{module // 2}"
    role = f"{groups['role']}." if groups.get("role") else ""
    component = (TARGET if groups.get("target") else "") + role + rule.component.format(part=part)
    return component, rule.tensor.format(net=groups.get("net"), tensor=groups.get("tensor"))


def _matched(algorithm: str, parameter: str) -> tuple[Rule, dict[str, str | None]]:
    for rule in _RULES[algorithm]:
        if match := rule.pattern.match(parameter):
            return rule, match.groupdict()
    raise InputError(f"parameter '{parameter}' is not part of an MlpPolicy of {algorithm.upper()}")


def places(algorithm: str, parameters: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return (component, tensor) for each of the SB3 parameter names of one policy."""
    names = tuple(parameters)
    heads: dict[str, int] = {}
    for parameter in names:
        groups = _matched(algorithm, parameter)[1]
        if stack := groups.get("stack"):
            heads[stack] = max(heads.get(stack, 0), int(groups["module"] or 0))
    return {parameter: component_of(algorithm, parameter, heads) for parameter in names}


def group(algorithm: str, parameters: Iterable[tuple[str, torch.Tensor]]) -> dict[str, dict[str, torch.Tensor]]:
    """Return the parameters as components; the tensors are the same objects, so writing to them writes the network."""
    named = dict(parameters)
    components: dict[str, dict[str, torch.Tensor]] = {}
    for parameter, (component, tensor) in places(algorithm, named).items():
        components.setdefault(component, {})[tensor] = named[parameter]
    return components


def slot_axes(component: str, tensor: str) -> dict[int, Axis]:
    """Return which dimensions of a tensor run over slots: `{1: "observation"}` for a first layer's weight."""
    component = component.removeprefix(TARGET).removeprefix(SOURCE)
    if component in ("actor.trunk.0", "critic.trunk.0") and tensor.endswith("weight"):
        return {1: "both" if tensor.startswith("q") else "observation"}
    if component in ("actor.head", LOG_STD):
        return {0: "action"}
    if component == OBSERVATION_STATISTICS and tensor in ("mean", "var"):
        return {0: "observation"}
    return {}


def select(patterns: Sequence[str], available: Iterable[str], where: str) -> tuple[str, ...]:
    """Return the components that the patterns name, in the order of `available`.

    A pattern is a component (`actor.head`), the beginning of several (`critic`), or the first k layers of a trunk
    (`actor.trunk.:k`). One that names only statistics may name none.

    Raises:
        InputError: a pattern names nothing; the message lists the components that exist.
    """
    names = tuple(available)
    selected: set[str] = set()
    for pattern in patterns:
        matched = _matching(pattern, names)
        if not matched and not _matching(pattern, OPTIONAL):
            listed = ", ".join(names)
            raise InputError(f"{where}: no component '{pattern}'{suggestion(pattern, names)}; there are: {listed}")
        selected.update(matched)
    return tuple(name for name in names if name in selected)


def _matching(pattern: str, names: tuple[str, ...]) -> set[str]:
    stem, colon, depth = pattern.partition(".:")
    if not colon:
        return {name for name in names if name == pattern or name.startswith(pattern + ".")}
    layers = {f"{stem}.{layer}" for layer in range(int(depth))} if depth.isdigit() else set[str]()
    return layers if layers <= set(names) else set()
