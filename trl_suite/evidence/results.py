"""The results of an experiment, as a reader of runs gets them; everything else in evidence stands below this."""

from pathlib import Path

from trl_suite.evidence.collection import Collection


class Results(Collection):
    """An experiment's results: its measures, its evaluations as a table, its report."""


def load(runs: str | Path) -> Results:
    """Return the results of the experiment in a folder, complete or not.

    Raises:
        InputError: the folder holds no plan, or one that cannot be read.
    """
    return Results.read(Path(runs))
