"""Reward terms: one decorated function each, with its label, its unit and what it reads of a state.

The names of a function's parameters say what it is given. Axes: `...` stands for the envs, or for nothing.

- `before`, `after`: what it reads (..., n), at the start and at the end of the control step
- `command`: that was to be followed during the step (..., n), or the target where the table names none
- `success`: whether the conditions of success hold (...)
- `action`: of the policy (..., actions)
- `healthy`: whether the robot is (...)
- `duration`: of the control step, s
- `timestep`: of the physics, s
- `target`, `width`, `bounds`, `margin`: numbers of the term's table
- `low`, `high`: soft limits of the joints that it reads (n,), rad or m
- `masses`: of all bodies (..., bodies), kg

A new term is a function here, named after its `term` in `env.toml`; nothing else lists it.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import mujoco
import numpy as np

from trl_suite.errors import InputError, located, unknown
from trl_suite.worlds.env_spec import Term
from trl_suite.worlds.terms import arrays
from trl_suite.worlds.terms.arrays import Array
from trl_suite.worlds.terms.memory import MemoryLayout
from trl_suite.worlds.terms.model_sensors import CONTACTS, GRAVITY_KIND
from trl_suite.worlds.terms.sensors import Reading, reading, single

Function = TypeVar("Function", bound=Callable[..., Any])
Reads = Callable[[mujoco.MjModel, Term], Reading]
Value = Callable[..., Any]
"""Value of a term (...) from all that is measured, in the order of `MEASURED`."""

MEASURED = ("before", "after", "action", "healthy", "success", "command")
SOFT_LIMIT = 0.9  # share of a joint's range, about its middle, that costs nothing
VALUE_AT_MARGIN = 0.1  # of a tolerance, as in dm_control
CONSTANTS: dict[str, Callable[[mujoco.MjModel, Term, float], Any]] = {
    "duration": lambda model, term, duration: duration,
    "timestep": lambda model, term, duration: float(model.opt.timestep),
    "target": lambda model, term, duration: term.target,
    "width": lambda model, term, duration: term.width,
    "bounds": lambda model, term, duration: term.bounds,
    "margin": lambda model, term, duration: term.margin,
    "low": lambda model, term, duration: _soft_limits(model, term)[0],
    "high": lambda model, term, duration: _soft_limits(model, term)[1],
    "masses": lambda model, term, duration: model.body_mass.copy(),
}


class RewardFunction(NamedTuple):
    """One kind of reward term, as its decorator describes it."""

    label: str  # with {of}, {relative_to} and {target} of the term's table
    unit: str
    function: Callable[..., Any]
    of: str  # kind of element that `of` names; "" where the term is of nothing
    reads: Reads | None
    senses: tuple[str, ...]  # kinds that it reads of its elements through sensors; "" for the table's `kind`
    several: bool  # whether `of` may name several elements
    measured: tuple[str, ...]  # parameters that change at every step
    constants: tuple[str, ...]  # parameters that do not

    @property
    def compares(self) -> bool:
        """Whether it needs what it reads from before the step."""
        return "before" in self.measured or self.follows

    @property
    def follows(self) -> bool:
        """Whether it compares with a command or target: `before` is that one then."""
        return "command" in self.measured

    def described(self, term: Term) -> str:
        """Label of a term of a table."""
        aim = f"`{term.command}`" if term.command else f"{term.target:g}"
        names = {"of": ", ".join(term.elements), "relative_to": term.relative_to or "anything", "kind": term.kind}
        return self.label.format(target=term.target, aim=aim, bounds=list(term.bounds), **names)

    def bound(self, constants: Mapping[str, Any]) -> Value:
        """Function of all that is measured, with its constants filled in."""
        value = partial(self.function, **constants)
        indices = [0 if name == "command" else MEASURED.index(name) for name in self.measured]
        if len(indices) == 1:
            index = indices[0]
            return lambda *measured: value(measured[index])
        return lambda *measured: value(*[measured[index] for index in indices])


REWARD_TERMS: dict[str, RewardFunction] = {}


def reward_term(
    label: str,
    unit: str,
    *,
    of: str = "",
    reads: Reads | None = None,
    senses: tuple[str, ...] = (),
    several: bool = False,
) -> Callable[[Function], Function]:
    """Decorator that makes a function the reward term of its name.

    Args:
        label: what is measured, with {of}, {relative_to} and {target} from the term's table.
        unit: of the value, before its weight.
        of: kind of element that the table's `of` names.
        reads: finds what `before` and `after` are in a model.
        senses: kinds that it reads of its elements through sensors; "" for the table's `kind`.
        several: whether `of` may name several elements.

    Raises:
        TypeError: a parameter is none that this module knows.
    """

    def register(function: Function) -> Function:
        names = tuple(inspect.signature(function).parameters)
        if strays := set(names).difference(MEASURED, CONSTANTS):
            raise TypeError(f"{function.__name__}: no reward term is given {', '.join(sorted(strays))}")
        measured = tuple(name for name in names if name in MEASURED)
        constants = tuple(name for name in names if name in CONSTANTS)
        REWARD_TERMS[function.__name__] = RewardFunction(
            label, unit, function, of, reads, senses, several, measured, constants
        )
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
    command: Reading | None = None  # that is followed
    target: float = 0.0  # in its place

    @property
    def function(self) -> RewardFunction:
        """Function of the term."""
        return REWARD_TERMS[self.name]

    def moved(self, put: Callable[[Any], Any]) -> "BoundTerm":
        """Term for arrays that lie elsewhere: where `put` puts its own."""
        constants = {name: put(value) for name, value in self.constants.items()}
        return self._replace(
            weight=put(self.weight),
            reading=self.reading.moved(put) if self.reading else None,
            constants=constants,
            command=self.command.moved(put) if self.command else None,
        )


def bind_term(term: Term, model: mujoco.MjModel, layout: MemoryLayout, key: str) -> BoundTerm:
    """Term of a table, bound to a model; `key` is its place in the table.

    Raises:
        InputError: there is no such term, or no such element in the model.
    """
    if term.term not in REWARD_TERMS:
        raise unknown("reward term", term.term, REWARD_TERMS, f"{key}.term")
    function = REWARD_TERMS[term.term]
    if bool(function.of) != bool(term.of):
        mend = f"of which {function.of}?" if function.of else "it is of nothing"
        raise InputError(f"{key}.of: reward term '{term.term}': {mend}")
    _refuse_unread(term, function, key)
    with located(f"{key}.of"):
        sensor = _memory_reading(term, model, layout) or (function.reads(model, term) if function.reads else None)
    constants = {name: CONSTANTS[name](model, term, layout.duration) for name in function.constants}
    if "success" in function.measured and not layout.judges:
        raise InputError(f"{key}: reward term '{term.term}' needs a table [success]")
    with located(key):
        command = layout.command(term.command) if term.command else None
    if command and sensor and len(command.slots) != len(sensor.slots):
        raise InputError(f"{key}: '{term.command}' is {len(command.slots)} numbers, and `of` names {len(sensor.slots)}")
    return BoundTerm(term.weight, term.group, term.cap, term.term, sensor, constants, command, term.target)


def _refuse_unread(term: Term, function: RewardFunction, key: str) -> None:
    """Refuse a term whose table says more, or less, than it reads.

    Raises:
        InputError: it does.
    """
    if len(term.elements) > 1 and not function.several:
        raise InputError(f"{key}.of: reward term '{term.term}' is of one {function.of}")
    if ("" in function.senses) != bool(term.kind):
        mend = "of which kind of quantity?" if not term.kind else "it reads no `kind`"
        raise InputError(f"{key}.kind: reward term '{term.term}': {mend}")
    if term.command and not function.follows:
        raise InputError(f"{key}.command: reward term '{term.term}' follows none")


def _memory_reading(term: Term, model: mujoco.MjModel, layout: MemoryLayout) -> Reading | None:
    """Reading of what a term remembers; None where it reads the state."""
    if term.term == "action_rate":
        return layout.last_action()
    if term.term == "air_time":
        return layout.air_time(reading(model, CONTACTS, term.elements, relative_to=term.relative_to))
    return None


def _any_kind(model: mujoco.MjModel, term: Term) -> Reading:
    return reading(model, term.kind, term.elements, term.limit, term.relative_to)


def _kind(kind: str, relative: bool = False) -> Reads:
    """Reads all numbers of a kind of the elements that `of` names."""
    return lambda model, term: reading(model, kind, term.elements, relative_to=term.relative_to if relative else "")


def _upward(model: mujoco.MjModel, term: Term) -> Reading:
    return reading(model, GRAVITY_KIND, term.elements)


def _sliding(model: mujoco.MjModel, term: Term) -> Reading:
    """Reads (vx, vy, contacts) of every foot in turn."""
    columns: list[Any] = []
    slots: list[Any] = []
    feet = reading(model, CONTACTS, term.elements, relative_to=term.relative_to)
    for name in (slot.name.partition(f".{CONTACTS}")[0] for slot in feet.slots):
        velocity = reading(model, "frame_velocity", [f"{name}.x", f"{name}.y"])
        contacts = reading(model, CONTACTS, [name], relative_to=term.relative_to)
        for part in (velocity, contacts):
            columns += np.arange(model.nsensordata)[part.indices].tolist()
            slots += part.slots
    return Reading("sensordata", np.array(columns, dtype=np.intp), tuple(slots), unmatched=feet.unmatched)


def _limited(model: mujoco.MjModel, term: Term) -> Reading:
    """Reads the positions of the joints that have limits.

    Raises:
        InputError: none of them has.
    """
    positions = reading(model, "position", term.elements)
    names = [slot.name.removesuffix(".position") for slot in positions.slots]
    limited = [name for name in names if name in _joints(model) and model.joint(name).limited[0]]
    if not limited:
        for absent in positions.unmatched:
            raise absent.refusal()
        raise InputError(f"no joint of {', '.join(term.elements)} has limits")
    return reading(model, "position", limited)._replace(unmatched=positions.unmatched)


def _joints(model: mujoco.MjModel) -> list[str]:
    return [model.joint(index).name for index in range(model.njnt)]


def _soft_limits(model: mujoco.MjModel, term: Term) -> tuple[Any, Any]:
    names = [slot.name.removesuffix(".position") for slot in _limited(model, term).slots]
    low, high = np.array([model.joint(name).range for name in names]).T
    middle, half = (low + high) / 2, (high - low) / 2 * SOFT_LIMIT
    return middle - half, middle + half


def _number(kind: str) -> Reads:
    """Reads the one number of a kind that `of` names."""
    return lambda model, term: single(model, kind, term.elements[0])


def _offset(model: mujoco.MjModel, term: Term) -> Reading:
    return reading(model, "place", term.elements, relative_to=term.relative_to)


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


_ANY_KIND: dict[str, Any] = {"of": "element", "reads": _any_kind, "senses": ("",), "several": True}


@reward_term("`{kind}` of `{of}` near {aim}, exponential", "1", **_ANY_KIND)
def exponential_tracking(after: Array, command: Any, width: float) -> Any:
    """Exponential of the distance x from the command c: exp(-‖x - c‖ / width)."""
    return arrays.exponential(arrays.norm(after - command) / -width)


@reward_term("`{kind}` of `{of}` near {aim}, Gaussian", "1", **_ANY_KIND)
def gaussian_tracking(after: Array, command: Any, width: float) -> Any:
    """Gaussian of the distance x from the command c: exp(-‖x - c‖² / 2 width²)."""
    return arrays.exponential(arrays.sum_of_squares(after - command) / (-2.0 * width * width))


@reward_term("`{kind}` of `{of}` within {bounds}", "1", **_ANY_KIND)
def tolerance(after: Array, bounds: tuple[float, float], margin: float | None) -> Any:
    """1 inside the bounds, falling to 0.1 a margin outside, Gaussian: of one number, or the length of several.

    Source: dm_control, `utils/rewards.py`.
    """
    value = after[..., 0] if after.shape[-1] == 1 else arrays.norm(after)
    below, above = (bounds[0] - value).clip(0.0, None), (value - bounds[1]).clip(0.0, None)
    outside = below + above  # one of them is 0
    if margin is None:
        return (outside <= 0) * 1.0
    relative = outside / margin
    return arrays.exponential(relative * relative * math.log(VALUE_AT_MARGIN))


@reward_term("sum of the squared `{kind}` of `{of}`", "its unit²", **_ANY_KIND)
def squares(after: Array) -> Any:
    """Sum of squares Σ x²."""
    return arrays.sum_of_squares(after)


@reward_term("cosine of the tilt of `{of}`", "1", of="site or body", reads=_upward, senses=(GRAVITY_KIND,))
def upright(after: Array) -> Any:
    """Cosine of the angle between the frame's z axis and up: 1 upright, -1 upside down."""
    return -after[..., 2]


