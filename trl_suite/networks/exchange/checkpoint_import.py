"""Import of a checkpoint of rsl_rl or skrl: its actor's state dict, where it is one of plain tensors.

A state dict names no activation and no slots: the caller names both.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import Algorithm
from trl_suite.errors import InputError
from trl_suite.files import read_limited
from trl_suite.interface import Deployment, Spaces
from trl_suite.networks.exchange.feed_forward import Floats, Inputs, Signal
from trl_suite.networks.exchange.onnx_graph import PolicyGraph
from trl_suite.networks.exchange.onnx_import import ImportedPolicy, policy_of
from trl_suite.networks.formats import torch_file

CHECKPOINT_SUFFIXES = (".pt", ".pth")
CHECKPOINT_MAX_BYTES = 256 * 1024**2  # with critic and optimiser
TABLES_MAX = 50  # of a checkpoint, searched for the actor

_RSL_RL_EPSILON, _SKRL_EPSILON, _SKRL_CLIP = 1e-2, 1e-8, 5.0  # of their normalisers
_HIDDEN_LAYER = re.compile(
    r"(?:actor\.|mlp\.|actor\.mlp\.|net\.|net_container\.)(?P<index>\d+)\.(?P<tensor>weight|bias)"
)
_OUTPUT_LAYER = re.compile(r"(?:policy_layer|mean_layer|mu)\.(?P<tensor>weight|bias)")


class _Normaliser(NamedTuple):
    """clip((x - mean) / deviation, +-clip)."""

    mean: Floats
    deviation: Floats
    clip: float | None


def load(
    path: Path,
    spaces: Spaces,
    deployment: Deployment,
    *,
    activation: Activation | None = None,
    algorithm: Algorithm | None = None,
) -> ImportedPolicy:
    """The actor in a checkpoint of rsl_rl or skrl; nothing of it is executed.

    Args:
        path: the file.
        spaces: of the env whose slots the policy sees and moves, in its order.
        deployment: control rate, scales and default pose of that env.
        activation: of its layers.
        algorithm: as whose actor it is taken; PPO's where not given.

    Raises:
        InputError: the file is damaged or no plain state dict, holds no actor of linear layers, does not fit the env,
            or its activation is not given.
    """
    where = str(path)
    content = read_limited(path, CHECKPOINT_MAX_BYTES)
    tables = list(_tables(torch_file.read(content, where), where))
    actor = next((table for table in tables if _layers(table)), None)
    if actor is None:
        raise InputError(f"{where}: holds no actor of linear layers (actor.0.weight, net_container.0.weight, ...)")
    if activation is None:
        raise InputError(f"{where}: a state dict names no activation: give it (--activation elu is rsl_rl's default)")
    tensors = torch_file.copied_tensors({name: actor[name] for name in _layers(actor)}, len(content), where)
    normaliser = next(filter(None, (_normaliser(table, len(content), where) for table in tables)), None)
    signal = _signal(tensors, normaliser, activation, where)
    graph = PolicyGraph(signal.settled(), len(signal.inputs.columns), {}, "checkpoint")
    return policy_of(graph, spaces, deployment, {}, algorithm, where)


def _tables(loaded: Mapping[Any, Any], where: str) -> Iterator[Mapping[str, Any]]:
    """Yield a checkpoint's tables, itself first."""
    waiting, count = [loaded], 0
    while waiting:
        table = waiting.pop(0)
        count += 1
        if count > TABLES_MAX:
            raise InputError(f"{where}: holds more than {TABLES_MAX} tables; a checkpoint has a few")
        yield {name: value for name, value in table.items() if isinstance(name, str)}
        waiting += [value for value in table.values() if isinstance(value, Mapping)]


def _layers(table: Mapping[str, Any]) -> list[str]:
    """Names of the actor's tensors, from the first layer to the head."""
    numbered = sorted(
        (int(match["index"]), match["tensor"] == "bias", name)
        for name in table
        if (match := _HIDDEN_LAYER.fullmatch(name)) and len(match["index"]) < 4
    )
    head = sorted((match["tensor"] == "bias", name) for name in table if (match := _OUTPUT_LAYER.fullmatch(name)))
    return [name for *_, name in numbered] + [name for _, name in head]


def _signal(
    tensors: Mapping[str, torch.Tensor], normaliser: _Normaliser | None, activation: Activation, where: str
) -> Signal:
    names = list(tensors)
    weights, biases = names[::2], names[1::2]
    paired = len(weights) == len(biases) and all(
        w.rpartition(".")[0] == b.rpartition(".")[0] for w, b in zip(weights, biases, strict=True)
    )
    if not paired or any(tensors[name].ndim != 2 for name in weights):
        raise InputError(f"{where}: its actor is not linear layers with weight and bias alone: {', '.join(names[:6])}")
    signal = Signal(Inputs.plain(tensors[weights[0]].shape[1]))
    if normaliser is not None:
        if len(normaliser.mean) != signal.size:
            raise InputError(f"{where}: normalises {len(normaliser.mean)} numbers, and its actor takes {signal.size}")
        signal = signal.affine(1.0 / normaliser.deviation, -normaliser.mean / normaliser.deviation)
        if normaliser.clip is not None:
            bound = torch.full((1,), normaliser.clip).double().numpy()
            signal = signal.clipped(-bound, bound)
    for place, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        matrix, shift = tensors[weight].double().numpy(), tensors[bias].double().numpy().reshape(-1)
        if matrix.shape != (len(shift), signal.size):
            raise InputError(f"{where}: {weight} has shape {matrix.shape}, and {signal.size} numbers come in")
        signal = signal.linear(matrix, shift)
        if place < len(weights) - 1:
            signal = signal.activated(activation)
    return signal


def _normaliser(table: Mapping[str, Any], size: int, where: str) -> _Normaliser | None:
    """The observation's normaliser in a table: rsl_rl's `_mean` and `_std`, skrl's `running_mean` and `_variance`."""
    for prefix in ("", "actor_obs_normalizer.", "obs_normalizer."):
        if {f"{prefix}_mean", f"{prefix}_std"} <= table.keys():
            mean, std = _pair(table, f"{prefix}_mean", f"{prefix}_std", size, where)
            return _Normaliser(mean, std + _RSL_RL_EPSILON, None)
    if {"running_mean", "running_variance"} <= table.keys():
        mean, variance = _pair(table, "running_mean", "running_variance", size, where)
        if mean.size > 1:  # of one number is the value's
            return _Normaliser(mean, variance**0.5 + _SKRL_EPSILON, _SKRL_CLIP)
    return None


def _pair(table: Mapping[str, Any], mean: str, spread: str, size: int, where: str) -> tuple[Floats, Floats]:
    tensors = torch_file.copied_tensors({name: table[name] for name in (mean, spread)}, size, where)
    values = [tensors[name].double().numpy().reshape(-1) for name in (mean, spread)]
    if len(values[0]) != len(values[1]) or not (values[1] >= 0).all():
        raise InputError(f"{where}: {mean} and {spread} are no statistics of the same numbers")
    return values[0], values[1]
