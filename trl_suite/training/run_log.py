"""TensorBoard's event file of one run, for every engine; a disk that refuses it ends no training."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.tensorboard.writer import SummaryWriter

from trl_suite.training.acting.evaluation import Episode, Mode, success_rate

_EVALUATION_PREFIXES: Mapping[Mode, str] = {"deterministic": "", "stochastic": "stochastic_"}


class EventFile:
    """The event file of one run; it falls silent with one warning where it cannot be written.

    Args:
        folder: where it lies.
        step: env steps that an earlier attempt made; what that attempt wrote from then on is not shown.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder = str(folder)
        self._closed = False
        self._writer = SummaryWriter(log_dir=self._folder, purge_step=step + 1 if step else None)

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write the values of one env step, by name."""
        if self._closed:
            return
        try:
            for name, value in sorted(values.items()):
                self._writer.add_scalar(name, value, step)  # pyright: ignore[reportUnknownMemberType]
            self._writer.flush()
        except OSError as error:
            self._closed = True
            warnings.warn(f"{self._folder}: {error}; TensorBoard will not show the rest of this run", stacklevel=2)

    def close(self) -> None:
        """Flush and close the file."""
        try:
            if not self._closed:
                self._writer.close()
        except OSError:
            pass
        self._closed = True


class RunLog:
    """The scalars of one run, gathered and then written at one env step; without a folder they go nowhere.

    Args:
        folder: of the event file, or None.
        step: see `EventFile`.
    """

    def __init__(self, folder: Path | None, step: int) -> None:
        self._file = EventFile(folder, step) if folder is not None else None
        self._values: dict[str, float] = {}

    @property
    def writes(self) -> bool:
        """Whether what is recorded goes anywhere."""
        return self._file is not None

    def record(self, name: str, value: float) -> None:
        """Remember a value for the next `dump`."""
        self._values[name] = value

    def dump(self, step: int) -> None:
        """Write what was recorded since the last time."""
        if self._file is not None:
            self._file.write(self._values, step)
        self._values = {}

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._file.close()


def of_evaluation(episodes: Sequence[Episode]) -> dict[str, float]:
    """Return the scalars of an evaluation: mean return and length, of drawn actions under names of their own."""
    scalars: dict[str, float] = {}
    for mode, prefix in _EVALUATION_PREFIXES.items():
        if of_mode := [episode for episode in episodes if episode.mode == mode]:
            scalars[f"eval/{prefix}mean_reward"] = float(np.mean([episode.value for episode in of_mode]))
            scalars[f"eval/{prefix}mean_ep_length"] = float(np.mean([episode.length for episode in of_mode]))
            if (rate := success_rate(of_mode)) is not None:
                scalars[f"eval/{prefix}success_rate"] = rate
    return scalars
