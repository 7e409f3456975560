"""Layers that normalise their inputs by running statistics, as CrossQ's do (batch renormalisation, Ioffe 2017).

The norm belongs to the layer behind it: `norm_scale`, `norm_bias`, `norm_ra_mean`, `norm_ra_var` and `norm_steps` stand
beside its weight and bias, and are copied, frozen and reset with them. Heads side by side share that of `actor.head`.
"""

from collections.abc import Mapping

import torch

from trl_suite.networks.components import INPUT_NORM, LOG_STD, Components

INPUT_NORM_EPSILON = 0.001  # sb3-contrib's BatchRenorm1d


def is_running(tensor: str) -> bool:
    """Whether a tensor of a component is a running statistic of its inputs, which no gradient moves."""
    return tensor.endswith(tuple(f"{INPUT_NORM}{name}" for name in ("ra_mean", "ra_var", "steps")))


def normalized_inputs(features: torch.Tensor, layer: Mapping[str, torch.Tensor], prefix: str = "") -> torch.Tensor:
    """Inputs of a layer, (batch, features), normalised as its statistics say; as they are where it has none.

    The operations are those of sb3-contrib outside of training, for the same bits.

    Args:
        features: outputs of the layer below.
        layer: the component's tensors.
        prefix: of its tensors' names, `q0_` for the first of twin critics.
    """
    norm = f"{prefix}{INPUT_NORM}"
    if f"{norm}scale" not in layer:
        return features
    mean, var = layer[f"{norm}ra_mean"], layer[f"{norm}ra_var"]
    return (
        layer[f"{norm}scale"] * ((features - mean[None]) / (var[None] + INPUT_NORM_EPSILON).sqrt())
        + layer[f"{norm}bias"]
    )


def plain_actor(components: Components) -> Components:
    """The components with the actor's norms folded into its linear layers, which then give the same actions.

    W (s (x - m) / d + b) + c = W s / d x + c + W (b - s m / d)
    """
    folded = {name: _folded(tensors, tensors) for name, tensors in components.items() if name.startswith("actor.")}
    if "weight" in (spread := components.get(LOG_STD, {})):
        folded[LOG_STD] = _folded(spread, components["actor.head"])
    return {**components, **folded}


def _folded(layer: Mapping[str, torch.Tensor], norm: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    if f"{INPUT_NORM}scale" not in norm:
        return layer
    weight, bias = layer["weight"].double(), layer["bias"].double()
    scale, shift, mean, var = (norm[INPUT_NORM + name].double() for name in ("scale", "bias", "ra_mean", "ra_var"))
    factor = scale / (var + INPUT_NORM_EPSILON).sqrt()
    return {"weight": (weight * factor).float(), "bias": (bias + weight @ (shift - factor * mean)).float()}
