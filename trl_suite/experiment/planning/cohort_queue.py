"""Which runs one process makes together: the plan's runs by what they have in common, shared out among the workers."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.training.cohort.collecting.cohort_envs import Physics
from trl_suite.training.engines import Device, Engine


class CohortKey(NamedTuple):
    """Properties that runs must share to train together."""

    name: str
    engine: Engine
    reason: str  # why these runs are together, or why one is alone
    limit: int = 1  # how many of them a worker trains at a time
    device: Device = "cpu"
    physics: Physics = "mujoco"


@dataclass(frozen=True, kw_only=True)
class PlannedCohort:
    """Runs that one process makes."""

    specs: tuple[RunSpec, ...]
    engine: Engine
    reason: str
    device: Device = "cpu"
    physics: Physics = "mujoco"


def trained_alone(spec: RunSpec, why: str = "") -> CohortKey:
    """Return the group of a run that trains by itself on Stable-Baselines3."""
    return CohortKey(spec.folder, "sb3", "Stable-Baselines3, one run at a time" + (f": {why}" if why else ""))


class CohortQueue:
    """The runs that wait, handed out as cohorts.

    What may train together is cut into equal shares, as many for each worker, so that all cores are busy; the cut
    changes no result. All of it is handed out before the next is begun, so that what belongs together is done together.
    """

    def __init__(
        self, specs: Sequence[RunSpec], workers: int, cohort_key: Callable[[RunSpec], CohortKey] = trained_alone
    ) -> None:
        self._cohort_key_of = cohort_key
        self._waiting = {spec.folder: (spec, cohort_key(spec)) for spec in specs}
        sizes = Counter(key.name for _, key in self._waiting.values())
        limits = {key.name: key.limit for _, key in self._waiting.values()}
        self._shares = {key: _share(size, workers, limits[key]) for key, size in sizes.items()}
        self._turns = {key: turn for turn, key in enumerate(sizes)}

    @property
    def specs(self) -> list[RunSpec]:
        """The runs that have not been handed out."""
        return [spec for spec, _ in self._waiting.values()]

    def put(self, spec: RunSpec) -> None:
        """Let a run that was handed out wait again, behind the others."""
        key = self._cohort_key_of(spec)
        self._waiting[spec.folder] = (spec, key)
        self._shares.setdefault(key.name, 1)
        self._turns.setdefault(key.name, len(self._turns))

    def take(self, ready: Callable[[RunSpec], bool]) -> PlannedCohort | None:
        """Return the next cohort of runs that are ready, sources first, in the plan's order; None where none is."""
        ready_specs = [(spec, cohort_key) for spec, cohort_key in self._waiting.values() if ready(spec)]
        if not ready_specs:
            return None
        # others wait for sources
        cohort_key = min(ready_specs, key=lambda key: (key[0].role != "source", self._turns[key[1].name]))[1]
        taken = [spec for spec, key in ready_specs if key.name == cohort_key.name][: self._shares[cohort_key.name]]
        for spec in taken:
            del self._waiting[spec.folder]
        return PlannedCohort(
            specs=tuple(taken),
            engine=cohort_key.engine,
            reason=cohort_key.reason,
            device=cohort_key.device,
            physics=cohort_key.physics,
        )


def _share(size: int, workers: int, limits: int) -> int:
    """Return how many runs of a group of that size are handed out at a time."""
    rounds = -(-size // (workers * limits))
    return -(-size // (workers * rounds))
