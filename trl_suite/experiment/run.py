"""`trl_suite.run`: all runs of an experiment that are not done yet."""

from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from trl_suite.errors import InputError
from trl_suite.experiment import ledger, plan, probes, progress, retention, spec
from trl_suite.experiment.execution import Pool, Tally, cores
from trl_suite.experiment.plan import Step
from trl_suite.experiment.spec import Experiment
from trl_suite.training.train import one_thread


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
    ledger.write_plan(root, plan.plan(name, specification, f"trl-suite run {experiment}"))
    console = Console(quiet=quiet)
    try:
        with FileLock(root / ".lock", timeout=0), progress.display(console, steps) as display:
            tally = Pool(root, name, workers or cores(), display.heard).run(steps)
            notes = [] if tally.interrupted else _afterwards(root, specification, steps)
    except Timeout:
        raise InputError(f"{root}: another process is at work there") from None
    for note in notes:
        console.print(note, style="yellow", highlight=False, soft_wrap=True, markup=False)
    return Finished(folder=root, tally=tally)


def _afterwards(root: Path, experiment: Experiment, steps: list[Step]) -> list[str]:
    """Measure on the finished runs what the experiment asks for besides them; return what could not be."""
    with one_thread():
        if experiment.probes:
            probes.write(root, steps, experiment.probes, experiment.alias)
        return retention.write(root, steps) if experiment.retention else []
