"""Perturbations between a policy and a world: noise, masks, delays, inversion and scale of observations and actions.

For many worlds at once; one world is a batch of one. Knows nothing of models.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import unknown
from trl_suite.interface import Interface
from trl_suite.worlds.axes.variation import Noise, Variation

Array = NDArray[Any]
_ACTING = ("action_noise", "action_delay", "action_inversion", "action_scale")
SINGLE_ENV = np.ones(1, dtype=bool)  # the worlds of a batch of one
_SENSING = ("observation_noise", "observation_mask", "observation_delay")


class PerturbationSpec(NamedTuple):
    """The channel of one world: factors and standard deviations per slot, delays in control steps."""

    observation_factor: Array  # (observations,) 1, or 0 where masked
    observation_std: Array  # (observations,)
    observation_delay: int
    action_factor: Array  # (actions,) factor of the action
    action_std: Array  # (actions,)
    action_delay: int


def applies(variation: Variation) -> bool:
    """Return whether the variation puts anything between policy and world."""
    return any(getattr(variation, axis) for axis in (*_ACTING, *_SENSING))


def perturbation_spec(variation: Variation, interface: Interface) -> PerturbationSpec:
    """Return the channel that a variation makes for an interface.

    Raises:
        InputError: a slot does not exist.
    """
    observed, acted = interface.observation_names, interface.action_names
    observation_factor = np.ones(len(observed))
    observation_factor[_indices_of(variation.observation_mask or (), observed, "observation_mask")] = 0.0
    action_factor = np.full(len(acted), variation.action_scale or 1.0)
    if variation.action_inversion is True:
        action_factor = -action_factor
    elif variation.action_inversion:
        names = [f"{name}.control" for name in variation.action_inversion]
        action_factor[_indices_of(names, acted, "action_inversion")] *= -1.0
    return PerturbationSpec(
        observation_factor,
        _std(variation.observation_noise, observed, "observation_noise"),
        variation.observation_delay or 0,
        action_factor,
        _std(variation.action_noise, acted, "action_noise"),
        variation.action_delay or 0,
    )


def _std(noise: float | Noise | None, names: Sequence[str], axis: str) -> Array:
    std = np.zeros(len(names))
    if isinstance(noise, Noise):
        std[_indices_of(noise.slots or names, names, axis)] = noise.std
    elif noise is not None:
        std[:] = noise
    return std


def _indices_of(slot_names: Sequence[str], known_names: Sequence[str], axis: str) -> list[int]:
    for name in slot_names:
        if name not in known_names:
            raise unknown("slot", name, known_names, axis)
    return [known_names.index(name) for name in slot_names]


def first_actions(specs: Sequence[PerturbationSpec], controls: Sequence[Array] | None) -> Array:
    """Actions (envs, actions) that a delay repeats before the first real one: those that give these controls, or 0."""
    if controls is None or not np.any(controls):
        return np.zeros((len(specs), len(specs[0].action_factor)))
    return np.array([control / spec.action_factor for control, spec in zip(controls, specs, strict=True)])


class Perturbations:
    """Noise, masks, delays, inversion and scales of several envs.

    Args:
        specs: of each env.
        controls: of each env, that its episodes begin with; zeros where not given.
        longest_delays: of actions and observations that `assign` may ask for, in control steps.
    """

    def __init__(
        self,
        specs: Sequence[PerturbationSpec],
        controls: Sequence[Array] | None = None,
        longest_delays: tuple[int, int] = (0, 0),
    ) -> None:
        longest = [max(longest_delays[0], *(spec.action_delay for spec in specs))]
        longest += [max(longest_delays[1], *(spec.observation_delay for spec in specs))]
        self._acts = _DelayLine(len(specs), len(specs[0].action_factor), longest[0])
        self._senses = _DelayLine(len(specs), len(specs[0].observation_factor), longest[1])
        self.assign(specs, controls)

    def assign(self, specs: Sequence[PerturbationSpec], controls: Sequence[Array] | None = None) -> None:
        """Let the envs be perturbed by these from now on; what is on its way stays so."""
        self._first_actions = first_actions(specs, controls)
        self._acts.assign(
            np.array([spec.action_factor for spec in specs]),
            np.array([spec.action_std for spec in specs]),
            [spec.action_delay for spec in specs],
        )
        self._senses.assign(
            np.array([spec.observation_factor for spec in specs]),
            np.array([spec.observation_std for spec in specs]),
            [spec.observation_delay for spec in specs],
        )

    def assign_one(self, env: int, spec: PerturbationSpec, control: Array) -> None:
        """Let one env be perturbed by this from now on; what is on its way stays so."""
        self._first_actions[env] = first_actions([spec], [control])[0]
        self._acts.assign_one(env, spec.action_factor, spec.action_std, spec.action_delay)
        self._senses.assign_one(env, spec.observation_factor, spec.observation_std, spec.observation_delay)

    def begin(self, env_index: int, observation: Array, rng: np.random.Generator) -> Array:
        """Start an episode of one world; return what its policy sees first (observations,)."""
        self._acts.fill(env_index, self._first_actions[env_index])
        self._senses.fill(env_index, observation)
        return self._senses.disturbed(env_index, observation, rng)

    def act(self, actions: Array, rngs: Sequence[np.random.Generator], env_indices: Array) -> Array:
        """Return the controls (all worlds, actions) that come of the policies' actions, in their own precision.

        Only the given worlds (booleans) draw noise.
        """
        return self._acts.passed(actions, rngs, env_indices).astype(actions.dtype)

    def sense(self, observations: Array, rngs: Sequence[np.random.Generator], env_indices: Array) -> Array:
        """Return the policies' observations (all worlds, observations); only the given worlds (booleans) draw noise."""
        return self._senses.passed(observations, rngs, env_indices)

    def state(self, env_indices: Array) -> dict[str, Array]:
        """Return the rows that are still on their way (len(worlds), age, width), youngest first."""
        return {"acts": self._acts.by_age(env_indices), "senses": self._senses.by_age(env_indices)}

    def restore(self, env_indices: Array, state: Mapping[str, Array]) -> None:
        """Put back what `state` found, perhaps in a channel of other delays."""
        self._acts.restore_by_age(env_indices, state["acts"])
        self._senses.restore_by_age(env_indices, state["senses"])


