"""The training episodes of every member: their returns and lengths, and how many the simulation ended."""

from collections import deque

import numpy as np

from trl_suite.training.cohort.collecting.cohort_envs import StepResult

REMEMBERED = 100  # as SB3


class Episodes:
    """Counts episodes as they end."""

    def __init__(self, members: int, worlds: int) -> None:
        self.unstable = np.zeros(members, dtype=np.int64)  # episodes that the simulation ended
        self._value, self._length = np.zeros((members, worlds)), np.zeros((members, worlds), dtype=np.int64)
        self._last: list[deque[tuple[float, int]]] = [deque(maxlen=REMEMBERED) for _ in range(members)]

    def add(self, moment: StepResult) -> None:
        """Take in a step."""
        self._value += moment.reward
        self._length += 1
        if moment.unstable is not None:
            self.unstable += moment.unstable.sum(1)
        if not moment.ended.any():
            return
        for member, world in np.argwhere(moment.ended):
            self._last[member].append((float(self._value[member, world]), int(self._length[member, world])))
        self._value[moment.ended], self._length[moment.ended] = 0.0, 0

    def mean(self, member: int) -> tuple[float, float] | None:
        """Return the mean return and length of a member's last episodes; None where none has ended."""
        last = self._last[member]
        return None if not last else (float(np.mean([v for v, _ in last])), float(np.mean([n for _, n in last])))

    def state(self, member: int) -> dict[str, np.ndarray]:
        """Return a member's running episodes and count."""
        return {"value": self._value[member], "length": self._length[member], "unstable": self.unstable[member]}

    def restore(self, member: int, state: dict[str, np.ndarray]) -> None:
        """Take up a member's state."""
        self._value[member], self._length[member] = state["value"], state["length"]
        self.unstable[member] = state["unstable"]
