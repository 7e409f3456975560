"""Evaluation of every member where the worlds are on the learner's device."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trl_suite.training.acting.evaluation import Mode
from trl_suite.training.cohort.collecting.cohort_evaluation import Act, CohortEvaluator
from trl_suite.training.cohort.collecting.device_normaliser import DeviceNormaliser
from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser
from trl_suite.training.cohort.stacked import noise
from trl_suite.worlds.warp.warp_env import DeviceStepResult, WarpVectorEnv

ASKED = 16  # steps between two questions whether any episode still goes on


class DeviceEvaluator(CohortEvaluator):
    """Runs the same episodes for every member at every evaluation, as `Evaluator` does.

    A step is one program, which is captured where the device has graphs: so it is always one cohort's `act` and
    statistics that are measured.

    Args:
        batch: the worlds.
        given: what `Evaluator` takes.
    """

    def __init__(self, batch: WarpVectorEnv, *options: Any) -> None:
        super().__init__(*options)
        self._batch, device = batch, batch.device
        space: Any = batch.single_action_space
        self._bounds = [torch.as_tensor(end, device=device) for end in (space.low, space.high)]
        shape = (len(self._seeds), self._episodes)
        self._running = torch.zeros(shape, dtype=torch.bool, device=device)
        self._values = torch.zeros(shape, dtype=torch.float64, device=device)
        self._lengths = torch.zeros(shape, dtype=torch.int64, device=device)
        self._noise = torch.zeros(*shape, len(space.low), device=device)
        self._statistics: DeviceNormaliser | None = None
        self._steps: dict[Mode, Callable[[], None]] = {}

    def _run(
        self,
        act: Act,
        normaliser: CohortNormaliser,
        alive: npt.NDArray[np.bool_],
        mode: Mode,
        stopping: Callable[[], bool],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None:
        draws = [noise.generator(seed, noise.NoiseStream.EVALUATION, 0) for seed in self._seeds]
        self._begin(normaliser, alive)
        observation, step = self._batch.reset(seed=self._resets)[0], 0
        if mode not in self._steps:
            self._steps[mode] = self._batch.around(partial(self._act, act, observation, mode), self._take)
        while step % ASKED or bool(self._running.any()):
            if step % ASKED == 0 and stopping():
                return None
            step += 1
            if mode == "stochastic":
                self._noise.copy_(self._drawn(draws))
            self._steps[mode]()
        self._worlds.check()
        return self._values.cpu().numpy(), self._lengths.cpu().numpy()

    def _begin(self, normaliser: CohortNormaliser, alive: npt.NDArray[np.bool_]) -> None:
        if self._statistics is None:
            self._statistics = DeviceNormaliser(normaliser, self._batch.device)
        self._statistics.take()
        self._running.copy_(torch.from_numpy(alive)[:, None])
        self._values.zero_()
        self._lengths.zero_()

    def _act(self, act: Act, observation: Tensor, mode: Mode) -> Tensor:
        """Return the actions of all worlds on what they show now, which lies where it always lies."""
        assert self._statistics is not None
        normalized_obs = self._statistics.normalized_obs(observation.unflatten(0, self._running.shape))
        action = act(normalized_obs, self._noise if mode == "stochastic" else None)
        return torch.where(self._running[..., None], action, 0.0).clamp(*self._bounds).flatten(0, 1)

    def _take(self, result: DeviceStepResult) -> None:
        """Add up what running episodes were paid."""
        _, reward, terminated, truncated, _ = result
        shape = self._running.shape
        self._values.add_(torch.where(self._running, reward.unflatten(0, shape), 0.0))
        self._lengths.add_(self._running)
        self._running.logical_and_(~(terminated | truncated).unflatten(0, shape))
