"""Making the runs of a plan on this machine: one process per cohort, as many at a time as there are cores."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from trl_suite.experiment import ledger
from trl_suite.experiment.cohorts import Cohort, Group, Queue, alone
from trl_suite.experiment.plan import Step
from trl_suite.experiment.worker import News, work

GRACE = 30.0  # seconds that a run has to stop by itself: Slurm gives as many

Listener = Callable[[Step, News], None]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How an experiment ended."""

    done: list[Step] = field(default_factory=list[Step])
    failed: list[Step] = field(default_factory=list[Step])
    skipped: list[Step] = field(default_factory=list[Step])  # their source is missing
    interrupted: bool = False


@dataclass(kw_only=True)
class _Worker:
    cohort: Cohort
    process: BaseProcess
    news: Connection


class Pool:
    """Makes cohorts in processes of their own. One that dies takes nothing with it."""

    def __init__(self, root: Path, experiment: str, workers: int, listener: Listener) -> None:
        self._root, self._experiment, self._listener = root, experiment, listener
        self._size = workers
        self._running: list[_Worker] = []
        # A fork server imports torch once and owns no threads, so that a run starts at once and never inherits a lock.
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("forkserver") if forks else multiprocessing.get_context("spawn")
        self._context.set_forkserver_preload([work.__module__])

    def run(self, steps: list[Step], group: Callable[[Step], Group] = alone) -> Tally:
        """Make all steps that are not done, sources first; Ctrl-C stops them and is reported, not raised."""
        self._steps = {step.planned.folder: step for step in steps}
        self._done = {step.planned.folder for step in steps if ledger.status_of(self._root, step) == "done"}
        queue = Queue([step for step in steps if step.planned.folder not in self._done], self._size, group)
        try:
            while queue.steps or self._running:
                self._start_ready(queue)
                if not self._running:
                    break  # what is left waits for a source that failed
                self._listen()
        except KeyboardInterrupt:
            self._stop()
            return self._tally(steps, queue.steps, interrupted=True)
        return self._tally(steps, queue.steps, interrupted=False)

    def _start_ready(self, queue: Queue) -> None:
        while len(self._running) < self._size and (cohort := queue.take(self._ready)):
            self._start(cohort)

    def _ready(self, step: Step) -> bool:
        source = step.planned.source
        return source not in self._steps or source in self._done

    def _start(self, cohort: Cohort) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(self._root, self._experiment, cohort, theirs), daemon=True)
        process.start()
        theirs.close()
        self._running.append(_Worker(cohort=cohort, process=process, news=ours))

    def _listen(self) -> None:
        """Wait until a cohort says something or ends, and take it in."""
        ready = wait([worker.news for worker in self._running])
        for worker in [worker for worker in self._running if worker.news in ready]:
            try:
                self._hear(worker.news.recv())
            except (EOFError, OSError):  # the process is gone, and with it its end of the pipe
                self._bury(worker)

    def _hear(self, news: News) -> None:
        if news.done:
            self._done.add(news.run)
        self._listener(self._steps[news.run], news)

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.news.close()
        self._running.remove(worker)
        code = worker.process.exitcode
        error = f"the process ended with code {code}" + (" (killed: out of memory?)" if code == -9 else "")
        for step in worker.cohort.steps:
            if ledger.status_of(self._root, step) == "running":
                ledger.mark_dead(self._root, step, error)
                self._listener(step, News(run=step.planned.folder, step=0, error=error))

    def _stop(self) -> None:
        """Let every run end its step and write its record; a second Ctrl-C kills."""
        try:
            for worker in self._running:
                worker.process.terminate()
            for worker in self._running:
                worker.process.join(GRACE)
        except KeyboardInterrupt:
            pass
        for worker in list(self._running):
            if worker.process.is_alive():
                worker.process.kill()
            self._bury(worker)

    def _tally(self, steps: list[Step], waiting: list[Step], interrupted: bool) -> Tally:
        states = {step.planned.folder: ledger.status_of(self._root, step) for step in steps}
        return Tally(
            done=[step for step in steps if states[step.planned.folder] == "done"],
            failed=[step for step in steps if states[step.planned.folder] == "failed"],
            skipped=[] if interrupted else list(waiting),
            interrupted=interrupted,
        )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
