"""Strict reading of TOML: every key is known and typed, or an error names file, key and the nearest right one.

Every number is finite, unless its type is `Unbounded`; size, depth, keys and integers have limits.
"""

import math
import re
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from trl_suite.errors import InputError, suggestion
from trl_suite.files import read_limited

T = TypeVar("T")
MAX_TABLE_BYTES = 256 * 1024
MAX_KEY_PARTS = 16  # of one dotted key: tomllib takes a time that grows with their square
MAX_KEY_CHARACTERS = 256
MAX_TABLE_DEPTH = 32
PARSED_TABLES = 64  # texts whose tables are remembered
MAX_INTEGER = 2**53  # every integer up to here is a float as well

Unbounded = Annotated[float, Meta(extra={"unbounded": True})]
"""A number that may be infinite: the end of an interval. Every other number of a table must be finite."""

# bare and quoted parts of one key; possessive, so that no text takes more than linear time
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_.-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MAX_KEY_PARTS},}}")
_UNKNOWN = re.compile(r"unknown field `(?P<key>[^`]*)`(?: - at `\$(?P<path>[^`]*)`)?")
_KIND = re.compile(r"Invalid value '(?P<value>[^']*)' - at `\$(?P<path>[^`]*)`")  # of a key that says what a table is
_WORD = re.compile(r"Invalid enum value '(?P<value>[^']*)' - at `\$(?P<path>[^`]*)`")  # one of a few is wanted
_PLACE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)


def load(path: Path) -> dict[str, Any]:
    """Return the table in a TOML file, untyped.

    Raises:
        InputError: the file is missing, no regular file, too large, not UTF-8, not TOML, or holds what no table may.
    """
    return parse(_text(path), str(path))


def parse(text: str, where: str) -> dict[str, Any]:
    """Table in a TOML text, untyped; `where` opens the message of every error.

    Raises:
        InputError: the text is too large, not TOML, or holds a NaN, a huge integer or a key beyond the limits.
    """
    if len(text) > MAX_TABLE_BYTES:
        raise InputError(f"{where}: {len(text)} characters; a table may have {MAX_TABLE_BYTES} at most")
    if long := _LONG_KEY.search(text):
        line = text.count("\n", 0, long.start()) + 1
        raise InputError(f"{where}: line {line}: a key of more than {MAX_KEY_PARTS} dotted parts")
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{where}: {error or type(error).__name__}") from None
    _refuse_beyond_limits(table, where, ())
    return table


def read(path: Path, into: type[T]) -> T:
    """Return the TOML file as an `into` (a frozen msgspec Struct); the same text is parsed once.

    Raises:
        InputError: as `load` and `convert` do.
    """
    return _converted(_text(path), into, str(path))


@lru_cache(maxsize=PARSED_TABLES)
def _converted(text: str, into: type[T], where: str) -> T:
    return convert(parse(text, where), into, where)


