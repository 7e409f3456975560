"""Measured variants in the env's table of the workspace: numbers, intervals, and where they come from."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from trl_suite import content, tables
from trl_suite.errors import InputError
from trl_suite.files import storing, write_atomically
from trl_suite.worlds.axes.variation import Variant
from trl_suite.worlds.env_spec import EnvSpec, load
from trl_suite.worlds.identification.fit_parameters import variation_of
from trl_suite.worlds.identification.parameter_fit import FittedParameter

SIGNIFICANT_DIGITS = 6  # that are written of a number


def measured_variant(fitted: Sequence[FittedParameter], about: str) -> Variant:
    """Return the variant of fitted numbers, with their 95 % intervals."""
    parameters = [number.parameter for number in fitted]
    variation = variation_of(parameters, [_rounded(row.number) for row in fitted])
    intervals = {row.parameter.name: (_rounded(row.low), _rounded(row.high)) for row in fitted}
    return Variant(**dict(variation.axes()), about=about, intervals=intervals)


def refuse_taken(env: str, name: str) -> None:
    """Refuse a name that no variant can have, or that one has.

    Raises:
        InputError: it is said which.
    """
    if not content.is_plain(name) or "." in name.strip("."):
        raise InputError(f"--name {name}: is no name of a variant: {content.PLAIN_RULE}, without dots")
    if name in load(env).variants:
        raise InputError(f"--name {name}: {env} has a variant of that name; name another")


def add_variant(env: str, name: str, variant: Variant) -> Path:
    """Append a variant to the env's table in the workspace, which takes a copy of a shipped env's folder; return it.

    Raises:
        InputError: the table cannot be appended to.
        StorageError: it cannot be written.
    """
    shipped, folder = content.find("envs", env), content.workspace() / "envs" / env
    table = folder / content.MARKER["envs"]
    with storing(table):
        if shipped.resolve() != folder.resolve():
            shutil.copytree(shipped, folder)
        text = table.read_text(encoding="utf-8").rstrip("\n")
        values: dict[str, Any] = msgspec.to_builtins(variant)
        appended = f"{text}\n\n{tomli_w.dumps({'variants': {name: values}})}"
        tables.convert(tables.parse(appended, str(table)), EnvSpec, str(table))
        write_atomically(table, appended.encode())
    return table


def _rounded(number: float) -> float:
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}")
