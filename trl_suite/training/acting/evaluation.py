"""Evaluation: undiscounted, unnormalised returns of whole episodes in envs that nothing learns from."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from trl_suite.files import storing
from trl_suite.training.reproducibility import seed_for
from trl_suite.worlds.stepping.vector_env import make_vector

Act = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float32]]  # (batch, slots) -> (batch, actions)


Mode = Literal["deterministic", "stochastic"]


class Episode(NamedTuple):
    """One finished episode."""

    value: float  # sum of rewards
    length: int  # env steps
    mode: Mode = "deterministic"


class Evaluator:
    """Runs the same episodes for every policy it is given: episode i always starts from the same state."""

    def __init__(self, env: str, episodes: int) -> None:
        self._worlds = make_vector(env, episodes)
        # a list, as every vector env takes it, although Gymnasium's annotation knows only a number
        self._seeds: Any = [seed_for(i, "evaluation") for i in range(episodes)]

    def __call__(self, act: Act, mode: Mode = "deterministic") -> list[Episode]:
        """Return one `Episode` per world; all are stepped side by side, so that `act` sees them as one batch."""
        observations, _ = self._worlds.reset(seed=self._seeds)
        actions = np.zeros(self._worlds.action_space.shape or (), dtype=np.float32)
        values, lengths = np.zeros(len(self._seeds)), np.zeros(len(self._seeds), dtype=int)
        running = np.ones(len(self._seeds), dtype=bool)
        while running.any():
            actions[running] = act(observations[running])
            observations, rewards, terminated, truncated, _ = self._worlds.step(actions)
            values[running] += rewards[running]
            lengths[running] += 1
            running &= ~(terminated | truncated)
        return [Episode(float(value), int(length), mode) for value, length in zip(values, lengths, strict=True)]

    def close(self) -> None:
        """Close all worlds."""
        self._worlds.close()


def mean_return(episodes: Sequence[Episode]) -> float:
    """Return the mean of the deterministic episodes' returns."""
    return float(np.mean([episode.value for episode in episodes if episode.mode == "deterministic"]))


def append(path: Path, step: int, episodes: Sequence[Episode]) -> None:
    """Add one evaluation to a CSV file, `step,episode,return,length,mode`, all its lines in one write.

    Episodes count from 0 within each mode.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "" if path.exists() else "step,episode,return,length,mode\n"
    counts: dict[str, Iterator[int]] = {}
    lines = (
        f"{step},{next(counts.setdefault(episode.mode, itertools.count()))},{episode.value!r},{episode.length},"
        f"{episode.mode}\n"
        for episode in episodes
    )
    with storing(path), path.open("a") as file:
        file.write(head + "".join(lines))
