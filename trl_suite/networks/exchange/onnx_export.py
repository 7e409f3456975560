"""Export of a policy as one ONNX graph: normaliser, network, squashing and clipping, with a free batch axis.

Only `onnx.helper` writes it. All numbers are float32, as controllers' runtimes want them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError, NotInstalledError
from trl_suite.files import storing, write_atomically
from trl_suite.interface import Deployment
from trl_suite.networks.card import Card
from trl_suite.networks.components import (
    BY_FEATURE,
    LAYER_NORM_EPSILON,
    LOG_STD,
    LOG_STD_RANGE,
    NORM,
    OBSERVATION_STATISTICS,
    SOURCE_PREFIX,
    Components,
)
from trl_suite.networks.exchange.onnx_metadata import metadata
from trl_suite.networks.input_norms import plain_actor

ONNX_SUFFIX = ".onnx"
OPSET, IR_VERSION = 17, 8  # the oldest with LayerNormalization: onnxruntime 1.12, July 2022, and later
INPUT, NOISE, OUTPUT = "obs", "noise", "actions"
LEAKY_SLOPE, ELU_ALPHA = 0.01, 1.0  # torch's defaults
_TINY = float(np.finfo(np.float32).tiny)  # a deviation below it would be 0 in float32


def save(
    path: Path, card: Card, components: Components, digest: str, deployment: Deployment, stochastic: bool = False
) -> Path:
    """Write the graph; return its path.

    Args:
        path: the file, NAME.onnx.
        card: of the policy.
        components: of the policy.
        digest: the sha256 of its weights, for the metadata.
        deployment: what a controller is to know besides.
        stochastic: whether a second input `noise`, standard normal numbers of the actions' shape, draws the action.

    Raises:
        InputError: the path does not end in .onnx, the policy is composed or has no deviation to draw from, or its
            activation has no ONNX operator.
        NotInstalledError: the package onnx is missing.
    """
    if path.suffix != ONNX_SUFFIX:
        raise InputError(f"{path}: the name of an ONNX file ends in {ONNX_SUFFIX}")
    if card.network.composed is not None:
        raise InputError("a composed policy attends to frozen ones: keep it as a policy folder; it is not exported")
    onnx = imported_onnx()
    graph = _GraphWriter(onnx)
    _write(graph, card, plain_actor(components), stochastic)
    model = _model(onnx, graph, card, stochastic)
    onnx.helper.set_model_props(model, metadata(card, digest, deployment))
    onnx.checker.check_model(model)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, model.SerializeToString())
    return path


def imported_onnx() -> Any:
    """The package onnx, imported now.

    Raises:
        NotInstalledError: it is missing.
    """
    try:
        import onnx
    except ImportError:
        raise NotInstalledError("ONNX files need the package onnx: pip install 'trl-suite[onnx]'") from None
    return onnx


class _GraphWriter:
    """Nodes and numbers of a graph in the making; each step gives the name of its result."""

    def __init__(self, onnx: Any) -> None:
        self._onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: float) -> str:
        """Append a node; return its output's name."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self._onnx.helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def number(self, name: str, value: Any) -> str:
        """Append an initializer; return its name."""
        self.initializers[name] = self._onnx.numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)
        return name

    def linear(self, features: str, component: str, layer: Mapping[str, Any]) -> str:
        """Append x W' + b."""
        weight, bias = (self.number(f"{component}.{name}", layer[name].detach().numpy()) for name in ("weight", "bias"))
        return self.add("Gemm", features, weight, bias, transB=1)

    def normed(self, features: str, component: str, norm: Mapping[str, Any]) -> str:
        """Append the normalisation of a layer."""
        numbers = (self.number(f"{component}.{name}", norm[name].detach().numpy()) for name in ("weight", "bias"))
        return self.add("LayerNormalization", features, *numbers, axis=-1, epsilon=LAYER_NORM_EPSILON)


def _write(graph: _GraphWriter, card: Card, components: Components, stochastic: bool) -> None:
    features = _normalised(graph, card, components)
    for layer in range(len(card.network.actor)):
        component = f"actor.trunk.{layer}"
        features = graph.linear(features, component, components[component])
        if norm := components.get(f"{component}{NORM}"):
            features = graph.normed(features, f"{component}{NORM}", norm)
        features = _activated(graph, features, card.network.activation)
    action = _mean(graph, features, card, components)
    if stochastic:
        action = _drawn(graph, features, action, card, components)
    _bounded(graph, action, card)


