"""Runs as jobs of Slurm, through submitit: one job per cohort, queued again when its time is over or it is pre-empted.

All nodes see the same folder of runs. submitit pickles what it sends into the user's own `slurm/` below that folder.
"""

import importlib
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.experiment.places.remote_cohort import FolderFollower, RemoteCohort
from trl_suite.experiment.running.scheduler import EndedCohort
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.running.worker import CohortOrder, News, Tell
from trl_suite.experiment.specification.experiment_keys import ExecutionOptions
from trl_suite.training.engines import Device

SLURM_POLL_SECONDS = 0.5  # seconds
NOTICE_SECONDS = 120  # seconds before the end of its time at which a job is told
REQUEUES_MAX = 10_000  # times that a job may be queued again: as often as it takes
SLURM_FOLDER = "slurm"  # below the experiment's: submitit's scripts, logs and pickles


class SlurmJob(RemoteCohort):
    """A cohort as submitit calls it."""

    def __call__(self) -> list[News]:
        """Make the cohort; a job that is told of its end is queued again, once its runs have kept what they have."""
        stop, requeue = Stop(), signal.getsignal(signal.SIGUSR2)  # submitit's
        last_news = self._made(stop)
        if stop.by in (signal.SIGUSR1, signal.SIGUSR2) and callable(requeue):
            requeue(signal.SIGUSR2, None)
        return last_news

    def checkpoint(self) -> Any:
        """Return the submission that goes on after this job was queued again: the same order, from checkpoints."""
        return _submitit().helpers.DelayedSubmission(self)


class OnSlurm:
    """Makes cohorts as jobs.

    Args:
        root: folder of the experiment.
        execution: cores, GPUs, and what Slurm is asked for.
        cluster: `slurm`, or `local` to try it out on one machine; what there is where not given.

    Raises:
        InputError: there is no Slurm here, or it knows no such option.
        NotInstalledError: submitit is missing.
    """

    def __init__(self, root: Path, execution: ExecutionOptions, cluster: str | None = None) -> None:
        self._submitit = _submitit()
        if cluster is None and shutil.which("sbatch") is None:
            raise InputError("--on slurm: there is no sbatch on this machine; run this where jobs are submitted")
        self.size = execution.slurm.jobs
        self._executor = self._submitit.AutoExecutor(
            folder=root / SLURM_FOLDER / "%j",
            cluster=cluster or "slurm",
            slurm_max_num_timeout=REQUEUES_MAX,
        )
        try:
            self._executor.update_parameters(**_parameters(execution))
        except (TypeError, ValueError, NameError) as error:
            raise InputError(f"execution.slurm: {error}") from None
        self._jobs: dict[Any, CohortOrder] = {}
        self._follower = FolderFollower()

    @property
    def busy(self) -> int:
        """How many cohorts are being made, or wait in the cluster's queue."""
        return len(self._jobs)

    def slots(self, device: Device) -> int:
        """Return how many cohorts at a time: each has the cores and GPUs that the experiment asks for."""
        return self.size

    def has_room(self, device: Device) -> bool:
        """Return whether another cohort can be begun."""
        return self.busy < self.size

    def start(self, order: CohortOrder) -> None:
        """Submit a cohort."""
        self._jobs[self._executor.submit(SlurmJob(order))] = order

    def listen(self, tell: Tell) -> list[EndedCohort]:
        """Wait a moment, pass on what the run folders say, and return the cohorts that have ended."""
        time.sleep(SLURM_POLL_SECONDS)
        self._follower.follow(list(self._jobs.values()), tell)
        return [self._over(job, tell) for job in list(self._jobs) if job.done()]

    def stop(self) -> None:
        """Ask all jobs to keep what they have and to end; Slurm gives them thirty seconds."""
        for job in self._jobs:
            job.cancel(check=False)

    def kill(self) -> None:
        """Take back what is queued or runs."""
        self.stop()
        self._jobs.clear()

    def _over(self, job: Any, tell: Tell) -> EndedCohort:
        order, why = self._jobs.pop(job), "ended without a word"
        error = job.exception()
        if error is not None:
            why = f"job {job.job_id}: {str(error).strip().splitlines()[-1]}; see {job.paths.stderr}"
        else:
            for news in job.result():
                tell(news)
        return EndedCohort(order.cohort, why)


def _parameters(execution: ExecutionOptions) -> dict[str, Any]:
    slurm = execution.slurm
    parameters = {
        "timeout_min": slurm.minutes,
        "cpus_per_task": execution.cores,
        "slurm_partition": slurm.partition,
        "slurm_mem": slurm.memory,
        "gpus_per_node": round(execution.gpus) or None,
        "name": "trl-suite",
        "slurm_signal_delay_s": NOTICE_SECONDS,
        "slurm_additional_parameters": {"requeue": True, **slurm.extra},
    }
    return {name: value for name, value in parameters.items() if value is not None}


def _submitit() -> Any:
    try:
        return importlib.import_module("submitit")
    except ModuleNotFoundError:
        raise NotInstalledError("--on slurm needs submitit: pip install 'trl-suite[slurm]'") from None