@reward_term("sum of the squared change of the action", "1")
def action_rate(before: Array, action: Array) -> Any:
    """Squared change of the action Σ (a' - a)²; that before the first is 0."""
    return arrays.sum_of_squares(action - before)


@reward_term(
    "sum of the squared torques of the motors of `{of}`", "N² m²", of="joint", reads=_kind("motor_force"), several=True
)
def torque(after: Array) -> Any:
    """Squared torques of the motors Σ τ²."""
    return arrays.sum_of_squares(after)


@reward_term("excess of `{of}` over 0.9 of their ranges", "rad", of="joint", reads=_limited, several=True)
def joint_limit(after: Array, low: Array, high: Array) -> Any:
    """Distance beyond the soft limits Σ max(0, low - q, q - high), which are 0.9 of the range about its middle."""
    over = (after - high) * (after > high) + (low - after) * (after < low)
    return arrays.summed(over)


@reward_term(
    "sum of the squared sliding speeds of `{of}` in contact",
    "m²/s²",
    of="geom",
    reads=_sliding,
    senses=(CONTACTS, "frame_velocity"),
    several=True,
)
def foot_slip(after: Array) -> Any:
    """Squared horizontal speed of every foot that touches something: Σ (vx² + vy²) [contact]."""
    return arrays.summed((after[..., 0::3] ** 2 + after[..., 1::3] ** 2) * (after[..., 2::3] > 0))


@reward_term(
    "time in the air beyond {target:g} s of `{of}` at touchdown", "s", of="geom", senses=(CONTACTS,), several=True
)
def air_time(before: Array, after: Array, target: float) -> Any:
    """Time t in the air of every foot that touches down: Σ (t - target) [touchdown].

    Source: Rudin et al. 2022, legged_gym.
    """
    return arrays.summed((before - target) * (before > 0) * (after <= 0))


@reward_term(
    "number of `{of}` that touch `{relative_to}`",
    "1",
    of="geom or body",
    reads=_kind(CONTACTS, relative=True),
    senses=(CONTACTS,),
    several=True,
)
def touching(after: Array) -> Any:
    """Number of geoms or bodies that touch something, or `relative_to` where it is named."""
    return arrays.summed((after > 0) * 1.0)


@reward_term("1 while the conditions of success hold", "1")
def success(success: Any) -> Any:
    """1 where success holds, 0 where it does not: a sparse reward."""
    return success * 1.0
