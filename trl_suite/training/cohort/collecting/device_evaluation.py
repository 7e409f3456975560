"""Evaluation of every member where the worlds are on the learner's device."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trl_suite.training.acting.evaluation import Episode, Mode
from trl_suite.training.cohort.collecting.cohort_evaluation import Act, CohortEvaluator, Outcome, episodes_of
from trl_suite.training.cohort.collecting.device_normaliser import DeviceNormaliser
from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser
from trl_suite.training.cohort.stacked import noise
from trl_suite.worlds.warp.warp_env import DeviceStepResult, WarpVectorEnv

ASKED = 16  # steps between two questions whether any episode still goes on
JOINED_STEPS = 4  # first ones, which warm up and capture: never beside other work, which does so too


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
        self._successes = torch.zeros(shape, dtype=torch.bool, device=device)
        self._judges = batch.table.success is not None
        self._noise = torch.zeros(*shape, len(space.low), device=device)
        self._statistics: DeviceNormaliser | None = None
        self._steps: dict[Mode, Callable[[bool], None]] = {}
        self._made = 0  # steps since the last `begin`
        self._flag = torch.ones(1, dtype=torch.bool, pin_memory=device.type == "cuda")  # whether any episode goes on
        self._asked: Any = None  # an event behind the question

    def _run(
        self,
        act: Act,
        normaliser: CohortNormaliser,
        alive: npt.NDArray[np.bool_],
        mode: Mode,
        stopping: Callable[[], bool],
    ) -> Outcome | None:
        draws = [noise.generator(seed, noise.NoiseStream.EVALUATION, 0) for seed in self._seeds]
        self.begin(act, normaliser, alive, mode)
        while self._made % ASKED or bool(self._running.any()):
            if self._made % ASKED == 0 and stopping():
                return None
            if mode == "stochastic":
                self._noise.copy_(self._drawn(draws))
            self._step(mode, beside=False)
        return self._outcome()

    def begin(self, act: Act, normaliser: CohortNormaliser, alive: npt.NDArray[np.bool_], mode: Mode) -> None:
        """Begin an evaluation; `act` must always be the same, and what it acts by must stay until the end."""
        self._begin(normaliser, alive)
        observation = self._batch.reset(seed=self._resets)[0]
        if mode not in self._steps:
            self._steps[mode] = self._batch.around(partial(self._act, act, observation, mode), self._take)
        self._made, self._asked = 0, None
        self._flag[0] = True

    def advance(self, steps: int) -> None:
        """Launch some steps of an evaluation of mean actions beside the caller's work; nobody waits for anything.

        Nothing is launched once all episodes are known to be over.
        """
        for _ in range(steps):
            if self._asked is not None and self._asked.query() and not self._flag[0]:
                return
            beside = self._made >= JOINED_STEPS
            if self._made == JOINED_STEPS:
                self._batch.stream.follow_caller()
            self._step("deterministic", beside)
            if beside and self._made % ASKED == 0:
                self._ask()

    def finish(self, stopping: Callable[[], bool]) -> list[list[Episode]] | None:
        """Make the rest of the steps, and return the episodes; None where it was stopped."""
        self._batch.stream.lead_caller()
        while bool(self._running.any()):
            if stopping():
                return None
            for _ in range(ASKED):
                self._step("deterministic", beside=False)
        return episodes_of(self._outcome(), "deterministic")

    def _outcome(self) -> Outcome:
        successes = self._successes.cpu().numpy() if self._judges else None
        return Outcome(self._values.cpu().numpy(), self._lengths.cpu().numpy(), successes)

    def _step(self, mode: Mode, beside: bool) -> None:
        self._steps[mode](beside)
        self._made += 1

    def _ask(self) -> None:
        """Ask on the worlds' stream whether any episode goes on; the answer is there when the event has passed."""
        if self._asked is not None and not self._asked.query():
            return
        with self._batch.stream.entered(beside=True):
            self._flag.copy_(self._running.any()[None], non_blocking=True)
            self._asked = torch.cuda.Event()
            self._asked.record()

    def _begin(self, normaliser: CohortNormaliser, alive: npt.NDArray[np.bool_]) -> None:
        if self._statistics is None:
            self._statistics = DeviceNormaliser(normaliser, self._batch.device)
        self._statistics.take()
        self._running.copy_(torch.from_numpy(alive)[:, None])
        self._values.zero_()
        self._lengths.zero_()
        self._successes.zero_()

    def _act(self, act: Act, observation: Tensor, mode: Mode) -> Tensor:
        """Return the actions of all worlds on what they show now, which lies where it always lies."""
        assert self._statistics is not None
        normalized_obs = self._statistics.normalized_obs(observation.unflatten(0, self._running.shape))
        action = act(normalized_obs, self._noise if mode == "stochastic" else None)
        return torch.where(self._running[..., None], action, 0.0).clamp(*self._bounds).flatten(0, 1)

    def _take(self, result: DeviceStepResult) -> None:
        """Add up what running episodes were paid."""
        _, reward, terminated, truncated, infos = result
        shape = self._running.shape
        self._values.add_(torch.where(self._running, reward.unflatten(0, shape), 0.0))
        self._lengths.add_(self._running)
        if self._judges:
            flags = infos["is_success"].unflatten(0, shape)
            self._successes.copy_(torch.where(self._running, flags, self._successes))
        self._running.logical_and_(~(terminated | truncated).unflatten(0, shape))
