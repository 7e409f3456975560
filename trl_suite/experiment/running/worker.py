"""One cohort, made in this process, whoever started it."""

import time
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trl_suite import files
from trl_suite.errors import InputError, StorageError
from trl_suite.experiment.planning.cohort_queue import Cohort
from trl_suite.experiment.planning.grid import Step, job_of
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.running import run_folder
from trl_suite.experiment.running.lease import Lease, LeaseLostError, Observer
from trl_suite.experiment.running.run_folder import RunFolder
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification.experiment_file import Execution
from trl_suite.networks.policy import load
from trl_suite.training import engines
from trl_suite.training.acting.evaluation import Episode, mean_return
from trl_suite.training.threads import threads
from trl_suite.training.training_run import DivergedError, Result, Snapshot, TrainingOutcome, TrainingRun, Watcher

TELL = 0.2  # seconds between two reports of progress; a step may take a fraction of a millisecond
_FOR_GOOD = (DivergedError, InputError)  # what would come out the same again


@dataclass(frozen=True, kw_only=True)
class News:
    """What a worker tells the process that started it."""

    run: str  # folder of the run
    step: int = 0
    value: float | None = None  # mean return, where the policy was just evaluated
    error: str | None = None
    again: bool = False  # whether what failed might work when it is tried again
    storage: StorageError | None = None  # the disk is full or cannot be written: the others would fail likewise
    note: str = ""  # something that the user should know
    done: bool = False
    elsewhere: bool = False  # another process is making the run
    stopped: bool = False  # the run was interrupted and can go on


Tell = Callable[[News], None]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a worker needs to know: it is sent to other processes and machines."""

    root: Path  # the experiment's folder
    experiment: str
    cohort: Cohort
    execution: Execution
    mix_versions: bool = False  # go on with checkpoints of other versions


def work(task: Task, tell: Tell, stop: Stop) -> None:
    """Make the runs of one cohort that nobody else is making, and write their folders."""
    with threads(task.execution.threads):
        reporters = [one for step in task.cohort.steps if (one := _claimed(task, step, tell, stop))]
        jobs, able = _prepared(task, reporters)
        try:
            logs = [one.folder.path for one in able]
            cohort = task.cohort
            for index, result in engines.train(cohort.engine, jobs, able, logs, cohort.device, cohort.physics):
                able[index].ended(result)
        except Exception as error:  # no engine could begin
            for reporter in able:
                reporter.ended(error)


class _Reporter(Watcher):
    """Writes one run's folder, tells the parent, and passes on the wish to stop."""

    def __init__(self, step: Step, folder: RunFolder, lease: Lease, tell: Tell, stop: Stop) -> None:
        self.step, self.folder = step, folder
        self._lease, self._tell, self._stop = lease, tell, stop
        self._run, self._at, self._told = step.planned.folder, 0, 0.0
        self._over = False

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        self.folder.evaluated(step, episodes)
        self._tell(News(run=self._run, step=step, value=mean_return(episodes)))

    def advanced(self, step: int) -> None:
        self._at = step
        if time.monotonic() - self._told > TELL:
            self._told = time.monotonic()
            self._tell(News(run=self._run, step=step))

    def stopping(self) -> bool:
        if self.folder.beat(self._at):
            self._tell(News(run=self._run, step=self._at))
        return self._stop.wanted

    def resumed(self) -> Snapshot | None:
        return self.folder.resumed

    def due(self) -> bool:
        return self.folder.due()

    def keep(self, snapshot: Snapshot) -> None:
        self.folder.keep(snapshot)

    def ended(self, result: Result) -> None:
        """Close the run's record and give the run back."""
        if self._over:
            return
        self._over = True
        try:
            self._tell(self._closed(result))
        except LeaseLostError as error:
            self._tell(News(run=self._run, elsewhere=True, note=str(error)))
        except StorageError as error:
            self._tell(News(run=self._run, error=str(error), storage=error))
        finally:
            self._lease.release()

    def _closed(self, result: Result) -> News:
        if isinstance(result, LeaseLostError):
            raise result
        if isinstance(result, TrainingOutcome):
            self.folder.finish(result)
            return News(run=self._run, step=result.steps, done=result.finished, stopped=not result.finished)
        self.folder.fail("".join(traceback.format_exception(result)))
        if isinstance(result, StorageError):
            raise result
        error = f"{type(result).__name__}: {result}"
        return News(run=self._run, error=error, again=not isinstance(result, _FOR_GOOD))


def _claimed(task: Task, step: Step, tell: Tell, stop: Stop) -> _Reporter | None:
    """Return who makes a run, if nobody else does or has; where it cannot be opened, the parent hears why."""
    run = step.planned.folder
    try:
        with files.storing(task.root / run):
            lease = Lease.claim(task.root / run, Observer())
    except StorageError as error:
        tell(News(run=run, error=str(error), storage=error))
        return None
    if lease is None:
        tell(News(run=run, elsewhere=True))
        return None
    state = run_folder.state_of(task.root, step)
    if stop.wanted or state.condition in ("done", "refused"):
        lease.release()
        tell(News(run=run, done=state.condition == "done", stopped=stop.wanted, error=state.why or None))
        return None
    return _opened(task, step, lease, tell, stop)


def _opened(task: Task, step: Step, lease: Lease, tell: Tell, stop: Stop) -> _Reporter | None:
    run = step.planned.folder
    try:
        with _noted(run, tell):
            folder = RunFolder(
                task.root,
                task.experiment,
                step,
                lease,
                task.cohort,
                every=task.execution.checkpoint,
                mixed=task.mix_versions,
            )
        return _Reporter(step, folder, lease, tell, stop)
    except StorageError as error:
        tell(News(run=run, error=str(error), storage=error))
    except Exception as error:
        tell(News(run=run, error=f"{type(error).__name__}: {error}"))
    lease.release()
    return None


def _prepared(task: Task, reporters: list[_Reporter]) -> tuple[list[TrainingRun], list[_Reporter]]:
    """Return the trainings that can begin, and who reports each; the others have ended."""
    jobs: list[TrainingRun] = []
    able: list[_Reporter] = []
    for reporter in reporters:
        try:
            jobs.append(_job(task.root, reporter.step))
            able.append(reporter)
        except Exception as error:  # its source may be damaged: that is no fault of the others
            reporter.ended(error)
    return jobs, able


def _job(root: Path, step: Step) -> TrainingRun:
    return job_of(step, load(root / step.planned.source / POLICY) if step.planned.source else None)


@contextmanager
def _noted(run: str, tell: Tell) -> Generator[None]:
    """Tell the parent what would otherwise go to this process's stderr, and be lost there."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for one in caught:
        tell(News(run=run, note=str(one.message)))
