"""Run folders: the only place where an experiment keeps what it has done."""

import hashlib
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from trl_suite import files, provenance, record
from trl_suite.errors import InputError, StorageError
from trl_suite.experiment.planning.cohort_queue import PlannedCohort
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.policy_library import ALONG, CURVE, POLICY
from trl_suite.experiment.running import checkpoint, lease
from trl_suite.experiment.running.checkpoint import CheckpointFacts
from trl_suite.experiment.running.lease import Lease, LeaseObserver
from trl_suite.experiment.running.run_state import EVALUATIONS, PLAN, RUN, VERSIONS, RunState, read
from trl_suite.networks.policy import Policy
from trl_suite.record import Plan, RunRecord, Status
from trl_suite.training.acting.evaluation import Episode, append
from trl_suite.training.device_facts import accelerator
from trl_suite.training.training_run import Snapshot, TrainingOutcome

DIFFS = "diffs"
CHECKPOINT_TIME_RATIO = 100.0  # checkpoints of all runs that train together may take a hundredth of the time,
CHECKPOINT_SECONDS_MAX = 900.0  # but no more than so many seconds may be lost


def write_plan(root: Path, plan: Plan) -> Plan:
    """Put the plan into the experiment's folder, which is made; an earlier one of another specification is kept.

    Returns the plan with its version: 1, or one more than that of the plan before it.

    Raises:
        InputError: the folder cannot be written, or its plan is of a newer schema.
        StorageError: the disk is full.
    """
    try:
        with files.storing(root):
            root.mkdir(parents=True, exist_ok=True)
            files.sweep(root)
            plan = _versioned(root, plan)
            files.write_atomically(root / PLAN, record.encode(plan))
    except StorageError as error:
        if error.full:
            raise
        raise InputError(f"{error}; or choose another folder with --runs") from None
    return plan


def _versioned(root: Path, plan: Plan) -> Plan:
    if not (root / PLAN).is_file():
        return plan
    before = record.decode(root / PLAN, Plan)
    if before.runs == plan.runs:
        return msgspec.structs.replace(plan, version=before.version)
    (root / VERSIONS).mkdir(exist_ok=True)
    files.write_atomically(root / VERSIONS / f"plan-{before.version}.json", record.encode(before))
    return msgspec.structs.replace(plan, version=before.version + 1)


def state_of(root: Path, spec: RunSpec) -> RunState:
    """Return how far a run is; a folder that holds another run, or that cannot be read, is `refused`."""
    return read(root / spec.folder, spec.digest)


