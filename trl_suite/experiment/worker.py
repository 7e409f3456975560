"""One run in a process of its own, whoever started it."""

import signal
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import torch

from trl_suite.experiment.ledger import POLICY, RunFolder
from trl_suite.experiment.plan import Step
from trl_suite.networks.policy import load
from trl_suite.training import settings
from trl_suite.training.evaluation import Episode, mean_return
from trl_suite.training.job import Job
from trl_suite.training.sb3.train import train


@dataclass(frozen=True, kw_only=True)
class News:
    """What a worker tells the process that started it."""

    step: int
    value: float | None = None  # mean return, where the policy was just evaluated
    error: str | None = None


class _Reporter:
    """Writes evaluations to the run's folder, tells the parent, and stops at SIGTERM."""

    def __init__(self, folder: RunFolder, parent: Connection) -> None:
        self._folder, self._parent = folder, parent
        self._stop = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self._stop = True

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        self._folder.evaluated(step, episodes)
        self._parent.send(News(step=step, value=mean_return(episodes)))

    def advanced(self, step: int) -> None:
        self._parent.send(News(step=step))

    def stopping(self) -> bool:
        return self._stop


def work(root: Path, experiment: str, step: Step, parent: Connection) -> None:
    """Make one run and write its folder; the parent hears of progress and of failure."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    torch.set_num_threads(1)  # two threads for networks of this size are ten times slower
    folder = RunFolder(root, experiment, step)
    reporter = _Reporter(folder, parent)
    try:
        folder.finish(train(_job(root, step), reporter, logs=folder.path))
    except Exception as error:  # one failed run must not take others with it
        folder.fail(traceback.format_exc())
        parent.send(News(step=0, error=f"{type(error).__name__}: {error}"))


def _job(root: Path, step: Step) -> Job:
    specification = step.specification
    return Job(
        env=step.planned.env,
        how=msgspec.convert(specification["hyperparameters"], settings.BY_ALGORITHM[specification["algorithm"]]),
        seed=step.planned.seed,
        steps=specification["steps"],
        evaluation=step.evaluation,
        method=step.planned.method,
        definition=step.definition,
        source=load(root / step.planned.source / POLICY) if step.planned.source else None,
        alias=specification["alias"],
        mix=tuple(specification["mix"]),
        upbringing=msgspec.convert(specification.get("upbringing", {}), settings.Upbringing),
        head_start=specification.get("head_start", 0),
    )
