"""Import of an SB3 zip: parameters and plain fields only. Nothing in it is unpickled, so nothing in it can run."""

import io
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, get_args

import torch

from trl_suite.algorithms.descriptor import AlgorithmDescriptor
from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import DESCRIPTORS, Algorithm, find
from trl_suite.errors import InputError
from trl_suite.interface import Interface
from trl_suite.networks import store
from trl_suite.networks import vecnormalize as vecnormalize
from trl_suite.networks.card import Card, Network, Training
from trl_suite.networks.components import TEMPERATURE, Components, group
from trl_suite.networks.policy import Policy
from trl_suite.networks.zip_reader import Archive

PARAMETERS, VARIABLES, FIELDS, VERSION = "policy.pth", "pytorch_variables.pth", "data", "_stable_baselines3_version"
PARAMETERS_MAX_BYTES, VARIABLES_MAX_BYTES, FIELDS_MAX_BYTES = 1024**3, 16 * 1024**2, 64 * 1024**2  # bytes
SERIALISED = ":serialized:"  # SB3 keeps a pickle under this key

_ACTIVATIONS: dict[str, Activation] = {"Tanh": "tanh", "ReLU": "relu"}


class Spaces(NamedTuple):
    """Slots and action bounds of the env that a zip is for; the zip itself names no slot."""

    env: str  # address
    interface: Interface
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]


def load(
    path: Path,
    spaces: Spaces,
    *,
    statistics: Path | None = None,
    algorithm: Algorithm | None = None,
    activation: Activation | None = None,
    origin: str = "",
) -> Policy:
    """Return the policy in a zip that SB3 saved.

    Args:
        path: the zip.
        spaces: of the env that it was trained in.
        statistics: the file of the VecNormalize that it was trained with.
        algorithm: needed where the zip's plain fields do not tell it.
        activation: likewise.
        origin: where the zip comes from, for the card; the path where not given.

    Raises:
        InputError: the zip is damaged, is not an MLP policy of an algorithm that the suite knows, does not fit the
            env, holds numbers that are not finite, or an argument is missing.
    """
    where = str(path)
    with Archive(path, where) as archive:
        _check_members(archive, where)
        fields = _fields(archive, where)
        algorithm = _algorithm(fields, algorithm, where)
        components = group(algorithm, _tensors(archive, PARAMETERS, PARAMETERS_MAX_BYTES, where).items())
        if find(algorithm).temperature:
            components[TEMPERATURE] = {"value": _temperature(archive, where)}
        version = _version(archive)
    normaliser, statistics_components = vecnormalize.read(statistics) if statistics else (None, {})
    _check_sizes(components, spaces, where)
    card = Card(
        algorithm=algorithm,
        network=_network(components, _activation(fields, algorithm, activation, where), spaces),
        interface=spaces.interface,
        training=_training(fields, algorithm, spaces, version, origin or path.name),
        normaliser=normaliser,
    )
    store.verify(where, card, components | statistics_components)
    return Policy(card=card, components=components | statistics_components)


def _check_members(archive: Archive, where: str) -> None:
    if PARAMETERS not in archive.names:
        members = ", ".join(sorted(archive.names)[:5]) or "nothing"
        inner = any(name.endswith("/data.pkl") for name in archive.names)
        reason = "a file of torch's, or an SB3 zip that was cut off" if inner else "not a zip that SB3 saved"
        raise InputError(f"{where}: holds no {PARAMETERS}, but {members}: {reason}")


