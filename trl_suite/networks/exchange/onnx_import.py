"""Import of an ONNX file as a policy of named components: an actor alone, in the slots of an env."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import DESCRIPTORS, Algorithm, find
from trl_suite.errors import InputError, printable
from trl_suite.interface import Deployment, Spaces
from trl_suite.networks import store
from trl_suite.networks.align import Alias
from trl_suite.networks.card import Card, Network, Training
from trl_suite.networks.components import LAYER_NORM_EPSILON, OBSERVATION_STATISTICS
from trl_suite.networks.exchange import onnx_file, onnx_graph
from trl_suite.networks.exchange.env_terms import BoundedHead, SeenInputs, bounded_head, seen
from trl_suite.networks.exchange.feed_forward import Floats, Layer
from trl_suite.networks.exchange.onnx_graph import PolicyGraph
from trl_suite.networks.exchange.onnx_metadata import name_list, read_deployment
from trl_suite.networks.exchange.slot_fit import SlotFit, fit, named_slots
from trl_suite.networks.policy import Policy

STATISTICS_COUNT = 10_000.0  # samples that statistics without a count stand for
COUNT_MAX_DIGITS = 16

Tensors = dict[str, dict[str, torch.Tensor]]


class ImportedPolicy(NamedTuple):
    """A policy, and every difference that was folded in or found on the way, a line each."""

    policy: Policy
    notes: tuple[str, ...]


def load(
    path: Path,
    spaces: Spaces,
    deployment: Deployment,
    *,
    alias: Alias | None = None,
    algorithm: Algorithm | None = None,
    source: str = "",
) -> ImportedPolicy:
    """The policy in an ONNX file; nothing of it is executed.

    Args:
        path: the file.
        spaces: of the env whose slots the policy sees and moves.
        deployment: control rate, scales and default pose of that env.
        alias: names in the env -> names in the file.
        algorithm: as whose actor it is taken; by its metadata, else PPO's where it clips and TD3's where it squashes.
        source: where the file comes from, for the card; the path where not given.

    Raises:
        InputError: the file is damaged, is no plain feed-forward policy, or does not fit the env.
        NotInstalledError: the package onnx is missing.
    """
    where = str(path)
    graph = onnx_graph.read(onnx_file.read(path), where)
    return policy_of(graph, spaces, deployment, alias or {}, algorithm, where, source)


def policy_of(
    graph: PolicyGraph,
    spaces: Spaces,
    deployment: Deployment,
    alias: Alias,
    algorithm: Algorithm | None,
    where: str,
    source: str = "",
) -> ImportedPolicy:
    """The policy that a graph describes, in an env's slots; arguments and errors are those of `load`."""
    slot_fit = _fit(graph, spaces, deployment, alias, where)
    inputs = seen(graph.actions.inputs, slot_fit, spaces.interface.observation_names, where)
    bounded = bounded_head(graph.actions, slot_fit, spaces, where)
    layers = (*graph.actions.layers[:-1], bounded.layer)
    layers = (inputs.into(layers[0]), *layers[1:])
    _check_trunk(layers[:-1], where)
    try:
        card = Card(
            algorithm=_algorithm(graph, algorithm, bounded, where),
            network=_network(layers, bounded),
            interface=spaces.interface,
            training=_training(graph, spaces, source or Path(where).name),
            normaliser=inputs.normaliser,
        )
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    components = _components(layers, inputs)
    store.verify(where, card, components)
    return ImportedPolicy(Policy(card=card, components=components), slot_fit.notes)


def _fit(graph: PolicyGraph, spaces: Spaces, deployment: Deployment, alias: Alias, where: str) -> SlotFit:
    sizes, facts = (graph.observations, graph.actions.size), read_deployment(graph.metadata, where)
    names, units, actions = (
        name_list(graph.metadata.get(key, "")) for key in ("observation_names", "observation_units", "action_names")
    )
    slots = named_slots(names, units, actions, facts, sizes)
    return fit(slots, sizes, facts, spaces, deployment, alias, where)


def _check_trunk(trunk: tuple[Layer, ...], where: str) -> None:
    """Refuse hidden layers that are not all of one kind."""
    kinds = {f"{'LayerNormalization and ' if layer.norm else ''}{layer.activation or 'nothing'}" for layer in trunk}
    if len(kinds) > 1 or any(layer.activation is None for layer in trunk):
        listed = ", ".join(sorted(kinds))
        raise InputError(f"{where}: behind its hidden layers stand {listed}; a policy folder's have one function")
    for layer in trunk:
        if layer.norm and not np.isclose(layer.norm.epsilon, LAYER_NORM_EPSILON, rtol=1e-3):
            epsilon = layer.norm.epsilon
            raise InputError(
                f"{where}: LayerNormalization has epsilon {epsilon:g}; a policy folder's {LAYER_NORM_EPSILON:g}"
            )


def _algorithm(graph: PolicyGraph, asked: Algorithm | None, bounded: BoundedHead, where: str) -> Algorithm:
    """The algorithm as whose actor it acts: one that squashes its actions, or one that clips them."""
    default = "td3" if bounded.squashed else "ppo"
    if asked is not None:
        if find(asked).on_policy == bounded.squashed:
            verb = "squashes" if bounded.squashed else "does not squash"
            raise InputError(f"{where}: {verb} its actions, which an actor of {asked.upper()} does not")
        return asked
    stated = graph.metadata.get("algorithm", "").lower()
    return stated if stated in DESCRIPTORS and find(stated).on_policy != bounded.squashed else default


def _network(layers: tuple[Layer, ...], bounded: BoundedHead) -> Network:
    *trunk, _ = layers
    activations: list[Activation] = [layer.activation for layer in trunk if layer.activation is not None]
    activation: Activation = activations[0] if activations else "tanh"
    return Network(
        actor=tuple(len(layer.bias) for layer in trunk),
        critic=(),
        activation=activation,
        layer_norm=any(layer.norm for layer in trunk),
        actor_only=True,
        action_low=bounded.low,
        action_high=bounded.high,
    )


def _training(graph: PolicyGraph, spaces: Spaces, source: str) -> Training:
    """Its training as the metadata tell it; the env is the one in whose slots it now acts."""
    seed = _count(graph.metadata.get("training_seed", ""), -1)
    steps = _count(graph.metadata.get("training_steps", ""), 0)
    producer = printable(graph.producer)[:80]
    versions = {"producer": producer} if producer else {}
    return Training(env=spaces.env, seed=seed, steps=steps, versions=versions, origin=source)


def _count(text: str, default: int) -> int:
    return int(text) if text.isdecimal() and len(text) < COUNT_MAX_DIGITS else default


def _components(layers: tuple[Layer, ...], inputs: SeenInputs) -> Tensors:
    components: Tensors = {}
    for index, layer in enumerate(layers):
        name = f"actor.trunk.{index}" if index < len(layers) - 1 else "actor.head"
        components[name] = _tensors(weight=layer.weight, bias=layer.bias)
        if layer.norm:
            components[f"{name}.norm"] = _tensors(weight=layer.norm.scale, bias=layer.norm.shift)
    if inputs.normaliser:
        numbers = {"mean": inputs.mean, "var": inputs.var, "count": np.array(STATISTICS_COUNT)}
        components[OBSERVATION_STATISTICS] = {name: torch.from_numpy(value.copy()) for name, value in numbers.items()}
    return components


def _tensors(**numbers: Floats) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value, np.float32)) for name, value in numbers.items()}
