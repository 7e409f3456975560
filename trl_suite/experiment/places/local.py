"""Runs on this machine: in processes of their own, as many at a time as there are cores, or in this process."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from trl_suite.experiment.running.scheduler import EndedCohort
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.running.worker import CohortOrder, News, Tell, work
from trl_suite.training.engines import Device

PIPE_POLL_SECONDS = 0.2  # seconds; a signal is noticed as late as that
_ORPHANED = 75  # exit code of a worker whose parent is gone


@dataclass(kw_only=True)
class _Worker:
    order: CohortOrder
    process: BaseProcess
    line: Connection
    gpu: int | None = None  # which one is its own
    heard: float = field(default_factory=time.monotonic)
    hung: bool = False
    spoke: bool = False  # has said anything at all


class Processes:
    """Makes cohorts in processes of their own. One that dies takes nothing with it, and none outlives this one."""

    def __init__(self, workers: int, gpus: int = 0) -> None:
        self._slots: dict[Device, int] = {"cpu": workers, "cuda": gpus}
        self._workers: list[_Worker] = []
        self._stillborn: list[EndedCohort] = []  # cohorts whose worker could not be started
        # A fork server imports torch once and owns no threads, so that a run starts at once and never inherits a lock.
        forks = "forkserver" in multiprocessing.get_all_start_methods()
        self._context = multiprocessing.get_context("forkserver") if forks else multiprocessing.get_context("spawn")
        self._context.set_forkserver_preload([work.__module__])

    @property
    def busy(self) -> int:
        """How many cohorts are being made."""
        return len(self._workers) + len(self._stillborn)

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def slots(self, device: Device) -> int:
        """Return how many cohorts at a time: on the cores, or one on each GPU."""
        return self._slots[device]

    def has_room(self, device: Device) -> bool:
        """Return whether a core, or a GPU, has no cohort."""
        at_work = [worker.order.cohort.device for worker in self._workers]
        at_work += [ended.cohort.device for ended in self._stillborn]
        return at_work.count(device) < self._slots[device]

    def _free_gpu(self) -> int:
        """Return a GPU that no worker has."""
        return min(set(range(self._slots["cuda"])) - {worker.gpu for worker in self._workers})

    def start(self, order: CohortOrder) -> None:
        """Begin to make a cohort."""
        gpu = self._free_gpu() if order.cohort.device == "cuda" else None
        parent_end, worker_end = self._context.Pipe()
        process = self._context.Process(target=_begin, args=(order, worker_end, gpu), daemon=True)
        try:
            with _without_interrupts(), _without_plain_script():
                process.start()
        except (EOFError, ConnectionError) as error:  # the fork server is gone
            parent_end.close()
            self._stillborn.append(EndedCohort(order.cohort, f"no worker could be started: {type(error).__name__}"))
            return
        finally:
            worker_end.close()
        self._workers.append(_Worker(order=order, process=process, line=parent_end, gpu=gpu))

    def listen(self, tell: Tell) -> list[EndedCohort]:
        """Wait a moment, pass on what the workers say, and return those that are gone."""
        stillborn, self._stillborn = self._stillborn, []
        ready = wait([worker.line for worker in self._workers], 0.0 if stillborn else PIPE_POLL_SECONDS)
        return stillborn + [
            ended for worker in list(self._workers) if (ended := self._attend(worker, worker.line in ready, tell))
        ]

    def stop(self) -> None:
        """Ask all workers to keep what they have and to end."""
        for worker in self._workers:
            worker.process.terminate()

    def kill(self) -> None:
        """End all workers now."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.line.close()
        self._workers.clear()

    def _attend(self, worker: _Worker, speaks: bool, tell: Tell) -> EndedCohort | None:
        silence = worker.order.execution.silence
        if not speaks:
            if not worker.hung and time.monotonic() - worker.heard > silence:
                worker.hung = True
                worker.process.kill()
            return None
        worker.heard = time.monotonic()
        try:
            while worker.line.poll():
                tell(worker.line.recv())
                worker.spoke = True
        except (EOFError, OSError):  # the process is gone, and with it its end of the line
            return self._gone(worker)
        return None

    def _gone(self, worker: _Worker) -> EndedCohort:
        worker.process.join()
        worker.line.close()
        self._workers.remove(worker)
        code = worker.process.exitcode
        memory = " (killed: out of memory?)" if code == -9 else ""
        if not worker.spoke and code == 1:
            return EndedCohort(worker.order.cohort, f"the worker ended before its first word{_guard_advice()}")
        hung = f"hung: no sign of life for {worker.order.execution.silence:.0f} s"
        return EndedCohort(worker.order.cohort, hung if worker.hung else f"the process ended with code {code}{memory}")


