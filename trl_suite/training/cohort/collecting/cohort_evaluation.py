"""Evaluation of every member: its episodes of `training.evaluation`, those of all members side by side."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.training.acting.evaluation import Episode, Mode, episodes_from
from trl_suite.training.cohort.collecting.cohort_envs import CohortEnvs
from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser
from trl_suite.training.cohort.stacked import noise
from trl_suite.training.reproducibility import seed_for

Act = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]  # what is seen, standard normal numbers -> actions


class Outcome(NamedTuple):
    """Returns, lengths and successes of episodes (members, episodes)."""

    values: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    successes: npt.NDArray[np.bool_] | None  # None where nothing is one


class CohortEvaluator:
    """Runs the same episodes for every member at every evaluation: episode i always starts from the same state.

    Args:
        worlds: as many for each member as there are episodes; an episode that has ended stays so until its reset.
        seeds: of the members.
        episodes: how many.
        device: where the networks are.
    """

    def __init__(self, worlds: CohortEnvs, seeds: Sequence[int], episodes: int, device: torch.device) -> None:
        self._worlds = worlds
        self._resets = [seed_for(i, "evaluation") for i in range(episodes)] * len(seeds)
        self._seeds, self._episodes, self._device = seeds, episodes, device

    def __call__(
        self,
        act: Act,
        normaliser: CohortNormaliser,
        alive: npt.NDArray[np.bool_],
        mode: Mode,
        stopping: Callable[[], bool],
    ) -> list[list[Episode]] | None:
        """Return the episodes of each member; of one that is not alive nothing that counts; None where it was stopped.

        Args:
            act: gives all members' actions.
            normaliser: statistics of all members; they are not changed.
            alive: which members are measured (members,).
            mode: mean actions, or drawn ones: the same draws at every evaluation.
            stopping: asked at every step.
        """
        outcome = self._run(act, normaliser, alive, mode, stopping)
        if outcome is None:
            return None
        return episodes_of(outcome, mode)

    def overflown(self) -> npt.NDArray[np.int64]:
        """Return in how many worlds of each member the last evaluation's physics was wrong (members,)."""
        return self._worlds.overflown()

    def close(self) -> None:
        """End the worlds."""
        self._worlds.close()

    def _run(
        self,
        act: Act,
        normaliser: CohortNormaliser,
        alive: npt.NDArray[np.bool_],
        mode: Mode,
        stopping: Callable[[], bool],
    ) -> Outcome | None:
        """Return returns, lengths and successes (members, episodes)."""
        draws = [noise.generator(seed, noise.NoiseStream.EVALUATION, 0) for seed in self._seeds]
        running = np.repeat(alive[:, None], self._episodes, 1)
        observation = self._worlds.reset(self._resets)
        values, lengths, successes = np.zeros(running.shape), np.zeros(running.shape, dtype=np.int64), None
        while running.any():
            if stopping():
                return None
            normalized_obs = torch.from_numpy(normaliser.normalized_obs(observation)).to(self._device)
            action = act(normalized_obs, self._drawn(draws) if mode == "stochastic" else None).cpu().numpy()
            moment = self._worlds.step(np.where(running[..., None], action, np.float32(0.0)))
            observation = moment.observation
            values[running] += moment.reward[running]
            lengths += running
            if moment.success is not None:
                successes = np.where(running, moment.success, False if successes is None else successes)
            running &= ~moment.ended
        return Outcome(values, lengths, successes)

    def _drawn(self, draws: Sequence[np.random.Generator]) -> torch.Tensor:
        shape = (self._episodes, self._worlds.actions)
        drawn = np.stack([generator.standard_normal(shape, dtype=np.float32) for generator in draws])
        return torch.as_tensor(drawn, device=self._device)


def episodes_of(outcome: Outcome, mode: Mode) -> list[list[Episode]]:
    """Return each member's episodes."""
    values, lengths, successes = outcome
    return [
        episodes_from(values[member], lengths[member], mode, None if successes is None else successes[member])
        for member in range(len(values))
    ]