def _text(path: Path) -> str:
    try:
        return read_limited(path, MAX_TABLE_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: {error}") from None


def convert(table: Any, into: type[T], where: str) -> T:
    """Return `table` as an `into`; `where` opens the message of every error.

    Raises:
        InputError: a key is unknown, missing, of the wrong type or out of range.
    """
    try:
        converted = msgspec.convert(table, into)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {_explain(str(error), into, table)}") from None
    except RecursionError:
        raise InputError(f"{where}: more than {MAX_TABLE_DEPTH} levels") from None
    _refuse_infinite(table, into, where)
    return converted


def _explain(message: str, into: Any, table: Any) -> str:
    """Rewrite msgspec's message in TOML's words, with the nearest right key."""
    if match := _UNKNOWN.search(message):
        path = _steps(match["path"] or "")
        options = _keys(into, path)
        place = f" in [{_shown(path, into, table, message)}]" if path else ""
        if new := _renamed(into, path).get(match["key"]):
            return f"unknown key '{match['key']}'{place}: it is called '{new}' now"
        listed = f"; known: {', '.join(options)}" if options else ""
        return f"unknown key '{match['key']}'{place}{suggestion(match['key'], options)}{listed}"
    for pattern, values in ((_KIND, _kinds), (_WORD, _words)):
        if match := pattern.search(message):
            path = _steps(match["path"])
            options = values(into, path)
            listed = f"{suggestion(match['value'], options)}; known: {', '.join(options)}"
            return f"{_shown(path, into, table, message)}: there is no '{match['value']}'{listed}"
    parts = _PLACE.match(message)
    if parts and parts["path"]:
        return f"{_shown(_steps(parts['path']), into, table, message)}: {parts['what']}"
    return message


def _steps(path: str) -> list[str]:
    """Split msgspec's path (`.reward[0].weight`) into steps: a key of a mapping becomes `*`, an index `[0]`."""
    steps = re.findall(r"\.([^.\[]+)|\[([^\]]*)\]", path)
    return [name or ("*" if index == "..." else f"[{index}]") for name, index in steps]


def _shown(path: list[str], into: Any, table: Any, message: str) -> str:
    """Path as TOML writes it, with the keys that msgspec leaves out."""
    named: list[str] = []
    for step in path:
        named.append(_wrong_key(table, named, into, message) if step == "*" else step)
    return ".".join(named).replace(".[", "[")


def _wrong_key(table: Any, path: list[str], into: Any, message: str) -> str:
    """Key of the mapping at `path` whose value alone gives the same message; `*` where none does."""
    mapping = _value_at(table, path)
    for key in mapping if isinstance(mapping, dict) else ():
        try:
            msgspec.convert(_with(table, path, {key: mapping[key]}), into)
        except msgspec.ValidationError as error:
            if str(error) == message:
                return str(key)
    return "*"


def _value_at(table: Any, path: list[str]) -> Any:
    for step in path:
        try:
            table = table[int(step[1:-1])] if step.startswith("[") else table[step]
        except (KeyError, IndexError, TypeError):
            return None
    return table


def _with(table: Any, path: list[str], value: Any) -> Any:
    """Copy of a table in which `value` stands at `path`."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if step.startswith("["):
        index = int(step[1:-1])
        return [_with(item, rest, value) if i == index else item for i, item in enumerate(table)]
    return {**table, step: _with(table[step], rest, value)}


def _keys(into: Any, path: list[str]) -> list[str]:
    """Return the keys that the type admits at `path`; a mapping's own keys are shown as `...` by msgspec."""
    names = [field.encode_name for option in _options(_at(into, path)) for field in getattr(option, "fields", ())]
    return list(dict.fromkeys(names))


def _renamed(into: Any, path: list[str]) -> dict[str, str]:
    """Return key of an earlier version -> its name now, where the type at `path` says so in `renamed`."""
    classes = [getattr(option, "cls", None) for option in _options(_at(into, path))]
    return {old: new for kind in classes for old, new in getattr(kind, "renamed", {}).items()}


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
    if isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    return list(kind.types) if isinstance(kind, msgspec.inspect.UnionType) else [kind]


def _below(kind: Any, step: str) -> list[Any]:
    types: list[Any] = []
    for option in _options(kind):
        if isinstance(option, msgspec.inspect.DictType):
            types.append(option.value_type)
        elif isinstance(option, msgspec.inspect.StructType):
            types.extend(field.type for field in option.fields if field.encode_name == step)
        elif isinstance(option, msgspec.inspect.TupleType):
            types.extend(option.item_types[:1])
        elif hasattr(option, "item_type"):
            types.append(option.item_type)
    return types


def _refuse_infinite(table: Any, into: Any, where: str) -> None:
    """Refuse every infinite number whose type is not `Unbounded`."""
    for path in _infinite(table, []):
        kind = _at(into, path)
        if not (isinstance(kind, msgspec.inspect.Metadata) and (kind.extra or {}).get("unbounded")):
            raise InputError(f"{where}: {'.'.join(path).replace('.[', '[')}: must be finite")


def _infinite(value: Any, path: list[str]) -> Iterator[list[str]]:
    if isinstance(value, float) and math.isinf(value):
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _infinite(inner, [*path, str(key)])
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _infinite(inner, [*path, f"[{index}]"])


def _refuse_beyond_limits(value: Any, where: str, path: tuple[str, ...]) -> None:
    key = ".".join(path)
    if len(path) > MAX_TABLE_DEPTH:
        raise InputError(f"{where}: more than {MAX_TABLE_DEPTH} levels")
    if isinstance(value, float) and math.isnan(value):
        raise InputError(f"{where}: {key}: nan is not a value")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise InputError(f"{where}: {key}: integers lie within ±2^53")
    if isinstance(value, dict):
        for name, inner in value.items():
            if len(name) > MAX_KEY_CHARACTERS:
                raise InputError(f"{where}: a key of {len(name)} characters; {MAX_KEY_CHARACTERS} at most")
            _refuse_beyond_limits(inner, where, (*path, name))
    elif isinstance(value, list):
        for inner in value:
            _refuse_beyond_limits(inner, where, path)
