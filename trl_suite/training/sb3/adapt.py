"""Adapters in SB3's networks."""

from collections.abc import Mapping
from typing import cast

import torch
from torch import nn

from trl_suite.mechanisms.adapters import Adapter, Added, Residual, features_below, kind_of
from trl_suite.networks.adapted_layers import FrozenLayer, ResidualHead
from trl_suite.networks.components import ADAPTER, SOURCE, TARGET
from trl_suite.training.sb3.layers import exchange, layers
from trl_suite.training.sb3.learners import Model


def adapt(model: Model, adapter: Adapter, added: Added) -> None:
    """Put what an adapter adds into the model's layers; see `networks.adapters.additions`.

    A layer keeps its parameters and their names. Optimisers are to be made anew.
    """
    source_layers: dict[str, FrozenLayer] = {}  # a target network's layers share those that its own network follows
    for place, linear in layers(model, nn.Linear):
        base, prefix = place.component.removeprefix(TARGET), place.prefix
        weight, bias = _begun(linear, added.get(place.component, {}), prefix)
        if tensors := _of_net(added.get(SOURCE + base, {}), prefix):
            source_layers.setdefault(prefix + base, FrozenLayer(tensors))
        beside = _of_net(added.get(place.component.removesuffix(base) + ADAPTER + base, {}), prefix)
        source, before = source_layers.get(prefix + base), features_below(base, prefix, added)
        if beside or source or before:
            layer = kind_of(adapter, base)(weight, bias, beside, source, before)
            if isinstance(adapter, Residual) and isinstance(layer, ResidualHead):
                layer.bound = adapter.bound
            exchange(model, place, layer)


def _of_net(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors of one of twin critics, or all of a single network, without the prefix."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _begun(layer: nn.Linear, begin: Mapping[str, torch.Tensor], prefix: str) -> tuple[nn.Parameter, nn.Parameter]:
    """Return the layer's parameters with the values that they begin with, or new ones where the shape differs."""
    value, shift = begin.get(f"{prefix}weight", layer.weight), begin.get(f"{prefix}bias", layer.bias)
    weight, bias = cast("nn.Parameter", layer.weight), layer.bias
    if value.shape != weight.shape:
        weight = nn.Parameter(torch.empty_like(value))
    with torch.no_grad():
        weight.copy_(value)
        bias.copy_(shift)
    return weight, bias
