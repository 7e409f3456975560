"""Adapters in SB3's networks: layers exchanged for adapted ones, and folded again for what is stored."""

from collections.abc import Mapping

import torch
from torch import nn

from trl_suite.networks.adapted_layers import AdaptedLayer, Held, ResidualHead, kind_of
from trl_suite.networks.adapters import Added, features_below
from trl_suite.networks.components import ADAPTER, SOURCE, TARGET, Components, places
from trl_suite.networks.methods import Adapter, Residual
from trl_suite.training.sb3.learners import Model, algorithm_of


def adapt(model: Model, adapter: Adapter, added: Added) -> None:
    """Put what an adapter adds into the model's layers; see `networks.adapters.additions`.

    A layer keeps its parameters and their names. Optimisers are to be made anew.
    """
    held: dict[str, Held] = {}  # a target network's layers share those that its own network follows
    layers = {path: module for path, module in model.policy.named_modules() if isinstance(module, nn.Linear)}
    for path, (component, prefix) in _places(model, layers).items():
        base = component.removeprefix(TARGET)
        role = component.removesuffix(base) + ADAPTER
        weight, bias = _begun(layers[path], added.get(component, {}), prefix)
        if tensors := _of_net(added.get(SOURCE + base, {}), prefix):
            held.setdefault(base + prefix, Held(tensors))
        own, before = _of_net(added.get(role + base, {}), prefix), features_below(base, prefix, added)
        source = held.get(base + prefix)
        if own or source or before:
            layer = kind_of(adapter, base)(weight, bias, own, source, before)
            if isinstance(adapter, Residual) and isinstance(layer, ResidualHead):
                layer.bound = adapter.bound
            _exchange(model.policy, path, layer)


def folded(model: Model, components: Components) -> dict[str, dict[str, torch.Tensor]]:
    """Return the components of the network without adapters that gives the same bits.

    Of a residual's source, the head stays a component of its own.
    """
    plain = {name: dict(tensors) for name, tensors in components.items() if not _added(name)}
    layers = {path: module for path, module in model.policy.named_modules() if isinstance(module, AdaptedLayer)}
    for path, (component, prefix) in _places(model, layers).items():
        layer = layers[path]
        plain[component] |= {prefix + key: value for key, value in layer.folded()._asdict().items()}
        if isinstance(layer, ResidualHead) and not component.startswith(TARGET):
            plain[SOURCE + component] = layer.folded_source()._asdict()
    return plain


def bound_of(model: Model) -> float | None:
    """Return the bound of a residual's correction; None where the model is no residual."""
    return next((module.bound for module in model.policy.modules() if isinstance(module, ResidualHead)), None)


def _added(component: str) -> bool:
    return component.removeprefix(TARGET).startswith((ADAPTER, SOURCE))


def _places(model: Model, layers: Mapping[str, nn.Module]) -> dict[str, tuple[str, str]]:
    """Return for each layer its component, and what stands before `weight` in its tensors' names."""
    named = places(algorithm_of(model), (name for name, _ in model.policy.named_parameters()))
    found = {path: named[f"{path}.weight"] for path in layers}
    return {path: (component, tensor.removesuffix("weight")) for path, (component, tensor) in found.items()}


def _of_net(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors of one of twin critics, or all of a single network, without the prefix."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _begun(layer: nn.Linear, begin: Mapping[str, torch.Tensor], prefix: str) -> tuple[nn.Parameter, nn.Parameter]:
    """Return the layer's parameters with the values that they begin with, or new ones where the shape differs."""
    weight, bias = begin.get(f"{prefix}weight", layer.weight), begin.get(f"{prefix}bias", layer.bias)
    if weight.shape != layer.weight.shape:
        layer.weight = nn.Parameter(torch.empty_like(weight))
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    return layer.weight, layer.bias


def _exchange(policy: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(policy.get_submodule(parent), name, layer)
