"""Changes of an experiment's table that a command line or a call asks for, read as strictly as the file."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import tomli_w

from trl_suite import tables
from trl_suite.errors import InputError, located

SEEDS_MAX = 100_000  # seeds that a range may name
_RANGE = re.compile(r"(\d{1,10}):(\d{1,10})")
_PLAIN_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.?:/+-]*")  # a text that needs no quotes: sac, half-cheetah.gravity-1.5
_TOML_WORDS = {"true", "false", "inf", "nan"}


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Return the key and value of each `--set KEY=VALUE`; a value is TOML's, and a plain word needs no quotes.

    Raises:
        InputError: one is not KEY=VALUE, is no TOML, or a key is set twice.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not (key and equals and value) or "\n" in text:
            raise InputError(f"--set {text}: KEY=VALUE expected, as in target.steps=50_000")
        if key in values:
            raise InputError(f"--set {text}: {key} is set twice")
        plain = _PLAIN_WORD.fullmatch(value) and value not in _TOML_WORDS
        table = tables.parse(f'value = "{value}"' if plain else f"value = {value}", f"--set {text}")
        if len(table) > 1:
            raise InputError(f"--set {text}: one value expected")
        values[key] = table["value"]
    return values


def seeds_of(text: str) -> list[int]:
    """Return the seeds of `--seeds`: `0:5` is 0 to 4, `0,3,7` those three, `4` that one.

    Raises:
        InputError: it is none of these.
    """
    seeds: list[int] = []
    for part in text.split(","):
        if match := _RANGE.fullmatch(part.strip()):
            first, end = int(match[1]), int(match[2])
            if not 0 < end - first <= SEEDS_MAX:
                raise InputError(f"--seeds {text}: {part} names no seed, or more than {SEEDS_MAX:,}")
            seeds += range(first, end)
        elif part.strip().isdecimal() and len(part.strip()) <= 10:
            seeds.append(int(part))
        else:
            raise InputError(f"--seeds {text}: expected 0:5 (0 to 4), 0,3,7 or 4")
    return seeds


def overridden(table: Mapping[str, Any], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a table in which the values stand at their dotted keys; the table itself stays as it is.

    Raises:
        InputError: a key is no TOML, or leads through what is no table.
    """
    changed = dict(table)
    for key, value in values.items():
        with located(f"{where}: {key}"):
            _put(changed, _parts(key), value)
    return changed


def read_strictly(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a table of Python's as a TOML file with it would be read: the same limits, and no None.

    Raises:
        InputError: it holds what TOML has not, or what no table may.
    """
    try:
        text = tomli_w.dumps(cast(dict[str, Any], _without_none(table)))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where}: holds what a table cannot: {error}") from None
    return tables.parse(text, where)


def toml_value(value: Any) -> str:
    """Return a value as it stands in a TOML file, on one line."""
    if isinstance(value, Mapping):
        entries = cast(Mapping[str, Any], value).items()
        return "{" + ", ".join(f"{json.dumps(key)} = {toml_value(inner)}" for key, inner in entries) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, cast(Sequence[Any], value))) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value)  # TOML spells both as JSON does
    return repr(value)


def _parts(key: str) -> list[str]:
    """Return the parts of a dotted key, some of which may be quoted."""
    if "\n" in key or "=" in key or "#" in key:
        raise InputError("no key of a table")
    parts: list[str] = []
    table: Any = tables.parse(f"{key} = 0", "key")
    while isinstance(table, dict):
        [(name, table)] = cast(dict[str, Any], table).items()
        parts.append(name)
    return parts


def _put(table: dict[str, Any], parts: Sequence[str], value: Any) -> None:
    """Set a value in a table whose tables on the way are copied first."""
    for name in parts[:-1]:
        inner = table.get(name, {})
        if not isinstance(inner, dict):
            raise InputError(f"'{name}' is no table")
        table[name] = dict(cast(dict[str, Any], inner))
        table = table[name]
    table[parts[-1]] = value


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        entries = cast(Mapping[Any, Any], value).items()
        return {key: _without_none(inner) for key, inner in entries if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in cast(Sequence[Any], value)]
    return value
