"""Collecting a rollout where the worlds are on the learner's device: nothing is asked of the host until it is over."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trl_suite.training.cohort.device_normaliser import DeviceNormaliser
from trl_suite.training.cohort.ppo import Transitions
from trl_suite.training.cohort.rollout import Collector, advantages
from trl_suite.training.cohort.worlds import Moment
from trl_suite.worlds.warp.batch import DeviceBatch


class DeviceCollector(Collector):
    """Acts with all members in all their worlds, as `Collector` does; axes (steps, members, worlds, ...).

    Args:
        batch: the worlds, which begin anew in the same step.
        given: what `Collector` takes.
    """

    def __init__(self, batch: DeviceBatch, *given: Any) -> None:
        super().__init__(*given)
        self._batch = batch
        space: Any = batch.single_action_space
        self._bounds = [torch.as_tensor(end, device=self.seen.device) for end in (space.low, space.high)]
        shape = self._value.shape
        self._paid, self._scaled = (self.seen.new_zeros(shape) for _ in range(2))
        self._over, self._unstable = (self.seen.new_zeros(shape, dtype=torch.bool) for _ in range(2))

    def collect(self, iteration: int) -> Transitions:
        """Return the next rollout; the noise of its actions is that of the iteration."""
        draws = self._draws(iteration)
        alive = torch.as_tensor(self._alive[:, None, None], device=self.seen.device)
        normaliser = DeviceNormaliser(self._normaliser, self.seen.device)
        for step in range(self._how.n_steps):
            self._step_there(step, draws[:, step], alive, normaliser)
        normaliser.give_back()
        self._account()
        value, beyond = self._value.cpu().numpy(), self._values().cpu().numpy()
        advantage = advantages(self._reward, value, self._starts, beyond, self._how)
        return self._transitions(torch.as_tensor(advantage, device=self.seen.device))

    def _step_there(self, step: int, draws: Tensor, alive: Tensor, normaliser: DeviceNormaliser) -> None:
        action = self._decide(step, draws)
        # a member that has diverged acts no more, and must not stop the others with numbers that are none
        bounded = torch.where(alive, action, 0.0).clamp(*self._bounds).flatten(0, 1)
        observation, reward, terminated, truncated, infos = self._batch.step(bounded)
        ended = self._by_member(terminated | truncated)
        self._over[step], self._unstable[step] = ended, self._by_member(infos["sim_unstable"])
        self._paid[step] = self._by_member(reward)
        seen = normaliser.observed(self._by_member(observation))
        self._scaled[step] = normaliser.rewarded(self._paid[step], ended)
        self.seen.copy_(normaliser.seen(self._by_member(infos["final_obs"])))
        cut = self._by_member(truncated & ~terminated)
        self._scaled[step] += self._how.gamma * torch.where(cut, self._values(), 0.0)
        self.seen.copy_(seen)

    def _account(self) -> None:
        """Tell the host what the rollout paid and ended: its one transfer besides statistics and values."""
        ended, unstable = self._over.cpu().numpy(), self._unstable.cpu().numpy()
        paid, self._reward[:] = self._paid.cpu().numpy(), self._scaled.cpu().numpy()
        self._starts[0], self._starts[1:] = self.begins, ended
        nothing = np.empty(0)
        for reward, over, lost in zip(paid, ended, unstable, strict=True):
            self.episodes.add(Moment(nothing, reward.astype(np.float64), over, None, None, lost))

    def _by_member(self, values: Tensor) -> Tensor:
        return values.unflatten(0, self._value.shape[1:])
