"""Transfer methods as data: `methods.toml` holds the suite's own, an experiment file may define others."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from trl_suite import tables
from trl_suite.errors import unknown

SHIPPED = Path(__file__).with_name("methods.toml")
DEPTH = "K"  # stands for a number in a name and in its selectors: partial-freeze-K, actor.trunk.:K


class Method(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which components are copied and which are frozen; see `components.select` for the selectors."""

    summary: str = ""
    copy: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    rate: dict[str, float] = {}  # learning-rate factor per component; 1 where none is given

    @property
    def needs_source(self) -> bool:
        """Whether there is anything to copy."""
        return bool(self.copy)


def shipped() -> dict[str, Method]:
    """Return the suite's methods by name; `K` in a name stands for a number."""
    return read(tables.load(SHIPPED), str(SHIPPED.name))


def read(table: Mapping[str, object], where: str) -> dict[str, Method]:
    """Return the methods in a table of tables.

    Raises:
        InputError: a method has an unknown key.
    """
    return {name: tables.convert(entry, Method, f"{where}: method '{name}'") for name, entry in table.items()}


def find(name: str, own: Mapping[str, Method] | None = None) -> Method:
    """Return the method of that name; `own` methods hide the suite's.

    Raises:
        InputError: there is none; the message lists those that exist.
    """
    known = {**shipped(), **(own or {})}
    if name in known and DEPTH not in name:
        return known[name]
    for template, method in known.items():
        pattern = re.escape(template).replace(DEPTH, r"(\d+)")
        if DEPTH in template and (found := re.fullmatch(pattern, name)):
            return _at_depth(method, found[1])
    raise unknown("method", name, known)


def _at_depth(method: Method, depth: str) -> Method:
    def filled(selectors: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(selector.replace(f":{DEPTH}", f":{depth}") for selector in selectors)

    summary = method.summary.replace(DEPTH, depth)
    return msgspec.structs.replace(method, summary=summary, copy=filled(method.copy), freeze=filled(method.freeze))