def _fields(archive: Archive, where: str) -> dict[str, Any]:
    """Return the fields in `data` as plain JSON; a pickle in it stays a text that nobody reads."""
    if FIELDS not in archive.names:
        return {}
    try:
        table = json.loads(archive.read(FIELDS, FIELDS_MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: {FIELDS} is not JSON: {error or 'too deeply nested'}") from None
    if not isinstance(table, dict):
        raise InputError(f"{where}: {FIELDS} is not a table")
    return {str(key): value for key, value in table.items()}


def _algorithm(fields: Mapping[str, Any], asserted: Algorithm | None, where: str) -> Algorithm:
    fitting = [name for name, descriptor in DESCRIPTORS.items() if _fits(descriptor, fields)]
    algorithm = fitting[0] if len(fitting) == 1 else asserted
    if algorithm is None:
        choices = ", ".join(DESCRIPTORS)
        raise InputError(f"{where}: its plain fields do not tell the algorithm: give algorithm= one of {choices}")
    if asserted and algorithm != asserted:
        raise InputError(f"{where}: is a policy of {algorithm.upper()} by its fields, not of {asserted.upper()}")
    return algorithm


def _fits(algorithm: AlgorithmDescriptor, fields: Mapping[str, Any]) -> bool:
    """Return whether a zip's plain fields are an algorithm's."""
    return all(sign in fields for sign in algorithm.zip_signs) and not fields.keys() & set(algorithm.zip_others)


def _activation(fields: Mapping[str, Any], algorithm: Algorithm, asserted: Activation | None, where: str) -> Activation:
    choices = ", ".join(get_args(Activation))
    keywords = fields.get("policy_kwargs")
    if fields.get("use_sde") or (isinstance(keywords, dict) and keywords.get("squash_output")):
        raise InputError(f"{where}: uses state-dependent exploration or a squashed PPO, which cannot be imported")
    if not isinstance(keywords, dict):
        if asserted is None:
            raise InputError(f"{where}: its plain fields do not tell the activation: give activation= one of {choices}")
        return asserted
    written = str(keywords.get("activation_fn", ""))  # "<class 'torch.nn.modules.activation.Tanh'>"
    name = re.sub(r"\W+$", "", written).rpartition(".")[2]
    activation = _ACTIVATIONS.get(name) if written else find(algorithm).activation
    if activation is None:
        raise InputError(f"{where}: its activation is {name[:80]}; a policy folder can hold one of {choices}")
    if asserted and asserted != activation:
        raise InputError(f"{where}: its activation is {activation} by its fields, not {asserted}")
    return activation


def _tensors(archive: Archive, member: str, limit: int, where: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a torch file, copied; only torch's own weights-only reader is ever asked."""
    content = archive.read(member, limit)
    with Archive(content, f"{where}: {member}"):
        pass  # a bomb may hide in the inner zip
    try:
        loaded = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{where}: {member} is not a plain table of tensors, and was not executed: {reason}") from None
    if not isinstance(loaded, dict):
        raise InputError(f"{where}: {member} is not a table of tensors")
    _check_tensors(loaded, len(content), f"{where}: {member}")
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in loaded.items()}


def _check_tensors(loaded: Mapping[Any, Any], size: int, where: str) -> None:
    """Refuse what is not a dense tensor with a short name, and views that would grow when they are copied."""
    claimed = 0
    for name, tensor in loaded.items():
        plain = type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided
        if not (isinstance(name, str) and len(name) < 200 and plain and tensor.device.type == "cpu"):
            raise InputError(f"{where}: '{str(name)[:80]}' is not a plain tensor")
        claimed += tensor.numel() * tensor.element_size()
    if claimed > size:
        raise InputError(f"{where}: its tensors claim {claimed} bytes and the file has {size}")


def _temperature(archive: Archive, where: str) -> torch.Tensor:
    """Return the logarithm of SAC's temperature, (1,), whether it was tuned or fixed."""
    variables = _tensors(archive, VARIABLES, VARIABLES_MAX_BYTES, where)
    if "log_ent_coef" in variables:
        return variables["log_ent_coef"].reshape(-1)
    if "ent_coef_tensor" in variables:
        return variables["ent_coef_tensor"].log().reshape(-1)
    raise InputError(f"{where}: {VARIABLES} holds no temperature")


def _version(archive: Archive) -> str:
    if VERSION not in archive.names:
        return ""
    match = re.match(rb"[\w.+-]+", archive.read(VERSION, 64))
    return match[0].decode() if match else ""


def _check_sizes(components: Components, spaces: Spaces, where: str) -> None:
    observations = len(spaces.interface.observation)
    actions = len(spaces.interface.action)
    first = components.get("actor.trunk.0", components.get("actor.head", {})).get("weight")
    last = components.get("actor.head", {}).get("bias")
    if first is None or last is None or first.ndim != 2 or last.ndim != 1:
        raise InputError(f"{where}: {PARAMETERS} holds no actor")
    if (first.shape[1], len(last)) != (observations, actions):
        raise InputError(
            f"{where}: sees {first.shape[1]} numbers and gives {len(last)}; {spaces.env} has {observations} "
            f"observations and {actions} actions: name the env that it was trained in"
        )


def _network(components: Components, activation: Activation, spaces: Spaces) -> Network:
    return Network(
        actor=_widths("actor", components),
        critic=_widths("critic", components),
        critics=max(1, sum(name.endswith("bias") for name in components.get("critic.head", {}))),
        activation=activation,
        action_low=spaces.action_low,
        action_high=spaces.action_high,
    )


def _widths(part: str, components: Components) -> tuple[int, ...]:
    """Return the units of a part's trunk layers, as many as there are without a gap."""
    widths: list[int] = []
    while tensors := components.get(f"{part}.trunk.{len(widths)}"):
        widths.append(next((len(tensor) for name, tensor in tensors.items() if name.endswith("bias")), 0))
    return tuple(widths)


def _training(fields: Mapping[str, Any], algorithm: Algorithm, spaces: Spaces, version: str, origin: str) -> Training:
    hyperparameters = {key: fields[key] for key in sorted(find(algorithm).card_facts) if _plain(fields.get(key))}
    steps, seed = fields.get("num_timesteps"), fields.get("seed")
    return Training(
        env=spaces.env,
        seed=seed if _count(seed) else -1,  # unknown
        steps=steps if _count(steps) else 0,
        hyperparameters=hyperparameters,
        versions={"stable_baselines3": version} if version else {},
        origin=origin,
    )


def _plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) < 40
    return isinstance(value, int | float) and abs(value) < 2**63  # false for nan too


def _count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**63
