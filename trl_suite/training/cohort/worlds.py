"""The worlds of all members as one batch."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from trl_suite.worlds.batch import Batch
from trl_suite.worlds.vector import batch_arguments


class Moment(NamedTuple):
    """What a step gave; axes (members, worlds, ...)."""

    observation: npt.NDArray[np.float64]  # of the next episode where one has ended and starts anew by itself
    reward: npt.NDArray[np.float64]
    ended: npt.NDArray[np.bool_]
    cut: npt.NDArray[np.bool_] | None  # which episodes only the time limit ended; None where none
    last: npt.NDArray[np.float64] | None  # what those ended with, and anything elsewhere
    unstable: npt.NDArray[np.bool_] | None  # which episodes the simulation ended; None where none


class Worlds:
    """As many worlds for each member, stepped together."""

    def __init__(self, addresses: Sequence[Sequence[str]], threads: int | None, autoreset: AutoresetMode) -> None:
        self._shape = (len(addresses), len(addresses[0]))
        every = [one for own in addresses for one in own]
        self.batch = Batch(len(every), threads=threads, autoreset_mode=autoreset, **batch_arguments(every))
        space: Any = self.batch.single_action_space
        self.low, self.high = space.low, space.high  # of actions

    @property
    def actions(self) -> int:
        """How many numbers an action has."""
        return len(self.low)

    def reset(self, seeds: Sequence[int]) -> npt.NDArray[np.float64]:
        """Start episodes under one seed per world, in order; return the observations (members, worlds, slots)."""
        observation, _ = self.batch.reset(seed=list(seeds))
        return self._by_member(observation)

    def step(self, actions: npt.NDArray[np.float32]) -> Moment:
        """Step all worlds with actions (members, worlds, actions), clipped to the action space as by SB3's PPO."""
        bounded = np.clip(actions, self.low, self.high).reshape(self.batch.num_envs, -1)
        observation, reward, terminated, truncated, infos = self.batch.step(bounded)
        ended, cut = terminated | truncated, truncated & ~terminated
        unstable = infos.get("final_info", infos).get("sim_unstable") if ended.any() else None
        return Moment(
            observation=self._by_member(observation),
            reward=self._by_member(reward),
            ended=self._by_member(ended),
            cut=self._by_member(cut) if cut.any() else None,
            last=self._by_member(_last(observation, cut, infos)) if cut.any() else None,
            unstable=None if unstable is None else self._by_member(unstable),
        )

    def close(self) -> None:
        """End the threads."""
        self.batch.close()

    def _by_member(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values.reshape(*self._shape, *values.shape[1:])


def _last(observation: npt.NDArray[np.float64], cut: npt.NDArray[np.bool_], infos: dict[str, Any]) -> Any:
    """Return the observations with those that episodes were cut off at in place of those that follow them."""
    if "final_obs" not in infos:  # nothing starts anew by itself
        return observation
    last = observation.copy()
    for world in np.flatnonzero(cut):
        last[world] = infos["final_obs"][world]
    return last
