"""Automatic domain randomisation (OpenAI et al. 2019, algorithm 1) over pools of compiled models.

Envs of one run share what they have learned of the ends. An end lies at a share of the way from the nominal value, 0,
to the end of its range, 1; an episode at it is of the pool's member that lies nearest to it, inside all ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trl_suite.worlds.axes.variation import RangeSchedule
from trl_suite.worlds.stepping.domain_pool import DomainPool

Array = NDArray[Any]
NO_END = -1  # of an episode that lies anywhere between the ends
_ROUNDING = 1e-9


class RangeSchedules:
    """Ends of the ranges that several envs draw from.

    Args:
        pools: of each env.
        leaders: per env the first env of its run, which shares its ends; all envs are of one run where not given.
    """

    def __init__(self, pools: Sequence[DomainPool], leaders: Sequence[int] | None = None) -> None:
        self._pools = pools
        self.leaders = list(leaders) if leaders is not None else [0] * len(pools)
        shape = (len(pools), max(len(pool.ranges) for pool in pools), 2)  # (envs, ranges, low and high)
        self._ends, self._scores, self._counts = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        for env, pool in enumerate(pools):
            self._ends[env] = pool.schedule.start if pool.schedule else 1.0
        self._tested = np.full(len(pools), NO_END)
        self._sides = [[(i, side) for i, entry in enumerate(pool.ranges) for side in (0, 1) if entry.sides[side]]
                       for pool in pools]  # fmt: skip

    def draw(self, env: int, rng: np.random.Generator) -> int:
        """Member of the env's pool that its next episode is of, drawn by the env's generator."""
        pool, ends = self._pools[env], self._ends[self.leaders[env]]
        schedule = pool.schedule
        if schedule is None:
            return int(rng.integers(len(pool.addresses)))
        width = len(pool.ranges)
        low, high = -ends[:width, 0] - _ROUNDING, ends[:width, 1] + _ROUNDING
        inside = np.flatnonzero(((pool.shares >= low) & (pool.shares <= high)).all(axis=1))
        if rng.random() >= schedule.at_end:
            self._tested[env] = NO_END
            return int(inside[rng.integers(len(inside))])
        self._tested[env] = rng.integers(len(self._sides[env]))
        column, side = self._sides[env][self._tested[env]]
        return int(inside[np.argmax(pool.shares[inside, column] * (1 if side else -1))])

    def finish(self, env: int, score: float) -> None:
        """Take note of an episode's score: an end that enough episodes were at moves out, moves in, or stays."""
        schedule, tested = self._pools[env].schedule, int(self._tested[env])
        if schedule is None or tested == NO_END:
            return
        at = (self.leaders[env], *self._sides[env][tested])
        self._scores[at] += score
        self._counts[at] += 1
        self._tested[env] = NO_END
        if self._counts[at] >= schedule.episodes:
            self._ends[at] = _moved(float(self._ends[at]), float(self._scores[at] / self._counts[at]), schedule)
            self._scores[at] = self._counts[at] = 0

    def reached(self, env: int) -> dict[str, tuple[float, float]]:
        """Ends of the ranges that the env draws from now, by the numbers' names, in their units."""
        pool, ends = self._pools[env], self._ends[self.leaders[env]]
        if pool.schedule is None:
            return {entry.name: (entry.low, entry.high) for entry in pool.ranges}
        return {
            entry.name: (entry.around(-float(low) if entry.sides[0] else 0.0),
                         entry.around(float(high) if entry.sides[1] else 0.0))
            for entry, (low, high) in zip(pool.ranges, ends, strict=False)
        }  # fmt: skip

    def state(self, envs: Array) -> dict[str, Array]:
        """Return all that the envs need to go on exactly (len(envs), ...)."""
        leaders = np.array(self.leaders)[envs]
        of_runs = {"ends": self._ends, "scores": self._scores, "counts": self._counts}
        return {name: values[leaders] for name, values in of_runs.items()} | {"tested": self._tested[envs]}

    def restore(self, envs: Array, state: Mapping[str, Array]) -> None:
        """Put back what `state` found."""
        leaders = np.array(self.leaders)[envs]
        self._ends[leaders], self._scores[leaders] = state["ends"], state["scores"]
        self._counts[leaders], self._tested[envs] = state["counts"], state["tested"]


def _moved(end: float, score: float, schedule: RangeSchedule) -> float:
    """End after enough episodes at it: t_H and t_L of algorithm 1 are `widen` and `narrow`, its Δ is `step`."""
    if score >= schedule.widen:
        return min(1.0, end + schedule.step)
    return max(0.0, end - schedule.step) if score <= schedule.narrow else end
