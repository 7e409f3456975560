"""Which engine makes a training, and one way to call either."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from trl_suite.training.job import Job, Outcome, Watcher
from trl_suite.training.sb3 import train as sb3

Engine = Literal["sb3", "cohort"]
Result = Outcome | Exception  # a training that failed takes none of the others with it


def train(
    engine: Engine, jobs: Sequence[Job], watchers: Sequence[Watcher], logs: Sequence[Path | None]
) -> Iterator[tuple[int, Result]]:
    """Yield (which job, its outcome or why it failed), each as soon as it is known.

    Args:
        engine: which engine.
        jobs: trainings; for the cohort engine all of one signature.
        watchers: one per job.
        logs: folder for each job's TensorBoard event files, or None.
    """
    for index, (job, watcher, folder) in enumerate(zip(jobs, watchers, logs, strict=True)):
        try:
            yield index, sb3.train(job, watcher, folder)
        except Exception as error:
            yield index, error
