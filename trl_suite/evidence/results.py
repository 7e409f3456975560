"""The results of an experiment, as a reader of runs gets them; everything else in evidence stands below this."""

from pathlib import Path
from typing import TYPE_CHECKING

from trl_suite.evidence import frames, report, tensorboard
from trl_suite.evidence.collection import Collection

if TYPE_CHECKING:
    import pandas as pd


class Results(Collection):
    """An experiment's results: `measures()`, its evaluations as a table, its report."""

    def frame(self) -> "pd.DataFrame":
        """Return one row per run and evaluation as a pandas data frame: see `frames.evaluations` for its columns."""
        return frames.evaluations(self)

    def runs(self) -> "pd.DataFrame":
        """Return one row per planned run: how it ended, and its own measures."""
        return frames.runs(self)

    def summary(self) -> "pd.DataFrame":
        """Return one row per env and method: the measures with their intervals."""
        return frames.summary(self)

    def report(self, path: str | Path) -> Path:
        """Write the report and return where it is: .html, .md, .csv, .tex, .parquet, or a folder of all of them.

        Raises:
            InputError: another ending, or it cannot be written.
            NotInstalledError: Parquet without pyarrow.
        """
        return report.save(self, Path(path))

    def tensorboard(self) -> Path:
        """Write what TensorBoard shows of the experiment as a whole into its folder and return where it is.

        Raises:
            InputError: it cannot be written.
        """
        return tensorboard.write(self)


def load(runs: str | Path) -> Results:
    """Return the results of the experiment in a folder, complete or not.

    Raises:
        InputError: the folder holds no plan, or one that cannot be read.
    """
    return Results.read(Path(runs))
