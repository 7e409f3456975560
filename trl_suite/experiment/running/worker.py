"""One cohort, made in this process, whoever started it."""

import time
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from trl_suite import files
from trl_suite.errors import InputError, StorageError, SuiteWarning
from trl_suite.experiment.planning.cohort_queue import PlannedCohort
from trl_suite.experiment.planning.run_spec import RunSpec, training_of
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.running import run_folder
from trl_suite.experiment.running.lease import Lease, LeaseLostError, LeaseObserver
from trl_suite.experiment.running.run_folder import RunFolder
from trl_suite.experiment.running.run_state import PLAN
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification.experiment_keys import ExecutionOptions
from trl_suite.networks.policy import Policy, load
from trl_suite.record import Plan, decode
from trl_suite.training import engines
from trl_suite.training.acting.evaluation import Episode, mean_return
from trl_suite.training.reproducibility import threads
from trl_suite.training.training_run import DivergedError, Result, Snapshot, TrainingOutcome, TrainingRun, Watcher

REPORT_SECONDS = 0.2  # seconds between two reports of progress; a step may take a fraction of a millisecond
UNSTABLE_EPISODES_MAX = 10  # of a short run
STEPS_PER_UNSTABLE_EPISODE = 1_000  # env steps: a long run may have one unstable episode in so many


class UnstableError(FloatingPointError):
    """So many episodes ended because the simulation did that the run has failed."""


_FOR_GOOD = (DivergedError, InputError, UnstableError)  # what would come out the same again


@dataclass(frozen=True, kw_only=True)
class News:
    """News from a worker to the process that started it."""

    run: str  # folder of the run
    step: int = 0
    value: float | None = None  # mean return, where the policy was just evaluated
    error: str | None = None
    again: bool = False  # whether what failed might work when it is tried again
    memory: bool = False  # a cohort of fewer runs might find enough memory
    storage: StorageError | None = None  # the disk is full or cannot be written: the others would fail likewise
    note: str = ""  # something that the user should know
    done: bool = False
    elsewhere: bool = False  # another process is making the run
    stopped: bool = False  # the run was interrupted and can go on


Tell = Callable[[News], None]


@dataclass(frozen=True, kw_only=True)
class CohortOrder:
    """Order to a worker, complete: it is sent to other processes and machines."""

    root: Path  # the experiment's folder
    experiment: str
    cohort: PlannedCohort
    execution: ExecutionOptions
    mix_versions: bool = False  # go on with checkpoints of other versions


def work(order: CohortOrder, tell: Tell, stop: Stop) -> None:
    """Make the runs of one cohort that nobody else is making, and write their folders."""
    order = _settled(order, tell)
    with threads(order.execution.threads), _passed_on(order, tell):
        plan = decode(order.root / PLAN, Plan) if (order.root / PLAN).is_file() else None
        reporters = [reporter for spec in order.cohort.specs if (reporter := _claimed(order, spec, plan, tell, stop))]
        runs, able = _prepared(order, reporters)
        try:
            engines.device(order.cohort.device)  # looked at where the work is done
            logs = [reporter.folder.events for reporter in able]
            cohort = order.cohort
            for index, result in engines.train(cohort.engine, runs, able, logs, cohort.device, cohort.physics):
                able[index].ended(result)
        except Exception as error:  # no engine could begin
            for reporter in able:
                reporter.ended(error)


def _settled(order: CohortOrder, tell: Tell) -> CohortOrder:
    """Return the order as this machine can carry it out: a physics that was only chosen may be another here."""
    cohort = order.cohort
    if cohort.engine == "sb3" or cohort.firm or cohort.physics == engines.physics("auto", cohort.device):
        return order
    if cohort.physics == "mujoco":
        return order
    for spec in cohort.specs[:1]:
        tell(News(run=spec.folder, note="Warp cannot be used on this machine: physics = 'mujoco' is"))
    return replace(order, cohort=replace(cohort, physics="mujoco"))


