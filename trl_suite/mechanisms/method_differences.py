"""Factors in which two methods differ: a contrast between them says something of a factor where it is the only one."""

from collections.abc import Sequence

from trl_suite.mechanisms.methods import Method
from trl_suite.networks.components import LOG_STD

WORDS = ("summary", "paper")  # keys that are no part of what a method does
SELECTIONS = ("copy", "fresh", "freeze")  # keys that name components: layers, statistics and the rest are apart
STATISTICS = "normaliser"


def differences(first: Method, second: Method) -> tuple[str, ...]:
    """Return the factors in which two methods differ: keys, those that name components by the kind of these.

    Layers, statistics, the exploration's `log_std` and the rest (temperature, replay) are factors of their own:
    `copy of layers`, `copy of statistics`, `log_std`.
    """
    factors: list[str] = []
    for key in Method.__struct_fields__:
        before, after = getattr(first, key), getattr(second, key)
        if before == after or key in WORDS:
            continue
        factors += _by_kind(key, before, after) if key in SELECTIONS else [key]
    return tuple(dict.fromkeys(factors))


def _by_kind(key: str, before: Sequence[str], after: Sequence[str]) -> list[str]:
    kinds = dict.fromkeys(_kind(selector) for selector in sorted(set(before) ^ set(after)))
    return [f"{key} of {kind}" for kind in kinds]


def _kind(selector: str) -> str:
    head = selector.partition(".")[0]
    if head in ("actor", "critic"):
        return "layers"
    return {STATISTICS: "statistics", LOG_STD: LOG_STD}.get(head, head)
