"""Runs on a Ray cluster: one task per cohort, with the cores and GPUs that the experiment asks for.

All machines see the same folder of runs. A node that is lost is noticed, and its runs go on elsewhere from their newest
checkpoints; Ray itself tries nothing again, since it would not know where to go on.
"""

import importlib
from typing import Any

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.experiment.places.remote_cohort import FolderFollower, RemoteCohort
from trl_suite.experiment.running.scheduler import EndedCohort
from trl_suite.experiment.running.worker import CohortOrder, Tell
from trl_suite.experiment.specification.experiment_keys import ExecutionOptions
from trl_suite.training.engines import Device

RAY_POLL_SECONDS = 0.2  # seconds


class OnRay:
    """Makes cohorts as tasks of a Ray cluster.

    Args:
        execution: cores and GPUs per cohort.
        address: of a cluster; one is started on this machine where not given.
        workers: cohorts at a time; as many as the cluster has room for where not given.

    Raises:
        InputError: there is no cluster at the address, or it has too few cores or GPUs.
        NotInstalledError: Ray is missing.
    """

    def __init__(self, execution: ExecutionOptions, address: str | None, workers: int | None) -> None:
        self._ray = _ray()
        self._own = not self._ray.is_initialized()
        self._needs = {"num_cpus": execution.cores, "num_gpus": execution.gpus, "max_retries": 0}
        self._workers = workers
        self._orders: dict[Any, CohortOrder] = {}  # by what Ray gives for a result to come
        self._follower = FolderFollower()
        if self._own:
            try:
                # Ray's dashboard listens, and it is not needed
                self._ray.init(address=address, include_dashboard=None if address else False, log_to_driver=False)
            except (ConnectionError, ValueError) as error:
                raise InputError(f"--address {address}: {error}") from None
        if not self.size:
            raise InputError(
                f"no node of the Ray cluster has {execution.cores} cores and {execution.gpus:g} GPUs for a cohort: "
                "lower execution.cores or execution.gpus"
            )

    @property
    def size(self) -> int:
        """How many cohorts at a time: nodes may come and go."""
        rooms = [self._room(node["Resources"]) for node in self._ray.nodes() if node["Alive"]]
        return min(sum(rooms), self._workers or sum(rooms))

    @property
    def busy(self) -> int:
        """How many cohorts are being made."""
        return len(self._orders)

    def slots(self, device: Device) -> int:
        """Return how many cohorts at a time: each has the cores and GPUs that the experiment asks for."""
        return self.size

    def has_room(self, device: Device) -> bool:
        """Return whether another cohort can be begun."""
        return self.busy < self.size

    def start(self, order: CohortOrder) -> None:
        """Begin to make a cohort."""
        self._orders[self._ray.remote(_make).options(**self._needs).remote(order)] = order

    def listen(self, tell: Tell) -> list[EndedCohort]:
        """Wait a moment, pass on what the run folders say, and return the cohorts that have ended."""
        ready, _ = self._ray.wait(list(self._orders), timeout=RAY_POLL_SECONDS) if self._orders else ([], [])
        self._follower.follow(list(self._orders.values()), tell)
        return [self._over(ref, tell) for ref in ready]

    def stop(self) -> None:
        """Ask all cohorts to keep what they have and to end."""
        for ref in self._orders:
            self._ray.cancel(ref, force=False)  # arrives as Ctrl-C

    def kill(self) -> None:
        """End all cohorts now, and the cluster where it was started here."""
        for ref in self._orders:
            self._ray.cancel(ref, force=True)
        self._orders.clear()
        if self._own:
            self._ray.shutdown()

    def _room(self, resources: dict[str, float]) -> int:
        """Return how many cohorts a node has room for."""
        rooms = [int(resources.get("CPU", 0) // self._needs["num_cpus"])]
        if self._needs["num_gpus"]:
            rooms.append(int(resources.get("GPU", 0) / self._needs["num_gpus"]))
        return min(rooms)

    def _over(self, ref: Any, tell: Tell) -> EndedCohort:
        order, why = self._orders.pop(ref), "ended without a word"
        try:
            for news in self._ray.get(ref):
                tell(news)
        except (self._ray.exceptions.RayError, KeyboardInterrupt) as error:
            why = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        return EndedCohort(order.cohort, why)


def _make(order: CohortOrder) -> Any:
    return RemoteCohort(order)()


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ModuleNotFoundError:
        raise NotInstalledError("--on ray needs Ray: pip install 'trl-suite[ray]'") from None
