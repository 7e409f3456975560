"""A task bound to a compiled model: what is observed, paid for and ended, for one world or many.

`fields` gives a state's arrays under MjData's names, flat per world, with any leading dimensions.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError, unknown
from trl_suite.interface import Interface
from trl_suite.worlds.env_spec import EnvSpec, Goal, Spread, Term
from trl_suite.worlds.terms import arrays
from trl_suite.worlds.terms.sensors import AFTER_STEP, Fields, Reading, controls, degrees_of_freedom, reading, single

Floats = NDArray[np.float64]

Numbers = tuple[Any, ...]
Value = Callable[[Any, Any, Any, Any, Numbers], Any]
"""A term's value (...) from what a control step is judged by: its reading before and after the step (..., n), the
action (..., actions), whether the robot is healthy (...), and the term's own numbers, plain or one per world."""


class RewardTerm(NamedTuple):
    """One weighted term of the reward."""

    weight: Any  # a float, or (worlds,)
    group: str
    cap: float | None  # of the weighted value, in either direction
    kind: str
    reading: Reading | None
    numbers: Numbers


class RewardKind(NamedTuple):
    """A kind of reward term: what it measures of what `of` names, and whether it compares before and after."""

    about: str
    unit: str
    value: Value
    reads: Callable[[mujoco.MjModel, Term], Reading] | None = None
    numbers: Callable[[mujoco.MjModel, Term, float], Numbers] = lambda model, term, duration: ()
    compares: bool = False
    of: str = ""  # what `of` names, "" where the term is of nothing


