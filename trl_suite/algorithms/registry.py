"""The algorithms that exist: every file of this room that has a `DESCRIPTOR`. An algorithm's name is its file's."""

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trl_suite.algorithms.descriptor import AlgorithmDescriptor
from trl_suite.errors import unknown

_FILES = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
_ALGORITHM_MODULES = {name: import_module(f"trl_suite.algorithms.{name}") for name in _FILES if name != "registry"}
DESCRIPTORS: dict[str, AlgorithmDescriptor] = {
    name: module.DESCRIPTOR for name, module in _ALGORITHM_MODULES.items() if hasattr(module, "DESCRIPTOR")
}

if TYPE_CHECKING:
    Algorithm = str
else:
    Algorithm = Literal[tuple(DESCRIPTORS)]  # read strictly from files and the command line
    """Name of an algorithm."""


def find(name: str) -> AlgorithmDescriptor:
    """Return the descriptor of an algorithm.

    Raises:
        InputError: there is none of that name; the message lists those that exist.
    """
    if name not in DESCRIPTORS:
        raise unknown("algorithm", name, DESCRIPTORS)
    return DESCRIPTORS[name]
