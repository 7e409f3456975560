"""One cohort in a process of its own, whoever started it."""

import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import torch

from trl_suite.experiment.cohorts import Cohort
from trl_suite.experiment.ledger import POLICY, RunFolder
from trl_suite.experiment.plan import Step
from trl_suite.networks.policy import load
from trl_suite.training import engines, settings
from trl_suite.training.engines import Result
from trl_suite.training.evaluation import Episode, mean_return
from trl_suite.training.job import Job, Outcome, Unwatched


@dataclass(frozen=True, kw_only=True)
class News:
    """What a worker tells the process that started it."""

    run: str  # folder of the run
    step: int
    value: float | None = None  # mean return, where the policy was just evaluated
    error: str | None = None
    done: bool = False


class _Reporter(Unwatched):
    """Writes one run's evaluations to its folder, tells the parent, and stops at SIGTERM."""

    def __init__(self, run: str, folder: RunFolder, parent: Connection, stop: "_Stop") -> None:
        self._run, self.folder, self._parent, self._stop = run, folder, parent, stop

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        self.folder.evaluated(step, episodes)
        self._parent.send(News(run=self._run, step=step, value=mean_return(episodes)))

    def advanced(self, step: int) -> None:
        self._parent.send(News(run=self._run, step=step))

    def stopping(self) -> bool:
        return self._stop.wanted

    def ended(self, result: Result) -> None:
        """Close the run's record."""
        if isinstance(result, Outcome):
            self.folder.finish(result)
            self._parent.send(News(run=self._run, step=result.steps, done=result.finished))
        else:
            self.folder.fail("".join(traceback.format_exception(result)))
            self._parent.send(News(run=self._run, step=0, error=f"{type(result).__name__}: {result}"))


class _Stop:
    """Becomes true at SIGTERM."""

    def __init__(self) -> None:
        self.wanted = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self.wanted = True


def work(root: Path, experiment: str, cohort: Cohort, parent: Connection) -> None:
    """Make the runs of one cohort and write their folders; the parent hears of progress and of failure."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    torch.set_num_threads(1)  # two threads for networks of this size are ten times slower
    stop = _Stop()
    reporters = [
        _Reporter(step.planned.folder, RunFolder(root, experiment, step), parent, stop) for step in cohort.steps
    ]
    jobs: list[Job] = []
    able: list[_Reporter] = []
    for step, reporter in zip(cohort.steps, reporters, strict=True):
        try:
            jobs.append(_job(root, step))
            able.append(reporter)
        except Exception as error:  # its source may be damaged: that is no fault of the others
            reporter.ended(error)
    for index, result in engines.train(cohort.engine, jobs, able, [one.folder.path for one in able]):
        able[index].ended(result)


def _job(root: Path, step: Step) -> Job:
    specification = step.specification
    return Job(
        env=step.planned.env,
        how=msgspec.convert(specification["hyperparameters"], settings.BY_ALGORITHM[specification["algorithm"]]),
        seed=step.planned.seed,
        steps=step.steps,
        evaluation=step.evaluation,
        method=step.planned.method,
        definition=step.definition,
        source=load(root / step.planned.source / POLICY) if step.planned.source else None,
        alias=specification["alias"],
        mix=tuple(specification["mix"]),
    )
