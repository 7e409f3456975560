"""JSON schemas of the suite's tables, for editors: every key with its type, its limits and its sentence.

The sentence of a key is the text below its field in the source, or the comment beside or above it.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, cast

import msgspec
from msgspec import inspect as types

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(table: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """JSON schema of a table, by its Struct; nested tables stand under `$defs`."""
    written = msgspec.json.schema(table)
    for struct in structs_of(table):
        properties = written["$defs"][struct.__name__]["properties"]
        for name, sentence in sentences(struct).items():
            properties[name]["description"] = sentence
    _open_tables(written)
    return {"$schema": DIALECT, "title": title, **written}


def _open_tables(node: Any) -> None:
    """Say of tables of values of any type that any key may stand in them, as msgspec does of all others."""
    if isinstance(node, dict):
        table = cast(dict[str, Any], node)
        if table.get("type") == "object" and "properties" not in table:
            table.setdefault("additionalProperties", True)
        for inner in table.values():
            _open_tables(inner)
    elif isinstance(node, list):
        for inner in cast(list[Any], node):
            _open_tables(inner)


def structs_of(table: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The Struct of a table and those of the tables inside it, each once, in the order of their keys."""
    reached: list[type[msgspec.Struct]] = []
    _reach(types.type_info(table), reached)
    return reached


def _reach(kind: types.Type, reached: list[type[msgspec.Struct]]) -> None:
    if isinstance(kind, types.StructType):
        if kind.cls in reached:
            return
        reached.append(kind.cls)
        inner = [field.type for field in kind.fields]
    else:
        inner = [part for name in kind.__struct_fields__ for part in _parts(getattr(kind, name))]
    for part in inner:
        _reach(part, reached)


def _parts(value: Any) -> list[types.Type]:
    """The types that a type is made of, among what it holds."""
    values = value if isinstance(value, tuple) else (value,)
    return [part for part in values if isinstance(part, types.Type)]


def sentences(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The sentence of each key that has one, by the key as tables write it; those of its bases first."""
    written: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            written |= dict(_documented(base))
    names = dict(zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True))
    return {names[field]: sentence for field, sentence in written.items() if field in names}


def _documented(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """Yield each field that the class itself defines, with its sentence."""
    try:
        source = textwrap.dedent(inspect.getsource(struct))
    except (OSError, TypeError):  # made at run time, of bases that are not
        return
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    lines = source.splitlines()
    for node, following in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and (sentence := _below(following) or _beside(node, lines)):
            yield ast.unparse(node.target), sentence


def _below(node: ast.stmt | None) -> str:
    """The text of a string that stands alone below a field."""
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _beside(node: ast.AnnAssign, lines: list[str]) -> str:
    """The comment beside a field, or the lines of comment right above it."""
    assert node.end_lineno is not None
    comments = [lines[node.end_lineno - 1][node.end_col_offset :].strip()]
    if not comments[0]:
        above = node.lineno - 2
        comments = []
        while lines[above].strip().startswith("#"):
            comments.insert(0, lines[above].strip())
            above -= 1
    return " ".join(comment.lstrip("# ") for comment in comments)
