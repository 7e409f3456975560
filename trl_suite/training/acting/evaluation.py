"""Evaluation: undiscounted, unnormalised returns of whole episodes in envs that nothing learns from."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    success: bool | None = None  # None where the env speaks of none


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
        running, successes = np.ones(len(self._seeds), dtype=bool), None
        while running.any():
            actions[running] = act(observations[running])
            observations, rewards, terminated, truncated, infos = self._worlds.step(actions)
            values[running] += rewards[running]
            lengths[running] += 1
            successes = successes_so_far(successes, infos, running)
            running &= ~(terminated | truncated)
        return episodes_from(values, lengths, mode, successes)

    def close(self) -> None:
        """Close all worlds."""
        self._worlds.close()


def successes_so_far(
    successes: npt.NDArray[np.bool_] | None, infos: Mapping[str, Any], running: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_] | None:
    """Return which episodes (envs,) are successes after a step, those that are over as they ended; None without any."""
    flags = infos.get("is_success")
    if flags is None:
        return successes
    flags = np.asarray(flags, dtype=np.float64).reshape(running.shape) > 0
    return np.where(running, np.asarray(flags).astype(bool), False if successes is None else successes)


def episodes_from(
    values: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.int64],
    mode: Mode,
    successes: npt.NDArray[np.bool_] | None,
) -> list[Episode]:
    """Return the episodes of returns, lengths and successes (envs,)."""
    flags = [None] * len(values) if successes is None else successes.tolist()
    return [Episode(float(v), int(n), mode, flag) for v, n, flag in zip(values, lengths, flags, strict=True)]


def success_rate(episodes: Sequence[Episode]) -> float | None:
    """Return the share of episodes that are successes; None where nothing is one."""
    flags = [episode.success for episode in episodes if episode.success is not None]
    return float(np.mean(flags)) if flags else None


def mean_return(episodes: Sequence[Episode]) -> float:
    """Return the mean of the deterministic episodes' returns."""
    return float(np.mean([episode.value for episode in episodes if episode.mode == "deterministic"]))


def append(path: Path, step: int, episodes: Sequence[Episode]) -> None:
    """Add one evaluation to a CSV file, `step,episode,return,length,mode`, all its lines in one write.

    Where the env speaks of success, a sixth column `success` is 1 or 0. Episodes count from 0 within each mode.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    judged = any(episode.success is not None for episode in episodes)
    head = "" if path.exists() else f"step,episode,return,length,mode{',success' if judged else ''}\n"
    counts: dict[str, Iterator[int]] = {}
    lines = (
        f"{step},{next(counts.setdefault(episode.mode, itertools.count()))},{episode.value!r},{episode.length},"
        f"{episode.mode}{f',{int(bool(episode.success))}' if judged else ''}\n"
        for episode in episodes
    )
    with storing(path), path.open("a") as file:
        file.write(head + "".join(lines))
