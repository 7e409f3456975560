"""The members' running statistics on a device, for a while: what `normaliser` keeps, in the same arithmetic.

They are the host's: a snapshot, a freeze and a component read them there. On the device they stay where they are, so
that graphs may read and write them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser, RunningMeanStd
from trl_suite.training.cohort.stacked.device_staging import DeviceStaging, StagedArray


class DeviceNormaliser:
    """Observations and rewards of all members, scaled on a device; axes (members, worlds, ...).

    The statistics of both are columns of the same arrays (members, numbers): one update takes both in.

    Args:
        host: what it does, and its statistics so far.
        device: where.
    """

    def __init__(self, host: CohortNormaliser, device: torch.device) -> None:
        self._host, self._scaling = host, host.scaling
        members, worlds = host.discounted.shape
        self._kinds: list[tuple[RunningMeanStd, slice]] = []
        columns = [self._columns(running) for running in (host.observation, host.reward)]
        self._observation, self._reward = columns
        width = sum(running.mean.shape[1] for running, _ in self._kinds)
        names = ("mean", "var", "count", "gain")  # gain: by how much the count grows, 0 of statistics that are held
        arrays = {name: StagedArray((members, width), torch.float64) for name in names}
        arrays["discounted"] = StagedArray((members, worlds), torch.float64)
        self._staging = DeviceStaging(arrays, device)
        staged = self._staging.device
        self._mean, self._var, self._count, self._gain = (staged[name] for name in names)
        self._discounted = staged["discounted"]
        self._gamma = torch.as_tensor(host.gamma, dtype=torch.float64, device=device)
        self.take()

    def _columns(self, running: RunningMeanStd | None) -> slice | None:
        """Return the columns of some statistics, behind those that there are; None where there are none."""
        if running is None:
            return None
        start = self._kinds[-1][1].stop if self._kinds else 0
        self._kinds.append((running, slice(start, start + running.mean.shape[1])))
        return self._kinds[-1][1]

    def take(self) -> None:
        """Let the statistics be the host's as they are now."""
        values: dict[str, npt.NDArray[Any]] = {"discounted": self._host.discounted}
        for name in ("mean", "var", "count", "gain") if self._kinds else ():
            columns = [self._on_host(running, name) for running, _ in self._kinds]
            values[name] = np.concatenate(columns, axis=1)
        self._staging.send(values)

    def _on_host(self, running: RunningMeanStd, name: str) -> npt.NDArray[np.float64]:
        """Return an array of some statistics of the host's (members, numbers)."""
        if name != "gain":
            return np.broadcast_to(running.arrays()[name], running.mean.shape)
        gain = np.full(running.mean.shape, float(self._host.discounted.shape[1]))
        gain[running.held] = 0.0
        return gain

    def update(self, observation: Tensor, reward: Tensor, ended: Tensor) -> None:
        """Take in what was observed, in float64, and paid in one step, and which episodes it ended."""
        columns = [observation] if self._observation is not None else []
        if self._reward is not None:
            self._discounted.mul_(self._gamma).add_(reward)
            columns.append(self._discounted[..., None])
        if columns:
            self._update(torch.cat(columns, dim=-1))
        if self._reward is not None:
            self._discounted.masked_fill_(ended, 0.0)

    def _update(self, values: Tensor) -> None:
        """Take in a batch of values (members, worlds, numbers); see `RunningMeanStd.update`."""
        # with w = n_b / n: mean <- mean + w delta, var <- var + w (var_b - var + (delta - w delta) delta), which is
        # Chan et al.'s M2 / n; where w is 0 nothing moves
        var, mean = torch.var_mean(values, dim=1, correction=0)
        self._count.add_(self._gain)
        weight = self._gain / self._count
        away = mean - self._mean
        moved = away * weight
        self._mean.add_(moved)
        self._var.add_(((away - moved) * away + var - self._var) * weight)

    def normalized_obs(self, raw: Tensor) -> Tensor:
        """Return observations (..., members, worlds, slots) as the networks see them."""
        if self._scaling is None or self._observation is None:
            return raw.float()
        mean, var = self._mean[:, None, self._observation], self._var[:, None, self._observation]
        bound = self._scaling.clip_observation
        return ((raw.double() - mean) / (var + self._scaling.epsilon).sqrt()).clamp(-bound, bound).float()

    def reward_variance(self) -> Tensor | None:
        """Return the variance of the discounted returns so far (members, 1); None where rewards are not scaled."""
        return None if self._reward is None else self._var[:, self._reward]

    def scaled(self, reward: Tensor, variance: Tensor | None = None) -> Tensor:
        """Return rewards (..., members, worlds) divided by the deviation of the discounted returns.

        Args:
            reward: as the worlds paid them.
            variance: of the returns (..., members, 1), as `reward_variance` had it then; now where not given.
        """
        variance = self.reward_variance() if variance is None else variance
        if self._scaling is None or self._reward is None or variance is None:
            return reward
        bound = self._scaling.clip_reward
        return (reward / (variance + self._scaling.epsilon).sqrt()).clamp(-bound, bound).float()

    def give_back(self) -> None:
        """Copy the statistics to the host (synchronises with the device)."""
        values = self._staging.fetch()
        for running, columns in self._kinds:
            for name, place in running.arrays().items():
                place[:] = values[name][:, columns][:, : place.shape[1]]
        self._host.discounted[:] = values["discounted"]
