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
    reward: torch.Tensor  # float64
    ended: torch.Tensor
    cut: torch.Tensor | None  # which episodes only the time limit ended; None where none
    last: torch.Tensor | None  # float64; what they ended with, and anything elsewhere
    unstable: npt.NDArray[np.bool_] | None  # which episodes the simulation ended; None where none


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

    def reset(self, seeds: Sequence[int]) -> torch.Tensor:
        """Start episodes under one seed per world, in order; return the observations (members, worlds, slots)."""
        observation, _ = self.batch.reset(seed=list(seeds))
        return self._tensor(observation)

    def step(self, actions: torch.Tensor) -> Moment:
        """Step all worlds with actions (members, worlds, actions), clipped to the action space as by SB3's PPO."""
        bounded = torch.maximum(torch.minimum(actions, self.high), self.low)
        observation, reward, terminated, truncated, infos = self.batch.step(bounded.flatten(0, 1).cpu().numpy())
        ended, cut = terminated | truncated, truncated & ~terminated
        unstable = infos.get("final_info", infos).get("sim_unstable")
        return Moment(
            observation=self._tensor(observation),
            reward=self._tensor(reward),
            ended=self._tensor(ended),
            cut=self._tensor(cut) if cut.any() else None,
            last=self._last(observation, cut, infos) if cut.any() else None,
            unstable=None if unstable is None else unstable.reshape(self._shape),
        )

    def close(self) -> None:
        """End the threads."""
        self.batch.close()

    def _tensor(self, values: npt.NDArray[Any]) -> torch.Tensor:
        return torch.tensor(values, device=self._device).unflatten(0, self._shape)

    def _last(self, observation: npt.NDArray[np.float64], cut: npt.NDArray[np.bool_], infos: dict[str, Any]) -> Any:
        last = observation.copy()
        for world in np.flatnonzero(cut):
            last[world] = infos["final_obs"][world] if "final_obs" in infos else observation[world]
        return self._tensor(last)