class RunFolder:
    """One run's folder while the run is being made; a new attempt goes on from the newest checkpoint that is whole.

    Raises:
        InputError: the checkpoint was made with other versions of what the last bit depends on.
        StorageError: the folder cannot be written.
    """

    def __init__(
        self,
        root: Path,
        experiment: str,
        spec: RunSpec,
        lease: Lease,
        cohort: PlannedCohort,
        *,
        every: float = 60.0,
        mixed: bool = False,
        events: str = "",
        along: bool = False,
    ) -> None:
        """Begin.

        Args:
            root: the experiment's folder.
            experiment: its name.
            spec: of the run.
            lease: held on its folder.
            cohort: that it trains in.
            every: seconds between two checkpoints.
            mixed: go on with a checkpoint of other versions.
            events: where TensorBoard's files go, relative to `root`; the run's own folder where not given.
            along: keep the policy of every evaluation until it was measured, see `measuring.network_state`.
        """
        self._cohort, self._along = cohort, along
        self.path, self._root, self._lease, self._every = root / spec.folder, root, lease, every
        self.events = root / events if events else self.path
        self._spec, self._experiment = spec, experiment
        self._started, self._before = time.monotonic(), 0.0
        self._next = self._started + every
        with files.storing(self.path):
            _sweep(self.path)
            self.resumed = self._resumed(mixed)
            self._run = self._opened()
            self._write()

    @property
    def cohort_size(self) -> int:
        """How many runs train together with it."""
        return len(self._cohort.specs)

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        """Append one evaluation."""
        self._lease.check()
        with files.storing(self.path / EVALUATIONS):
            append(self.path / EVALUATIONS, step, episodes)

    def acted(self, step: int, policy: Callable[[], Policy]) -> None:
        """Keep the policy of an evaluation, where those are asked for."""
        if self._along:
            with files.storing(self.path / ALONG):
                policy().save(self.path / ALONG / str(step))

    def heartbeat(self, step: int) -> bool:
        """Give a sign of life if it is time to; return whether it was."""
        return self._lease.heartbeat(step, among=len(self._cohort.specs))

    def due(self) -> bool:
        """Return whether it is time for a checkpoint."""
        return time.monotonic() >= self._next

    def keep(self, snapshot: Snapshot) -> None:
        """Store a checkpoint."""
        self._lease.check()
        begun = time.monotonic()
        evaluations = self._evaluations()
        if evaluations:
            files.sync(self.path / EVALUATIONS)
        facts = CheckpointFacts(
            digest=self._run.digest,
            step=snapshot.step,
            evaluation_bytes=len(evaluations),
            evaluations_sha256=hashlib.sha256(evaluations).hexdigest(),
            seconds=self._seconds(),
            versions=provenance.versions(),
            facts=dict(snapshot.facts),
        )
        checkpoint.save(self.path / checkpoint.CHECKPOINT_FOLDER, facts, snapshot)
        now = time.monotonic()
        self._next = now + self._wait(now - begun)

    def _wait(self, took: float) -> float:
        """Return the seconds until the next checkpoint, of one that took some seconds."""
        paid = CHECKPOINT_TIME_RATIO * took * len(self._cohort.specs)
        return max(self._every, min(paid, CHECKPOINT_SECONDS_MAX)) if self._every else 0.0

    def finish(self, outcome: TrainingOutcome) -> None:
        """Store the policy and close the record as done, or as interrupted where the run was stopped."""
        self._lease.check()
        if outcome.finished:
            with files.storing(self.path):
                folder = outcome.policy.save(self.path / POLICY)
                files.write_atomically(folder / CURVE, self._evaluations())
        self._close(
            "done" if outcome.finished else "interrupted",
            transplant=outcome.transplant,
            freeze=outcome.freeze,
            unstable_episodes=outcome.unstable_episodes,
            ranges=outcome.ranges,
            compress_steps=outcome.compress_steps,
        )
        if outcome.finished:
            checkpoint.discard(self.path / checkpoint.CHECKPOINT_FOLDER)

    def fail(self, error: str) -> None:
        """Close the record as failed."""
        self._lease.check()
        self._close("failed", error=error, failures=self._run.failures + 1)

    def _resumed(self, mixed: bool) -> Snapshot | None:
        """Return the snapshot to go on from, with the evaluations cut back to what was told before it."""
        why = "no checkpoint to go on from"
        if self._of_another_engine():
            why = "it was begun on another engine or device"
            checkpoint.discard(self.path / checkpoint.CHECKPOINT_FOLDER)
        while checkpointed := checkpoint.load(self.path / checkpoint.CHECKPOINT_FOLDER, self._spec.digest):
            facts, snapshot = checkpointed
            self._check_versions(facts, mixed)
            evaluations = self._evaluations()[: facts.evaluation_bytes]
            if hashlib.sha256(evaluations).hexdigest() == facts.evaluations_sha256:
                self._before = facts.seconds
                if len(evaluations) < len(self._evaluations()):
                    files.write_atomically(self.path / EVALUATIONS, evaluations)
                return snapshot
            changed = f"{self.path / EVALUATIONS}: is not as it was at the checkpoint of step {facts.step}"
            warnings.warn(f"{changed}; an earlier one is used", stacklevel=2)
            checkpoint.discard_newest(self.path / checkpoint.CHECKPOINT_FOLDER)
        self._begin_anew(why)
        return None

    def _of_another_engine(self) -> bool:
        path = self.path / RUN
        if not path.is_file():
            return False
        earlier = record.decode(path, RunRecord)
        cohort = self._cohort
        return (earlier.engine, earlier.device, earlier.physics) != (cohort.engine, cohort.device, cohort.physics)

    def _begin_anew(self, why: str) -> None:
        if (self.path / RUN).exists() and (self.path / EVALUATIONS).exists():
            warnings.warn(f"{self.path}: {why}; the run begins anew", stacklevel=2)
        for stale in self.events.glob("events.out.tfevents.*"):
            stale.unlink()
        (self.path / EVALUATIONS).unlink(missing_ok=True)

    def _check_versions(self, facts: CheckpointFacts, mixed: bool) -> None:
        if (changed := provenance.changed(facts.versions)) and not mixed:
            raise InputError(
                f"{self.path}: the run was begun with other versions ({', '.join(changed)}), and going on would give a "
                f"result of neither; install those, allow it with --mix-versions, or begin anew by removing "
                f"{self.path / checkpoint.CHECKPOINT_FOLDER}"
            )

    def _opened(self) -> RunRecord:
        earlier = record.decode(self.path / RUN, RunRecord) if (self.path / RUN).is_file() else None
        commit, dirty = provenance.commit()
        planned, spec = self._spec.planned, self._spec
        return RunRecord(
            experiment=self._experiment,
            role=planned.role,
            env=planned.env,
            method=planned.method,
            algorithm=spec.specification["algorithm"],
            seed=planned.seed,
            steps=spec.steps,
            digest=spec.digest,
            specification=spec.specification,
            status="running",
            source=planned.source,
            preset=spec.preset,
            started=earlier.started if earlier and self.resumed else datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=self._before,
            attempts=earlier.attempts + 1 if earlier else 1,
            failures=earlier.failures if earlier else 0,
            command=("trl-suite", *sys.argv[1:]),
            versions=provenance.versions(),
            machine=provenance.machine(),
            commit=commit,
            dirty=dirty,
            engine=self._cohort.engine,
            cohort_size=len(self._cohort.specs),
            device=self._cohort.device,
            physics=self._cohort.physics,
            accelerator=accelerator(self._cohort.device, self._cohort.physics),
            diff=self._diff() if dirty else "",
        )

    def _diff(self) -> str:
        """Keep the uncommitted changes, once for all runs that were made with them."""
        changes = provenance.diff()
        name = f"{DIFFS}/{hashlib.sha256(changes).hexdigest()[:10]}.diff"
        if not (self._root / name).exists():
            (self._root / DIFFS).mkdir(exist_ok=True)
            files.write_atomically(self._root / name, changes)
        return name

    def _evaluations(self) -> bytes:
        path = self.path / EVALUATIONS
        return path.read_bytes() if path.exists() else b""

    def _seconds(self) -> float:
        return round(self._before + (time.monotonic() - self._started) / len(self._cohort.specs), 2)

    def _close(self, status: Status, **changes: object) -> None:
        self._run = msgspec.structs.replace(self._run, status=status, seconds=self._seconds(), **changes)
        with files.storing(self.path / RUN):
            self._write()

    def _write(self) -> None:
        files.write_atomically(self.path / RUN, record.encode(self._run))


def tidy(root: Path, spec: RunSpec) -> None:
    """Remove what a process left of a finished run that died before it could."""
    folder = root / spec.folder
    if (folder / lease.LEASE).exists() and (claimed := Lease.claim(folder, LeaseObserver())):
        _sweep(folder)
        checkpoint.discard(folder / checkpoint.CHECKPOINT_FOLDER)
        claimed.release()


def _sweep(folder: Path) -> None:
    """Remove what an attempt that died left half written; only the lease's owner may."""
    for stale in folder.rglob(f"*{files.TEMPORARY}"):
        if stale.is_dir():
            shutil.rmtree(stale, ignore_errors=True)
        else:
            stale.unlink(missing_ok=True)


def mark_dead(root: Path, spec: RunSpec, error: str) -> None:
    """Close the record of a run whose process, one of this process's own, died without a word."""
    path = root / spec.folder / RUN
    claimed = Lease.claim(path.parent, LeaseObserver())
    if claimed is None:
        return  # another process goes on with it already
    if path.is_file() and state_of(root, spec).condition != "refused":
        run = record.decode(path, RunRecord)
        closed = msgspec.structs.replace(run, status="failed", error=error, failures=run.failures + 1)
        files.write_atomically(path, record.encode(closed))
    claimed.release()
