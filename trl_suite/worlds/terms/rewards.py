"""Reward terms: one decorated function each, with its label, its unit and what it reads of a state.

The names of a function's parameters say what it is given. Axes: `...` stands for the envs, or for nothing.

- `before`, `after`: what it reads (..., n), at the start and at the end of the control step
- `action`: of the policy (..., actions)
- `healthy`: whether the robot is (...)
- `duration`: of the control step, s
- `timestep`: of the physics, s
- `target`: a number of the term's table
- `masses`: of all bodies (..., bodies), kg

A new term is a function here, named after its `term` in `env.toml`; nothing else lists it.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import mujoco

from trl_suite.errors import InputError, located, unknown
from trl_suite.worlds.env_spec import Term
from trl_suite.worlds.terms import arrays
from trl_suite.worlds.terms.arrays import Array
from trl_suite.worlds.terms.sensors import Reading, reading, single

Function = TypeVar("Function", bound=Callable[..., Any])
Reads = Callable[[mujoco.MjModel, Term], Reading]
Value = Callable[[Any, Any, Any, Any], Any]
"""Value of a term (...) from `before`, `after`, `action` and `healthy`."""

MEASURED = ("before", "after", "action", "healthy")
CONSTANTS: dict[str, Callable[[mujoco.MjModel, Term, float], Any]] = {
    "duration": lambda model, term, duration: duration,
    "timestep": lambda model, term, duration: float(model.opt.timestep),
    "target": lambda model, term, duration: term.target,
    "masses": lambda model, term, duration: model.body_mass.copy(),
}


class RewardFunction(NamedTuple):
    """One kind of reward term, as its decorator describes it."""

    label: str  # with {of}, {relative_to} and {target} of the term's table
    unit: str
    function: Callable[..., Any]
    of: str  # kind of element that `of` names; "" where the term is of nothing
    reads: Reads | None
    measured: tuple[str, ...]  # parameters that change at every step
    constants: tuple[str, ...]  # parameters that do not

    @property
    def compares(self) -> bool:
        """Whether it needs what it reads from before the step."""
        return "before" in self.measured

    def bound(self, constants: Mapping[str, Any]) -> Value:
        """Function of all that is measured, with its constants filled in."""
        value = partial(self.function, **constants)
        indices = [MEASURED.index(name) for name in self.measured]
        if len(indices) == 1:
            index = indices[0]
            return lambda *measured: value(measured[index])
        return lambda *measured: value(*[measured[index] for index in indices])


REWARD_TERMS: dict[str, RewardFunction] = {}


def reward_term(label: str, unit: str, *, of: str = "", reads: Reads | None = None) -> Callable[[Function], Function]:
    """Decorator that makes a function the reward term of its name.

    Args:
        label: what is measured, with {of}, {relative_to} and {target} from the term's table.
        unit: of the value, before its weight.
        of: kind of element that the table's `of` names.
        reads: finds what `before` and `after` are in a model.

    Raises:
        TypeError: a parameter is none that this module knows.
    """

    def register(function: Function) -> Function:
        names = tuple(inspect.signature(function).parameters)
        if strays := set(names).difference(MEASURED, CONSTANTS):
            raise TypeError(f"{function.__name__}: no reward term is given {', '.join(sorted(strays))}")
        measured = tuple(name for name in names if name in MEASURED)
        constants = tuple(name for name in names if name in CONSTANTS)
        REWARD_TERMS[function.__name__] = RewardFunction(label, unit, function, of, reads, measured, constants)
        return function

    return register


class BoundTerm(NamedTuple):
    """One weighted term of an env's reward, bound to a model."""

    weight: Any  # a float, or (envs,)
    group: str
    cap: float | None  # of the weighted value, in either direction
    name: str  # of its function
    reading: Reading | None
    constants: dict[str, Any]  # plain, or one per env

    @property
    def function(self) -> RewardFunction:
        """Function of the term."""
        return REWARD_TERMS[self.name]

    def moved(self, put: Callable[[Any], Any]) -> "BoundTerm":
        """Term for arrays that lie elsewhere: where `put` puts its own."""
        constants = {name: put(value) for name, value in self.constants.items()}
        return self._replace(
            weight=put(self.weight), reading=self.reading.moved(put) if self.reading else None, constants=constants
        )


def bind_term(term: Term, model: mujoco.MjModel, duration: float, key: str) -> BoundTerm:
    """Term of a table, bound to a model whose control steps take `duration` seconds; `key` is its place in the table.

    Raises:
        InputError: there is no such term, or no such element in the model.
    """
    if term.term not in REWARD_TERMS:
        raise unknown("reward term", term.term, REWARD_TERMS, f"{key}.term")
    function = REWARD_TERMS[term.term]
    if bool(function.of) != bool(term.of):
        mend = f"of which {function.of}?" if function.of else "it is of nothing"
        raise InputError(f"{key}.of: reward term '{term.term}': {mend}")
    with located(f"{key}.of"):
        sensor = function.reads(model, term) if function.reads else None
    constants = {name: CONSTANTS[name](model, term, duration) for name in function.constants}
    return BoundTerm(term.weight, term.group, term.cap, term.term, sensor, constants)


