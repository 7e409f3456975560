"""Making the runs of a plan, wherever that is: what is ready next, what is tried again, and when to stop."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from trl_suite.errors import StorageError
from trl_suite.experiment.planning.cohort_queue import Cohort, Group, Queue, alone
from trl_suite.experiment.planning.grid import Step
from trl_suite.experiment.running import run_folder
from trl_suite.experiment.running.lease import Observer
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.running.worker import News, Task, Tell
from trl_suite.experiment.specification.experiment_file import Execution

GRACE = 25.0  # seconds that runs have to stop by themselves: Slurm gives thirty
LOOK = 2.0  # seconds between two looks at the runs that other processes make


class Listener(Protocol):
    """Is told how it goes."""

    def began(self, cohort: Cohort) -> None:
        """Take note that a cohort is being made."""

    def heard(self, step: Step, news: News) -> None:
        """Take what a run says."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How an experiment ended."""

    done: list[Step] = field(default_factory=list[Step])
    failed: list[Step] = field(default_factory=list[Step])
    skipped: list[Step] = field(default_factory=list[Step])  # their source is missing
    refused: dict[str, str] = field(default_factory=dict[str, str])  # folders left alone, and why
    stopped_by: signal.Signals | None = None
    storage: StorageError | None = None  # what ended everything: a disk that is full or cannot be written

    @property
    def interrupted(self) -> bool:
        """Whether runs were stopped that can go on."""
        return self.stopped_by is not None


class Ended(NamedTuple):
    """A worker is gone."""

    cohort: Cohort
    error: str  # why its runs have failed, where they have not said how they ended


class Place(Protocol):
    """Where cohorts are made: this process, others on this machine, a cluster."""

    @property
    def size(self) -> int:
        """How many cohorts at a time."""
        ...

    @property
    def busy(self) -> int:
        """How many cohorts are being made."""
        ...

    def start(self, task: Task) -> None:
        """Begin to make a cohort."""
        ...

    def listen(self, tell: Tell) -> list[Ended]:
        """Wait a moment, pass on what the workers say, and return those that are gone."""
        ...

    def stop(self) -> None:
        """Ask all workers to keep what they have and to end."""
        ...

    def kill(self) -> None:
        """End all workers now."""
        ...


