"""Which methods stand for all of them in the quick tests."""

from collections.abc import Iterable, Iterator

import pytest

from trl_suite.mechanisms import methods


def quick_first(names: Iterable[str]) -> Iterator[tuple[str, tuple[pytest.MarkDecorator, ...]]]:
    """Each method with its marks: slow, where methods before it have every mechanism that it has."""
    seen: set[str] = set()
    for name in names:
        active = {mechanism.name for mechanism in methods.active(methods.find(name))} or {"none"}
        yield name, () if active - seen else (pytest.mark.slow,)
        seen |= active