@contextmanager
def _passed_on(order: CohortOrder, tell: Tell) -> Generator[None]:
    """Tell the parent what the suite warns of meanwhile; other warnings go where they go."""
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, SuiteWarning) and order.cohort.specs:
            tell(News(run=order.cohort.specs[0].folder, note=str(message)))
        else:
            usual(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


class _Reporter(Watcher):
    """Writes one run's folder, tells the parent, and passes on the wish to stop."""

    def __init__(self, spec: RunSpec, folder: RunFolder, lease: Lease, tell: Tell, stop: Stop) -> None:
        self.spec, self.folder = spec, folder
        self._lease, self._tell, self._stop = lease, tell, stop
        self._run, self._at, self._told_at = spec.folder, 0, 0.0
        self._over = False

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        self.folder.evaluated(step, episodes)
        self._tell(News(run=self._run, step=step, value=mean_return(episodes)))

    def acted(self, step: int, policy: Callable[[], Policy]) -> None:
        self.folder.acted(step, policy)

    def advanced(self, step: int) -> None:
        self._at = step
        if time.monotonic() - self._told_at > REPORT_SECONDS:
            self._told_at = time.monotonic()
            self._tell(News(run=self._run, step=step))

    def stopping(self) -> bool:
        if self.folder.heartbeat(self._at):
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

    def _unstable_limit(self) -> float:
        """Return how many unstable episodes a run may have."""
        return max(UNSTABLE_EPISODES_MAX, self.spec.steps / STEPS_PER_UNSTABLE_EPISODE)

    def _closed(self, result: Result) -> News:
        if isinstance(result, LeaseLostError):
            raise result
        if isinstance(result, TrainingOutcome) and result.unstable_episodes > self._unstable_limit():
            result = UnstableError(
                f"{result.unstable_episodes:,} episodes of {result.steps:,} steps ended because the simulation did: "
                "the model is not stable; a shorter timestep, a weaker gear or a smaller variant may be"
            )
        if isinstance(result, TrainingOutcome):
            self.folder.finish(result)
            if result.unstable_episodes:
                text = f"{result.unstable_episodes:,} episodes ended because the simulation did"
                self._tell(News(run=self._run, step=result.steps, note=text))
            return News(run=self._run, step=result.steps, done=result.finished, stopped=not result.finished)
        self.folder.fail("".join(traceback.format_exception(result)))
        if isinstance(result, StorageError):
            raise result
        if isinstance(result, torch.OutOfMemoryError):
            return self._too_large(result)
        error = f"{type(result).__name__}: {result}"
        return News(run=self._run, error=error, again=not isinstance(result, _FOR_GOOD))

    def _too_large(self, error: torch.OutOfMemoryError) -> News:
        """Return that the GPU's memory is too small for the cohort, which goes on as two."""
        size = self.folder.cohort_size
        text = f"the GPU's memory is too small for a cohort of {size} runs"
        text += f": they go on in cohorts of {max(size // 2, 1)}" if size > 1 else f": {error}"
        self._tell(News(run=self._run, note=text))
        return News(run=self._run, error=text, again=True, memory=True)


def _claimed(order: CohortOrder, spec: RunSpec, plan: Plan | None, tell: Tell, stop: Stop) -> _Reporter | None:
    """Return who makes a run, if nobody else does or has; where it cannot be opened, the parent hears why."""
    run = spec.folder
    try:
        with files.storing(order.root / run):
            lease = Lease.claim(order.root / run, LeaseObserver())
    except StorageError as error:
        tell(News(run=run, error=str(error), storage=error))
        return None
    if lease is None:
        tell(News(run=run, elsewhere=True))
        return None
    state = run_folder.state_of(order.root, spec)
    if stop.wanted or state.condition in ("done", "refused"):
        lease.release()
        tell(News(run=run, done=state.condition == "done", stopped=stop.wanted, error=state.why or None))
        return None
    return _opened(order, spec, lease, plan, tell, stop)


def _opened(
    order: CohortOrder, spec: RunSpec, lease: Lease, plan: Plan | None, tell: Tell, stop: Stop
) -> _Reporter | None:
    run = spec.folder
    try:
        with _noted(run, tell):
            folder = RunFolder(
                order.root,
                order.experiment,
                spec,
                lease,
                order.cohort,
                every=order.execution.checkpoint,
                mixed=order.mix_versions,
                events=plan.event_folders().get(run, "") if plan else "",
                along=plan is not None and spec.role == "target" and plan.specification.get("plasticity") is True,
            )
        return _Reporter(spec, folder, lease, tell, stop)
    except StorageError as error:
        tell(News(run=run, error=str(error), storage=error))
    except Exception as error:
        tell(News(run=run, error=f"{type(error).__name__}: {error}"))
    lease.release()
    return None


def _prepared(order: CohortOrder, reporters: list[_Reporter]) -> tuple[list[TrainingRun], list[_Reporter]]:
    """Return the trainings that can begin, and who reports each; the others have ended."""
    runs: list[TrainingRun] = []
    able: list[_Reporter] = []
    for reporter in reporters:
        try:
            runs.append(_training(order.root, reporter.spec))
            able.append(reporter)
        except Exception as error:  # its source may be damaged: that is no fault of the others
            reporter.ended(error)
    return runs, able


def _training(root: Path, spec: RunSpec) -> TrainingRun:
    return training_of(spec, load(root / spec.source / POLICY) if spec.source else None)


@contextmanager
def _noted(run: str, tell: Tell) -> Generator[None]:
    """Tell the parent what would otherwise go to this process's stderr, and be lost there."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        tell(News(run=run, note=str(warning.message)))