def _normalised(graph: _GraphWriter, card: Card, components: Components) -> str:
    """Append (x - mean) / sqrt(var + epsilon), clipped.

    The mean is subtracted in two parts, its float32 value and the rest: x near the mean then loses no digits.
    """
    normaliser = card.normaliser
    if normaliser is None or not normaliser.observation:
        return INPUT
    mean, var = (components[OBSERVATION_STATISTICS][name].numpy() for name in ("mean", "var"))
    rest = mean - mean.astype(np.float32)
    centred = graph.add("Sub", INPUT, graph.number("normaliser.observation.mean", mean))
    if np.any(rest.astype(np.float32)):
        centred = graph.add("Sub", centred, graph.number("normaliser.observation.mean_rest", rest))
    deviation = graph.number("normaliser.observation.deviation", np.maximum(np.sqrt(var + normaliser.epsilon), _TINY))
    return _clipped(graph, graph.add("Div", centred, deviation), normaliser.clip_observation, "clip_observation")


def _clipped(graph: _GraphWriter, value: str, bound: float, name: str) -> str:
    if bound >= float(np.finfo(np.float32).max):
        return value
    return graph.add("Clip", value, graph.number(f"{name}.low", -bound), graph.number(f"{name}.high", bound))


def _activated(graph: _GraphWriter, value: str, activation: str) -> str:
    match activation:
        case "tanh":
            return graph.add("Tanh", value)
        case "relu":
            return graph.add("Relu", value)
        case "elu":
            return graph.add("Elu", value, alpha=ELU_ALPHA)
        case "leaky_relu":
            return graph.add("LeakyRelu", value, alpha=LEAKY_SLOPE)
        case "silu":  # Swish is an operator since opset 24 alone
            return graph.add("Mul", value, graph.add("Sigmoid", value))
        case _:
            raise InputError(f"activation '{activation}' cannot be written as ONNX yet")


def _mean(graph: _GraphWriter, features: str, card: Card, components: Components) -> str:
    """Append the head, and for a residual policy source(x) + bound tanh(head(x))."""
    action = graph.linear(features, "actor.head", components["actor.head"])
    if card.network.residual is None:
        return action
    name = f"{SOURCE_PREFIX}actor.head"
    bound = graph.number("residual", card.network.residual)
    correction = graph.add("Mul", graph.add("Tanh", action), bound)
    return graph.add("Add", graph.linear(features, name, components[name]), correction)


def _drawn(graph: _GraphWriter, features: str, mean: str, card: Card, components: Components) -> str:
    """Append mean + exp(log_std) noise."""
    if LOG_STD not in components:
        raise InputError(f"a policy of {card.algorithm.upper()} has no deviation: it cannot be exported as stochastic")
    spread = components[LOG_STD]
    if BY_FEATURE in spread:
        raise InputError("the policy explores by state (gSDE): export it without noise, stochastic=False")
    if "value" in spread:
        log_std = graph.number(f"{LOG_STD}.value", spread["value"].detach().numpy())
    else:
        low, high = (
            graph.number(f"{LOG_STD}.{end}", at) for end, at in zip(("low", "high"), LOG_STD_RANGE, strict=True)
        )
        log_std = graph.add("Clip", graph.linear(features, LOG_STD, spread), low, high)
    return graph.add("Add", mean, graph.add("Mul", graph.add("Exp", log_std), NOISE))


def _bounded(graph: _GraphWriter, action: str, card: Card) -> None:
    """Append the clip to the action's bounds, or the squashing into them: low + (tanh(x) + 1) (high - low) / 2."""
    low, high = (np.asarray(bound, np.float32) for bound in (card.network.action_low, card.network.action_high))
    if not find(card.algorithm).on_policy:
        squashed = graph.add("Tanh", action)
        scaled = graph.add("Mul", squashed, graph.number("action.half_range", 0.5 * (high - low)))
        graph.add("Add", scaled, graph.number("action.centre", low + 0.5 * (high - low)), output=OUTPUT)
    elif np.all(low == low[0]) and np.all(high == high[0]):
        graph.add("Clip", action, *_ends(graph, low[0], high[0]), output=OUTPUT)
    else:  # Clip takes one pair for all
        least, most = _ends(graph, low, high)
        graph.add("Min", graph.add("Max", action, least), most, output=OUTPUT)


def _ends(graph: _GraphWriter, low: Any, high: Any) -> tuple[str, str]:
    return graph.number("action.low", low), graph.number("action.high", high)


def _model(onnx: Any, graph: _GraphWriter, card: Card, stochastic: bool) -> Any:
    helper, number_type = onnx.helper, onnx.TensorProto.FLOAT
    observations, actions = len(card.interface.observation), len(card.interface.action)
    inputs = {INPUT: observations} | ({NOISE: actions} if stochastic else {})
    body = helper.make_graph(
        graph.nodes,
        "policy",
        [helper.make_tensor_value_info(name, number_type, ["batch", size]) for name, size in inputs.items()],
        [helper.make_tensor_value_info(OUTPUT, number_type, ["batch", actions])],
        list(graph.initializers.values()),
    )
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="trl_suite"
    )
