"""Strict reading of TOML: every key is known and typed, or an error names file, key and the nearest right one."""

import math
import re
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trl_suite.errors import InputError, suggestion

T = TypeVar("T")
MAX_BYTES = 256 * 1024  # a larger table is an attack or a mistake: 1 MB of dotted keys takes tomllib 10 s

_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`(?: - at `\$(?P<path>[^`]*)`)?")
_KIND = re.compile(r"Invalid value '(?P<value>[^']*)' - at `\$(?P<path>[^`]*)`")  # of a key that says what a table is
_WORD = re.compile(r"Invalid enum value '(?P<value>[^']*)' - at `\$(?P<path>[^`]*)`")  # one of a few is wanted
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)


def load(path: Path) -> dict[str, Any]:
    """Return the table in a TOML file, untyped.

    Raises:
        InputError: the file is missing, too large, not UTF-8, not TOML, or holds a NaN.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path}: {size} bytes; a table may have {MAX_BYTES} at most")
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {error or type(error).__name__}") from None
    _refuse_nan(table, str(path), "")
    return table


def read(path: Path, into: type[T]) -> T:
    """Return the TOML file as an `into` (a msgspec Struct).

    Raises:
        InputError: as `load` and `convert` do.
    """
    return convert(load(path), into, str(path))


def convert(table: Any, into: type[T], where: str) -> T:
    """Return `table` as an `into`; `where` opens the message of every error.

    Raises:
        InputError: a key is unknown, missing, of the wrong type or out of range.
    """
    try:
        return msgspec.convert(table, into)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {_explain(str(error), into)}") from None


def _explain(message: str, into: Any) -> str:
    """Rewrite msgspec's message in TOML's words, with the nearest right key."""
    if found := _UNKNOWN.search(message):
        path = _steps(found["path"] or "")
        known = _keys(into, path)
        place = f" in [{'.'.join(path)}]" if path else ""
        listed = f"; known: {', '.join(known)}" if known else ""
        return f"unknown key '{found['key']}'{place}{suggestion(found['key'], known)}{listed}"
    for pattern, values in ((_KIND, _kinds), (_WORD, _words)):
        if found := pattern.search(message):
            path = _steps(found["path"])
            known = values(into, path)
            listed = f"{suggestion(found['value'], known)}; known: {', '.join(known)}"
            return f"{'.'.join(path)}: there is no '{found['value']}'{listed}"
    parts = _PLACE.match(message)
    if parts and parts["path"]:
        return f"{'.'.join(_steps(parts['path']))}: {parts['what']}"
    return message


def _steps(path: str) -> list[str]:
    """Split msgspec's path (`.reward[...].weight`) into steps; a key of a mapping and an index become `*`."""
    return [name or "*" for name, _ in re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", path)]


def _keys(into: Any, path: list[str]) -> list[str]:
    """Return the keys that the type admits at `path`; a mapping's own keys are shown as `...` by msgspec."""
    names = [field.encode_name for option in _options(_at(into, path)) for field in getattr(option, "fields", ())]
    return list(dict.fromkeys(names))


def _kinds(into: Any, path: list[str]) -> list[str]:
    """Return the values of the last key of `path`, by which the table that holds it is told from others."""
    return [str(option.tag) for option in _options(_at(into, path[:-1])) if getattr(option, "tag", None)]


def _words(into: Any, path: list[str]) -> list[str]:
    """Return the words that stand for something at `path`."""
    return [str(word) for option in _options(_at(into, path)) for word in getattr(option, "values", ())]


def _at(into: Any, path: list[str]) -> Any:
    kind: Any = msgspec.inspect.type_info(into)
    for step in path:
        kind = next(iter(_below(kind, step)), None)
    return kind


def _options(kind: Any) -> list[Any]:
    return list(kind.types) if isinstance(kind, msgspec.inspect.UnionType) else [kind]


def _below(kind: Any, step: str) -> list[Any]:
    found: list[Any] = []
    for option in _options(kind):
        if isinstance(option, msgspec.inspect.DictType):
            found.append(option.value_type)
        elif isinstance(option, msgspec.inspect.StructType):
            found.extend(field.type for field in option.fields if field.encode_name == step)
        elif hasattr(option, "item_type"):
            found.append(option.item_type)
    return found


def _refuse_nan(value: Any, where: str, key: str) -> None:
    if isinstance(value, float) and math.isnan(value):
        raise InputError(f"{where}: {key}: nan is not a value")
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_nan(inner, where, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            _refuse_nan(inner, where, key)
