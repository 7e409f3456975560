"""SB3's logger on a run's event file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import KVWriter, Logger

from trl_suite.training.run_log import EventFile


class Events(KVWriter):
    """SB3's output of numbers to a run's event file."""

    def __init__(self, folder: Path, step: int) -> None:
        self._file = EventFile(folder, step)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write the numbers of one step."""
        numbers = {
            key: float(value)
            for key, value in key_values.items()
            if isinstance(value, int | float | np.number) and "tensorboard" not in (key_excluded.get(key) or ())
        }
        self._file.write(numbers, step)

    def close(self) -> None:
        """End the file."""
        self._file.close()


def logger(folder: Path | None, step: int) -> Logger:
    """Return a logger that writes event files to a folder, from env step `step` on; or nowhere."""
    if folder is None:
        return Logger(folder=None, output_formats=[])
    return Logger(folder=str(folder), output_formats=[Events(folder, step)])


def log_scalars(to: Logger, step: int, values: Mapping[str, float]) -> None:
    """Write values at an env step."""
    for name, value in values.items():
        to.record(name, value)
    to.dump(step)
