"""Facts that a controller needs beside the network: rate, scales, default pose, gains; as text for an ONNX file.

The keys are those of mjlab's and Isaac Lab's exporters where they have one, so that their controllers read them.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from trl_suite.errors import InputError
from trl_suite.interface import Deployment
from trl_suite.networks.card import Card

METADATA_SCHEMA = "1"
SCHEMA_KEY = "trl_suite_schema"


def metadata(card: Card, digest: str, deployment: Deployment) -> dict[str, str]:
    """Entries of an ONNX file's metadata: lists with commas, numbers in full.

    Raises:
        InputError: a name holds a comma, which parts names.
    """
    network, slots = card.network, card.interface
    entries: dict[str, Any] = {
        **msgspec.structs.asdict(deployment),
        SCHEMA_KEY: METADATA_SCHEMA,
        "observation_names": slots.observation_names,
        "observation_units": tuple(slot.unit for slot in slots.observation),
        "action_names": slots.action_names,
        "action_units": tuple(slot.unit for slot in slots.action),
        "action_low": network.action_low,
        "action_high": network.action_high,
        "training_env": card.training.env,
        "training_steps": card.training.steps,
        "training_seed": card.training.seed,
        "algorithm": card.training.trained_by or card.algorithm,
        "digest": digest,
        "interface_digest": slots.digest(),
    }
    return {key: _text(key, value) for key, value in entries.items() if value is not None}


def _text(key: str, value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_entry(key, inner) for inner in value)
    return repr(value) if isinstance(value, float) else str(value)


def _entry(key: str, value: Any) -> str:
    text = repr(value) if isinstance(value, float) else str(value)
    if "," in text:
        raise InputError(f"{key}: '{text}' holds a comma, which parts the names in an ONNX file; rename the slot")
    return text


def read_deployment(entries: Mapping[str, str], where: str) -> Deployment:
    """Deployment facts of an ONNX file's metadata; what it does not tell stays empty.

    Raises:
        InputError: an entry is no list of finite numbers where it should be one; the key is named.
    """
    numbers = [_numbers(entries, key, where) for key in _NUMBER_KEYS]
    action_scale, action_offset, default_joint_pos, joint_stiffness, joint_damping = numbers
    rate = _numbers(entries, "control_hz", where) or _rate_of_step(entries, where)
    history = _numbers(entries, "history_length", where) or (1.0,)
    if not 1 <= history[0] <= 10_000 or history[0] != int(history[0]):
        raise InputError(f"{where}: history_length is {history[0]:g}; a number of control steps is expected")
    return Deployment(
        control_hz=rate[0] if rate else None,
        joint_names=name_list(entries.get("joint_names", "")),
        command_names=name_list(entries.get("command_names", "")),
        history_length=int(history[0]),
        action_scale=action_scale,
        action_offset=action_offset,
        default_joint_pos=default_joint_pos,
        joint_stiffness=joint_stiffness,
        joint_damping=joint_damping,
    )


_NUMBER_KEYS = ("action_scale", "action_offset", "default_joint_pos", "joint_stiffness", "joint_damping")


def _rate_of_step(entries: Mapping[str, str], where: str) -> tuple[float, ...]:
    """Rate from `step_dt` or `control_dt`, seconds of a control step, as other exporters write it."""
    for key in ("step_dt", "control_dt"):
        if (seconds := _numbers(entries, key, where)) and seconds[0] > 0:
            return (1.0 / seconds[0],)
    return ()


def name_list(text: str) -> tuple[str, ...]:
    """Names of a list as exporters write it: `a,b`, `['a', 'b']` or JSON."""
    text = text.strip()
    if not text:
        return ()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    return tuple(part.strip().strip("'\"") for part in text.split(","))


def _numbers(entries: Mapping[str, str], key: str, where: str) -> tuple[float, ...]:
    texts = [text for text in name_list(entries.get(key, "")) if text]
    try:
        values = tuple(map(float, texts))
    except ValueError:
        raise InputError(
            f"{where}: its metadata '{key}' is to be a list of numbers, not '{entries[key][:60]}'"
        ) from None
    if not all(map(math.isfinite, values)):
        raise InputError(f"{where}: its metadata '{key}' holds a number that is not finite")
    return values
