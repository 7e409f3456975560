"""Making the runs of a plan on this machine: one process per run, as many at a time as there are cores."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from trl_suite.experiment import ledger
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
    step: Step
    process: BaseProcess
    news: Connection


class Pool:
    """Runs steps in processes of their own. One that dies takes nothing with it."""

    def __init__(self, root: Path, experiment: str, workers: int, listener: Listener) -> None:
        self._root, self._experiment, self._listener = root, experiment, listener
        self._size = workers
        self._running: list[_Worker] = []
        # A fork server imports torch once and owns no threads, so that a run starts at once and never inherits a lock.
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("forkserver") if forks else multiprocessing.get_context("spawn")
        self._context.set_forkserver_preload([work.__module__])

    def run(self, steps: list[Step]) -> Tally:
        """Make all steps that are not done, sources first; Ctrl-C stops them and is reported, not raised."""
        waiting = [step for step in steps if ledger.status_of(self._root, step) != "done"]
        sources = {step.planned.folder: step for step in steps}
        try:
            while waiting or self._running:
                self._start_ready(waiting, sources)
                if not self._running:
                    break  # what is left waits for a source that failed
                self._listen()
        except KeyboardInterrupt:
            self._stop()
            return self._tally(steps, waiting, interrupted=True)
        return self._tally(steps, waiting, interrupted=False)

    def _start_ready(self, waiting: list[Step], sources: dict[str, Step]) -> None:
        for step in list(waiting):
            if len(self._running) >= self._size:
                return
            source = sources.get(step.planned.source)
            if source is None or ledger.status_of(self._root, source) == "done":
                waiting.remove(step)
                self._start(step)

    def _start(self, step: Step) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(self._root, self._experiment, step, theirs), daemon=True)
        process.start()
        theirs.close()
        self._running.append(_Worker(step=step, process=process, news=ours))

    def _listen(self) -> None:
        """Wait until a run says something or ends, and take it in."""
        ready = wait([worker.news for worker in self._running])
        for worker in [worker for worker in self._running if worker.news in ready]:
            try:
                self._listener(worker.step, worker.news.recv())
            except (EOFError, OSError):  # the process is gone, and with it its end of the pipe
                self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        worker.news.close()
        self._running.remove(worker)
        if ledger.status_of(self._root, worker.step) == "running":
            code = worker.process.exitcode
            error = f"the process ended with code {code}" + (" (killed: out of memory?)" if code == -9 else "")
            ledger.mark_dead(self._root, worker.step, error)
            self._listener(worker.step, News(step=0, error=error))

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
