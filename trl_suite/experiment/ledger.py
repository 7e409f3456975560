"""Run folders: the only place where an experiment keeps what it has done."""

import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from trl_suite import provenance, record
from trl_suite.errors import InputError
from trl_suite.experiment.cohorts import Cohort
from trl_suite.experiment.plan import Step
from trl_suite.networks.store import write_atomically
from trl_suite.record import Plan, Run, Status
from trl_suite.training.evaluation import Episode, append
from trl_suite.training.job import Outcome

PLAN, RUN, EVALUATIONS, POLICY, CURVE = "plan.json", "run.json", "evaluations.csv", "policy", "curve.csv"


def write_plan(root: Path, plan: Plan) -> None:
    """Put the plan into the experiment's folder, which is made.

    Raises:
        InputError: the folder cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_atomically(root / PLAN, record.encode(plan))
    except OSError as error:
        raise InputError(f"{root}: cannot be written: {error.strerror}; choose another folder with --runs") from None


def status_of(root: Path, step: Step) -> Status:
    """Return how far a run is; a folder of another specification does not count."""
    path = root / step.planned.folder / RUN
    if not path.is_file():
        return "waiting"
    found = record.decode(path, Run)
    return found.status if found.digest == step.digest else "waiting"


class RunFolder:
    """One run's folder while the run is being made; a new attempt starts it afresh."""

    def __init__(self, root: Path, experiment: str, step: Step, cohort: Cohort) -> None:
        self.path = root / step.planned.folder
        self._started = time.monotonic()
        commit, dirty = provenance.commit()
        planned = step.planned
        self._run = Run(
            experiment=experiment,
            role=planned.role,
            env=planned.env,
            method=planned.method,
            algorithm=step.specification["algorithm"],
            seed=planned.seed,
            steps=step.steps,
            digest=step.digest,
            specification=step.specification,
            status="running",
            source=planned.source,
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            command=("trl-suite", *sys.argv[1:]),
            versions=provenance.versions(),
            machine=provenance.machine(),
            commit=commit,
            dirty=dirty,
            engine=cohort.engine,
            cohort_size=len(cohort.steps),
            device=cohort.device,
        )
        self._begin()

    def _begin(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        for stale in (*self.path.glob("events.out.tfevents.*"), *self.path.glob("*.tmp")):
            stale.unlink()
        (self.path / EVALUATIONS).unlink(missing_ok=True)
        self._write()

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        """Append one evaluation."""
        append(self.path / EVALUATIONS, step, episodes)

    def finish(self, outcome: Outcome) -> None:
        """Store the policy and close the record as done, or as interrupted where the run was stopped."""
        if outcome.finished:
            folder = outcome.policy.save(self.path / POLICY)
            shutil.copyfile(self.path / EVALUATIONS, folder / CURVE)
        self._close(
            "done" if outcome.finished else "interrupted",
            transplant=outcome.transplant,
            freeze=outcome.freeze,
            unstable_episodes=outcome.unstable_episodes,
        )

    def fail(self, error: str) -> None:
        """Close the record as failed."""
        self._close("failed", error=error)

    def _close(self, status: Status, **changes: object) -> None:
        seconds = round((time.monotonic() - self._started) / self._run.cohort_size, 2)
        self._run = msgspec.structs.replace(self._run, status=status, seconds=seconds, **changes)
        self._write()

    def _write(self) -> None:
        write_atomically(self.path / RUN, record.encode(self._run))


def mark_dead(root: Path, step: Step, error: str) -> None:
    """Close the record of a run whose process died without a word."""
    path = root / step.planned.folder / RUN
    if path.is_file():
        run = record.decode(path, Run)
        write_atomically(path, record.encode(msgspec.structs.replace(run, status="failed", error=error)))
