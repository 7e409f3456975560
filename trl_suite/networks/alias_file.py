"""A file of aliases: names in a target, or an env, and the names in a source, or a file, that mean the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trl_suite import tables
from trl_suite.errors import InputError

ALIAS_SUFFIX = ".toml"


def read(path: Path) -> dict[str, str]:
    """Aliases, target -> source, of a TOML file: `thigh_left_joint = "thigh_joint"`, `knee.position = "q3"`.

    Raises:
        InputError: the file is missing or no TOML, or a name does not stand for a name.
    """
    return dict(_pairs(tables.load(path), str(path), ""))


def _pairs(table: dict[str, Any], where: str, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _pairs(value, where, f"{prefix}{key}.")
        elif isinstance(value, str) and value:
            yield prefix + key, value
        else:
            raise InputError(f'{where}: {prefix}{key} is to be a name: {prefix}{key} = "name in the source"')
