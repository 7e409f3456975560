"""A policy composed of frozen ones and an own network, by attention over what they do (Malagon et al. 2024, CompoNet).

Each module sees the state and the outputs of all modules before it. An output head mixes these into a proposal, an
input head tells the own network of them, and what the own network gives is added to the proposal. Modules are stored
as components: `module.0.actor.trunk.0`; heads as `actor.attention.output` and `actor.attention.input`.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch.nn import functional

from trl_suite.networks.activation_functions import hidden
from trl_suite.networks.components import INPUT_ATTENTION, MODULE_PREFIX, OUTPUT_ATTENTION, Components

ENCODING_BASE = 10_000.0  # of the wavelengths of the positional encoding (Vaswani et al. 2017, section 3.5)

Activate = Callable[[torch.Tensor], torch.Tensor]
Layer = Mapping[str, torch.Tensor]


class Attended(NamedTuple):
    """Attention's part of a module."""

    inputs: torch.Tensor  # of the own network: the state, then what the input head gives (batch, slots + width)
    proposal: torch.Tensor  # of the output head (batch, actions)


def count_modules(components: Components) -> int:
    """Return how many frozen modules stand before a policy's own network."""
    heads = (name.removeprefix(MODULE_PREFIX) for name in components if name.startswith(MODULE_PREFIX))
    return 1 + max((int(name.partition(".")[0]) for name in heads), default=-1)


def module_of(index: int, components: Components) -> dict[str, Layer]:
    """Return the components of one frozen module, by the names that they had as a policy's own."""
    prefix = f"{MODULE_PREFIX}{index}."
    return {name.removeprefix(prefix): tensors for name, tensors in components.items() if name.startswith(prefix)}


def own_actor(components: Components, slots: int) -> dict[str, Layer]:
    """Return a policy's components without modules and attention, as a fresh learner of the same widths has them."""
    plain = {name: tensors for name, tensors in components.items() if not is_composed(name)}
    if OUTPUT_ATTENTION not in components:
        return plain
    first = plain["actor.trunk.0"]
    return plain | {"actor.trunk.0": {**first, "weight": first["weight"][:, :slots]}}


def is_composed(component: str) -> bool:
    """Whether a component is one that only composed policies have."""
    return component.startswith(MODULE_PREFIX) or component.endswith((OUTPUT_ATTENTION, INPUT_ATTENTION))


def outputs(state: torch.Tensor, modules: list[dict[str, Layer]], activate: Activate) -> torch.Tensor:
    """Return the means of all modules, each of which sees those before it: (batch, modules, actions).

    Args:
        state: normalised observations (batch, slots).
        modules: their components, the first one without attention.
        activate: the function between layers.
    """
    means: list[torch.Tensor] = []
    for module in modules:
        attended = attend(state, torch.stack(means, dim=-2), module) if means else None
        mean = _network(state if attended is None else attended.inputs, module, activate)
        means.append(mean if attended is None else mean + attended.proposal)
    return torch.stack(means, dim=-2)


def attend(state: torch.Tensor, before: torch.Tensor, components: Components) -> Attended:
    """Return both heads of a module, of the outputs before it.

    Args:
        state: normalised observations (batch, slots).
        before: outputs of earlier modules (batch, modules, actions).
        components: of the module.
    """
    output, taken_in = components[OUTPUT_ATTENTION], components[INPUT_ATTENTION]
    # v = softmax(q K^T / sqrt(d)) Phi, with K = (Phi + E) W_K: the values are the outputs themselves
    proposal = _attention(_linear(state, output, "query"), _keys(before, output), before)
    rows = torch.cat([before, proposal.unsqueeze(-2)], dim=-2)  # Phi and v
    values = _linear(rows, taken_in, "value")
    context = _attention(_linear(state, taken_in, "query"), _keys(rows, taken_in), values)
    return Attended(torch.cat([state, context], dim=-1), proposal)


def positions(rows: int, width: int) -> torch.Tensor:
    """Return sines and cosines that tell rows apart, (rows, width)."""
    places = torch.arange(rows, dtype=torch.float32)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(ENCODING_BASE) / width))
    encoded = torch.zeros(rows, width)
    encoded[:, 0::2], encoded[:, 1::2] = torch.sin(places * rates), torch.cos(places * rates[: width // 2])
    return encoded


def _keys(rows: torch.Tensor, head: Layer) -> torch.Tensor:
    return _linear(rows + positions(*rows.shape[-2:]), head, "key")


def _attention(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return softmax(q K^T / sqrt(d)) V of one query a state, (batch, width of the values)."""
    scores = torch.einsum("...d,...nd->...n", query, keys) / math.sqrt(query.shape[-1])
    return torch.einsum("...n,...nw->...w", torch.softmax(scores, dim=-1), values)


def _network(features: torch.Tensor, components: Components, activate: Activate) -> torch.Tensor:
    layer = 0
    while (name := f"actor.trunk.{layer}") in components:
        features, layer = hidden(features, components, name, activate), layer + 1
    head = components["actor.head"]
    return functional.linear(features, head["weight"], head["bias"])


def _linear(features: torch.Tensor, head: Layer, name: str) -> torch.Tensor:
    return functional.linear(features, head[f"{name}_weight"], head[f"{name}_bias"])
