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
    firm: bool = True  # the physics was asked for, and is not chosen anew where it cannot be had


@dataclass(frozen=True, kw_only=True)
class PlannedCohort:
    """Runs that one process makes."""

    specs: tuple[RunSpec, ...]
    engine: Engine
    reason: str
    device: Device = "cpu"
    physics: Physics = "mujoco"
    firm: bool = True


def trained_alone(spec: RunSpec, why: str = "") -> CohortKey:
    """Return the group of a run that trains by itself on Stable-Baselines3."""
    return CohortKey(spec.folder, "sb3", "Stable-Baselines3, one run at a time" + (f": {why}" if why else ""))


class CohortQueue:
    """The runs that wait, handed out as cohorts.

    What may train together is cut into equal shares, as many for each slot, so that all cores or GPUs are busy; the cut
    changes no result. All of it is handed out before the next is begun, so that what belongs together is done together.

    Args:
        specs: the runs.
        slots: how many cohorts a device of a kind takes at a time.
        cohort_key: of each run.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        slots: Callable[[Device], int],
        cohort_key: Callable[[RunSpec], CohortKey] = trained_alone,
    ) -> None:
        self._cohort_key_of = cohort_key
        self._waiting = {spec.folder: (spec, cohort_key(spec)) for spec in specs}
        sizes = Counter(key.name for _, key in self._waiting.values())
        keys = {key.name: key for _, key in self._waiting.values()}
        self._shares = {
            name: _share(size, max(slots(keys[name].device), 1), keys[name].limit) for name, size in sizes.items()
        }
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

    def halve(self, spec: RunSpec, size: int) -> None:
        """Hand out runs like this in cohorts of half the size from now on: one of that size found too little memory."""
        key = self._cohort_key_of(spec)
        self._shares[key.name] = max(1, min(self._shares[key.name], size // 2))

    def take(
        self, ready: Callable[[RunSpec], bool], has_room: Callable[[Device], bool] = lambda _: True
    ) -> PlannedCohort | None:
        """Return the next cohort of runs that are ready, sources first, in the plan's order; None where none is.

        Args:
            ready: whether a run can be made.
            has_room: whether a device of a kind takes another cohort.
        """
        room: dict[Device, bool] = {device: has_room(device) for device in ("cpu", "cuda")}
        ready_specs = [(spec, key) for spec, key in self._waiting.values() if room[key.device] and ready(spec)]
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
            firm=cohort_key.firm,
        )


def _share(size: int, workers: int, limits: int) -> int:
    """Return how many runs of a group of that size are handed out at a time."""
    rounds = -(-size // (workers * limits))
    return -(-size // (workers * rounds))
