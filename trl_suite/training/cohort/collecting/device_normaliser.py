"""The members' running statistics on a device, for a while: what `normaliser` keeps, in the same arithmetic.

They are the host's: a snapshot, a freeze and a component read them there. On the device they stay where they are, so
that graphs may read and write them.
"""

import torch
from torch import Tensor

from trl_suite.training.cohort.collecting.normaliser import CohortNormaliser, RunningMeanStd


class DeviceRunningMeanStd:
    """Mean, variance and count (members, numbers) on a device, taken from the host's and given back.

    Args:
        host: the statistics.
        device: where they are used.
    """

    def __init__(self, host: RunningMeanStd, device: torch.device) -> None:
        self._host = host
        self.mean, self.var, self.count = (
            torch.as_tensor(host.arrays()[name].copy(), device=device) for name in ("mean", "var", "count")
        )
        self._moving = torch.empty(len(self.mean), 1, dtype=torch.bool, device=device)
        self.take()

    def take(self) -> None:
        """Let these be the host's as they are now."""
        for name, values in self._host.arrays().items():
            getattr(self, name).copy_(torch.from_numpy(values))
        moving = torch.ones(self._moving.shape, dtype=torch.bool)
        moving[self._host.held] = False
        self._moving.copy_(moving)

    def update(self, values: Tensor) -> None:
        """Take in a batch of values (members, worlds, numbers); see `Moments.update`."""
        size = values.shape[1]
        mean = values.mean(1)
        var = (values - mean[:, None]).square().mean(1)
        total = self.count + size
        away = mean - self.mean
        squares = self.var * self.count + var * size + away.square() * self.count * size / total
        self.mean.copy_(torch.where(self._moving, self.mean + away * size / total, self.mean))
        self.var.copy_(torch.where(self._moving, squares / total, self.var))
        self.count.copy_(torch.where(self._moving, total, self.count))

    def give_back(self) -> None:
        """Copy the statistics to the host (synchronises with the device)."""
        for name, place in self._host.arrays().items():
            place[:] = getattr(self, name).cpu().numpy()


class DeviceNormaliser:
    """Observations and rewards of all members, scaled on a device; axes (members, worlds, ...).

    Args:
        host: what it does, and its statistics so far.
        device: where.
    """

    def __init__(self, host: CohortNormaliser, device: torch.device) -> None:
        self._host, self._scaling = host, host.scaling
        self._observation = DeviceRunningMeanStd(host.observation, device) if host.observation else None
        self._reward = DeviceRunningMeanStd(host.reward, device) if host.reward else None
        self._gamma = torch.as_tensor(host.gamma, dtype=torch.float64, device=device)
        self._discounted = torch.as_tensor(host.discounted.copy(), device=device)

    def take(self) -> None:
        """Let the statistics be the host's as they are now."""
        for moments in self._moments():
            moments.take()
        self._discounted.copy_(torch.from_numpy(self._host.discounted))

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
        for moments in self._moments():
            moments.give_back()
        self._host.discounted[:] = self._discounted.cpu().numpy()

    def _moments(self) -> list[DeviceRunningMeanStd]:
        return [moments for moments in (self._observation, self._reward) if moments is not None]
