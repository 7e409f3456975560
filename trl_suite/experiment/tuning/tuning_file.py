"""`tuning.json` beside `experiment.toml`: all trials of a search, and what was best for each method on each target."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trl_suite import files, record
from trl_suite.errors import InputError

TUNING_FILE = "tuning.json"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One set of hyperparameters, tried on every tuning seed."""

    number: int
    hyperparameters: dict[str, Any]  # those that are searched
    value: float | None  # mean over seeds of what is maximised; None where a run failed
    by_seed: tuple[float, ...] = ()  # in the order of the seeds
    env_steps: int = 0  # of all its runs
    seconds: float = 0.0


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """All trials of one method on one target; the first is that of the untuned hyperparameters."""

    env: str
    method: str
    trials: tuple[Trial, ...]

    @property
    def ranked(self) -> list[Trial]:
        """Trials that came to an end, the best first."""
        return sorted((t for t in self.trials if t.value is not None), key=lambda t: -(t.value or 0.0))

    @property
    def best(self) -> Trial:
        """Best trial.

        Raises:
            InputError: all of them failed.
        """
        if not self.ranked:
            raise InputError(f"{self.env}, {self.method}: every trial failed; narrow [tune.ranges]")
        return self.ranked[0]

    @property
    def median(self) -> float:
        """Median value of the trials that came to an end."""
        return float(np.median([trial.value for trial in self.ranked if trial.value is not None]))


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """A finished search."""

    digest: str  # of what was searched: see `tuning_trials.digest_of`
    options: dict[str, Any]  # `[tune]`
    studies: tuple[Study, ...]
    source_steps: int = 0  # env steps of the sources that were trained for the trials
    command: tuple[str, ...] = ()
    commit: str = ""
    dirty: bool = False
    versions: dict[str, str] = {}
    machine: dict[str, str] = {}
    schema: int = record.RECORD_SCHEMA

    @property
    def note(self) -> str:
        """One line for the reader: which runs have other hyperparameters than those named before it."""
        names = ", ".join(dict.fromkeys(study.method for study in self.studies))
        searched = ", ".join(self.options["ranges"])
        return f"{names}: {searched} are the best of {TUNING_FILE}'s trials, per target"

    def values(self, env: str, method: str) -> Mapping[str, Any]:
        """Hyperparameters that were best for a method on a target; none for what was not tuned."""
        for study in self.studies:
            if (study.env, study.method) == (env, method):
                return study.best.hyperparameters
        return {}


def write(folder: Path, tuning: Tuning) -> Path:
    """Write a search beside its experiment; return the file.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = folder / TUNING_FILE
    with files.storing(path):
        files.write_atomically(path, record.encode(tuning))
    return path


def read(folder: Path) -> Tuning | None:
    """Finished search of an experiment; None where there is none.

    Raises:
        InputError: the file cannot be read, or is none of a search.
    """
    path = folder / TUNING_FILE
    return record.decode(path, Tuning) if path.is_file() else None
