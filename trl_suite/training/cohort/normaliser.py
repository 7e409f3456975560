"""Running statistics of every member, as VecNormalize keeps them: in float64, one set per member, none shared."""

import torch

from trl_suite.networks.card import Normaliser as How
from trl_suite.networks.components import OBSERVATION_STATISTICS, RETURN_STATISTICS

Tensors = dict[str, torch.Tensor]


class Moments:
    """Mean, variance and count (members, numbers) of what has been seen; Chan et al.'s parallel update, as SB3's."""

    def __init__(self, members: int, size: int, device: torch.device) -> None:
        self.mean = torch.zeros(members, size, dtype=torch.float64, device=device)
        self.var = torch.ones(members, size, dtype=torch.float64, device=device)
        self.count = torch.full((members, 1), 1e-4, dtype=torch.float64, device=device)
        self._held = torch.zeros(members, 1, dtype=torch.bool, device=device)
        self._holding = False

    def hold(self, members: list[int]) -> None:
        """Let exactly these members' statistics stay as they are."""
        self._held[:] = False
        self._held[members] = True
        self._holding = bool(members)

    def update(self, values: torch.Tensor) -> None:
        """Take in a batch of values (members, worlds, numbers)."""
        size = values.shape[1]
        mean = values.mean(1)
        var = (values - mean[:, None]).square().mean(1)
        total = self.count + size
        away = mean - self.mean
        squares = self.var * self.count + var * size + away.square() * self.count * size / total
        self._set(self.mean + away * size / total, squares / total, total)

    def _set(self, mean: torch.Tensor, var: torch.Tensor, count: torch.Tensor) -> None:
        if self._holding:
            mean, var = torch.where(self._held, self.mean, mean), torch.where(self._held, self.var, var)
            count = torch.where(self._held, self.count, count)
        self.mean, self.var, self.count = mean, var, count

    def write(self, member: int, values: Tensors) -> None:
        """Give a member these statistics."""
        self.mean[member], self.var[member], self.count[member] = values["mean"], values["var"], values["count"]

    def member(self, member: int, scalar: bool) -> Tensors:
        """Return a member's statistics; of a single number as scalars."""
        place = (member, 0) if scalar else (member,)
        found = {"mean": self.mean[place], "var": self.var[place], "count": self.count[member, 0]}
        return {name: value.cpu().clone() for name, value in found.items()}


class Normaliser:
    """Observations and rewards of all members, scaled as VecNormalize does; axes (members, worlds, ...)."""

    def __init__(self, how: How | None, members: int, worlds: int, slots: int, device: torch.device) -> None:
        self._how = how
        self.observation = Moments(members, slots, device) if how and how.observation else None
        self.reward = Moments(members, 1, device) if how and how.reward else None
        self.discounted = torch.zeros(members, worlds, dtype=torch.float64, device=device)  # returns so far

    def observed(self, raw: torch.Tensor) -> torch.Tensor:
        """Take in observations in float64, and return what the networks see."""
        if self.observation is not None:
            self.observation.update(raw)
        return self.seen(raw)

    def seen(self, raw: torch.Tensor) -> torch.Tensor:
        """Return what the networks see of observations in float64."""
        if self._how is None or self.observation is None:
            return raw.float()
        scale = (self.observation.var + self._how.epsilon).sqrt()
        scaled = (raw - self.observation.mean[:, None]) / scale[:, None]
        return scaled.clamp_(-self._how.clip_observation, self._how.clip_observation).float()

    def seen_by(self, member: int, raw: torch.Tensor) -> torch.Tensor:
        """Return what one member's networks see of observations (count, slots) in float64."""
        if self._how is None or self.observation is None:
            return raw.float()
        scale = (self.observation.var[member] + self._how.epsilon).sqrt()
        bound = self._how.clip_observation
        return ((raw - self.observation.mean[member]) / scale).clamp_(-bound, bound).float()

    def raw(self, member: int, seen: torch.Tensor) -> torch.Tensor:
        """Return in float64 what one member's networks have seen as (count, slots)."""
        if self._how is None or self.observation is None:
            return seen.double()
        scale = (self.observation.var[member] + self._how.epsilon).sqrt()
        return seen * scale + self.observation.mean[member]

    def rewarded(self, reward: torch.Tensor, ended: torch.Tensor) -> torch.Tensor:
        """Take in rewards in float32, and return them divided by the deviation of the discounted returns."""
        if self._how is None or self.reward is None:
            return reward
        self.discounted = self.discounted * self._how.gamma + reward
        self.reward.update(self.discounted[..., None])
        scaled = reward / (self.reward.var + self._how.epsilon).sqrt()
        self.discounted = torch.where(ended, 0.0, self.discounted)
        return scaled.clamp_(-self._how.clip_reward, self._how.clip_reward).float()

    def write(self, member: int, components: dict[str, Tensors]) -> None:
        """Give a member the statistics among these components."""
        for name, moments in self._moments().items():
            moments.write(member, components[name])

    def member(self, member: int) -> dict[str, Tensors]:
        """Return a member's statistics as components."""
        return {name: one.member(member, name == RETURN_STATISTICS) for name, one in self._moments().items()}

    def hold(self, frozen: list[set[str]]) -> None:
        """Stop the statistics that each member holds fixed."""
        for name, moments in self._moments().items():
            moments.hold([member for member, names in enumerate(frozen) if name in names])

    def _moments(self) -> dict[str, Moments]:
        both = {OBSERVATION_STATISTICS: self.observation, RETURN_STATISTICS: self.reward}
        return {name: moments for name, moments in both.items() if moments is not None}
