"""What lies between policies and worlds, on the device: the noise, masks, delays and scales of `worlds.channel`."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from trl_suite.worlds.channel import Settings
from trl_suite.worlds.warp.draws import Draws, Use

Put = Callable[[np.ndarray], Tensor]


class DeviceChannel:
    """The channels of many worlds.

    Args:
        each: the settings of each world.
        draws: of each world.
        put: puts a NumPy array on the device, in single precision.
    """

    def __init__(self, each: Sequence[Settings], draws: Draws, put: Put) -> None:
        self._acts = _Line([one.done for one in each], [one.action_std for one in each], draws, put)
        self._acts.delay([one.action_delay for one in each])
        self._senses = _Line([one.seen for one in each], [one.observation_std for one in each], draws, put)
        self._senses.delay([one.observation_delay for one in each])

    def act(self, actions: Tensor, times: Tensor) -> Tensor:
        """Return the controls (worlds, actions) that come of the policies' actions."""
        return self._acts.passed(actions, Use.ACTION, times)

    def sense(self, observations: Tensor, times: Tensor) -> Tensor:
        """Return what the policies see (worlds, observations)."""
        return self._senses.passed(observations, Use.OBSERVATION, times)

    @property
    def carried(self) -> dict[str, Tensor]:
        """The rows that are still on their way (worlds, age, numbers), youngest first, in place."""
        return {"acts": self._acts.past.movedim(0, 1), "senses": self._senses.past.movedim(0, 1)}

    def begin(self, worlds: Tensor, observations: Tensor, times: Tensor) -> Tensor:
        """Start an episode in the worlds of a mask (worlds,); return what all would see first (worlds, slots)."""
        self._acts.fill(worlds, torch.zeros_like(self._acts.latest))
        self._senses.fill(worlds, observations)
        return self._senses.disturbed(observations, Use.FIRST_OBSERVATION, times)


class _Line:
    """A delay, a factor and noise on rows of numbers."""

    def __init__(self, factors: Sequence[np.ndarray], stds: Sequence[np.ndarray], draws: Draws, put: Put) -> None:
        self._factor, self._draws = put(np.array(factors)), draws
        self._std = put(np.array(stds)) if np.any(stds) else None

    def delay(self, steps: Sequence[int]) -> None:
        """Let each world's rows come so many control steps late."""
        like = self._factor
        self.past = like.new_zeros(max(steps) + 1, *like.shape)  # (age, worlds, numbers), youngest first
        self._late = torch.tensor(steps, device=like.device)[None, :, None].expand(1, *like.shape)

    @property
    def latest(self) -> Tensor:
        return self.past[0]

    def fill(self, worlds: Tensor, rows: Tensor) -> None:
        """Let the worlds of a mask have had nothing but these rows."""
        self.past.copy_(torch.where(worlds[:, None], rows, self.past))

    def disturbed(self, rows: Tensor, use: Use, times: Tensor) -> Tensor:
        if self._std is not None:
            rows = rows + self._std * self._draws.normal(use, times, rows.shape[1])
        return rows * self._factor

    def passed(self, rows: Tensor, use: Use, times: Tensor) -> Tensor:
        self.past.copy_(torch.cat([rows[None], self.past[:-1]]))
        return self.disturbed(self.past.gather(0, self._late)[0], use, times)
