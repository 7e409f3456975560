"""What a policy is worth: undiscounted, unnormalised returns of whole episodes in worlds of their own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt

from trl_suite.training.seeds import seed_for
from trl_suite.worlds.env import make

Act = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float32]]  # (batch, slots) -> (batch, actions)


class Episode(NamedTuple):
    """One finished episode."""

    value: float  # sum of rewards
    length: int  # env steps


class Evaluator:
    """Runs the same episodes for every policy it is given: episode i always starts from the same state."""

    def __init__(self, env: str, episodes: int) -> None:
        self._worlds: list[gymnasium.Env[Any, Any]] = [make(env) for _ in range(episodes)]

    def __call__(self, act: Act) -> list[Episode]:
        """Return one `Episode` per world; all are stepped side by side, so that `act` sees them as one batch."""
        observations = np.stack(
            [world.reset(seed=seed_for(i, "evaluation"))[0] for i, world in enumerate(self._worlds)]
        )
        values, lengths = np.zeros(len(self._worlds)), np.zeros(len(self._worlds), dtype=int)
        running = list(range(len(self._worlds)))
        while running:
            actions = act(observations[running])
            running = [
                i for i, action in zip(running, actions, strict=True)
                if not self._step(i, action, observations, values, lengths)
            ]  # fmt: skip
        return [Episode(float(value), int(length)) for value, length in zip(values, lengths, strict=True)]

    def _step(
        self,
        i: int,
        action: npt.NDArray[np.float32],
        observations: npt.NDArray[np.float64],
        values: npt.NDArray[np.float64],
        lengths: npt.NDArray[np.int_],
    ) -> bool:
        """Advance world i by one step; return whether its episode is over."""
        observation, reward, terminated, truncated, _ = self._worlds[i].step(action)
        observations[i] = observation
        values[i] += float(reward)
        lengths[i] += 1
        return terminated or truncated

    def close(self) -> None:
        """Close all worlds."""
        for world in self._worlds:
            world.close()


def mean_return(episodes: Sequence[Episode]) -> float:
    """Return the mean of the episodes' returns."""
    return float(np.mean([episode.value for episode in episodes]))


def append(path: Path, step: int, episodes: Sequence[Episode]) -> None:
    """Add one evaluation to a CSV file, `step,episode,return,length`, all its lines in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "" if path.exists() else "step,episode,return,length\n"
    lines = (f"{step},{i},{episode.value!r},{episode.length}\n" for i, episode in enumerate(episodes))
    with path.open("a") as file:
        file.write(head + "".join(lines))
