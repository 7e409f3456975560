"""The names of a learner's parts, the same for every algorithm, and how they stand for SB3's parameter names.

A component is a whole layer or a whole statistic, never a single tensor: a bias without its weight means nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch

from trl_suite.algorithms.descriptor import ParameterRule
from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError, suggestion

Axis = Literal["observation", "action", "both"]  # both: observations, then actions, as a Q network sees them
Components = Mapping[str, Mapping[str, torch.Tensor]]  # component -> tensor name -> numbers

OBSERVATION_STATISTICS = "normaliser.observation"
RETURN_STATISTICS = "normaliser.return"
LOG_STD = "log_std"  # PPO: one free number per action; SAC: a head beside the actor's
BY_FEATURE = "by_feature"  # its tensor of a policy that explores by state: (features, actions)
STATE_VARIANCE = 1e-6  # SB3 adds it to the variance of exploration by state
LOG_STD_RANGE = (-20.0, 2.0)  # SB3 clamps what a head gives to it
NORM = ".norm"  # ends the layer normalisation of a trunk layer: actor.trunk.0.norm
LAYER_NORM_EPSILON = 1e-5  # torch's
TEMPERATURE = "temperature"  # SAC: log_ent_coef
TARGET = "target."  # opens the slowly following copies of SAC and TD3: target.critic.head
SOURCE_PREFIX = "source."  # opens the layers of a source that stand, frozen, beside the learner's: source.actor.trunk.0
ADAPTER = "adapter."  # opens the weights that an adapter adds to a layer: adapter.actor.trunk.0
MODULE_PREFIX = "module."  # opens the frozen policies that a composed one attends to: module.0.actor.trunk.0
OUTPUT_ATTENTION = "actor.attention.output"  # head that proposes an action from what the modules do
INPUT_ATTENTION = "actor.attention.input"  # head that tells the own network of what the modules do
REPLAY = "replay"  # SAC and TD3: transitions
OPTIMISER = "optimiser."  # opens the moments of the optimisers: optimiser.actor
INPUT_NORM = "norm_"  # opens the tensors of a layer that normalise its inputs, see `networks.input_norms`
OPTIONAL = (OBSERVATION_STATISTICS, RETURN_STATISTICS, LOG_STD, TEMPERATURE)  # not every learner has them


def component_of(algorithm: str, parameter: str, heads: Mapping[str, int] | None = None) -> tuple[str, str]:
    """Return (component, tensor) for an SB3 parameter name.

    Args:
        algorithm: its name, see `algorithms.registry`.
        parameter: SB3's name.
        heads: for each Sequential that ends in a head, the index of that last layer.

    Raises:
        InputError: the parameter belongs to a network that is not an MLP policy of that algorithm.
    """
    rule, groups = _matched(algorithm, parameter)
    layer, at = divmod(int(groups.get("module") or 0), rule.modules)
    last = (heads or {}).get(groups.get("stack") or "") == layer
    part = "head" if last else f"trunk.{layer}"
    norm = INPUT_NORM if rule.modules > 2 and groups.get("module") and not at else ""
    if norm and groups.get("tensor") == "weight":
        raise InputError(f"parameter '{parameter}': its layers normalise no inputs (batch_norm=False)")
    role = f"{groups['role']}." if groups.get("role") else ""
    component = (TARGET if groups.get("target") else "") + role + rule.component.format(**{**groups, "part": part})
    if groups.get("norm"):
        component += NORM
    return component, rule.tensor.format(net=groups.get("net"), tensor=f"{norm}{groups.get('tensor')}")


def _matched(algorithm: str, parameter: str) -> tuple[ParameterRule, dict[str, str | None]]:
    for rule in find(algorithm).parameter_rules:
        if match := rule.pattern.match(parameter):
            return rule, match.groupdict()
    raise InputError(f"parameter '{parameter}' is not part of an MlpPolicy of {algorithm.upper()}")


def places(algorithm: str, parameters: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return (component, tensor) for each of the SB3 parameter names of one policy."""
    names = tuple(parameters)
    heads: dict[str, int] = {}
    for parameter in names:
        rule, groups = _matched(algorithm, parameter)
        if stack := groups.get("stack"):
            heads[stack] = max(heads.get(stack, 0), int(groups["module"] or 0) // rule.modules)
    return {parameter: component_of(algorithm, parameter, heads) for parameter in names}


def group(algorithm: str, parameters: Iterable[tuple[str, torch.Tensor]]) -> dict[str, dict[str, torch.Tensor]]:
    """Return the parameters as components; the tensors are the same objects, so writing to them writes the network."""
    named = dict(parameters)
    components: dict[str, dict[str, torch.Tensor]] = {}
    for parameter, (component, tensor) in places(algorithm, named).items():
        by_feature = component == LOG_STD and tensor == "value" and named[parameter].ndim == 2
        components.setdefault(component, {})[BY_FEATURE if by_feature else tensor] = named[parameter]
    return components


def slot_axes(component: str, tensor: str) -> dict[int, Axis]:
    """Return which dimensions of a tensor run over slots: `{1: "observation"}` for a first layer's weight."""
    component = component.removeprefix(TARGET).removeprefix(SOURCE_PREFIX)
    if component in ("actor.trunk.0", "critic.trunk.0") and tensor.endswith("weight"):
        return {1: "both" if tensor.startswith("q") else "observation"}
    if INPUT_NORM in tensor:
        first = component.endswith(".trunk.0") and not tensor.endswith("steps")
        return {0: "both" if tensor.startswith("q") else "observation"} if first else {}
    if tensor == BY_FEATURE:
        return {1: "action"}
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
    if not layers <= set(names):
        return set()
    return layers | ({f"{layer}{NORM}" for layer in layers} & set(names))
