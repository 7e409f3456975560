"""Sensor and action noise, masks, delays and scales on the device, as `stepping.perturbations` has them on the host."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from trl_suite.worlds.stepping.perturbations import PerturbationSpec, first_actions
from trl_suite.worlds.warp.counter_rng import CounterRng, DrawPurpose

Put = Callable[[np.ndarray], Tensor]


class DevicePerturbations:
    """The channels of many worlds.

    Args:
        specs: of each env.
        controls: of each env, that its episodes begin with.
        rng: of each env.
        put: puts a NumPy array on the device, in single precision.
    """

    def __init__(
        self, specs: Sequence[PerturbationSpec], controls: Sequence[np.ndarray], rng: CounterRng, put: Put
    ) -> None:
        self._first_actions = put(first_actions(specs, controls))
        self._acts = _DeviceDelayLine(
            [spec.action_factor for spec in specs], [spec.action_std for spec in specs], rng, put
        )
        self._acts.delay([spec.action_delay for spec in specs])
        self._senses = _DeviceDelayLine(
            [spec.observation_factor for spec in specs], [spec.observation_std for spec in specs], rng, put
        )
        self._senses.delay([spec.observation_delay for spec in specs])

    def act(self, actions: Tensor, times: Tensor) -> Tensor:
        """Return the controls (worlds, actions) that come of the policies' actions."""
        return self._acts.passed(actions, DrawPurpose.ACTION, times)

    def sense(self, observations: Tensor, times: Tensor) -> Tensor:
        """Return the policies' observations (worlds, observations)."""
        return self._senses.passed(observations, DrawPurpose.OBSERVATION, times)

    @property
    def state_arrays(self) -> dict[str, Tensor]:
        """The rows that are still on their way (worlds, age, numbers), youngest first, in place."""
        return {"acts": self._acts.past.movedim(0, 1), "senses": self._senses.past.movedim(0, 1)}

    def begin(self, env_mask: Tensor, observations: Tensor, times: Tensor) -> Tensor:
        """Start an episode in the worlds of a mask (worlds,); return what all would see first (worlds, slots)."""
        self._acts.fill(env_mask, self._first_actions)
        self._senses.fill(env_mask, observations)
        return self._senses.disturbed(observations, DrawPurpose.FIRST_OBSERVATION, times)


class _DeviceDelayLine:
    """A delay, a factor and noise on rows of numbers."""

    def __init__(self, factors: Sequence[np.ndarray], stds: Sequence[np.ndarray], rng: CounterRng, put: Put) -> None:
        self._factor, self._rng = put(np.array(factors)), rng
        self._std = put(np.array(stds)) if np.any(stds) else None

    def delay(self, steps: Sequence[int]) -> None:
        """Let each world's rows come so many control steps late."""
        like = self._factor
        self.past = like.new_zeros(max(steps) + 1, *like.shape)  # (age, worlds, numbers), youngest first
        self._late = torch.tensor(steps, device=like.device)[None, :, None].expand(1, *like.shape)

    def fill(self, env_mask: Tensor, rows: Tensor) -> None:
        """Let the worlds of a mask have had nothing but these rows."""
        self.past.copy_(torch.where(env_mask[:, None], rows, self.past))

    def disturbed(self, rows: Tensor, use: DrawPurpose, times: Tensor) -> Tensor:
        if self._std is not None:
            rows = rows + self._std * self._rng.normal(use, times, rows.shape[1])
        return rows * self._factor

    def passed(self, rows: Tensor, use: DrawPurpose, times: Tensor) -> Tensor:
        self.past.copy_(torch.cat([rows[None], self.past[:-1]]))
        return self.disturbed(self.past.gather(0, self._late)[0], use, times)
