"""Making the runs of a plan, wherever that is: what is ready next, what is tried again, and when to stop."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from trl_suite.errors import StorageError
from trl_suite.experiment.planning.cohort_queue import CohortKey, CohortQueue, PlannedCohort, trained_alone
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.running import run_folder
from trl_suite.experiment.running.lease import LeaseObserver
from trl_suite.experiment.running.run_state import RUN
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.running.worker import CohortOrder, News, Tell
from trl_suite.experiment.specification.experiment_keys import ExecutionOptions
from trl_suite.training.engines import Device

GRACE_SECONDS = 25.0  # seconds that runs have to stop by themselves: Slurm gives thirty
WATCH_SECONDS = 2.0  # seconds between two looks at the runs that other processes make


class Listener(Protocol):
    """Is told how it goes."""

    def already(self, specs: Sequence[RunSpec]) -> None:
        """Take note of the runs that were done before."""

    def began(self, cohort: PlannedCohort) -> None:
        """Take note that a cohort is being made."""

    def heard(self, spec: RunSpec, news: News) -> None:
        """Take what a run says."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How an experiment ended."""

    done: list[RunSpec] = field(default_factory=list[RunSpec])
    failed: list[RunSpec] = field(default_factory=list[RunSpec])
    skipped: list[RunSpec] = field(default_factory=list[RunSpec])  # their source is missing
    refused: dict[str, str] = field(default_factory=dict[str, str])  # folders left alone, and why
    stopped_by: signal.Signals | None = None
    storage: StorageError | None = None  # what ended everything: a disk that is full or cannot be written

    @property
    def interrupted(self) -> bool:
        """Whether runs were stopped that can go on."""
        return self.stopped_by is not None


class EndedCohort(NamedTuple):
    """A worker is gone."""

    cohort: PlannedCohort
    error: str  # why its runs have failed, where they have not said how they ended


