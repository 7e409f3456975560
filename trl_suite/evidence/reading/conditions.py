"""The meaning of a plan's names: conditions of several sources, freeze depths, shifts of one axis; reads no files."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from trl_suite.record import Plan

FULL = "finetune"  # everything is copied and nothing is frozen: freeze depth 0

_DEPTH = re.compile(r"partial-freeze-(\d+)")
_VARIANT = re.compile(r"(?P<axis>[a-z][a-z0-9-]*)-(?P<value>\d+(?:\.\d+)?)")
_QUERY = re.compile(r"(?P<axis>[a-z][a-z0-9_-]*)=(?P<value>\d+(?:\.\d+)?)")


class Condition(NamedTuple):
    """A method that is compared with scratch, and the env of its source where a target has more than one."""

    name: str  # `finetune`, or `finetune from hopper`
    method: str
    source: str  # env, "" without a source


class Shift(NamedTuple):
    """An env that differs from its nominal form along one axis."""

    env: str
    axis: str
    value: float  # 1 is nominal


def conditions_of(plan: Plan) -> dict[str, Condition]:
    """Return the arm of each planned run, by folder."""
    envs = {p.folder: p.home for p in plan.runs}
    sources: dict[tuple[str, str], set[str]] = {}
    for planned in plan.runs:
        if planned.source:
            sources.setdefault((planned.target, planned.method), set()).add(envs.get(planned.source, ""))
    conditions: dict[str, Condition] = {}
    for planned in plan.runs:
        source = envs.get(planned.source, "")
        several = len(sources.get((planned.target, planned.method), ())) > 1
        name = f"{planned.method} from {source or 'an unknown source'}" if several else planned.method
        conditions[planned.folder] = Condition(name, planned.method, source)
    return conditions


def depth(method: str) -> int | None:
    """Return how many trunk layers a method of the freeze-depth profile holds; None for methods outside it."""
    if method == FULL:
        return 0
    match = _DEPTH.fullmatch(method)
    return int(match[1]) if match else None


def robot(env: str) -> str:
    """Return the env that an address is a variation of: `hopper` of `hopper.gravity-1.5`, `hopper?gravity=1.5`."""
    return re.split(r"[.?]", address(env))[0]


def address(target: str) -> str:
    """Return the env's address without the cell of a factor: `hopper.gravity-1.5` of that and ` (engine=sb3)`."""
    return target.partition(" (")[0]


def target_of(env: str, values: Mapping[str, str]) -> str:
    """Return the name of an env in the cell that has these values: `hopper (engine=sb3)`."""
    return f"{env} ({', '.join(f'{name}={value}' for name, value in values.items())})" if values else env


def cell_values(target: str) -> dict[str, str]:
    """Return the values of a target's cell by factor; none where the experiment has one value of each."""
    cell = target.partition(" (")[2].removesuffix(")")
    return dict(part.split("=", 1) for part in cell.split(", ")) if cell else {}


def shift(env: str, variation: Mapping[str, Any]) -> Shift | None:
    """Return how many times an axis is its nominal value in an env; None where it departs otherwise.

    Args:
        env: its address, which may tell: `half-cheetah.gravity-1.5`, `half-cheetah?gravity=1.5`.
        variation: what it changes, as a run's record has it, which tells of a variant with a name of its own.
    """
    if any(isinstance(change, dict) and "value" in change for change in variation.values()):
        return None  # in units of its own, no multiple: `thigh-damping-9`
    return _named(address(env)) or _scaled(env, variation)


def _scaled(env: str, variation: Mapping[str, Any]) -> Shift | None:
    """Return the shift of a variant that scales one thing of one body: the size of the torso is `torso-size`."""
    changes = [(axis, change) for axis, change in variation.items() if isinstance(change, dict)]
    if len(variation) != 1 or not changes or changes[0][1].keys() != {"body", "scale"}:
        return None
    axis, change = changes[0]
    return Shift(robot(env), f"{change['body']}-{axis}", float(change["scale"]))


def _named(env: str) -> Shift | None:
    for separator, pattern in ((".", _VARIANT), ("?", _QUERY)):
        name, matched_separator, rest = env.partition(separator)
        match = pattern.fullmatch(rest) if matched_separator else None
        if match and float(match["value"]) > 0:
            return Shift(name, match["axis"], float(match["value"]))
    return None
