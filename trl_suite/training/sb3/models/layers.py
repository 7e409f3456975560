"""The layers of SB3's networks by component: exchanged for adapted ones, and folded into plain ones to be stored."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar, cast

import torch
from torch import nn

from trl_suite.mechanisms.adapters import Adapter, Added, Residual, features_below, kind_of
from trl_suite.networks.adapted_layers import FoldableLayer, FrozenLayer, ResidualHead
from trl_suite.networks.components import ADAPTER, LAYER_NORM_EPSILON, SOURCE_PREFIX, TARGET, Components, places
from trl_suite.training.sb3.models.learners import Model, algorithm_of

Layer = TypeVar("Layer", bound=nn.Module)


class LayerPlace(NamedTuple):
    """Where a layer is."""

    path: str  # of the module in SB3's policy
    component: str
    prefix: str  # what stands before `weight` in its tensors' names: `q0_` in the first of twin critics


def layers(model: Model, kind: type[Layer]) -> Iterator[tuple[LayerPlace, Layer]]:
    """Yield the model's layers of a kind with their places."""
    named = places(algorithm_of(model), (name for name, _ in model.policy.named_parameters()))
    for path, module in list(model.policy.named_modules()):
        if isinstance(module, kind):
            component, tensor = named[f"{path}.weight"]
            yield LayerPlace(path, component, tensor.removesuffix("weight")), module


def input_norms(model: Model) -> Iterator[tuple[str, nn.Module]]:
    """Yield the modules that normalise the inputs of the model's layers by running statistics, with their paths."""
    for path, module in model.policy.named_modules():
        if "ra_mean" in dict(module.named_buffers(recurse=False)):
            yield path, module


def hold_input_norms(model: Model) -> None:
    """Let the running statistics before frozen layers stand still, as long as their scale takes no gradient.

    They are buffers, which follow each batch in training mode: a frozen layer's norm works as outside of training.
    """
    for _, module in input_norms(model):
        if not module.get_parameter("scale").requires_grad:
            module.register_forward_pre_hook(_stand_still)


def _stand_still(norm: nn.Module, _: object) -> None:
    if not norm.get_parameter("scale").requires_grad:
        norm.eval()


class NormedActivation(nn.Module):
    """An activation whose inputs are normalised over the units of a layer (Ba et al. 2016)."""

    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.norm, self.activation = nn.LayerNorm(width, eps=LAYER_NORM_EPSILON), activation

    def forward(self, sums: torch.Tensor) -> torch.Tensor:
        """Return activation(norm(sums))."""
        return self.activation(self.norm(sums))


def normalise_sums(model: Model) -> None:
    """Put a norm between each trunk layer of a fresh model and its activation; its optimisers are then stale."""
    for place, linear in layers(model, nn.Linear):
        if ".trunk." in place.component:
            sequence, _, index = place.path.rpartition(".")
            path = f"{sequence}.{int(index) + 1}"
            normed = NormedActivation(linear.out_features, model.policy.get_submodule(path))
            exchange(model, place._replace(path=path), normed)


def exchange(model: Model, place: LayerPlace, layer: nn.Module) -> None:
    """Put a layer into the place of another; the optimisers are then to be made anew."""
    parent, _, name = place.path.rpartition(".")
    setattr(model.policy.get_submodule(parent), name, layer)


def folded(model: Model, components: Components) -> dict[str, dict[str, torch.Tensor]]:
    """Return the components of the network without adapters and further heads that gives the same bits.

    Of a residual's source, the head stays a component of its own.
    """
    plain = {name: dict(tensors) for name, tensors in components.items() if not _added(name)}
    for place, layer in layers(model, FoldableLayer):
        plain[place.component] |= {place.prefix + key: value for key, value in layer.folded()._asdict().items()}
        if isinstance(layer, ResidualHead) and not place.component.startswith(TARGET):
            plain[SOURCE_PREFIX + place.component] = layer.folded_source()._asdict()
    return plain


def bound_of(model: Model) -> float | None:
    """Return the bound of a residual's correction; None where the model is no residual."""
    return next((layer.bound for _, layer in layers(model, ResidualHead)), None)


def _added(component: str) -> bool:
    return component.removeprefix(TARGET).startswith((ADAPTER, SOURCE_PREFIX))


def adapt(model: Model, adapter: Adapter, added: Added) -> None:
    """Put what an adapter adds into the model's layers; see `mechanisms.adapters.additions`.

    A layer keeps its parameters and their names. Optimisers are to be made anew.
    """
    source_layers: dict[str, FrozenLayer] = {}  # a target network's layers share those that its own network follows
    for place, linear in layers(model, nn.Linear):
        base, prefix = place.component.removeprefix(TARGET), place.prefix
        weight, bias = _begun(linear, added.get(place.component, {}), prefix)
        if tensors := _of_net(added.get(SOURCE_PREFIX + base, {}), prefix):
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