class _DelayLine:
    """A delay, a factor and noise on rows of numbers."""

    def __init__(self, count: int, width: int, longest: int) -> None:
        self.width, self._late = width, longest > 0
        self._past = np.zeros((count, longest + 1, width))  # a ring of the last rows
        self._now = 0
        self._rows = np.arange(count)

    def assign(self, factor: Array, std: Array, delays: Sequence[int]) -> None:
        self._factor, self._std = factor, std
        self._noisy = np.flatnonzero(std.any(axis=1)).tolist()
        self._delays = np.array(delays)

    def assign_one(self, env_index: int, factor: Array, std: Array, delay: int) -> None:
        self._factor[env_index], self._std[env_index], self._delays[env_index] = factor, std, delay
        self._noisy = np.flatnonzero(self._std.any(axis=1)).tolist()

    def fill(self, env_index: int, row: Array) -> None:
        self._past[env_index] = row

    def disturbed(self, env_index: int, row: Array, rng: np.random.Generator) -> Array:
        noise = self._std[env_index] * rng.standard_normal(self.width) if env_index in self._noisy else 0.0
        return (row + noise) * self._factor[env_index]

    def passed(self, rows: Array, rngs: Sequence[np.random.Generator], env_indices: Array) -> Array:
        late = self._delayed(rows) if self._late else rows
        if not self._noisy:
            return late * self._factor
        late = late.astype(np.float64)
        for env_index in self._noisy:  # each from its own stream, whoever else is in the batch
            if env_indices[env_index]:
                late[env_index] += self._std[env_index] * rngs[env_index].standard_normal(self.width)
        return late * self._factor

    def _delayed(self, rows: Array) -> Array:
        depth = self._past.shape[1]
        self._now = (self._now + 1) % depth
        self._past[:, self._now] = rows
        return self._past[self._rows, (self._now - self._delays) % depth]

    def by_age(self, env_indices: Array) -> Array:
        return self._past[env_indices][:, self._by_age()]

    def restore_by_age(self, env_indices: Array, rows: Array) -> None:
        ages = self._by_age()[: rows.shape[1]]
        self._past[env_indices[:, None], ages] = rows[:, : len(ages)]

    def _by_age(self) -> Array:
        """Return where in the ring each row lies, youngest first."""
        depth = self._past.shape[1]
        return (self._now - np.arange(depth)) % depth
