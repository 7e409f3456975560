"""What every member is worth, measured where the worlds are on the learner's device."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trl_suite.training.cohort import noise
from trl_suite.training.cohort.device_normaliser import DeviceNormaliser
from trl_suite.training.cohort.evaluation import Act, Evaluator
from trl_suite.training.cohort.normaliser import Normaliser
from trl_suite.training.evaluation import Mode
from trl_suite.worlds.warp.batch import DeviceBatch

ASKED = 16  # steps between two questions whether any episode still goes on


class DeviceEvaluator(Evaluator):
    """Runs the same episodes for every member at every evaluation, as `Evaluator` does.

    Args:
        batch: the worlds.
        given: what `Evaluator` takes.
    """

    def __init__(self, batch: DeviceBatch, *given: Any) -> None:
        super().__init__(*given)
        self._batch = batch
        space: Any = batch.single_action_space
        self._bounds = [torch.as_tensor(end, device=batch.device) for end in (space.low, space.high)]

    def _run(
        self,
        act: Act,
        normaliser: Normaliser,
        alive: npt.NDArray[np.bool_],
        mode: Mode,
        stopping: Callable[[], bool],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None:
        draws = [noise.generator(seed, noise.Stream.EVALUATION, 0) for seed in self._seeds]
        on_device = DeviceNormaliser(normaliser, self._batch.device)
        running = torch.as_tensor(np.repeat(alive[:, None], self._episodes, 1), device=self._batch.device)
        values, lengths = (torch.zeros_like(running, dtype=kind) for kind in (torch.float64, torch.int64))
        observation, step = self._batch.reset(seed=self._resets)[0], 0
        while step % ASKED or bool(running.any()):
            if step % ASKED == 0 and stopping():
                return None
            step += 1
            seen = on_device.seen(observation.unflatten(0, running.shape))
            action = act(seen, self._drawn(draws) if mode == "stochastic" else None)
            observation, reward, ended = self._step(torch.where(running[..., None], action, 0.0))
            values += torch.where(running, reward, 0.0)
            lengths += running
            running = running & ~ended
        self._worlds.check()
        return values.cpu().numpy(), lengths.cpu().numpy()

    def _step(self, action: Tensor) -> Sequence[Tensor]:
        observation, reward, terminated, truncated, _ = self._batch.step(action.clamp(*self._bounds).flatten(0, 1))
        shape = action.shape[:2]
        return observation, reward.unflatten(0, shape), (terminated | truncated).unflatten(0, shape)
