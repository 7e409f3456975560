"""`trl_suite.run`: all runs of an experiment that are not done yet."""

from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from trl_suite.errors import InputError
from trl_suite.experiment import ledger, plan, progress, spec
from trl_suite.experiment.execution import Pool, Tally, cores
from trl_suite.experiment.grouping import Grouping


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Where an experiment's runs are, and how they ended."""

    folder: Path
    tally: Tally


def run(
    experiment: str | Path, *, runs: Path = Path("runs"), workers: int | None = None, quiet: bool = True
) -> Finished:
    """Make the experiment's runs and return where they are; what is done already is not done again.

    Args:
        experiment: folder of `experiment.toml`, or the name of a shipped experiment.
        runs: the experiment's run folders are kept in `runs/<experiment>/`.
        workers: runs at a time; as many as there are cores where not given.
        quiet: show no progress.

    Raises:
        InputError: the file is wrong, the folder cannot be written, or another process is at work in it.
    """
    source = spec.locate(str(experiment))
    specification = spec.load(source)
    if workers is not None and workers < 1:
        raise InputError(f"workers: {workers}; at least 1")
    name = source.resolve().name
    root = runs / name
    steps = plan.steps(specification)
    grouping = Grouping(specification, workers or cores())
    ledger.write_plan(root, plan.plan(name, specification, f"trl-suite run {experiment}"))
    console = Console(quiet=quiet)
    try:
        with FileLock(root / ".lock", timeout=0), progress.display(console, steps) as display:
            tally = Pool(root, name, grouping.workers, display.heard).run(steps, grouping)
    except Timeout:
        raise InputError(f"{root}: another process is at work there") from None
    return Finished(folder=root, tally=tally)
