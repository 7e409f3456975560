"""The policy folder: `card.toml` and `weights.safetensors`. Reading one never runs code."""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import safetensors
import safetensors.torch
import tomli_w
import torch

from trl_suite import tables
from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.files import read_limited, reason_of, storing, whole_folder, write_atomically
from trl_suite.networks.card import CARD_SCHEMA, Card, Network
from trl_suite.networks.components import (
    BY_FEATURE,
    INPUT_ATTENTION,
    INPUT_NORM,
    LOG_STD,
    MODULE_PREFIX,
    NORM,
    OBSERVATION_STATISTICS,
    OUTPUT_ATTENTION,
    RETURN_STATISTICS,
    SOURCE_PREFIX,
    TARGET,
    TEMPERATURE,
    Components,
)

CARD, WEIGHTS = "card.toml", "weights.safetensors"
WEIGHTS_MAX_BYTES = 2 * 1024**3
HEADER_MAX_BYTES = 1024**2  # what safetensors says about its tensors; a policy's takes a few kilobytes

_STORE_ERRORS = (  # by which safetensors and torch refuse a file
    safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError,
    struct.error,
)  # fmt: skip

Shapes = dict[str, tuple[tuple[int, ...], torch.dtype]]


def save(folder: Path, card: Card, components: Components) -> Path:
    """Write both files; each appears whole or not at all. Returns the folder.

    Raises:
        StorageError: the disk is full, or does not let itself be written.
    """
    weights = _encoded(components)
    card = msgspec.structs.replace(card, sha256=hashlib.sha256(weights).hexdigest())
    table = _without_none(msgspec.to_builtins(card))
    with whole_folder(folder), storing(folder, len(weights)):
        write_atomically(folder / WEIGHTS, weights)
        write_atomically(folder / CARD, tomli_w.dumps(table).encode())
    return folder


def digest(components: Components) -> str:
    """Return the sha256 that `weights.safetensors` would have."""
    return hashlib.sha256(_encoded(components)).hexdigest()


def load(folder: Path) -> tuple[Card, dict[str, dict[str, torch.Tensor]]]:
    """Return card and components.

    Raises:
        InputError: a file is missing, too large or damaged; the weights are not those that the card names; a tensor is
            missing, surplus, mis-shaped, of the wrong type or not finite. Each names the file and the tensor.
    """
    card = read_card(folder)
    path, shapes = folder / WEIGHTS, expected(card)
    content = read_bytes(path, size(shapes))
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise InputError(f"{path}: its sha256 is not the one in {CARD}; the file was changed or damaged")
    flat = tensors(content, path)
    check(path, flat, shapes)
    return card, _grouped({name: flat[name] for name in shapes})


def verify(where: Path | str, card: Card, components: Components) -> None:
    """Check that the components are those of the card, so that what is saved can be loaded again.

    Raises:
        InputError: the card is out of range, or a tensor is missing, surplus, mis-shaped, of the wrong type or not
            finite.
    """
    tables.convert(msgspec.to_builtins(card), Card, str(where))
    flat = {f"{name}.{tensor}": value for name, tensors in components.items() for tensor, value in tensors.items()}
    check(where, flat, expected(card))


def read_card(folder: Path) -> Card:
    """Return the card of a policy folder, without its weights.

    Raises:
        InputError: it is missing, not a card, of a newer schema, or contradicts itself.
    """
    path = folder / CARD
    table = tables.load(path)
    schema = table.get("schema", CARD_SCHEMA)
    if isinstance(schema, int) and schema > CARD_SCHEMA:
        raise InputError(f"{path}: schema {schema} is newer than this version reads ({CARD_SCHEMA}); update trl-suite")
    card = tables.convert(table, Card, str(path))
    if not all(map(str.isprintable, _texts(table))):
        raise InputError(f"{path}: holds control or invisible characters, which could act on a terminal")
    return card


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a table, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in _texts(part))
    elif isinstance(value, list):
        yield from (text for part in value for text in _texts(part))


