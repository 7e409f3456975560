"""Whole episodes step by step: what was seen, done and earned."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from trl_suite.training.acting.evaluation import Act
from trl_suite.training.reproducibility import seed_for
from trl_suite.worlds.stepping.vector_env import make_vector

Floats = npt.NDArray[np.float64]
NEGLIGIBLE_DISCOUNT = 0.05  # weight of a reward below which a cut-off future is taken for no loss


class Recording(NamedTuple):
    """Episodes of one policy in one world, a row per env step, episode after episode."""

    observations: Floats  # (steps, slots)
    actions: Floats  # (steps, actions)
    rewards: Floats  # (steps,)
    changes: Floats  # (steps, slots), of the observation by the step
    episodes: npt.NDArray[np.int64]  # (steps,), number of the episode
    cut: npt.NDArray[np.bool_]  # (episodes,), whether the time limit ended it

    @property
    def returns(self) -> Floats:
        """The undiscounted return of each episode: (episodes,)."""
        return np.bincount(self.episodes, self.rewards, len(self.cut)).astype(np.float64)

    def to_go(self, gamma: float) -> Floats:
        """Return the discounted sum of what follows each step, up to the episode's end: (steps,)."""
        returns = self.rewards.copy()
        for row in range(len(returns) - 2, -1, -1):
            if self.episodes[row] == self.episodes[row + 1]:
                returns[row] += gamma * returns[row + 1]
        return returns

    def settled(self, gamma: float) -> npt.NDArray[np.bool_]:
        """Return which steps lie so far before a time limit that what it cut off hardly counts: (steps,).

        At least the first half of each episode is kept.
        """
        length = np.bincount(self.episodes, minlength=len(self.cut))[self.episodes]
        start = np.searchsorted(self.episodes, self.episodes)
        left = length - (np.arange(len(length)) - start)
        enough = np.log(NEGLIGIBLE_DISCOUNT) / np.log(gamma) if gamma < 1 else np.inf
        return ~self.cut[self.episodes] | (left >= np.minimum(enough, length / 2))


def record(address: str, act: Act, count: int) -> Recording:
    """Return the episodes that an evaluation of as many would run: episode i starts from the same state.

    Args:
        address: of the world.
        act: gives the actions; it sees all episodes that still run as one batch.
        count: number of episodes.

    Raises:
        InputError: there is no such env, variant or axis.
    """
    worlds = make_vector(address, count)
    seeds = [seed_for(i, "evaluation") for i in range(count)]
    observations, _ = worlds.reset(seed=seeds)  # type: ignore[arg-type]  Gymnasium's annotation knows only a number
    actions = np.zeros(worlds.action_space.shape or (), dtype=np.float32)
    running, cut = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
    rows: list[tuple[npt.NDArray[np.int64], Floats, Floats, Floats, Floats]] = []
    while running.any():
        now = np.flatnonzero(running)
        actions[now] = act(observations[now])
        seen = observations[now].astype(np.float64)
        observations, rewards, terminated, truncated, _ = worlds.step(actions)
        rows.append((now, seen, actions[now].astype(np.float64), rewards[now], observations[now] - seen))
        cut |= running & truncated & ~terminated
        running &= ~(terminated | truncated)
    worlds.close()
    return _sorted(rows, cut)


def _sorted(
    rows: list[tuple[npt.NDArray[np.int64], Floats, Floats, Floats, Floats]], cut: npt.NDArray[np.bool_]
) -> Recording:
    """Return the rows of all episodes, which were made side by side, episode after episode."""
    episodes, seen, actions, rewards, changes = (np.concatenate(column) for column in zip(*rows, strict=True))
    order = np.argsort(episodes, kind="stable")
    return Recording(seen[order], actions[order], rewards[order], changes[order], episodes[order], cut)
