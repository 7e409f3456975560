"""SB3's replay buffer with the terms of each reward, and with transitions that are never overwritten."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer

REWARD_PREFIX = "reward_"  # opens the terms in an env's info


class SourceReplayBuffer(ReplayBuffer):
    """A replay whose first `held` rows stay. Everything else is SB3's."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.given = 0  # rows that were not collected but copied
        self.held = 0  # of them, those that are not to be overwritten
        self.terms: dict[str, NDArray[np.float64]] = {}  # name -> (rows, worlds)

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Add one transition of each world."""
        for world, info in enumerate(infos):
            for key, value in info.items():
                if key.startswith(REWARD_PREFIX):
                    self._term(key.removeprefix(REWARD_PREFIX))[self.pos, world] = value
        super().add(obs, next_obs, action, reward, done, infos)
        if self.pos == 0:  # full: SB3 starts again at the first row
            self.pos = self.held

    def _term(self, name: str) -> NDArray[np.float64]:
        if name not in self.terms:
            self.terms[name] = np.zeros((self.buffer_size, self.n_envs))
        return self.terms[name]
