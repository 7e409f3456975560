"""The layers of SB3's networks by component: found, exchanged for others, and folded into plain ones to be stored."""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import nn

from trl_suite.networks.adapted_layers import FoldableLayer, ResidualHead
from trl_suite.networks.components import ADAPTER, SOURCE, TARGET, Components, places
from trl_suite.training.sb3.learners import Model, algorithm_of

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
            plain[SOURCE + place.component] = layer.folded_source()._asdict()
    return plain


def bound_of(model: Model) -> float | None:
    """Return the bound of a residual's correction; None where the model is no residual."""
    return next((layer.bound for _, layer in layers(model, ResidualHead)), None)


def _added(component: str) -> bool:
    return component.removeprefix(TARGET).startswith((ADAPTER, SOURCE))