class BoundTask:
    """The task of an env on its model."""

    def __init__(self, spec: EnvSpec, model: mujoco.MjModel) -> None:
        self.duration = model.opt.timestep * spec.frame_skip  # s
        self.labels = tuple(term.label for term in spec.reward)
        shown = [block for block in spec.observation if block.shown]
        self.observed = tuple(reading(model, block.kind, block.of, block.limit, block.relative_to) for block in shown)
        bounded = [reading(model, bound.kind, bound.of) for bound in spec.healthy]
        self.bounded = tuple(bounded)
        self.ends = spec.terminates
        self.low, self.high = _ends(spec, bounded)
        self.parts = tuple(_part(term, model, self.duration) for term in spec.reward)
        slots = tuple(slot for block in self.observed for slot in block.slots)
        self.interface = Interface(observation=slots, action=controls(model))
        self.starts = spec.reset
        self.nominal = (model.qpos0.copy(), np.zeros(model.nv))
        goal = spec.reset.goal
        self.goal = reading(model, "position", goal.joints).indices if goal else None
        still = [*spec.reset.still, *(goal.joints if goal else ())]
        self.still = degrees_of_freedom(model, still) if still else None

    @property
    def fields(self) -> tuple[str, ...]:
        """The arrays of MjData that the task reads, by name."""
        read = [*self.observed, *self.bounded, *(part.reading for part in self.parts if part.reading)]
        return tuple(sorted({reading.field for reading in read}))

    @property
    def needs_contact_forces(self) -> bool:
        """Whether the task reads what a step leaves to `mj_rnePostConstraint`."""
        return bool(AFTER_STEP.intersection(self.fields))

    @property
    def structure(self) -> tuple[Any, ...]:
        """What two tasks must share to be judged together; their numbers may differ."""
        parts = [(part.kind, part.group, part.cap, _where(part.reading)) for part in self.parts]
        return (tuple(map(_where, self.observed)), tuple(map(_where, self.bounded)), self.ends, *parts, self.labels)

    def start(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return a first state: positions (nq,), with the goal, and velocities (nv,), drawn in this order."""
        position = self.nominal[0] + _noise(rng, self.starts.position, len(self.nominal[0]))
        if self.starts.goal:
            position[self.goal] = _place(rng, self.starts.goal)
        velocity = self.nominal[1] + _noise(rng, self.starts.velocity, len(self.nominal[1]))
        if self.still is not None:
            velocity[self.still] = 0.0
        return position, velocity

    def evaluator(self, fields: Fields, join: Callable[..., Any] = np.concatenate) -> "TaskEvaluator":
        """Return the task as seen on a state that is stepped in place; `join` joins its arrays, as NumPy's does."""
        return TaskEvaluator(self, fields, join)

    def moved(self, put: Callable[[Any], Any]) -> "BoundTask":
        """Return the task for a state whose arrays lie elsewhere: where `put` puts the task's own."""
        moved_task = copy.copy(self)
        moved_task.observed = tuple(sensor.moved(put) for sensor in self.observed)
        moved_task.bounded = tuple(sensor.moved(put) for sensor in self.bounded)
        moved_task.parts = tuple(_moved(part, put) for part in self.parts)
        moved_task.low, moved_task.high = put(self.low), put(self.high)
        return moved_task


def stacked(tasks: Sequence[BoundTask]) -> BoundTask:
    """Return one task for many worlds, whose numbers are one per world where they differ.

    Raises:
        ValueError: the tasks differ in more than numbers.
    """
    first = tasks[0]
    if any(task.structure != first.structure for task in tasks):
        raise ValueError("the tasks differ in more than numbers")
    joined = copy.copy(first)
    joined.parts = tuple(_joined(parts) for parts in zip(*(task.parts for task in tasks), strict=True))
    joined.low, joined.high = _many([task.low for task in tasks]), _many([task.high for task in tasks])
    return joined


class TaskEvaluator:
    """What a task observes, pays for and ends on one state; the state's arrays are read anew at every call."""

    def __init__(self, task: BoundTask, fields: Fields, join: Callable[..., Any]) -> None:
        self._task, self._join = task, join
        self._observed = [block.of(fields) for block in task.observed]
        plain = all(block.plain for block in task.observed)
        self._views = [read() for read in self._observed] if plain else None  # nothing to be computed: MuJoCo's memory
        self._bounded = [bound.of(fields) for bound in task.bounded]
        self._ends = task.low.tolist(), task.high.tolist()
        self._reads = [part.reading.of(fields) if part.reading else None for part in task.parts]
        self._compared = [
            read if REWARD_KINDS[part.kind].compares else None
            for part, read in zip(task.parts, self._reads, strict=True)
        ]
        self._values = [
            (part.weight, part.cap, REWARD_KINDS[part.kind].value, part.numbers, read)
            for part, read in zip(task.parts, self._reads, strict=True)
        ]
        self._grouped = len({part.group for part in task.parts}) > 1

    def observe(self) -> Any:
        """Return the observation (..., slots) in slot order, as a copy."""
        return self._join(self._views or [read() for read in self._observed], axis=-1)

    def healthy(self) -> Any:
        """Return whether every bound holds (...)."""
        if not self._bounded:
            return True
        values = [read() for read in self._bounded]
        joined = values[0] if len(values) == 1 else self._join(values, axis=-1)
        if joined.ndim == 1:
            return arrays.all_inside(joined.tolist(), *self._ends)
        return arrays.inside(joined, self._task.low, self._task.high)

    def before(self) -> list[Any]:
        """Return copies of what the terms compare across a step, None for a term that compares nothing."""
        return [None if read is None else arrays.copied(read()) for read in self._compared]

    def rewards(self, before: list[Any], action: Any, healthy: Any) -> list[Any]:
        """Return the signed terms of the reward (...), in the order of the task's labels."""
        values: list[Any] = []
        for earlier, (weight, cap, value, numbers, read) in zip(before, self._values, strict=True):
            raw = value(earlier, None if read is None else read(), action, healthy, numbers)
            weighted = _weighted(weight, raw)
            values.append(weighted if cap is None else arrays.clipped(weighted, cap))
        return values

    def total(self, rewards: list[Any]) -> Any:
        """Return the sum of the terms in the order of the table: within groups first, then across them."""
        return _sum(self._by_group(rewards) if self._grouped else rewards)

    def _by_group(self, rewards: list[Any]) -> list[Any]:
        groups: dict[str, list[Any]] = {}
        for part, value in zip(self._task.parts, rewards, strict=True):
            groups.setdefault(part.group, []).append(value)
        return [_sum(values) for values in groups.values()]


def _weighted(weight: Any, value: Any) -> Any:
    if isinstance(weight, np.ndarray):  # as a plain weight would: in the precision of the value
        return weight.astype(np.asarray(value).dtype) * value
    return weight * value


def _sum(values: list[Any]) -> Any:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _forward(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    return arrays.speed(before[..., 0], after[..., 0], numbers[0])


def _tracking(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    return arrays.speed_error(before[..., 0], after[..., 0], numbers[0], numbers[1])


def _forward_mass(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    duration, _, masses = numbers
    return arrays.speed(arrays.centre(before, masses), arrays.centre(after, masses), duration)


def _tracking_mass(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    duration, target, masses = numbers
    return arrays.speed_error(arrays.centre(before, masses), arrays.centre(after, masses), duration, target)


def _alive(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    return arrays.alive(healthy)


def _effort(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    return arrays.effort(action)


def _effort_double(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    return arrays.effort(arrays.double(action))


def _squares(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    return arrays.sum_of_squares(after)


def _distance(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    return arrays.distance(after)


def _square(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    return arrays.square(after[..., 0] - numbers[0])


def _height(before: Any, after: Any, action: Any, healthy: Any, numbers: Numbers) -> Any:
    return after[..., 0] / numbers[0]


def _one(kind: str) -> Callable[[mujoco.MjModel, Term], Reading]:
    return lambda model, term: single(model, kind, term.of)


def _speed_numbers(model: mujoco.MjModel, term: Term, duration: float) -> Numbers:
    return duration, term.target


def _mass_numbers(model: mujoco.MjModel, term: Term, duration: float) -> Numbers:
    return duration, term.target, model.body_mass.copy()


def _target_number(model: mujoco.MjModel, term: Term, duration: float) -> Numbers:
    return (term.target,)


def _timestep_number(model: mujoco.MjModel, term: Term, duration: float) -> Numbers:
    return (float(model.opt.timestep),)


def _vector(model: mujoco.MjModel, term: Term) -> Reading:
    return reading(model, "place", [term.of], relative_to=term.relative_to)


def _forces(model: mujoco.MjModel, term: Term) -> Reading:
    """Return the contact forces on all bodies, the world's among them: as Gymnasium adds them up."""
    named = reading(model, "contact_force", ["world", "*"])
    return named._replace(limit=term.limit)


def _masses(model: mujoco.MjModel, term: Term) -> Reading:
    return reading(model, "mass_centre", ["world.x", "*.x"])


REWARD_KINDS: dict[str, RewardKind] = {
    "forward": RewardKind(
        "mean speed of `{of}` over the step", "m/s", _forward, _one("position"), _speed_numbers, True, "joint"
    ),
    "forward_body": RewardKind(
        "mean speed of `{of}` over the step", "m/s", _forward, _one("place"), _speed_numbers, True, "body"
    ),
    "forward_mass": RewardKind(
        "mean speed of the centre of mass along x over the step", "m/s", _forward_mass, _masses, _mass_numbers, True
    ),
    "tracking": RewardKind(
        "distance of the speed of `{of}` from {target:g} m/s",
        "m/s",
        _tracking,
        _one("position"),
        _speed_numbers,
        True,
        "joint",
    ),
    "tracking_body": RewardKind(
        "distance of the speed of `{of}` from {target:g} m/s",
        "m/s",
        _tracking,
        _one("place"),
        _speed_numbers,
        True,
        "body",
    ),
    "tracking_mass": RewardKind(
        "distance of the centre of mass's speed from {target:g} m/s",
        "m/s",
        _tracking_mass,
        _masses,
        _mass_numbers,
        True,
    ),
    "alive": RewardKind("1 while healthy", "1", _alive),
    "effort": RewardKind("sum of the squared action", "1", _effort),
    "effort_double": RewardKind("sum of the squared action, in double precision", "1", _effort_double),
    "contact": RewardKind(
        "sum of the squared contact forces and torques on all bodies", "N², N² m²", _squares, _forces
    ),
    "distance": RewardKind("distance of `{of}` from `{relative_to}`", "m", _distance, _vector, of="body"),
    "place_error": RewardKind(
        "square of the distance of `{of}` from {target:g}", "m²", _square, _one("site"), _target_number, of="site"
    ),
    "speed_square": RewardKind(
        "square of the speed of `{of}`", "rad²/s²", _square, _one("velocity"), _target_number, of="joint"
    ),
    "height": RewardKind(
        "`{of}` over the simulation's timestep", "m/s", _height, _one("position"), _timestep_number, of="joint"
    ),
}


def _part(term: Term, model: mujoco.MjModel, duration: float) -> RewardTerm:
    if term.term not in REWARD_KINDS:
        raise unknown("reward term", term.term, REWARD_KINDS)
    kind = REWARD_KINDS[term.term]
    if bool(kind.of) != bool(term.of):
        raise InputError(f"reward term '{term.term}': " + (f"of which {kind.of}?" if kind.of else "it is of nothing"))
    read = kind.reads(model, term) if kind.reads else None
    return RewardTerm(term.weight, term.group, term.cap, term.term, read, kind.numbers(model, term, duration))


def _joined(parts: Sequence[RewardTerm]) -> RewardTerm:
    numbers = tuple(_many(values) for values in zip(*(part.numbers for part in parts), strict=True))
    return parts[0]._replace(weight=_many([part.weight for part in parts]), numbers=numbers)


def _moved(part: RewardTerm, put: Callable[[Any], Any]) -> RewardTerm:
    def elsewhere(value: Any) -> Any:
        return put(value) if isinstance(value, np.ndarray) else value

    read = part.reading.moved(put) if part.reading else None
    return part._replace(weight=elsewhere(part.weight), reading=read, numbers=tuple(map(elsewhere, part.numbers)))


def _many(values: Sequence[Any]) -> Any:
    """Return the one value that all are, or (worlds, ...)."""
    return values[0] if all(np.array_equal(value, values[0]) for value in values) else np.array(values)


def _where(read: Reading | None) -> Any:
    return None if read is None else (read.field, read.slots, read.limit, read.form)


def _ends(spec: EnvSpec, readings: Sequence[Reading]) -> tuple[Floats, Floats]:
    """Return the open bounds of all healthy values; a closed interval is the open one that is a rounding wider."""
    low: list[float] = []
    high: list[float] = []
    for bound, sensor in zip(spec.healthy, readings, strict=True):
        ends = bound.range
        if bound.closed:
            ends = (float(np.nextafter(ends[0], -np.inf)), float(np.nextafter(ends[1], np.inf)))
        low += [ends[0]] * len(sensor.slots)
        high += [ends[1]] * len(sensor.slots)
    return np.array(low), np.array(high)


def _noise(rng: np.random.Generator, spread: Spread, size: int) -> Floats:
    if spread.spread == 0.0:
        return np.zeros(size)
    if spread.shape == "normal":
        return spread.spread * rng.standard_normal(size)
    return rng.uniform(-spread.spread, spread.spread, size)


def _place(rng: np.random.Generator, goal: Goal) -> Floats:
    """Return a goal that is near enough to, or far enough from, the origin: drawn until it is."""
    while True:
        drawn = rng.uniform(goal.low, goal.high)
        reach = np.sqrt(drawn.dot(drawn))
        if (goal.within is None or reach < goal.within) and (goal.beyond is None or reach > goal.beyond):
            return drawn
