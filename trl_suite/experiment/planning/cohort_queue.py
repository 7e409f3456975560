"""Which runs one process makes together: the plan's runs by what they have in common, shared out among the workers."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trl_suite.experiment.planning.grid import Step
from trl_suite.training.cohort.worlds import Physics
from trl_suite.training.engines import Device, Engine


class Group(NamedTuple):
    """What runs must have in common to train together."""

    key: str
    engine: Engine
    reason: str  # why these runs are together, or why one is alone
    most: int = 1  # how many of them a worker trains at a time
    device: Device = "cpu"
    physics: Physics = "mujoco"


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Runs that one process makes."""

    steps: tuple[Step, ...]
    engine: Engine
    reason: str
    device: Device = "cpu"
    physics: Physics = "mujoco"


def alone(step: Step, why: str = "") -> Group:
    """Return the group of a run that trains by itself on Stable-Baselines3."""
    return Group(step.planned.folder, "sb3", "Stable-Baselines3, one run at a time" + (f": {why}" if why else ""))


class Queue:
    """The runs that wait, handed out as cohorts.

    A group is cut into equal shares, as many for each worker, so that all cores are busy; the cut changes no result.
    All of a group is handed out before the next one is begun, so that what belongs together is done together.
    """

    def __init__(self, steps: Sequence[Step], workers: int, group: Callable[[Step], Group] = alone) -> None:
        self._group = group
        self._waiting = {step.planned.folder: (step, group(step)) for step in steps}
        sizes = Counter(one.key for _, one in self._waiting.values())
        most = {one.key: one.most for _, one in self._waiting.values()}
        self._shares = {key: _share(size, workers, most[key]) for key, size in sizes.items()}
        self._turns = {key: turn for turn, key in enumerate(sizes)}

    @property
    def steps(self) -> list[Step]:
        """The runs that have not been handed out."""
        return [step for step, _ in self._waiting.values()]

    def put(self, step: Step) -> None:
        """Let a run that was handed out wait again, behind the others."""
        one = self._group(step)
        self._waiting[step.planned.folder] = (step, one)
        self._shares.setdefault(one.key, 1)
        self._turns.setdefault(one.key, len(self._turns))

    def take(self, ready: Callable[[Step], bool]) -> Cohort | None:
        """Return the next cohort of runs that are ready, sources first, in the plan's order; None where none is."""
        found = [(step, group) for step, group in self._waiting.values() if ready(step)]
        if not found:
            return None
        # others wait for sources
        group = min(found, key=lambda one: (one[0].planned.role != "source", self._turns[one[1].key]))[1]
        chosen = [step for step, own in found if own.key == group.key][: self._shares[group.key]]
        for step in chosen:
            del self._waiting[step.planned.folder]
        return Cohort(
            steps=tuple(chosen), engine=group.engine, reason=group.reason, device=group.device, physics=group.physics
        )


def _share(size: int, workers: int, most: int) -> int:
    """Return how many runs of a group of that size are handed out at a time."""
    rounds = -(-size // (workers * most))
    return -(-size // (workers * rounds))
