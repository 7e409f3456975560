"""`experiment.toml`: where it lies, and how it is read."""

from pathlib import Path

import msgspec

from trl_suite import content, tables
from trl_suite.errors import InputError
from trl_suite.experiment.specification import factors
from trl_suite.experiment.specification.experiment_checks import check
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.experiment.tuning import tuning_file
from trl_suite.experiment.tuning.tuning_file import TUNING_FILE

EXPERIMENT_FILE = "experiment.toml"


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


def load(folder: Path) -> Experiment:
    """Return the experiment in a folder, checked.

    Raises:
        InputError: as `tables.read` and `experiment_checks.check` do.
    """
    path = folder / EXPERIMENT_FILE
    table = tables.load(path)
    if "tuning" in table:
        raise InputError(f"{path}: unknown key 'tuning': [tune] says what is searched; {TUNING_FILE} is made of it")
    experiment = factors.convert(table, str(path))
    for cell in factors.cells(experiment).values():
        check(path, cell)
    if experiment.tune is None:
        return experiment
    return msgspec.structs.replace(experiment, tuning=tuning_file.read(folder))
