"""TensorBoard's event files, which are a convenience: a disk that does not take them ends no training."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from torch.utils.tensorboard.writer import SummaryWriter

from trl_suite.training.acting.evaluation import Episode


class Events(TensorBoardOutputFormat):
    """SB3's output, which falls silent with one warning where it cannot be written."""

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = str(folder)
        self._is_closed = False
        # what an earlier attempt wrote from `step` on is not shown: this one writes it again
        self.writer = SummaryWriter(log_dir=self._folder, purge_step=step + 1 if step else None)

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        """Write the values of one step."""
        if self._is_closed:
            return
        try:
            super().write(key_values, key_excluded, step)
        except OSError as error:
            self._is_closed = True
            warnings.warn(f"{self._folder}: {error}; TensorBoard will not show the rest of this run", stacklevel=2)

    def close(self) -> None:
        """Flush and close the file."""
        try:
            super().close()
        except OSError:
            self._is_closed = True


def logger(folder: Path | None, step: int) -> Logger:
    """Return a logger that writes event files to a folder, from env step `step` on; or nowhere."""
    if folder is None:
        return Logger(folder=None, output_formats=[])
    return Logger(folder=str(folder), output_formats=[Events(folder, step)])


def log_evaluation(to: Logger, step: int, episodes: Sequence[Episode]) -> None:
    """Write the mean return and length of an evaluation's deterministic episodes."""
    to.record("eval/mean_reward", float(np.mean([episode.value for episode in episodes])))
    to.record("eval/mean_ep_length", float(np.mean([episode.length for episode in episodes])))
    to.dump(step)
