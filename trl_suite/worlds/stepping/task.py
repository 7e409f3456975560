"""The task of an env, bound to a compiled model: observation, reward and termination, for one env or many.

`fields` gives a state's arrays under MjData's names, flat per env, with any leading dimensions.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError, located, unknown
from trl_suite.interface import Interface
from trl_suite.worlds.env_spec import Bound, EnvSpec, Goal, ObjectPlace, Spread, Start, SuccessCondition
from trl_suite.worlds.terms import arrays
from trl_suite.worlds.terms.displacement import action_slots, bind_displacement
from trl_suite.worlds.terms.memory import MEMORY_FIELD, MemoryLayout, located_blocks
from trl_suite.worlds.terms.play_joints import seen_numbers
from trl_suite.worlds.terms.rewards import BoundTerm, bind_term
from trl_suite.worlds.terms.sensors import AFTER_STEP, Fields, Reading, UnmatchedPattern, reading

Floats = NDArray[np.float64]
MAX_GOAL_DRAWS = 100_000  # of one episode's goal, before its table is called impossible


class NominalState(NamedTuple):
    """State that an episode's first one is drawn around, with the controls until the first action."""

    position: Floats  # (nq,)
    velocity: Floats  # (nv,)
    control: Floats  # (nu,)
    activation: Floats  # (na,)
    keyframe: int  # its index, or -1 where it is the model's own


def nominal_state(model: mujoco.MjModel, keyframe: str = "") -> NominalState:
    """State of a keyframe of the model, by name; the model's qpos0 at rest where the name is "".

    Raises:
        InputError: the model has no such keyframe.
    """
    if not keyframe:
        return NominalState(model.qpos0.copy(), np.zeros(model.nv), np.zeros(model.nu), np.zeros(model.na), -1)
    names = [model.key(index).name for index in range(model.nkey)]
    if keyframe not in names:
        raise unknown("keyframe", keyframe, [name for name in names if name])
    key = names.index(keyframe)
    return NominalState(
        position=model.key_qpos[key].copy(),
        velocity=model.key_qvel[key].copy(),
        control=model.key_ctrl[key].copy(),
        activation=model.key_act[key].copy(),
        keyframe=key,
    )


def _posed(nominal: NominalState, model: mujoco.MjModel, pose: Mapping[str, float]) -> NominalState:
    """State whose joints have the positions of a pose.

    Raises:
        InputError: the model has no such joint, or a number is of several.
    """
    position = nominal.position.copy()
    for name, value in pose.items():
        numbers = reading(model, "position", [name])
        if not numbers.slots or ("*" not in name and len(numbers.slots) != 1):
            raise InputError(f"'{name}' is {len(numbers.slots)} numbers: name one, as 'root.z' is, or use '*'")
        position[numbers.indices] = value
    return nominal._replace(position=position)


