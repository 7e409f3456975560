"""Base of every batch of envs, on the host or on a device: its spaces, its time limit, its seeds; steps nothing."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from trl_suite.errors import InputError
from trl_suite.worlds.stepping.batch_spec import BatchSpec

BatchArray = TypeVar("BatchArray")


class EnvBatch(VectorEnv[BatchArray, BatchArray, BatchArray]):
    """Envs that are stepped together; `RobotVectorEnv` steps them with MuJoCo, `WarpVectorEnv` on a device."""

    autoreset_mode: AutoresetMode
    addresses: tuple[str, ...]

    def _describe(
        self, batch_spec: BatchSpec, max_episode_steps: int | None, precision: type[np.floating[Any]]
    ) -> None:
        """Set what Gymnasium asks a vector env for, and after how many steps an episode is cut."""
        self.num_envs, self.addresses = len(batch_spec.addresses), batch_spec.addresses
        self.table, self.interface = batch_spec.table, batch_spec.interface
        self.single_action_space = batch_spec.action_space
        self.single_observation_space = Box(-np.inf, np.inf, (len(self.interface.observation),), precision)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        self.render_mode = None
        self._limit = max_episode_steps or self.table.episode_steps

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """Seed of each env, as Gymnasium's vector envs have it: `seed + i`, `seed[i]`, or none.

        Raises:
            InputError: the list is of another length.
        """
        seeds: list[int | None] = [None] * self.num_envs
        if isinstance(seed, int | np.integer):
            seeds = [int(seed) + index for index in range(self.num_envs)]
        elif seed is not None:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise InputError(f"{len(seeds)} seeds for {self.num_envs} worlds")
        return seeds

    def _refuse_mask(self) -> InputError:
        return InputError(f"reset_mask is {self.num_envs} booleans, one of them true")

    def _refuse_other_count(self, stored: int, count: int) -> None:
        """Refuse to restore the state of another number of envs.

        Raises:
            InputError: it is.
        """
        if stored != count:
            raise InputError(f"{self.addresses[0]}: a state of {stored} worlds for {count}")


def refuse_pictures(env: str, render_mode: str | None) -> None:
    """Refuse to draw pictures of a batch.

    Raises:
        InputError: a render mode was asked for.
    """
    if render_mode is not None:
        raise InputError(f"{env}: a batch draws no pictures: make one world with render_mode='{render_mode}'")
