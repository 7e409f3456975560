"""Running statistics of every member, as VecNormalize keeps them: in float64, one set per member, none shared.

They are kept where the physics is, on the host: what goes to the networks is already scaled, in float32.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.networks.card import Normaliser as Scaling
from trl_suite.networks.components import OBSERVATION_STATISTICS, RETURN_STATISTICS
from trl_suite.training.cohort.stacked.stack import Tensors

Doubles = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]


class RunningMeanStd:
    """Mean, variance and count (members, numbers) of what has been seen; Chan et al.'s parallel update, as SB3's."""

    def __init__(self, members: int, size: int) -> None:
        self.mean, self.var = np.zeros((members, size)), np.ones((members, size))
        self.count = np.full((members, 1), 1e-4)
        self.held: list[int] = []

    def hold(self, members: list[int]) -> None:
        """Let exactly these members' statistics stay as they are."""
        self.held = members

    def update(self, values: Doubles) -> None:
        """Take in a batch of values (members, worlds, numbers)."""
        # delta = mean_b - mean; mean <- mean + delta n_b / n
        # M2 <- M2 + M2_b + delta^2 n_a n_b / n, var = M2 / n (Chan et al. 1979, eq. 2.1)
        size = values.shape[1]
        mean = values.mean(1)
        var = np.square(values - mean[:, None]).mean(1)
        total = self.count + size
        away = mean - self.mean
        squares = self.var * self.count + var * size + np.square(away) * self.count * size / total
        self._set(self.mean + away * size / total, squares / total, total)

    def _set(self, mean: Doubles, var: Doubles, count: Doubles) -> None:
        for old, new in ((self.mean, mean), (self.var, var), (self.count, count)):
            if self.held:
                new[self.held] = old[self.held]
            old[:] = new

    def write(self, member: int, values: Tensors) -> None:
        """Give a member these statistics."""
        for name, place in self.arrays().items():
            place[member] = values[name].numpy()

    def member(self, member: int, scalar: bool) -> Tensors:
        """Return a copy of a member's statistics; of a single number as scalars."""
        place = (member, 0) if scalar else (member,)
        values = {"mean": self.mean[place], "var": self.var[place], "count": self.count[member, 0]}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}

    def arrays(self) -> dict[str, Doubles]:
        """Return the statistics of all members, in place."""
        return {"mean": self.mean, "var": self.var, "count": self.count}


class CohortNormaliser:
    """Observations and rewards of all members, scaled as VecNormalize does; axes (members, worlds, ...)."""

    def __init__(
        self, scaling: Scaling | None, members: int, worlds: int, slots: int, gamma: float | Doubles | None = None
    ) -> None:
        self.scaling = scaling
        # discount of the returns: of all members, or one per member (members, 1)
        self.gamma = gamma if gamma is not None else scaling.gamma if scaling else 1.0
        self.observation = RunningMeanStd(members, slots) if scaling and scaling.observation else None
        self.reward = RunningMeanStd(members, 1) if scaling and scaling.reward else None
        self.discounted = np.zeros((members, worlds))  # returns so far

    def observed(self, raw: Doubles) -> Singles:
        """Take in observations, and return what the networks see."""
        if self.observation is not None:
            self.observation.update(raw)
        return self.normalized_obs(raw)

    def normalized_obs(self, raw: Doubles, member: int | None = None) -> Singles:
        """Return observations as the networks see them, of all members or of one (count, slots)."""
        if self.scaling is None or self.observation is None:
            return raw.astype(np.float32)
        mean, scale = self._scale(member)
        bound = self.scaling.clip_observation
        return np.clip((raw - mean) / scale, -bound, bound).astype(np.float32)

    def raw(self, member: int, normalized_obs: Singles) -> Doubles:
        """Return normalised observations of one member in the env's units (count, slots)."""
        if self.scaling is None or self.observation is None:
            return normalized_obs.astype(np.float64)
        mean, scale = self._scale(member)
        return normalized_obs * scale + mean

    def rewarded(self, reward: Singles, ended: npt.NDArray[np.bool_]) -> Singles:
        """Take in rewards, and return them divided by the deviation of the discounted returns."""
        if self.scaling is None or self.reward is None:
            return reward
        self.discounted[:] = self.discounted * self.gamma + reward
        self.reward.update(self.discounted[..., None])
        self.discounted[ended] = 0.0
        scale, bound = np.sqrt(self.reward.var + self.scaling.epsilon), self.scaling.clip_reward
        return np.clip(reward / scale, -bound, bound).astype(np.float32)

    def write(self, member: int, components: Mapping[str, Tensors]) -> None:
        """Give a member the statistics among these components."""
        for name, moments in self._moments().items():
            moments.write(member, components[name])

    def member(self, member: int) -> dict[str, Tensors]:
        """Return a member's statistics as components."""
        return {
            name: statistics.member(member, name == RETURN_STATISTICS) for name, statistics in self._moments().items()
        }

    def hold(self, frozen: list[set[str]]) -> None:
        """Stop the statistics that each member holds fixed."""
        for name, moments in self._moments().items():
            moments.hold([member for member, names in enumerate(frozen) if name in names])

    def arrays(self) -> dict[str, Doubles]:
        """Return the statistics of all members for a snapshot, in place (members, ...)."""
        arrays = {
            f"{kind}.{name}": v
            for kind, statistics in self._moments().items()
            for name, v in statistics.arrays().items()
        }
        return arrays | {"discounted": self.discounted}

    def _scale(self, member: int | None) -> tuple[Any, Any]:
        assert self.scaling is not None
        assert self.observation is not None
        scale = np.sqrt(self.observation.var + self.scaling.epsilon)
        if member is not None:
            return self.observation.mean[member], scale[member]
        return self.observation.mean[:, None], scale[:, None]

    def _moments(self) -> dict[str, RunningMeanStd]:
        statistics = {OBSERVATION_STATISTICS: self.observation, RETURN_STATISTICS: self.reward}
        return {name: running for name, running in statistics.items() if running is not None}
