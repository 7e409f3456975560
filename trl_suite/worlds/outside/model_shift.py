"""Shifts of envs of other packages: the model is edited and compiled anew while the env loads it, never afterwards.

An env derives much from its model when it is made: names, first positions, action ranges. So the env is given the
edited model in place of its file's, and what it writes into it later must leave the shift as it is.
"""

import copy
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import mujoco
import numpy as np

from trl_suite.errors import InputError
from trl_suite.worlds.axes.model_axes import MODEL, SHAPE
from trl_suite.worlds.axes.promises import fields_of
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.model.compilation import ShiftedFile, shifted_file

_OF_THE_ENV = {
    "timestep": "the env fixes how long a step is",
    "terrain": "the env counts on a flat floor",
    "backlash": "the env reads all joints of its model, and play adds some",
}
_ONE_AT_A_TIME = threading.RLock()  # MuJoCo's loader is one for the whole process
SHIFTED_FILES = 16  # edited models that are remembered


class ShiftedModel(NamedTuple):
    """Model that an env was given, and the two that it comes from."""

    live: mujoco.MjModel  # the env's own, into which it may write
    file: ShiftedFile


def refuse_outside_axes(variation: Variation) -> None:
    """Refuse axes that do not act on the model alone.

    Raises:
        InputError: an axis is of the suite's own tasks, sensors or motors, or the env itself fixes what it changes.
    """
    for axis, _ in variation.axes():
        if axis not in MODEL and axis not in SHAPE:
            axes = ", ".join(name for name in (*MODEL, *SHAPE) if name not in _OF_THE_ENV)
            raise InputError(f"{axis} does not apply: of an env of another package these axes can change: {axes}")
        if axis in _OF_THE_ENV:
            raise InputError(f"{axis} does not apply: {_OF_THE_ENV[axis]}")


@contextmanager
def shifted_models(variation: Variation) -> Generator[list[ShiftedModel]]:
    """Give every env that is made inside the edited model of the file that it asks MuJoCo for; yields those given."""
    loaded: list[ShiftedModel] = []
    written = msgspec.json.encode(variation)

    def load(filename: str, *_: Any, **__: Any) -> mujoco.MjModel:
        path = Path(filename)
        file = _shifted(path, path.stat().st_mtime_ns, written)
        loaded.append(ShiftedModel(copy.copy(file.edited), file))
        return loaded[-1].live

    loader: Any = mujoco.MjModel
    with _ONE_AT_A_TIME:
        original = vars(mujoco.MjModel)["from_xml_path"]
        loader.from_xml_path = staticmethod(load)
        try:
            yield loaded
        finally:
            loader.from_xml_path = original


@lru_cache(maxsize=SHIFTED_FILES)
def _shifted(path: Path, _changed: int, written: bytes) -> ShiftedFile:
    return shifted_file(path, msgspec.json.decode(written, type=Variation))


def refuse_overwritten(shift: ShiftedModel, variation: Variation) -> None:
    """Refuse a shift of which the env has written over a part.

    Raises:
        InputError: a number that the axes change is not what they make of it; the field is named.
    """
    nominal, edited, live = map(fields_of, (shift.file.nominal, shift.file.edited, shift.live))
    for name, value in edited.items():
        if value.shape != nominal[name].shape or value.dtype.kind not in "iufb":
            continue
        changed = value != nominal[name]
        if np.any(changed & (live[name] != value)):
            axes = ", ".join(axis for axis, _ in variation.axes())
            raise InputError(f"{axes} does not apply: the env itself writes '{name}' of its model")
