"""Robots and tasks, their variants, and the proof that a variant is real; knows nothing of networks."""

import importlib
import sys
from types import ModuleType
from typing import Any

# modules that scripts and pickles of before version 0.1 import; where they are now is imported at the first use
_MOVED = {"env": "trl_suite.worlds.stepping.env", "mjcf": "trl_suite.worlds.model.mjcf"}


class _MovedModule(ModuleType):
    """A module under its former name."""

    def __getattr__(self, name: str) -> Any:
        """The attribute of the module as it is called now."""
        if name.startswith("__"):  # what importing itself asks for
            raise AttributeError(name)
        return getattr(importlib.import_module(_MOVED[self.__name__.rpartition(".")[2]]), name)


for _name in _MOVED:
    sys.modules.setdefault(f"{__name__}.{_name}", _MovedModule(f"{__name__}.{_name}"))
