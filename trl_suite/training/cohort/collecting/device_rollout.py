"""Collecting a rollout where the worlds are on the learner's device: nothing is asked of the host until it is over."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trl_suite.training.cohort.collecting.cohort_envs import StepResult
from trl_suite.training.cohort.collecting.device_normaliser import DeviceNormaliser
from trl_suite.training.cohort.collecting.rollout import Collector, advantages
from trl_suite.training.cohort.learning.ppo_update import Transitions
from trl_suite.training.cohort.stacked.parameter_layout import CRITIC
from trl_suite.worlds.warp.warp_env import DeviceStepResult, WarpVectorEnv


class DeviceCollector(Collector):
    """Acts with all members in all their worlds, as `Collector` does; axes (steps, members, worlds, ...).

    A step is one program from what is seen to what is seen next, so that it can be captured: it reads and writes memory
    that stays where it is, and which step it is tells a number on the device.

    Args:
        batch: the worlds, which begin anew in the same step.
        given: what `Collector` takes.
    """

    def __init__(self, batch: WarpVectorEnv, *options: Any) -> None:
        super().__init__(*options)
        space: Any = batch.single_action_space
        device, shape = self.normalized_obs.device, self._value.shape
        self._bounds = [torch.as_tensor(end, device=device) for end in (space.low, space.high)]
        self._statistics = DeviceNormaliser(self._normaliser, device)
        self._noise, self._now = torch.zeros_like(self._action), torch.zeros(1, dtype=torch.int64, device=device)
        self._acting = torch.ones(shape[1], 1, 1, dtype=torch.bool, device=device)  # who acts
        self._paid, self._last = torch.zeros_like(self._value), torch.zeros_like(self._observation)
        self._variance = torch.ones(*shape[:2], 1, dtype=torch.float64, device=device)  # of returns, at each step
        self._over, self._unstable, self._cut = (
            self.normalized_obs.new_zeros(shape, dtype=torch.bool) for _ in range(3)
        )
        self._critics = self._networks.of_row(CRITIC)
        self._go = batch.around(self._act, self._take)
        self.between: Callable[[], None] | None = None  # work of others, launched after every step

    def collect(self, iteration: int) -> Transitions:
        """Return the next rollout; the noise of its actions is that of the iteration."""
        self._noise.copy_(self._draws(iteration).movedim(1, 0))
        self._acting.copy_(torch.from_numpy(self._alive[:, None, None]))
        self._statistics.take()
        self._now.zero_()
        for _ in range(self._hyperparameters.n_steps):
            self._go(False)
            if self.between is not None:
                self.between()
        self._statistics.give_back()
        self._account()
        value, bootstrap_value = self._value.cpu().numpy(), self._values_of(self.normalized_obs).cpu().numpy()
        advantage = advantages(self._reward, value, self._starts, bootstrap_value, self._gamma, self._decay)
        return self._transitions(torch.as_tensor(advantage, device=self.normalized_obs.device))

    def _act(self) -> Tensor:
        """Return the actions of all worlds, and keep them with what they were done at."""
        members, actions = self._stack.members, self._stack.layout.outputs
        outputs = self._networks.forward(self.normalized_obs)
        mean = outputs[:members, :, :actions]
        action = mean + self._noise.index_select(0, self._now)[0]
        self._keep(self._observation, self.normalized_obs)
        self._keep(self._mean, mean)
        self._keep(self._value, outputs[members:, :, 0])
        self._keep(self._action, action)
        # a member that has diverged acts no more, and must not stop the others with numbers that are none
        return torch.where(self._acting, action, 0.0).clamp(*self._bounds).flatten(0, 1)

    def _take(self, result: DeviceStepResult) -> None:
        """Keep what came of the actions; see what follows."""
        observation, reward, terminated, truncated, infos = result
        ended, paid = self._by_member(terminated | truncated), self._by_member(reward)
        self._keep(self._over, ended)
        self._keep(self._cut, self._by_member(truncated & ~terminated))
        self._keep(self._unstable, self._by_member(infos["sim_unstable"]))
        self._keep(self._paid, paid)
        raw = torch.stack([self._by_member(observation), self._by_member(infos["final_obs"])]).double()
        self._statistics.update(raw[0], paid, ended)
        if (variance := self._statistics.reward_variance()) is not None:
            self._keep(self._variance, variance)
        normalized_obs, last = self._statistics.normalized_obs(raw)
        self._keep(self._last, last)
        self.normalized_obs.copy_(normalized_obs)
        self._now.add_(1)

    def _keep(self, buffer: Tensor, values: Tensor) -> None:
        """Write what belongs to this step."""
        buffer.index_copy_(0, self._now, values[None])

    def _account(self) -> None:
        """Tell the host what the rollout paid and ended: its one transfer besides statistics and values."""
        ended, unstable, cut = (flags.cpu().numpy() for flags in (self._over, self._unstable, self._cut))
        paid = self._paid.cpu().numpy()
        self._reward[:] = self._statistics.scaled(self._paid, self._variance).cpu().numpy()
        self._starts[0], self._starts[1:] = self.begins, ended
        for step in np.flatnonzero(cut.any((1, 2))):  # few: episodes are long, and most of them begin together
            bootstrap_value = self._values_of(self._last[step]).cpu().numpy()
            self._reward[step] += self._gamma * np.where(cut[step], bootstrap_value, np.float32(0.0))
        nothing = np.empty(0)
        for reward, over, lost in zip(paid, ended, unstable, strict=True):
            self.episodes.add(StepResult(nothing, reward.astype(np.float64), over, None, None, lost))

    def _values_of(self, normalized_obs: Tensor) -> Tensor:
        """Return the value of observations (P, W, slots) as (P, W), by the critics alone."""
        return self._critics.forward(normalized_obs)[..., 0]

    def _by_member(self, values: Tensor) -> Tensor:
        return values.unflatten(0, self._value.shape[1:])
