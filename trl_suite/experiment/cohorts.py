"""Which runs one process makes together: the plan's runs by what they have in common, shared out among the workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trl_suite.experiment.plan import Step
from trl_suite.training.cohort.worlds import Physics
from trl_suite.training.engines import Device, Engine


class Group(NamedTuple):
    """What runs must have in common to train together."""

    key: str
    engine: Engine
    reason: str  # why these runs are together, or why one is alone
    most: int = 1  # how many of them fit into a worker's memory
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

    A group is cut into as many shares as there are workers, so that all cores are busy; the cut changes no result.
    """

    def __init__(self, steps: Sequence[Step], workers: int, group: Callable[[Step], Group] = alone) -> None:
        self._group = group
        self._waiting = {step.planned.folder: (step, group(step)) for step in steps}
        sizes: dict[str, int] = {}
        for _, one in self._waiting.values():
            sizes[one.key] = sizes.get(one.key, 0) + 1
        self._shares = {key: -(-size // workers) for key, size in sizes.items()}

    @property
    def steps(self) -> list[Step]:
        """The runs that have not been handed out."""
        return [step for step, _ in self._waiting.values()]

    def put(self, step: Step) -> None:
        """Let a run that was handed out wait again, behind the others."""
        one = self._group(step)
        self._waiting[step.planned.folder] = (step, one)
        self._shares.setdefault(one.key, 1)

    def take(self, ready: Callable[[Step], bool]) -> Cohort | None:
        """Return the next cohort of runs that are ready, sources first, in the plan's order; None where none is."""
        found = [(step, group) for step, group in self._waiting.values() if ready(step)]
        if not found:
            return None
        found.sort(key=lambda one: one[0].planned.role != "source")  # others wait for them
        group = found[0][1]
        chosen = [step for step, own in found if own.key == group.key][: min(self._shares[group.key], group.most)]
        for step in chosen:
            del self._waiting[step.planned.folder]
        return Cohort(
            steps=tuple(chosen), engine=group.engine, reason=group.reason, device=group.device, physics=group.physics
        )