class RunPlace(Protocol):
    """Where cohorts are made: this process, others on this machine, a cluster."""

    def slots(self, device: Device) -> int:
        """Return how many cohorts a device of this kind takes at a time."""
        ...

    def has_room(self, device: Device) -> bool:
        """Return whether another cohort can be begun on such a device now."""
        ...

    @property
    def busy(self) -> int:
        """How many cohorts are being made."""
        ...

    def start(self, order: CohortOrder) -> None:
        """Begin to make a cohort."""
        ...

    def listen(self, tell: Tell) -> list[EndedCohort]:
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
        place: RunPlace,
        listener: Listener,
        *,
        execution: ExecutionOptions,
        mix_versions: bool = False,
        cohort_key: Callable[[RunSpec], CohortKey] = trained_alone,
    ) -> None:
        self._root, self._experiment, self._place, self._listener = root, experiment, place, listener
        self._execution, self._mix_versions, self._cohort_key = execution, mix_versions, cohort_key
        self._observer = LeaseObserver()
        self._elsewhere: dict[str, RunSpec] = {}
        self._looked = 0.0
        self._storage: StorageError | None = None

    def run(self, specs: Sequence[RunSpec], stop: Stop) -> Tally:
        """Return how it ended; a signal stops the runs and is reported, not raised; a second Ctrl-C kills them."""
        self._stop = stop
        self._specs = {spec.folder: spec for spec in specs}
        states = {name: run_folder.state_of(self._root, spec) for name, spec in self._specs.items()}
        self._done = {name for name, state in states.items() if state.condition == "done"}
        self._refused = {name: state.why for name, state in states.items() if state.condition == "refused"}
        self._listener.already([spec for spec in specs if spec.folder in self._done])
        for name in self._done:
            run_folder.tidy(self._root, self._specs[name])
        self._deaths: Counter[str] = Counter()  # of workers that left no record of their attempt
        self._allowed = {name: state.failures + self._execution.retries for name, state in states.items()}
        self._failed: set[str] = set()
        self._retried: set[str] = set()  # have failed and go back to the queue
        self._too_large: dict[str, int] = {}  # run -> size of the cohort that it found too little memory in
        self._sizes: dict[str, int] = {}  # of the cohort that each was handed out in last
        self._open: set[str] = set()  # handed to a worker that has not said how they ended
        settled = self._done | self._refused.keys()
        queue = CohortQueue([spec for spec in specs if spec.folder not in settled], self._place.slots, self._cohort_key)
        try:
            self._drain(queue)
            if stop.wanted or self._storage:
                self._wind_down()
        except KeyboardInterrupt:
            pass
        finally:
            self._place.kill()
        return self._tally(queue)

    def _drain(self, queue: CohortQueue) -> None:
        while not self._stop.wanted and not self._storage:
            self._start_ready(queue)
            if not self._place.busy and not self._elsewhere:
                return  # all is done, or what is left waits for a source that failed
            for ended in self._place.listen(self._hear):
                self._close_dead(ended)
            self._look_elsewhere(queue)
            self._try_again(queue)

    def _start_ready(self, queue: CohortQueue) -> None:
        while not self._stop.wanted and (cohort := queue.take(self._ready, self._place.has_room)):
            free = tuple(spec for spec in cohort.specs if self._free(spec))
            if free:
                self._start(replace(cohort, specs=free))

    def _start(self, cohort: PlannedCohort) -> None:
        self._open |= {spec.folder for spec in cohort.specs}
        self._sizes |= {spec.folder: len(cohort.specs) for spec in cohort.specs}
        self._listener.began(cohort)
        self._place.start(self._order(cohort))

    def _order(self, cohort: PlannedCohort) -> CohortOrder:
        return CohortOrder(
            root=self._root,
            experiment=self._experiment,
            cohort=cohort,
            execution=self._execution,
            mix_versions=self._mix_versions,
        )

    def _ready(self, spec: RunSpec) -> bool:
        source = spec.source
        return source not in self._specs or source in self._done

    def _free(self, spec: RunSpec) -> bool:
        """Return whether nobody makes the run; if somebody does, it is looked at again from time to time."""
        if self._observer.is_live(self._root / spec.folder):
            self._elsewhere[spec.folder] = spec
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
            self._elsewhere[news.run] = self._specs[news.run]
        if news.done or news.error is not None or news.elsewhere or news.stopped:
            self._open.discard(news.run)
        self._listener.heard(self._specs[news.run], news)

    def _close_dead(self, ended: EndedCohort) -> None:
        """Close the records of a worker's runs that have not said how they ended."""
        for spec in ended.cohort.specs:
            if spec.folder in self._open:
                self._deaths[spec.folder] += not (self._root / spec.folder / RUN).is_file()
                run_folder.mark_dead(self._root, spec, ended.error)
                self._hear(News(run=spec.folder, error=ended.error, again=True))

    def _may_retry(self, news: News) -> bool:
        if not news.again or news.storage:
            return False
        if news.memory and self._sizes[news.run] > 1:  # no fault of the run's
            self._too_large[news.run] = self._sizes[news.run]
            self._allowed[news.run] += 1
            return True
        failures = run_folder.state_of(self._root, self._specs[news.run]).failures
        return failures + self._deaths[news.run] <= self._allowed[news.run]

    def _try_again(self, queue: CohortQueue) -> None:
        while self._retried:
            name = self._retried.pop()
            queue.put(self._specs[name])
            if (size := self._too_large.pop(name, 0)) > 0:
                queue.halve(self._specs[name], size)

    def _look_elsewhere(self, queue: CohortQueue) -> None:
        """See whether runs that others make are done, or their makers dead."""
        if time.monotonic() - self._looked < WATCH_SECONDS:
            return
        self._looked = time.monotonic()
        for name, spec in list(self._elsewhere.items()):
            if self._observer.is_live(self._root / name):
                continue
            del self._elsewhere[name]
            state = run_folder.state_of(self._root, spec)
            if state.condition == "done":
                self._hear(News(run=name, step=spec.steps, done=True))
            elif state.condition == "failed" and state.failures > self._allowed[name]:
                self._hear(News(run=name, error=state.why))
            else:
                queue.put(spec)

    def _wind_down(self) -> None:
        """Give all runs the time to keep what they have."""
        self._place.stop()
        until = time.monotonic() + GRACE_SECONDS
        while self._place.busy and time.monotonic() < until:
            self._place.listen(self._hear)

    def _tally(self, queue: CohortQueue) -> Tally:
        specs = self._specs.values()
        waiting = {spec.folder for spec in queue.specs}
        over = self._stop.wanted or self._storage is not None
        return Tally(
            done=[spec for spec in specs if spec.folder in self._done],
            failed=[spec for spec in specs if spec.folder in self._failed],
            skipped=[] if over else [spec for spec in specs if spec.folder in waiting],
            refused=self._refused,
            stopped_by=self._stop.by,
            storage=self._storage,
        )
