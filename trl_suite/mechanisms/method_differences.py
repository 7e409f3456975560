"""Factors in which two methods differ: a contrast between them says something of a factor where it is the only one."""

from collections.abc import Iterable

from trl_suite.mechanisms.methods import Method
from trl_suite.networks.components import LOG_STD

WORDS = ("summary", "paper")  # keys that are no part of what a method does
BY_COMPONENT = ("copy", "fresh", "freeze", "keep", "thaw", "rate", "shuffle")  # keys that name components
PART_OF = {"keep": "copy", "thaw": "freeze"}  # how much of it is copied, until when it is frozen
STATISTICS = "normaliser"


def differences(first: Method, second: Method) -> tuple[str, ...]:
    """Return the factors in which two methods differ: keys, those that name components by the kind of these.

    Layers, statistics, the exploration's `log_std` and the rest (temperature, replay) are factors of their own:
    `copy of layers`, `copy of statistics`, `log_std`.
    """
    factors: list[str] = []
    for key in Method.__struct_fields__:
        before, after = getattr(first, key), getattr(second, key)
        if before != after and key not in WORDS:
            factors += [f"{key} of {kind}" for kind in _kinds(before, after)] if key in BY_COMPONENT else [key]
    return tuple(factor for factor in dict.fromkeys(factors) if _whole(factor) not in factors)


def _kinds(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Return the kinds of the components that one of the keys' values treats otherwise than the other."""
    changed = set(_entries(before)) ^ set(_entries(after))
    return list(dict.fromkeys(_kind(selector) for selector, _ in sorted(changed)))


def _entries(value: Iterable[str]) -> list[tuple[str, float]]:
    """Return components with what is done to each, 1.0 where the key is a plain list of them."""
    return list(value.items()) if isinstance(value, dict) else [(selector, 1.0) for selector in value]


def _kind(selector: str) -> str:
    head = selector.partition(".")[0]
    if head in ("actor", "critic"):
        return "layers"
    return {STATISTICS: "statistics", LOG_STD: LOG_STD}.get(head, head)


def _whole(factor: str) -> str:
    """Return the factor that this one is a part of where both differ; "" for one that stands alone."""
    key, _, kind = factor.partition(" of ")
    return f"{PART_OF[key]} of {kind}" if key in PART_OF else ""
