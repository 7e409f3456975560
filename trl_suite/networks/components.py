"""The names of a learner's parts, the same for every algorithm, and how they stand for SB3's parameter names.

A component is a whole layer or a whole statistic, never a single tensor: a bias without its weight means nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import torch

from trl_suite.errors import InputError, suggestion

Axis = Literal["observation", "action"]
Components = Mapping[str, Mapping[str, torch.Tensor]]  # component -> tensor name -> numbers

OBSERVATION_STATISTICS = "normaliser.observation"
RETURN_STATISTICS = "normaliser.return"
LOG_STD = "log_std"
OPTIONAL = (OBSERVATION_STATISTICS, RETURN_STATISTICS)  # a learner that normalises nothing has none, and needs none


class Rule(NamedTuple):
    """One SB3 parameter-name pattern and the component and tensor it stands for."""

    pattern: re.Pattern[str]
    component: str
    tensor: str


def _rule(pattern: str, component: str, tensor: str = "{tensor}") -> Rule:
    return Rule(re.compile(pattern + "$"), component, tensor)


# SB3 numbers the modules of a Sequential: layer i is module 2i, its activation 2i + 1.
_RULES: dict[str, tuple[Rule, ...]] = {
    "ppo": (
        _rule(r"mlp_extractor\.policy_net\.(?P<module>\d+)\.(?P<tensor>weight|bias)", "actor.trunk.{layer}"),
        _rule(r"action_net\.(?P<tensor>weight|bias)", "actor.head"),
        _rule(r"log_std", LOG_STD, "value"),
        _rule(r"mlp_extractor\.value_net\.(?P<module>\d+)\.(?P<tensor>weight|bias)", "critic.trunk.{layer}"),
        _rule(r"value_net\.(?P<tensor>weight|bias)", "critic.head"),
    ),
}


def component_of(algorithm: str, parameter: str) -> tuple[str, str]:
    """Return (component, tensor) for an SB3 parameter name.

    Raises:
        InputError: the parameter belongs to a network that is not an MLP policy of that algorithm.
    """
    for rule in _RULES[algorithm]:
        if found := rule.pattern.match(parameter):
            groups = found.groupdict()
            layer = int(groups["module"]) // 2 if "module" in groups else 0
            return rule.component.format(layer=layer), rule.tensor.format(tensor=groups.get("tensor", ""))
    raise InputError(f"parameter '{parameter}' is not part of an MlpPolicy of {algorithm.upper()}")


def group(algorithm: str, parameters: Iterable[tuple[str, torch.Tensor]]) -> dict[str, dict[str, torch.Tensor]]:
    """Return the parameters as components; the tensors are the same objects, so writing to them writes the network."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for parameter, tensor in parameters:
        component, name = component_of(algorithm, parameter)
        found.setdefault(component, {})[name] = tensor
    return found


def slot_axes(component: str, tensor: str) -> dict[int, Axis]:
    """Return which dimensions of a tensor run over slots: `{1: "observation"}` for a first layer's weight."""
    if component in ("actor.trunk.0", "critic.trunk.0") and tensor == "weight":
        return {1: "observation"}
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
    chosen: set[str] = set()
    for pattern in patterns:
        matched = _matching(pattern, names)
        if not matched and not _matching(pattern, OPTIONAL):
            listed = ", ".join(names)
            raise InputError(f"{where}: no component '{pattern}'{suggestion(pattern, names)}; there are: {listed}")
        chosen.update(matched)
    return tuple(name for name in names if name in chosen)


def _matching(pattern: str, names: tuple[str, ...]) -> set[str]:
    stem, colon, depth = pattern.partition(".:")
    if not colon:
        return {name for name in names if name == pattern or name.startswith(pattern + ".")}
    layers = {f"{stem}.{layer}" for layer in range(int(depth))} if depth.isdigit() else set[str]()
    return layers if layers <= set(names) else set()