def read_bytes(path: Path, numbers: int) -> bytes:
    """Return the file's content, if its size can be that of `numbers` bytes of tensors: nothing is read before."""
    if path.is_symlink():
        raise InputError(f"{path}: is a link; a policy folder holds its own files")
    return read_limited(path, min(numbers + HEADER_MAX_BYTES, WEIGHTS_MAX_BYTES))


def tensors(content: bytes, where: Path) -> dict[str, torch.Tensor]:
    """Return the tensors in a safetensors file.

    Raises:
        InputError: it is damaged.
    """
    try:
        return safetensors.torch.load(content)
    except _STORE_ERRORS as error:
        raise InputError(f"{where}: not a readable safetensors file: {reason_of(error)}") from None


def _encoded(components: Components) -> bytes:
    flat = {f"{name}.{tensor}": value for name, tensors in components.items() for tensor, value in tensors.items()}
    return safetensors.torch.save({key: value.detach().cpu().contiguous() for key, value in sorted(flat.items())})


def _grouped(flat: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    grouped: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in flat.items():
        component, _, tensor = key.rpartition(".")
        grouped.setdefault(component, {})[tensor] = value
    return grouped


def size(shapes: Shapes) -> int:
    """Return the bytes that tensors of these shapes take."""
    return sum(math.prod(shape) * dtype.itemsize for shape, dtype in shapes.values())


def expected(card: Card) -> Shapes:
    """Return every tensor that a policy of this card has, with its shape."""
    observations, actions, network = len(card.interface.observation), len(card.interface.action), card.network
    shapes = _actor(network, observations, actions, bool(network.composed))
    if network.residual is not None:
        shapes |= _layer(f"{SOURCE_PREFIX}actor.head", network.actor[-1] if network.actor else observations, actions)
    if not network.actor_only:
        shapes |= _learners(card, observations, actions, shapes)
    for index in range(network.composed.modules if network.composed else 0):
        module = _actor(network, observations, actions, index > 0) | _deviation(card, observations, actions)
        shapes |= {f"{MODULE_PREFIX}{index}.{name}": shape for name, shape in module.items()}
    if card.normaliser and card.normaliser.observation:
        shapes |= _statistics(OBSERVATION_STATISTICS, (observations,))
    if card.normaliser and card.normaliser.reward:
        shapes |= _statistics(RETURN_STATISTICS, ())
    return shapes


def _actor(network: Network, observations: int, actions: int, attends: bool) -> Shapes:
    """Tensors of an actor: trunk and head, and the heads of attention where it attends to others."""
    width = network.composed.attention if network.composed and attends else 0
    shapes = _stack("actor", observations + width, network.actor, actions, normed=network.layer_norm)
    heads = {OUTPUT_ATTENTION: ("query", "key"), INPUT_ATTENTION: ("query", "key", "value")} if width else {}
    for component, maps in heads.items():
        for name in maps:
            inputs = observations if name == "query" else actions
            shapes[f"{component}.{name}_weight"] = ((width, inputs), torch.float32)
            shapes[f"{component}.{name}_bias"] = ((width,), torch.float32)
    return shapes


def _deviation(card: Card, observations: int, actions: int) -> Shapes:
    """Tensors of the deviation of a policy's actions."""
    algorithm, network = find(card.algorithm), card.network
    features = network.actor[-1] if network.actor else observations
    if algorithm.log_std == "number":
        name, shape = (BY_FEATURE, (features, actions)) if network.state_noise else ("value", (actions,))
        return {f"{LOG_STD}.{name}": (shape, torch.float32)}
    return _layer(LOG_STD, features, actions) if algorithm.log_std == "head" else {}


def _learners(card: Card, observations: int, actions: int, actor: Shapes) -> Shapes:
    """Tensors of a learner beside its actor's: critics, slow copies, deviation and temperature."""
    algorithm, network = find(card.algorithm), card.network
    seen, prefixes = (observations, [""]) if algorithm.on_policy else (observations + actions, _twins(network.critics))
    shapes: Shapes = {}
    for prefix in prefixes:
        shapes |= _stack("critic", seen, network.critic, algorithm.critic_outputs, prefix, network.layer_norm)
    if algorithm.normalises_inputs:
        shapes |= _input_norms(actor | shapes, without_trunk=not network.actor)
    copied = tuple(f"{part}." for part in algorithm.targets)
    shapes |= {f"{TARGET}{name}": shape for name, shape in (actor | shapes).items() if name.startswith(copied)}
    shapes |= _deviation(card, observations, actions)
    if algorithm.temperature:
        shapes[f"{TEMPERATURE}.value"] = ((1,), torch.float32)
    return shapes


def _twins(critics: int) -> list[str]:
    """Return the prefix of each critic's tensors."""
    return [f"q{net}_" for net in range(critics)]


def _stack(
    part: str, inputs: int, widths: tuple[int, ...], outputs: int, prefix: str = "", normed: bool = False
) -> Shapes:
    shapes: Shapes = {}
    for layer, width in enumerate(widths):
        name = f"{part}.trunk.{layer}"
        shapes |= _layer(name, inputs, width, prefix)
        if normed:
            shapes |= {f"{name}{NORM}.{prefix}{tensor}": ((width,), torch.float32) for tensor in ("weight", "bias")}
        inputs = width
    return shapes | _layer(f"{part}.head", inputs, outputs, prefix)


def _input_norms(plain: Shapes, without_trunk: bool) -> Shapes:
    """Return the norms before each layer; SB3's has none before an actor that is a head alone."""
    shapes: Shapes = {}
    for name, (shape, dtype) in plain.items():
        layer = name.removesuffix("weight")
        if name.endswith("weight") and not (without_trunk and name.startswith("actor.head.")):
            parts = ("scale", "bias", "ra_mean", "ra_var")
            shapes |= {f"{layer}{INPUT_NORM}{part}": (shape[1:], dtype) for part in parts}
            shapes[f"{layer}{INPUT_NORM}steps"] = ((), torch.int64)
    return shapes


def _layer(name: str, inputs: int, outputs: int, prefix: str = "") -> Shapes:
    return {
        f"{name}.{prefix}weight": ((outputs, inputs), torch.float32),
        f"{name}.{prefix}bias": ((outputs,), torch.float32),
    }


def _statistics(name: str, shape: tuple[int, ...]) -> Shapes:
    sizes = {"mean": shape, "var": shape, "count": ()}
    return {f"{name}.{tensor}": (size, torch.float64) for tensor, size in sizes.items()}


def check(path: Path | str, flat: Mapping[str, torch.Tensor], expected: Shapes) -> None:
    """Refuse tensors that are not those which are expected.

    Raises:
        InputError: one is missing, surplus, mis-shaped, of the wrong type or not finite; file and tensor are named.
    """
    for verb, names in (("lacks", expected.keys() - flat.keys()), ("has surplus", flat.keys() - expected.keys())):
        if names:
            raise InputError(f"{path}: {verb} {', '.join(sorted(names))}, by its card")
    for name, (shape, dtype) in expected.items():
        tensor = flat[name]
        if tuple(tensor.shape) != shape or tensor.dtype != dtype:
            raise InputError(f"{path}: {name} is {tensor.dtype} {tuple(tensor.shape)}; its card says {dtype} {shape}")
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{path}: {name} holds numbers that are not finite")
        if name.endswith((".var", f"{INPUT_NORM}ra_var")) and bool((tensor < 0).any()):
            raise InputError(f"{path}: {name} holds a variance below 0")


def _without_none(value: Any) -> Any:
    """Return the value without empty entries: TOML has no null."""
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    return value
