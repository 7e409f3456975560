"""A replay that learns from goals that were not meant: hindsight experience replay over flat observations.

Andrychowicz et al. 2017, section 3.2, algorithm 1, with the strategy "future". SB3's own `HerReplayBuffer` takes
dictionaries alone, and its policies then have other layers; here goals are slots of one vector, and layers stay.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from trl_suite.errors import InputError
from trl_suite.interface import Interface
from trl_suite.training.sb3.methods.replay_buffer import SourceReplayBuffer
from trl_suite.worlds.outside.suite_table import ACHIEVED, DESIRED

Rewards = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]  # goals reached, goals asked for (n, numbers) -> (n,)
_UNFINISHED = -1  # of a transition whose episode goes on


class GoalSlots(NamedTuple):
    """Columns of an observation (numbers,) that say what is reached, and what is to be."""

    achieved: NDArray[np.int64]
    desired: NDArray[np.int64]


def goal_slots(interface: Interface, env: str) -> GoalSlots:
    """Return the columns of the goal's slots.

    Raises:
        InputError: the env has none, or not of one kind as many as of the other.
    """
    names = interface.observation_names
    achieved, desired = ([i for i, name in enumerate(names) if name.startswith(key)] for key in (ACHIEVED, DESIRED))
    if not achieved or len(achieved) != len(desired):
        raise InputError(f"{env}: n_sampled_goal: it has no achieved_goal and desired_goal: leave the key out")
    return GoalSlots(np.array(achieved), np.array(desired))


class HindsightReplayBuffer(SourceReplayBuffer):
    """A replay in which n of n + 1 sampled transitions have a goal that was reached later in their episode.

    Transitions that were copied from a source, and those of an episode that goes on, keep their goals.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._later = np.full((self.buffer_size, self.n_envs), _UNFINISHED, dtype=np.int32)  # transitions that follow
        self._episode_steps = np.zeros(self.n_envs, dtype=np.int64)
        self._goals: GoalSlots | None = None
        self._share = 0.0
        self._rewards: Rewards | None = None

    def aim(self, goals: GoalSlots, n_sampled_goal: int, rewards: Rewards) -> None:
        """Say where the goals stand, how many are sampled for each that was meant, and what rewards they bring."""
        self._goals, self._share, self._rewards = goals, n_sampled_goal / (n_sampled_goal + 1), rewards

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Add one transition of each env; an episode that ends tells its transitions how many followed them."""
        row = self.pos
        self._later[row] = _UNFINISHED
        self._episode_steps += 1
        for env in np.flatnonzero(done):
            length = min(int(self._episode_steps[env]), self.buffer_size - self.held)
            self._later[self._row_after(row, -np.arange(length)), env] = np.arange(length)
            self._episode_steps[env] = 0
        super().add(obs, next_obs, action, reward, done, infos)

    def _row_after(self, row: Any, steps: Any) -> Any:
        """Return the rows so many steps after some rows, in the ring of those that are written again and again."""
        return self.held + (row - self.held + steps) % (self.buffer_size - self.held)

    def _get_samples(self, batch_inds: NDArray[Any], env: VecNormalize | None = None) -> ReplayBufferSamples:
        columns = np.random.randint(0, self.n_envs, size=len(batch_inds))
        observations = self.observations[batch_inds, columns]
        next_observations = self.next_observations[batch_inds, columns]
        rewards = self.rewards[batch_inds, columns].copy()
        self._relabel(batch_inds, columns, observations, next_observations, rewards)
        not_at_time_limit = 1 - self.timeouts[batch_inds, columns]
        data: tuple[Any, ...] = (
            self._normalize_obs(observations, env),
            self.actions[batch_inds, columns],
            self._normalize_obs(next_observations, env),
            (self.dones[batch_inds, columns] * not_at_time_limit).reshape(-1, 1),
            self._normalize_reward(rewards.reshape(-1, 1), env),
        )
        return ReplayBufferSamples(*map(self.to_torch, data))

    def _relabel(
        self,
        rows: NDArray[Any],
        columns: NDArray[Any],
        observations: NDArray[Any],
        next_observations: NDArray[Any],
        rewards: NDArray[Any],
    ) -> None:
        """Write, in place, goals that were reached later over a share of the sampled ones, and their rewards."""
        later = self._later[rows, columns]
        chance = np.random.random(len(rows)) < self._share
        where = np.flatnonzero(chance & (later != _UNFINISHED) & (rows >= self.held))
        if self._goals is None or self._rewards is None or not len(where):
            return
        future = self._row_after(rows[where], np.random.randint(0, later[where] + 1))
        goals = self.next_observations[future, columns[where]][:, self._goals.achieved]
        for array in (observations, next_observations):
            array[np.ix_(where, self._goals.desired)] = goals
        rewards[where] = self._rewards(next_observations[np.ix_(where, self._goals.achieved)], goals)


def compute_rewards(worlds: Any) -> Rewards:
    """Return the rewards of the first of some envs for goals, as SB3's VecEnv asks for them."""
    method = "hindsight_reward" if worlds.has_attr("hindsight_reward") else "compute_reward"  # every GoalEnv has it

    def rewards(achieved: NDArray[Any], desired: NDArray[Any]) -> NDArray[Any]:
        infos: Sequence[dict[str, Any]] = [{}] * len(achieved)
        return worlds.env_method(method, achieved, desired, infos, indices=[0])[0]

    return rewards
