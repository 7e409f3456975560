"""The functions between a network's layers, with torch's default constants: each name, its function and SB3's class."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch.nn import functional

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.networks.components import LAYER_NORM_EPSILON, NORM, Components
from trl_suite.networks.input_norms import normalized_inputs


class ActivationFunction(NamedTuple):
    """A function between layers, and the module that SB3 takes for it as `activation_fn`."""

    apply: Callable[[torch.Tensor], torch.Tensor]
    module: type[torch.nn.Module]


ACTIVATIONS: Mapping[Activation, ActivationFunction] = {
    "tanh": ActivationFunction(torch.tanh, torch.nn.Tanh),
    "relu": ActivationFunction(torch.relu, torch.nn.ReLU),
    "elu": ActivationFunction(functional.elu, torch.nn.ELU),
    "silu": ActivationFunction(functional.silu, torch.nn.SiLU),
    "leaky_relu": ActivationFunction(functional.leaky_relu, torch.nn.LeakyReLU),
}


def hidden(
    features: torch.Tensor,
    components: Components,
    name: str,
    activation: Callable[[torch.Tensor], torch.Tensor],
    prefix: str = "",
) -> torch.Tensor:
    """Output of a trunk layer: activation(W x + b), inputs and sum normalised where the layer has norms for them.

    Args:
        features: (batch, inputs).
        components: of a policy.
        name: the layer's: `actor.trunk.0`.
        activation: the function.
        prefix: of the layer's tensors: `q0_` of a twin critic.
    """
    layer, norm = components[name], components.get(f"{name}{NORM}")
    features = normalized_inputs(features, layer, prefix)
    sums = functional.linear(features, layer[f"{prefix}weight"], layer[f"{prefix}bias"])
    if norm is not None:
        scale, shift = norm[f"{prefix}weight"], norm[f"{prefix}bias"]
        sums = functional.layer_norm(sums, sums.shape[-1:], scale, shift, LAYER_NORM_EPSILON)
    return activation(sums)
