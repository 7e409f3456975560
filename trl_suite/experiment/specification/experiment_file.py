"""An experiment from where it is written: a file or its folder, a name, TOML text, a table, or an `Experiment`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import tomli_w

from trl_suite import content, files, tables
from trl_suite.errors import InputError
from trl_suite.experiment.specification import factors
from trl_suite.experiment.specification.experiment_checks import check
from trl_suite.experiment.specification.experiment_keys import Experiment, ExperimentKeys
from trl_suite.experiment.specification.fit_checks import check_fit
from trl_suite.experiment.specification.table_overrides import overridden, read_strictly
from trl_suite.experiment.tuning import tuning_file
from trl_suite.experiment.tuning.tuning_file import TUNING_FILE

EXPERIMENT_FILE = "experiment.toml"
NAME_CHARACTERS_MAX = 60  # of a name that is made of a question


@dataclass(frozen=True, kw_only=True)
class NamedExperiment:
    """An experiment that has been read and checked."""

    name: str  # of its folder of runs
    label: str  # opens the message of every error: the file
    origin: str  # the folder of its file, as it was given; "" where no file holds it
    table: dict[str, Any]  # as written, with what was overridden
    experiment: Experiment

    @property
    def on_disk(self) -> bool:
        """Whether a file holds it."""
        return bool(self.origin)

    def store(self, folder: Path) -> None:
        """Write the table beside its runs where no file holds it, so that a command can go on with it.

        Raises:
            StorageError: it cannot be written.
        """
        if not self.on_disk:
            with files.storing(folder):
                files.write_atomically(folder / EXPERIMENT_FILE, tomli_w.dumps(self.table).encode())


def read(
    where: "str | Path | Mapping[str, Any] | Experiment",
    *,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    seeds: Sequence[int] | None = None,
) -> NamedExperiment:
    """Return an experiment, checked.

    Args:
        where: a folder with `experiment.toml` or that file, the name of a shipped experiment, TOML text of several
            lines, a table as that file holds it, or an `Experiment`.
        name: of its folder of runs; that of the file's folder, or made of the question, where not given.
        overrides: dotted key -> value, in place of the table's.
        seeds: in place of the table's.

    Raises:
        InputError: there is none, or it is wrong; file and key are named.
        TypeError: it is nothing of which an experiment can be read.
    """
    label, origin, table = _table_of(where)
    values = dict(overrides or {})
    if seeds is not None:
        if "seeds" in values:
            raise InputError("seeds: is set twice")
        values["seeds"] = list(seeds)
    if values:
        table = overridden(table, read_values(values, label), label)
    if "tuning" in table:
        raise InputError(f"{label}: unknown key 'tuning': [tune] says what is searched; {TUNING_FILE} is made of it")
    experiment = factors.convert(table, label)
    for cell in factors.cells(experiment).values():
        check(label, cell)
        check_fit(label, cell)
    if experiment.tune is not None and origin is not None:
        experiment = msgspec.structs.replace(experiment, tuning=tuning_file.read(origin))
    return NamedExperiment(
        name=_checked_name(name) if name else _name(origin, experiment),
        label=label,
        origin=str(origin or ""),
        table=table,
        experiment=experiment,
    )


def read_values(values: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return the values as TOML would give them."""
    return {key: read_strictly({"value": value}, f"{label}: {key}")["value"] for key, value in values.items()}


def load(folder: Path) -> Experiment:
    """Return the experiment in a folder, checked.

    Raises:
        InputError: as `read` does.
    """
    return read(folder).experiment


def glance(folder: Path) -> Experiment:
    """Return the experiment in a folder for a list: its keys are right, and whether it fits its envs is not asked.

    Raises:
        InputError: the file cannot be read, or a key is wrong.
    """
    label, _, table = _table_of(folder)
    return factors.convert(table, label)


def locate(where: str) -> Path:
    """Return the experiment's folder: a path, or the name of one in the workspace or in the suite.

    Raises:
        InputError: there is none; the message lists those that exist.
    """
    path = Path(where)
    folder = path.parent if path.name == EXPERIMENT_FILE else path
    if (folder / EXPERIMENT_FILE).is_file():
        return folder
    if folder.parent.name not in ("", "experiments"):  # neither a name nor `experiments/NAME`: it leads nowhere
        raise InputError(
            f"{folder / EXPERIMENT_FILE}: no such file; name a folder with one, or an experiment: {folder.name}"
        )
    return content.find("experiments", folder.name)


def _table_of(where: object) -> tuple[str, Path | None, dict[str, Any]]:
    """Return the opening of messages, the folder that holds the file or None, and the table."""
    if isinstance(where, ExperimentKeys):
        return "Experiment", None, read_strictly(_as_written(where), "Experiment")
    if isinstance(where, Mapping):
        return "experiment", None, read_strictly(cast(Mapping[str, Any], where), "experiment")
    if isinstance(where, str) and "\n" in where:
        return "experiment", None, tables.parse(where, "experiment")
    if isinstance(where, str | Path):
        folder = locate(str(where))
        path = folder / EXPERIMENT_FILE
        return str(path), folder, tables.load(path)
    raise TypeError(
        "an experiment is a folder with experiment.toml, a name, TOML text, a dict, or a trl_suite.Experiment, not a "
        f"{type(where).__name__}"
    )


def _as_written(experiment: Experiment) -> dict[str, Any]:
    """Return the keys of an `Experiment` that are not as they are by default."""
    plain = {field.name: field.default for field in msgspec.structs.fields(experiment)}
    table = cast(dict[str, Any], msgspec.to_builtins(experiment)) | experiment.factors
    names = [key for key in table if key in experiment.factors or getattr(experiment, key) != plain[key]]
    return {key: table[key] for key in names if key not in ("factors", "tuning")}


def _name(folder: Path | None, experiment: Experiment) -> str:
    if folder is not None:
        return folder.resolve().name
    words = re.sub(r"[^a-z0-9]+", "-", experiment.question.lower()).strip("-")
    return words[:NAME_CHARACTERS_MAX].rstrip("-") or "experiment"


def _checked_name(name: str) -> str:
    if not content.is_plain(name):
        raise InputError(f"name: {name!r} is no name of a folder: {content.PLAIN_RULE}")
    return name
