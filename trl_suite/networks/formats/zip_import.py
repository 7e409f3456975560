"""Import of an SB3 zip: parameters and plain fields only. Nothing in it is unpickled, so nothing in it can run."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.algorithms.registry import Algorithm, find
from trl_suite.errors import InputError
from trl_suite.interface import Spaces
from trl_suite.networks import store
from trl_suite.networks.card import Card, Network, Training
from trl_suite.networks.components import INPUT_NORM, TEMPERATURE, Components, group
from trl_suite.networks.formats import torch_file, vecnormalize, zip_fields
from trl_suite.networks.formats.zip_fields import Origin
from trl_suite.networks.formats.zip_reader import Archive
from trl_suite.networks.policy import Policy

PARAMETERS, VARIABLES, VERSION = "policy.pth", "pytorch_variables.pth", "_stable_baselines3_version"
PARAMETERS_MAX_BYTES, VARIABLES_MAX_BYTES = 1024**3, 16 * 1024**2


def load(
    path: Path,
    spaces: Spaces,
    *,
    statistics: Path | None = None,
    algorithm: Algorithm | None = None,
    activation: Activation | None = None,
    source: str = "",
) -> Policy:
    """Return the policy in a zip that SB3 saved.

    Args:
        path: the zip.
        spaces: of the env that it was trained in.
        statistics: the file of the VecNormalize that it was trained with.
        algorithm: needed where the zip's plain fields do not tell it.
        activation: likewise.
        source: where the zip comes from, for the card; the path where not given.

    Raises:
        InputError: the zip is damaged, is not an MLP policy of an algorithm that the suite knows, does not fit the
            env, holds numbers that are not finite, or an argument is missing.
    """
    where = str(path)
    with Archive(path, where) as archive:
        _check_members(archive, where)
        fields = zip_fields.read(archive, where)
        origin = zip_fields.origin(fields, algorithm, where)
        algorithm = _checked(fields, origin, spaces, statistics, where)
        components = group(algorithm, _tensors(archive, PARAMETERS, PARAMETERS_MAX_BYTES, where).items())
        if find(algorithm).temperature:
            components[TEMPERATURE] = {"value": _temperature(archive, where)}
        version = _version(archive)
    normaliser, running = vecnormalize.read(statistics) if statistics else (None, {})
    _check_sizes(components, spaces, where)
    activation = zip_fields.activation(fields, algorithm, activation, where)
    training = _training(fields, origin, spaces, version, source or path.name)
    try:
        card = Card(
            algorithm=algorithm,
            network=_network(components, activation, spaces),
            interface=spaces.interface,
            training=training,
            normaliser=normaliser,
        )
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    store.verify(where, card, components | running)
    return Policy(card=card, components=components | running)


def _checked(
    fields: Mapping[str, Any], origin: Origin, spaces: Spaces, statistics: Path | None, where: str
) -> Algorithm:
    """Return the algorithm as which a policy is read, of which the fields tell nothing that is against it.

    Raises:
        InputError: the policy computes more than its layers do, saw or commanded other numbers than the env's, or
            its statistics are missing.
    """
    assert origin.algorithm is not None
    try:
        zip_fields.check_network(fields, where)
        zip_fields.check_spaces(fields, spaces, where)
    except InputError as error:
        raise InputError(f"{error} (a policy of {origin.name})") from None
    if statistics is None and zip_fields.was_normalised(fields, origin.algorithm):
        raise InputError(
            f"{where}: was trained with VecNormalize, by its fields; give statistics= (--statistics), the file that "
            "VecNormalize.save wrote"
        )
    return origin.algorithm


def _check_members(archive: Archive, where: str) -> None:
    if PARAMETERS not in archive.names:
        members = ", ".join(sorted(archive.names)[:5]) or "nothing"
        inner = any(name.endswith("/data.pkl") for name in archive.names)
        reason = "a file of torch's, or an SB3 zip that was cut off" if inner else "not a zip that SB3 saved"
        raise InputError(f"{where}: holds no {PARAMETERS}, but {members}: {reason}")


def _tensors(archive: Archive, member: str, limit: int, where: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a torch file, copied; only torch's own weights-only reader is ever asked."""
    content, named = archive.read(member, limit), f"{where}: {member}"
    return torch_file.copied_tensors(torch_file.read(content, named), len(content), named)


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
    sizes = len(spaces.interface.observation), len(spaces.interface.action)
    first = components.get("actor.trunk.0", components.get("actor.head", {})).get("weight")
    last = components.get("actor.head", {}).get("bias")
    if first is None or last is None or first.ndim != 2 or last.ndim != 1:
        raise InputError(f"{where}: {PARAMETERS} holds no actor")
    if (first.shape[1], len(last)) != sizes:
        raise InputError(
            f"{where}: sees {first.shape[1]} numbers and gives {len(last)}; {spaces.env} has {sizes[0]} "
            f"observations and {sizes[1]} actions: name the env that it was trained in"
        )


def _network(components: Components, activation: Activation, spaces: Spaces) -> Network:
    return Network(
        actor=_widths("actor", components),
        critic=_widths("critic", components),
        critics=max(1, sum(name.endswith("weight") for name in components.get("critic.head", {}))),
        activation=activation,
        action_low=spaces.action_low,
        action_high=spaces.action_high,
    )


def _widths(part: str, components: Components) -> tuple[int, ...]:
    """Return the units of a part's trunk layers, as many as there are without a gap."""
    widths: list[int] = []
    while tensors := components.get(f"{part}.trunk.{len(widths)}"):
        biases = (tensor for name, tensor in tensors.items() if name.endswith("bias") and INPUT_NORM not in name)
        widths.append(next(map(len, biases), 0))
    return tuple(widths)


def _training(fields: Mapping[str, Any], origin: Origin, spaces: Spaces, version: str, source: str) -> Training:
    assert origin.algorithm is not None
    steps, seed = fields.get("num_timesteps"), fields.get("seed")
    return Training(
        env=spaces.env,
        seed=seed if _count(seed) else -1,  # unknown
        steps=steps if _count(steps) else 0,
        hyperparameters=zip_fields.hyperparameters(fields, origin.algorithm),
        versions={"stable_baselines3": version} if version else {},
        origin=source,
        trained_by=origin.name if origin.name != origin.algorithm.upper() else "",
    )


def _count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**63
