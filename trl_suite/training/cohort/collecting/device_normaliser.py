"""The members' running statistics on a device, for a while: what `normaliser` keeps, in the same arithmetic.

They are the host's: a snapshot, a freeze and a component read them there. On the device they stay where they are, so
that graphs may read and write them.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser, RunningMeanStd
from trl_suite.training.cohort.stacked.device_staging import DeviceStaging, StagedArray

T = TypeVar("T")


class DeviceRunningMeanStd:
    """Mean, variance and count (members, numbers) on a device, taken from the host's and given back.

    Args:
        host: the statistics.
        staged: by the names of `arrays`, where they are used: on the device.
    """

    def __init__(self, host: RunningMeanStd, staged: Mapping[str, Tensor]) -> None:
        self._host = host
        self.mean, self.var, self.count = staged["mean"], staged["var"], staged["count"]
        self._moving = staged["moving"]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the host's statistics as they are now, and which of them move (members, 1)."""
        moving = np.ones((len(self._host.mean), 1), dtype=bool)
        moving[self._host.held] = False
        return self._host.arrays() | {"moving": moving}

    def update(self, values: Tensor) -> None:
        """Take in a batch of values (members, worlds, numbers); see `Moments.update`."""
        size = values.shape[1]
        mean = values.mean(1)
        var = (values - mean[:, None]).square().mean(1)
        total = self.count + size
        away = mean - self.mean
        squares = self.var * self.count + var * size + away.square() * self.count * size / total
        torch.where(self._moving, self.mean + away * size / total, self.mean, out=self.mean)
        torch.where(self._moving, squares / total, self.var, out=self.var)
        torch.where(self._moving, total, self.count, out=self.count)

    def give_back(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take these for the host's statistics."""
        for name, place in self._host.arrays().items():
            place[:] = values[name]


class DeviceNormaliser:
    """Observations and rewards of all members, scaled on a device; axes (members, worlds, ...).

    Args:
        host: what it does, and its statistics so far.
        device: where.
    """

    def __init__(self, host: CohortNormaliser, device: torch.device) -> None:
        self._host, self._scaling = host, host.scaling
        kinds = {
            kind: running for kind, running in (("observation", host.observation), ("reward", host.reward)) if running
        }
        arrays = {"discounted": StagedArray(host.discounted.shape, torch.float64)}
        for kind, statistics in kinds.items():
            shapes = {name: StagedArray(values.shape, torch.float64) for name, values in statistics.arrays().items()}
            shapes["moving"] = StagedArray((len(statistics.mean), 1), torch.bool)
            arrays |= {f"{kind}.{name}": array for name, array in shapes.items()}
        self._staging = DeviceStaging(arrays, device)
        self._moments = {
            kind: DeviceRunningMeanStd(statistics, _below(f"{kind}.", self._staging.device))
            for kind, statistics in kinds.items()
        }
        self._observation, self._reward = self._moments.get("observation"), self._moments.get("reward")
        self._discounted = self._staging.device["discounted"]
        self._gamma = torch.as_tensor(host.gamma, dtype=torch.float64, device=device)
        self.take()

    def take(self) -> None:
        """Let the statistics be the host's as they are now."""
        values: dict[str, npt.NDArray[Any]] = {"discounted": self._host.discounted}
        for kind, moments in self._moments.items():
            values |= {f"{kind}.{name}": array for name, array in moments.arrays().items()}
        self._staging.send(values)

    def observed(self, raw: Tensor) -> Tensor:
        """Take in observations, and return what the networks see."""
        if self._observation is not None:
            self._observation.update(raw.double())
        return self.normalized_obs(raw)

    def normalized_obs(self, raw: Tensor) -> Tensor:
        """Return observations as the networks see them."""
        if self._scaling is None or self._observation is None:
            return raw.float()
        scale = (self._observation.var + self._scaling.epsilon).sqrt()
        bound = self._scaling.clip_observation
        return ((raw.double() - self._observation.mean[:, None]) / scale[:, None]).clamp(-bound, bound).float()

    def rewarded(self, reward: Tensor, ended: Tensor) -> Tensor:
        """Take in rewards, and return them divided by the deviation of the discounted returns."""
        if self._scaling is None or self._reward is None:
            return reward
        self._discounted.mul_(self._gamma).add_(reward)
        self._reward.update(self._discounted[..., None])
        self._discounted.masked_fill_(ended, 0.0)
        return self.scaled(reward)

    def scaled(self, reward: Tensor) -> Tensor:
        """Return rewards divided by the deviation of the discounted returns so far."""
        if self._scaling is None or self._reward is None:
            return reward
        scale, bound = (self._reward.var + self._scaling.epsilon).sqrt(), self._scaling.clip_reward
        return (reward / scale).clamp(-bound, bound).float()

    def give_back(self) -> None:
        """Copy the statistics to the host (synchronises with the device)."""
        values = self._staging.fetch()
        for kind, moments in self._moments.items():
            moments.give_back(_below(f"{kind}.", values))
        self._host.discounted[:] = values["discounted"]


def _below(prefix: str, values: Mapping[str, T]) -> dict[str, T]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