@contextmanager
def _without_interrupts() -> Generator[None]:
    """Let what is started meanwhile inherit that SIGINT waits: Ctrl-C reaches the whole group, also the fork server."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # starting it lets SIGINT through again, before the fork server is there
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _without_plain_script() -> Generator[None]:
    """Keep workers from running a script again that has no `__main__` guard; with one, what it registers is there."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None or _is_guarded(file):
        yield
        return
    spec, main.__spec__ = main.__spec__, None
    del main.__file__
    try:
        yield
    finally:
        main.__spec__, main.__file__ = spec, file


def _is_guarded(file: str) -> bool:
    try:
        return "__main__" in Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:  # standard input, perhaps
        return False


def _guard_advice() -> str:
    file = getattr(sys.modules["__main__"], "__file__", None)
    if file is None or not file.endswith(".py"):
        return ""
    return f": workers import {file}; put what it does under `if __name__ == '__main__':`"


def _begin(order: CohortOrder, line: Connection, gpu: int | None) -> None:
    """Work in a process of its own; of several GPUs it sees one, or none where its runs are on the cores."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "" if gpu is None else visible_gpu(gpu)
    threading.Thread(target=_end_with, args=(line,), daemon=True).start()
    with Stop(ignore=(signal.SIGINT,)) as stop:  # Ctrl-C reaches the whole group; the parent decides what it means
        work(order, partial(_send, line), stop)


def visible_gpu(index: int) -> str:
    """CUDA's name of a GPU among those that this process may see."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible[index] if index < len(visible) else str(index)


def _end_with(parent: Connection) -> None:
    """End this process when its parent is gone: nothing comes on the line but its end."""
    try:
        parent.recv_bytes()
    except (EOFError, OSError):
        os._exit(_ORPHANED)


def _send(line: Connection, news: News) -> None:
    try:
        line.send(news)
    except OSError:  # nobody is left to hear it: what the run has kept is whole, and another attempt goes on from there
        os._exit(_ORPHANED)


class InProcess:
    """Makes one cohort after another in this process."""

    busy = 0

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._waiting: list[CohortOrder] = []

    def slots(self, device: Device) -> int:
        """Return 1: one cohort after the other."""
        return 1

    def has_room(self, device: Device) -> bool:
        """Return whether no cohort waits."""
        return not self.busy

    def start(self, order: CohortOrder) -> None:
        """Note the cohort; it is made when it is listened to."""
        self._waiting.append(order)
        self.busy = 1

    def listen(self, tell: Tell) -> list[EndedCohort]:
        """Make the cohort."""
        if not self._waiting:
            time.sleep(PIPE_POLL_SECONDS)
            return []
        order = self._waiting.pop()
        try:
            work(order, tell, self._stop)
        finally:
            self.busy = 0
        return [EndedCohort(order.cohort, "ended without a word")]

    def stop(self) -> None:
        """Nothing: the wish to stop is this process's own."""

    def kill(self) -> None:
        """Nothing: what is made here has ended."""
        self._waiting.clear()
        self.busy = 0
