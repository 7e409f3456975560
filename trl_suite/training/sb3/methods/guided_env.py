"""Episodes that the source opens: the learner's rollouts start where the source hands over."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from trl_suite.worlds.stepping import rng_state

Act = Callable[[np.ndarray], np.ndarray]


class GuidedEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Lets the source act for a random number of steps after each reset, before the learner sees the episode.

    What the learner collects is therefore its own, which keeps PPO on-policy; in the public jump-start code PPO never
    meets its guide, because it collects through another call than the one that was replaced.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], act: Act, longest: Callable[[], int], generator: np.random.Generator
    ) -> None:
        super().__init__(env)
        self.guided_steps = 0  # made by the source so far: they belong on the bill
        self._act, self._longest, self._generator = act, longest, generator

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the arrays that the guide goes on with."""
        return {"guided": np.array(self.guided_steps), "guide": rng_state.pack_rng([self._generator])}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Put the guide where `state` found it."""
        self.guided_steps = int(state["guided"])
        rng_state.restore_rng(self._generator, state["guide"][0])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Return the observation at the hand-over; an episode that ends before it starts anew, unguided."""
        observation, info = self.env.reset(seed=seed, options=options)
        for _ in range(int(self._generator.integers(0, self._longest() + 1))):
            observation, _, terminated, truncated, info = self.env.step(self._act(observation))
            self.guided_steps += 1
            if terminated or truncated:
                return self.env.reset(options=options)
        return observation, info
