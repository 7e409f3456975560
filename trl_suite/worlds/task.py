"""A task bound to a compiled model: what is observed, paid for and ended, for one world or many.

`state` is anything with MjData's arrays under their names, with any leading dimensions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError, unknown
from trl_suite.interface import Interface
from trl_suite.worlds import terms
from trl_suite.worlds.layout import controls, reading
from trl_suite.worlds.spec import EnvSpec, Spread, Term

Floats = NDArray[np.float64]


Value = Callable[[Any, Any, Any, Any], Any]
"""A term's value (...) from what a control step is judged by: the tracked positions before and after it (..., k),
the action (..., actions), and whether the robot is healthy (...). Positional, since it is called at every step."""


class Part(NamedTuple):
    """One weighted term of the reward."""

    weight: float
    group: str
    value: Value


class Task:
    """The task of an env on its model."""

    def __init__(self, spec: EnvSpec, model: mujoco.MjModel) -> None:
        self.duration = model.opt.timestep * spec.frame_skip  # s
        self.labels = tuple(term.label for term in spec.reward)
        self.observed = tuple(reading(model, block.kind, block.of, block.limit) for block in spec.observation)
        self.bounded = tuple(reading(model, bound.kind, bound.of) for bound in spec.healthy)
        self.low, self.high = _ends(spec)
        self.tracked = reading(model, "position", [term.of for term in spec.reward if term.of])
        tracked = iter(range(len(self.tracked.slots)))
        self.parts = tuple(_part(term, next(tracked) if term.of else -1, self.duration) for term in spec.reward)
        slots = tuple(slot for block in self.observed for slot in block.slots)
        self.interface = Interface(observation=slots, action=controls(model))
        self._start = spec.reset
        self._nominal = (model.qpos0.copy(), np.zeros(model.nv))

    def start(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return a first state: positions (nq,) and velocities (nv,), drawn in this order."""
        position, velocity = self._nominal
        drawn = position + _noise(rng, self._start.position, len(position))
        return drawn, velocity + _noise(rng, self._start.velocity, len(velocity))

    def watch(self, state: Any) -> "Watch":
        """Return the task as seen on a state that is stepped in place."""
        return Watch(self, state)


class Watch:
    """What a task observes, pays for and ends on one state; the state's arrays are read anew at every call."""

    def __init__(self, task: Task, state: Any) -> None:
        self._task = task
        self._observed = [block.of(state) for block in task.observed]
        plain = all(isinstance(block.indices, slice) and block.limit is None for block in task.observed)
        self._views = [read() for read in self._observed] if plain else None  # nothing to be computed: MuJoCo's memory
        self._bounded = [bound.of(state) for bound in task.bounded]
        self._tracked = task.tracked.of(state) if task.tracked.slots else None
        self._ends = task.low.tolist(), task.high.tolist()
        self._parts = [(part.weight, part.value) for part in task.parts]
        self._grouped = len({part.group for part in task.parts}) > 1

    def observe(self) -> Any:
        """Return the observation (..., slots) in slot order, as a copy."""
        return np.concatenate(self._views or [read() for read in self._observed], axis=-1)

    def healthy(self) -> Any:
        """Return whether every bound holds (...)."""
        if not self._bounded:
            return True
        values = [read() for read in self._bounded]
        joined = values[0] if len(values) == 1 else np.concatenate(values, axis=-1)
        if joined.ndim == 1:
            return terms.all_inside(joined.tolist(), *self._ends)
        return terms.inside(joined, self._task.low, self._task.high)

    def tracked(self) -> Any:
        """Return a copy of the positions (..., k) whose change is paid for."""
        return None if self._tracked is None else self._tracked().copy()

    def rewards(self, before: Any, action: Any, healthy: Any) -> list[Any]:
        """Return the signed terms of the reward (...), in the order of the task's labels."""
        after = None if self._tracked is None else self._tracked()
        return [weight * value(before, after, action, healthy) for weight, value in self._parts]

    def total(self, rewards: list[Any]) -> Any:
        """Return the sum of the terms in the order of the table: within groups first, then across them."""
        return _sum(self._by_group(rewards) if self._grouped else rewards)

    def _by_group(self, rewards: list[Any]) -> list[Any]:
        groups: dict[str, list[Any]] = {}
        for part, value in zip(self._task.parts, rewards, strict=True):
            groups.setdefault(part.group, []).append(value)
        return [_sum(values) for values in groups.values()]


def _sum(values: list[Any]) -> Any:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _forward(index: int, duration: float) -> Value:
    return lambda before, after, action, healthy: terms.speed(before[..., index], after[..., index], duration)


def _alive(index: int, duration: float) -> Value:
    return lambda before, after, action, healthy: terms.alive(healthy)


def _effort(index: int, duration: float) -> Value:
    return lambda before, after, action, healthy: terms.effort(action)


class Kind(NamedTuple):
    """A kind of reward term: what it measures, and how it is made from a tracked position's index and a duration."""

    about: str
    unit: str
    make: Callable[[int, float], Value]
    needs: str  # what `of` names: "joint", or "" where the term is of nothing


KINDS: dict[str, Kind] = {
    "forward": Kind("mean speed of `{of}` over the step", "m/s", _forward, "joint"),
    "alive": Kind("1 while healthy", "1", _alive, ""),
    "effort": Kind("sum of the squared action", "1", _effort, ""),
}


def _part(term: Term, index: int, duration: float) -> Part:
    if term.term not in KINDS:
        raise unknown("reward term", term.term, KINDS)
    needs = KINDS[term.term].needs
    if bool(needs) != bool(term.of):
        raise InputError(f"reward term '{term.term}': " + (f"of which {needs}?" if needs else "it is of nothing"))
    return Part(term.weight, term.group, KINDS[term.term].make(index, duration))


def _ends(spec: EnvSpec) -> tuple[Floats, Floats]:
    """Return the open bounds of all healthy values; a closed interval is the open one that is a rounding wider."""
    low: list[float] = []
    high: list[float] = []
    for bound in spec.healthy:
        ends = bound.range
        if bound.closed:
            ends = (float(np.nextafter(ends[0], -np.inf)), float(np.nextafter(ends[1], np.inf)))
        low += [ends[0]] * len(bound.of)
        high += [ends[1]] * len(bound.of)
    return np.array(low), np.array(high)


def _noise(rng: np.random.Generator, spread: Spread, size: int) -> Floats:
    if spread.shape == "normal":
        return spread.spread * rng.standard_normal(size)
    return rng.uniform(-spread.spread, spread.spread, size)