class BoundTask:
    """Task of an env on its model.

    Raises:
        InputError: the table names what the model does not have; the message names the key.
    """

    def __init__(self, spec: EnvSpec, model: mujoco.MjModel) -> None:
        self.duration = model.opt.timestep * spec.frame_skip  # s
        self.labels = tuple(term.label for term in spec.reward)
        self.displacement = bind_displacement(spec, model)
        self.layout = MemoryLayout(spec, model, self.duration)
        blocks = located_blocks(spec, model, self.layout)
        self.observed = tuple(chain.from_iterable(blocks.values()))
        self.bounded = tuple(_bounded(model, index, bound) for index, bound in enumerate(spec.healthy))
        self.ends = spec.terminates
        self.low, self.high = _ends(spec, self.bounded)
        self.terms = _terms(spec, model, self.layout)
        self.goals = tuple(_success(model, self.layout, index, entry) for index, entry in enumerate(_conditions(spec)))
        self.success_ends = spec.success is not None and spec.success.ends
        self._parts = _parts(self, blocks)
        slots = tuple(slot for block in self.observed for slot in block.slots)
        self.interface = Interface(observation=slots, action=action_slots(spec, model))
        try:
            self.interface.refuse_twins()
        except ValueError as error:
            raise InputError(f"observation: {error}") from None
        self.starts, self.seen = spec.reset, seen_numbers(model)
        with located("reset.keyframe"):
            self.nominal = nominal_state(model, spec.reset.keyframe)
        with located("reset.pose"):
            self.nominal = _posed(self.nominal, model, spec.reset.pose)
        starts = _starts(model, spec.reset)
        self.goal = starts["reset.goal.joints"].indices if spec.reset.goal else None
        self.places = tuple(starts[_object_key(index)].indices for index in range(len(spec.reset.objects)))
        self.still = starts["reset.still"].indices if "reset.still" in starts else None
        self._parts |= starts

    @property
    def unmatched(self) -> dict[tuple[str, str], UnmatchedPattern]:
        """Patterns that fit nothing of the model, by their place in the table and their text."""
        return {(place, absent.pattern): absent for place, sensor in self._parts.items() for absent in sensor.unmatched}

    @property
    def empty_parts(self) -> list[str]:
        """Places in the table of the parts that read nothing of the model."""
        return [place for place, sensor in self._parts.items() if not sensor.slots]

    @property
    def fields(self) -> tuple[str, ...]:
        """The arrays of MjData that the task reads, by name."""
        read = [*self.observed, *self.bounded, *(term.reading for term in self.terms if term.reading)]
        read += [goal.sensor for goal in self.goals] + [timer.sensor for timer in self.layout.air_times]
        displacing = self.displacement.fields if self.displacement else ()
        return tuple(sorted({*(sensor.field for sensor in read), *displacing} - {MEMORY_FIELD}))

    @property
    def first_action(self) -> Floats:
        """Action (actions,) that stands for the controls that an episode begins with."""
        control = self.nominal.control
        return control if self.displacement is None else self.displacement.action_of(control, 0.0)

    @property
    def needs_contact_forces(self) -> bool:
        """Whether the task reads what a step leaves to `mj_rnePostConstraint`."""
        return bool(AFTER_STEP.intersection(self.fields))

    @property
    def structure(self) -> tuple[Any, ...]:
        """Structure that two tasks must share to be evaluated together; their numbers may differ."""
        terms = [(term.name, term.group, term.cap, _where(term.reading)) for term in self.terms]
        goals = tuple(map(_where, (goal.sensor for goal in self.goals)))
        return (
            tuple(map(_where, self.observed)),
            tuple(map(_where, self.bounded)),
            self.ends,
            *terms,
            self.labels,
            goals,
        )

    def evaluates_as(self, other: "BoundTask") -> bool:
        """Whether an evaluator and a memory of the other task give this one's numbers."""
        ends = [(task.low, task.high, task.duration, task.success_ends) for task in (self, other)]
        return (
            self.structure == other.structure
            and all(np.array_equal(left, right) for left, right in zip(*ends, strict=True))
            and all(map(_same_numbers, self.terms, other.terms))
        )

    def start(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return a first state: positions (nq,), with the goal, and velocities (nv,), drawn in this order."""
        position = self.nominal.position.copy()
        positions, velocities = self.seen or (slice(None), slice(None))  # play starts in its middle, at rest
        position[positions] += _noise(rng, self.starts.position, len(position[positions]))
        if self.starts.goal:
            position[self.goal] = _goal(rng, self.starts.goal)
        earlier = [] if self.goal is None else [position[self.goal]]
        for indices, placement in zip(self.places, self.starts.objects, strict=True):
            position[indices] = _placed(rng, placement, earlier)
            earlier.append(position[indices])
        velocity = self.nominal.velocity.copy()
        velocity[velocities] += _noise(rng, self.starts.velocity, len(velocity[velocities]))
        if self.still is not None:
            velocity[self.still] = 0.0
        return position, velocity

    def evaluator(self, fields: Fields, join: Callable[..., Any] = np.concatenate) -> "TaskEvaluator":
        """Return the task as seen on a state that is stepped in place; `join` joins its arrays, as NumPy's does."""
        return TaskEvaluator(self, fields, join)

    def moved(self, put: Callable[[Any], Any]) -> "BoundTask":
        """Return the task for a state whose arrays lie elsewhere: where `put` puts the task's own."""

        def elsewhere(value: Any) -> Any:
            return put(value) if isinstance(value, np.ndarray) else value

        moved_task = copy.copy(self)
        moved_task.observed = tuple(sensor.moved(put) for sensor in self.observed)
        moved_task.bounded = tuple(sensor.moved(put) for sensor in self.bounded)
        moved_task.terms = tuple(term.moved(elsewhere) for term in self.terms)
        moved_task.goals = tuple(goal.moved(put) for goal in self.goals)
        moved_task.low, moved_task.high = put(self.low), put(self.high)
        return moved_task


def _parts(task: BoundTask, blocks: Mapping[str, Sequence[Reading]]) -> dict[str, Reading]:
    """Return the reading of each part of the table, by its place there."""
    parts = {f"{place}.of": readings[0] for place, readings in blocks.items() if readings}
    parts |= {f"healthy[{index}].of": sensor for index, sensor in enumerate(task.bounded)}
    parts |= {f"reward[{index}].of": term.reading for index, term in enumerate(task.terms) if term.reading}
    return parts | {f"success.conditions[{index}].of": goal.sensor for index, goal in enumerate(task.goals)}


def stacked(tasks: Sequence[BoundTask]) -> BoundTask:
    """Return one task for many worlds, whose numbers are one per world where they differ.

    Raises:
        ValueError: the tasks differ in more than numbers.
    """
    first = tasks[0]
    if any(task.structure != first.structure for task in tasks):
        raise ValueError("the tasks differ in more than numbers")
    joined = copy.copy(first)
    joined.terms = tuple(_joined(terms) for terms in zip(*(task.terms for task in tasks), strict=True))
    joined.low, joined.high = _many([task.low for task in tasks]), _many([task.high for task in tasks])
    return joined


class TaskEvaluator:
    """Observation, reward and end of a task on one state; the state's arrays are read anew at every call."""

    def __init__(self, task: BoundTask, fields: Fields, join: Callable[..., Any]) -> None:
        self._task, self._join = task, join
        self._observed = [block.of(fields) for block in task.observed]
        plain = all(block.plain for block in task.observed)
        self._views = [read() for read in self._observed] if plain else None  # nothing to be computed: MuJoCo's memory
        self._bounded = [bound.of(fields) for bound in task.bounded]
        self._ends = task.low.tolist(), task.high.tolist()
        self._reads = [term.reading.of(fields) if term.reading else None for term in task.terms]
        self._goals = [(goal, goal.numbers(fields)) for goal in task.goals]
        self._compared = [_compared(term, read, fields) for term, read in zip(task.terms, self._reads, strict=True)]
        self._values = [
            (term.weight, term.cap, term.function.bound(term.constants), read)
            for term, read in zip(task.terms, self._reads, strict=True)
        ]
        self._grouped = len({term.group for term in task.terms}) > 1

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

    def fulfilled(self) -> Any:
        """Return whether every condition of success holds now (...)."""
        return math.prod(_fulfilled(goal, read()) for goal, read in self._goals)

    def before(self) -> list[Any]:
        """Return copies of what the terms compare across a step, None for a term that compares nothing."""
        return [None if read is None else arrays.copied(read()) for read in self._compared]

    def rewards(self, before: list[Any], action: Any, healthy: Any, success: Any = False) -> list[Any]:
        """Signed terms of the reward (...), in the order of the task's labels."""
        terms: list[Any] = []
        for earlier, (weight, cap, value, read) in zip(before, self._values, strict=True):
            weighted = _weighted(weight, value(earlier, None if read is None else read(), action, healthy, success))
            terms.append(weighted if cap is None else arrays.clipped(weighted, cap))
        return terms

    def total(self, rewards: list[Any]) -> Any:
        """Return the sum of the terms in the order of the table: within groups first, then across them."""
        return _sum(self._by_group(rewards) if self._grouped else rewards)

    def _by_group(self, rewards: list[Any]) -> list[Any]:
        groups: dict[str, list[Any]] = {}
        for term, value in zip(self._task.terms, rewards, strict=True):
            groups.setdefault(term.group, []).append(value)
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


class BoundCondition(NamedTuple):
    """One condition of success, bound to a model."""

    sensor: Reading
    command: Reading | None  # that is subtracted
    within: float | None
    range: tuple[float, float]

    def moved(self, put: Callable[[Any], Any]) -> "BoundCondition":
        """Condition for arrays that lie elsewhere: where `put` puts its own."""
        command = self.command.moved(put) if self.command else None
        return self._replace(sensor=self.sensor.moved(put), command=command)

    def numbers(self, fields: Fields) -> Callable[[], Any]:
        """Reader of what the condition is about (..., n)."""
        read = self.sensor.of(fields)
        if self.command is None:
            return read
        command = self.command.of(fields)
        return lambda: read() - command()


def _conditions(spec: EnvSpec) -> tuple[SuccessCondition, ...]:
    return spec.success.conditions if spec.success else ()


def _success(model: mujoco.MjModel, layout: MemoryLayout, index: int, condition: SuccessCondition) -> BoundCondition:
    with located(f"success.conditions[{index}]"):
        sensor = reading(model, condition.kind, condition.of, relative_to=condition.relative_to)
        command = layout.command(condition.command) if condition.command else None
        if command is not None and len(command.slots) != len(sensor.slots):
            count = len(command.slots)
            raise InputError(f"'{condition.command}' is {count} numbers, and `of` names {len(sensor.slots)}")
    return BoundCondition(sensor, command, condition.within, condition.range or (-np.inf, np.inf))


def _fulfilled(goal: BoundCondition, values: Any) -> Any:
    """Whether one condition holds (...), as a number."""
    if goal.within is not None:
        return (arrays.norm(values) <= goal.within) * 1.0
    return ((values >= goal.range[0]) & (values <= goal.range[1])).all(-1) * 1.0


def _compared(term: BoundTerm, read: Callable[[], Any] | None, fields: Fields) -> Callable[[], Any] | None:
    """Reader of what a term takes from the start of the step: what it compares with, or the command or target."""
    if term.command is not None:
        return term.command.of(fields)
    if term.function.follows:
        return lambda: term.target
    return read if term.function.compares else None


def _bounded(model: mujoco.MjModel, index: int, bound: Bound) -> Reading:
    with located(f"healthy[{index}]"):
        return reading(model, bound.kind, bound.of)


def _terms(spec: EnvSpec, model: mujoco.MjModel, layout: MemoryLayout) -> tuple[BoundTerm, ...]:
    terms: list[BoundTerm] = []
    for index, term in enumerate(spec.reward):
        terms.append(bind_term(term, model, layout, f"reward[{index}]"))
    return tuple(terms)


def _joined(terms: Sequence[BoundTerm]) -> BoundTerm:
    constants = {name: _many([term.constants[name] for term in terms]) for name in terms[0].constants}
    return terms[0]._replace(weight=_many([term.weight for term in terms]), constants=constants)


def _same_numbers(term: BoundTerm, other: BoundTerm) -> bool:
    """Whether two terms of one structure have the same weight, target and constants."""
    same = term.weight == other.weight and np.array_equal(term.target, other.target)
    return same and all(np.array_equal(value, other.constants[name]) for name, value in term.constants.items())


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


def _object_key(index: int) -> str:
    return f"reset.objects[{index}].joints"


def _starts(model: mujoco.MjModel, start: Start) -> dict[str, Reading]:
    """Readings of the goal's and objects' coordinates and of the joints that stand still, by their place in the table.

    Raises:
        InputError: there is no such joint, or a coordinate is several numbers.
    """
    readings: dict[str, Reading] = {}
    boxes: list[tuple[str, Goal | ObjectPlace]] = [("reset.goal.joints", start.goal)] if start.goal else []
    for key, box in [*boxes, *((_object_key(index), entry) for index, entry in enumerate(start.objects))]:
        with located(key):
            readings[key] = _coordinates(model, box.joints)
    if still := [*start.still, *(start.goal.joints if start.goal else ())]:
        with located("reset.still"):
            readings["reset.still"] = reading(model, "velocity", still)
    return readings


def _coordinates(model: mujoco.MjModel, joints: Sequence[str]) -> Reading:
    """Reading of as many positions as there are names."""
    numbers = reading(model, "position", joints)
    for absent in numbers.unmatched:
        raise absent.refusal()
    if len(numbers.slots) != len(joints):
        raise InputError(f"{', '.join(joints)} are {len(numbers.slots)} numbers: name single ones, 'cube.x'")
    return numbers


def _placed(rng: np.random.Generator, placement: ObjectPlace, earlier: Sequence[Floats]) -> Floats:
    """Place that is clear of the goal and of the objects before: drawn until it is.

    Raises:
        InputError: none is, as far as can be told.
    """
    for _ in range(MAX_GOAL_DRAWS):
        drawn = rng.uniform(placement.low, placement.high)
        if all(_distance(drawn, place) >= placement.clearance for place in earlier):
            return drawn
    joints = ", ".join(placement.joints)
    raise InputError(f"reset.objects: no place for {joints} has a clearance of {placement.clearance:g} m")


def _distance(left: Floats, right: Floats) -> float:
    shared = min(len(left), len(right))
    return float(np.linalg.norm(left[:shared] - right[:shared]))


def _goal(rng: np.random.Generator, goal: Goal) -> Floats:
    """Goal that is near enough to, and far enough from, the origin: drawn until it is.

    Raises:
        InputError: none is, as far as can be told.
    """
    for _ in range(MAX_GOAL_DRAWS):
        drawn = rng.uniform(goal.low, goal.high)
        reach = np.sqrt(drawn.dot(drawn))
        if (goal.within is None or reach < goal.within) and (goal.beyond is None or reach > goal.beyond):
            return drawn
    raise InputError(f"reset.goal: no point between {goal.low} and {goal.high} has the distance that it asks for")