def _number(kind: str) -> Reads:
    """Reads the one number of a kind that `of` names."""
    return lambda model, term: single(model, kind, term.of)


def _offset(model: mujoco.MjModel, term: Term) -> Reading:
    return reading(model, "place", [term.of], relative_to=term.relative_to)


def _contact_forces(model: mujoco.MjModel, term: Term) -> Reading:
    """Contact forces on all bodies, the world's among them: as Gymnasium adds them up."""
    return reading(model, "contact_force", ["world", "*"])._replace(limit=term.limit)


def _mass_centres(model: mujoco.MjModel, term: Term) -> Reading:
    """Coordinate along x of the centre of mass of each body."""
    return reading(model, "mass_centre", ["world.x", "*.x"])


@reward_term("mean speed of `{of}` over the step", "m/s", of="joint", reads=_number("position"))
def forward(before: Array, after: Array, duration: float) -> Any:
    """Mean speed of one coordinate: (x' - x) / Δt."""
    return (after[..., 0] - before[..., 0]) / duration


@reward_term("mean speed of `{of}` over the step", "m/s", of="body", reads=_number("place"))
def forward_body(before: Array, after: Array, duration: float) -> Any:
    """Mean speed of one coordinate of a body's frame: (x' - x) / Δt."""
    return (after[..., 0] - before[..., 0]) / duration


@reward_term("mean speed of the centre of mass along x over the step", "m/s", reads=_mass_centres)
def forward_mass(before: Array, after: Array, duration: float, masses: Array) -> Any:
    """Mean speed of the robot's centre of mass c = Σ m x / Σ m: (c' - c) / Δt."""
    return (arrays.weighted_mean(after, masses) - arrays.weighted_mean(before, masses)) / duration


@reward_term("distance of the speed of `{of}` from {target:g} m/s", "m/s", of="joint", reads=_number("position"))
def tracking(before: Array, after: Array, duration: float, target: float) -> Any:
    """Error of the mean speed of one coordinate: |(x' - x) / Δt - target|."""
    return abs(forward(before, after, duration) - target)


@reward_term("distance of the speed of `{of}` from {target:g} m/s", "m/s", of="body", reads=_number("place"))
def tracking_body(before: Array, after: Array, duration: float, target: float) -> Any:
    """Error of the mean speed of one coordinate of a body's frame: |(x' - x) / Δt - target|."""
    return abs(forward_body(before, after, duration) - target)


@reward_term("distance of the centre of mass's speed from {target:g} m/s", "m/s", reads=_mass_centres)
def tracking_mass(before: Array, after: Array, duration: float, target: float, masses: Array) -> Any:
    """Error of the mean speed of the robot's centre of mass: |(c' - c) / Δt - target|."""
    return abs(forward_mass(before, after, duration, masses) - target)


@reward_term("1 while healthy", "1")
def alive(healthy: Any) -> Any:
    """1 where the robot is healthy, 0 where it is not."""
    return healthy * 1.0


@reward_term("sum of the squared action", "1")
def effort(action: Array) -> Any:
    """Squared action Σ a², in the action's own precision."""
    return arrays.sum_of_squares(action)


@reward_term("sum of the squared action, in double precision", "1")
def effort_double(action: Array) -> Any:
    """Squared action Σ a², in double precision."""
    return arrays.sum_of_squares(arrays.double(action))


@reward_term("sum of the squared contact forces and torques on all bodies", "N², N² m²", reads=_contact_forces)
def contact(after: Array) -> Any:
    """Squared contact forces and torques Σ f²."""
    return arrays.sum_of_squares(after)


@reward_term("distance of `{of}` from `{relative_to}`", "m", of="body", reads=_offset)
def distance(after: Array) -> Any:
    """Euclidean distance of two bodies' frames."""
    return arrays.norm(after)


@reward_term("square of the distance of `{of}` from {target:g}", "m²", of="site", reads=_number("site"))
def place_error(after: Array, target: float) -> Any:
    """Squared distance of one coordinate of a site from the target: (x - target)²."""
    return arrays.square(after[..., 0] - target)


@reward_term("square of the speed of `{of}`", "rad²/s²", of="joint", reads=_number("velocity"))
def speed_square(after: Array, target: float) -> Any:
    """Squared velocity of a joint: (v - target)²."""
    return arrays.square(after[..., 0] - target)


@reward_term("`{of}` over the simulation's timestep", "m/s", of="joint", reads=_number("position"))
def height(after: Array, timestep: float) -> Any:
    """Position of a joint over the physics' timestep, as HumanoidStandup is paid: z / δt."""
    return after[..., 0] / timestep