class Scheduler:
    """Makes all runs of a plan that are not done, sources first, beside others that do the same on the same folder."""

    def __init__(
        self,
        root: Path,
        experiment: str,
        place: Place,
        listener: Listener,
        *,
        execution: Execution,
        mix_versions: bool = False,
        group: Callable[[Step], Group] = alone,
    ) -> None:
        self._root, self._experiment, self._place, self._listener = root, experiment, place, listener
        self._execution, self._mix_versions, self._group = execution, mix_versions, group
        self._observer = Observer()
        self._elsewhere: dict[str, Step] = {}
        self._looked = 0.0
        self._storage: StorageError | None = None

    def run(self, steps: Sequence[Step], stop: Stop) -> Tally:
        """Return how it ended; a signal stops the runs and is reported, not raised; a second Ctrl-C kills them."""
        self._stop = stop
        self._steps = {step.planned.folder: step for step in steps}
        states = {name: run_folder.state_of(self._root, step) for name, step in self._steps.items()}
        self._done = {name for name, state in states.items() if state.condition == "done"}
        self._refused = {name: state.why for name, state in states.items() if state.condition == "refused"}
        for name in self._done:
            run_folder.tidy(self._root, self._steps[name])
        self._allowed = {name: state.failures + self._execution.retries for name, state in states.items()}
        self._failed: set[str] = set()
        self._retried: set[str] = set()  # have failed and go back to the queue
        self._open: set[str] = set()  # handed to a worker that has not said how they ended
        settled = self._done | self._refused.keys()
        queue = Queue([step for step in steps if step.planned.folder not in settled], self._place.size, self._group)
        try:
            self._drain(queue)
            if stop.wanted or self._storage:
                self._wind_down()
        except KeyboardInterrupt:
            pass
        finally:
            self._place.kill()
        return self._tally(queue)

    def _drain(self, queue: Queue) -> None:
        while not self._stop.wanted and not self._storage:
            self._start_ready(queue)
            if not self._place.busy and not self._elsewhere:
                return  # all is done, or what is left waits for a source that failed
            for ended in self._place.listen(self._hear):
                self._bury(ended)
            self._look_elsewhere(queue)
            self._try_again(queue)

    def _start_ready(self, queue: Queue) -> None:
        while self._place.busy < self._place.size and not self._stop.wanted and (cohort := queue.take(self._ready)):
            free = tuple(step for step in cohort.steps if self._free(step))
            if free:
                self._start(replace(cohort, steps=free))

    def _start(self, cohort: Cohort) -> None:
        self._open |= {step.planned.folder for step in cohort.steps}
        self._listener.began(cohort)
        self._place.start(self._task(cohort))

    def _task(self, cohort: Cohort) -> Task:
        return Task(
            root=self._root,
            experiment=self._experiment,
            cohort=cohort,
            execution=self._execution,
            mix_versions=self._mix_versions,
        )

    def _ready(self, step: Step) -> bool:
        source = step.planned.source
        return source not in self._steps or source in self._done

    def _free(self, step: Step) -> bool:
        """Return whether nobody makes the run; if somebody does, it is looked at again from time to time."""
        if self._observer.lives(self._root / step.planned.folder):
            self._elsewhere[step.planned.folder] = step
            return False
        return True

    def _hear(self, news: News) -> None:
        self._storage = self._storage or news.storage
        if news.done:
            self._done.add(news.run)
        if news.error is not None:
            (self._retried if self._may_retry(news) else self._failed).add(news.run)
        if news.stopped and not self._stop.wanted:  # by somebody else: a cluster wants its machine back
            self._retried.add(news.run)
        if news.elsewhere:
            self._elsewhere[news.run] = self._steps[news.run]
        if news.done or news.error is not None or news.elsewhere or news.stopped:
            self._open.discard(news.run)
        self._listener.heard(self._steps[news.run], news)

    def _bury(self, ended: Ended) -> None:
        """Close the records of a worker's runs that have not said how they ended."""
        for step in ended.cohort.steps:
            if step.planned.folder in self._open:
                run_folder.mark_dead(self._root, step, ended.error)
                self._hear(News(run=step.planned.folder, error=ended.error, again=True))

    def _may_retry(self, news: News) -> bool:
        if not news.again or news.storage:
            return False
        return run_folder.state_of(self._root, self._steps[news.run]).failures <= self._allowed[news.run]

    def _try_again(self, queue: Queue) -> None:
        while self._retried:
            queue.put(self._steps[self._retried.pop()])

    def _look_elsewhere(self, queue: Queue) -> None:
        """See whether runs that others make are done, or their makers dead."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        for name, step in list(self._elsewhere.items()):
            if self._observer.lives(self._root / name):
                continue
            del self._elsewhere[name]
            state = run_folder.state_of(self._root, step)
            if state.condition == "done":
                self._hear(News(run=name, step=step.steps, done=True))
            elif state.condition == "failed" and state.failures > self._allowed[name]:
                self._hear(News(run=name, error=state.why))
            else:
                queue.put(step)

    def _wind_down(self) -> None:
        """Give all runs the time to keep what they have."""
        self._place.stop()
        until = time.monotonic() + GRACE
        while self._place.busy and time.monotonic() < until:
            self._place.listen(self._hear)

    def _tally(self, queue: Queue) -> Tally:
        steps = self._steps.values()
        waiting = {step.planned.folder for step in queue.steps}
        over = self._stop.wanted or self._storage is not None
        return Tally(
            done=[step for step in steps if step.planned.folder in self._done],
            failed=[step for step in steps if step.planned.folder in self._failed],
            skipped=[] if over else [step for step in steps if step.planned.folder in waiting],
            refused=self._refused,
            stopped_by=self._stop.by,
            storage=self._storage,
        )
