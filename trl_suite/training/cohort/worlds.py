"""The worlds of all members as one batch: arrays of the simulator in, tensors of the learner out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AutoresetMode

from trl_suite.worlds.batch import Batch
from trl_suite.worlds.vector import batch_arguments


class Moment(NamedTuple):
    """What a step gave; axes (members, worlds, ...)."""

    observation: torch.Tensor  # float64; of the next episode where one has ended
    reward: torch.Tensor  # float32
    ended: torch.Tensor
    cut: torch.Tensor | None  # which episodes only the time limit ended; None where none
    last: torch.Tensor | None  # float64; what they ended with, and anything elsewhere


class Worlds:
    """`worlds` worlds for each member, stepped together."""

    def __init__(
        self, addresses: Sequence[Sequence[str]], device: torch.device, threads: int | None, autoreset: AutoresetMode
    ) -> None:
        self._shape = (len(addresses), len(addresses[0]))
        every = [one for own in addresses for one in own]
        self.batch = Batch(len(every), threads=threads, autoreset_mode=autoreset, **batch_arguments(every))
        self._device = device
        space: Any = self.batch.single_action_space
        self.low, self.high = (torch.as_tensor(bound, device=device) for bound in (space.low, space.high))
        self.unstable = np.zeros(len(addresses), dtype=np.int64)  # episodes that the simulation ended, per member
        self.returns: list[list[float]] = [[] for _ in addresses]  # of episodes since they were last asked for
        self.lengths: list[list[int]] = [[] for _ in addresses]
        self._value, self._length = np.zeros(self._shape), np.zeros(self._shape, dtype=np.int64)

    def reset(self, seeds: Sequence[int]) -> torch.Tensor:
        """Start episodes under one seed per world, in order; return the observations (members, worlds, slots)."""
        observation, _ = self.batch.reset(seed=list(seeds))
        return self._tensor(observation)

    def step(self, actions: torch.Tensor) -> Moment:
        """Step all worlds with actions (members, worlds, actions), clipped to the action space as by SB3's PPO."""
        bounded = torch.maximum(torch.minimum(actions, self.high), self.low)
        observation, reward, terminated, truncated, infos = self.batch.step(bounded.flatten(0, 1).cpu().numpy())
        ended, cut = terminated | truncated, truncated & ~terminated
        self._count(reward, ended, infos)
        return Moment(
            observation=self._tensor(observation),
            reward=torch.as_tensor(reward.astype(np.float32).reshape(self._shape), device=self._device),
            ended=torch.as_tensor(ended.reshape(self._shape), device=self._device),
            cut=torch.as_tensor(cut.reshape(self._shape), device=self._device) if cut.any() else None,
            last=self._last(observation, cut, infos) if cut.any() else None,
        )

    def finished(self, member: int) -> tuple[list[float], list[int]]:
        """Return the returns and lengths of a member's episodes that have ended since this was last asked."""
        found = self.returns[member], self.lengths[member]
        self.returns[member], self.lengths[member] = [], []
        return found

    def close(self) -> None:
        """End the threads."""
        self.batch.close()

    def _tensor(self, values: npt.NDArray[np.float64]) -> torch.Tensor:
        return torch.tensor(values, device=self._device).view(*self._shape, -1)

    def _last(self, observation: npt.NDArray[np.float64], cut: npt.NDArray[np.bool_], infos: dict[str, Any]) -> Any:
        if "final_obs" not in infos:  # nothing is reset by itself
            return self._tensor(observation)
        last = observation.copy()
        for world in np.flatnonzero(cut):
            last[world] = infos["final_obs"][world]
        return self._tensor(last)

    def _count(self, reward: npt.NDArray[np.float64], ended: npt.NDArray[np.bool_], infos: dict[str, Any]) -> None:
        self._value += reward.reshape(self._shape)
        self._length += 1
        if not ended.any():
            return
        unstable = infos.get("final_info", {}).get("sim_unstable", np.zeros_like(ended))
        self.unstable += unstable.reshape(self._shape).sum(1)
        for member, world in np.argwhere(ended.reshape(self._shape)):
            self.returns[member].append(float(self._value[member, world]))
            self.lengths[member].append(int(self._length[member, world]))
            self._value[member, world], self._length[member, world] = 0.0, 0
