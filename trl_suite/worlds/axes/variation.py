"""Everything that can differ from an env as it stands, axis by axis; knows names and numbers, and nothing of MuJoCo."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from trl_suite.errors import InputError

Vector = tuple[float, float, float]


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scale of the nominal value, or a value that takes its place."""

    scale: float | None = None
    """Factor of the nominal value, above 0."""
    value: float | None = None
    """Value in its place, above 0."""

    def __post_init__(self) -> None:
        _refuse_both(self.scale, self.value)
        number = self.scale if self.value is None else self.value
        if number is not None:
            refuse_unless_positive(number)


class Gravity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scale of gravity and a tilt of it, or the vector that takes its place (m/s²)."""

    scale: float | None = None
    """Factor of the nominal vector, above 0."""
    tilt: float | None = None
    """Angle about the y axis, in degrees: a slope that rises towards +x."""
    value: Vector | None = None
    """Vector in its place, in m/s²."""

    def __post_init__(self) -> None:
        if (self.scale is None and self.tilt is None) == (self.value is None):
            raise ValueError("give either a scale or a value; a tilt goes with a scale")
        if self.scale is not None:
            refuse_unless_positive(self.scale)
        if self.tilt is not None and not -90 < self.tilt < 90:
            raise ValueError(f"a tilt is between -90 and 90 degrees, not {self.tilt}")
        if self.value is not None:
            _refuse_unless_finite("gravity", self.value)


class Mass(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of the mass of one body, or of all (kg); inertia follows, as if the density had changed."""

    body: str = ""
    """Body that is changed; all of them where not given."""


class Size(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scale of the geoms of one body, or of one geom, in place; mass and inertia follow at constant density."""

    body: str = ""
    """Body whose geoms are scaled."""
    geom: str = ""
    """Single geom that is scaled."""
    scale: float
    """Factor, above 0."""
    only: Literal["radius", "length"] | None = None
    """Scale of the radius or the length alone, of capsules and cylinders."""

    def __post_init__(self) -> None:
        refuse_unless_positive(self.scale)
        if self.body and self.geom:
            raise ValueError("give either a body or a geom")


class Length(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stretch of one body along its main geom, from its joint or from `about`; what hangs on it moves along."""

    body: str
    """Body that is stretched."""
    scale: float
    """Factor, above 0."""
    geom: str = ""
    """Main geom, where the body has several that have mass."""
    about: Vector | None = None
    """Point of the body's frame that stays, in m; its joint where not given."""

    def __post_init__(self) -> None:
        refuse_unless_positive(self.scale)


class Joint(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of a property of one joint or tendon, or of all that have it."""

    joint: str = ""
    """Joint that is changed; all that have the property where not given."""
    tendon: str = ""
    """Tendon that is changed, in place of a joint."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.joint and self.tendon:
            raise ValueError("give either a joint or a tendon")


class Range(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of the range of one joint, or of all limited ones: from its end nearest 0, or from 0 inside it."""

    joint: str = ""
    """Joint that is changed; all limited ones where not given."""
    scale: float | None = None
    """Factor, above 0: of the distance from the end nearest 0, or from 0 inside the range."""
    value: tuple[float, float] | None = None
    """Lower and upper end in its place, in rad or m."""

    def __post_init__(self) -> None:
        _refuse_both(self.scale, self.value)
        if self.scale is not None:
            refuse_unless_positive(self.scale)
        if self.value is not None:
            _refuse_unless_finite("a range", self.value)
            if self.value[0] >= self.value[1]:
                raise ValueError(f"a range goes from low to high, not {self.value}")


class Gear(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of the gear of one actuator, or of all: the force per unit of control."""

    actuator: str = ""
    """Actuator that is changed; all of them where not given."""


class ControlRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scale of the control range of one actuator, or of all: the action space changes with it."""

    actuator: str = ""
    """Actuator that is changed; all of them where not given."""
    scale: float
    """Factor, above 0."""

    def __post_init__(self) -> None:
        refuse_unless_positive(self.scale)


class Fluid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The medium: density (kg/m³), viscosity (Pa s) and wind (m/s); what is not given stays."""

    density: Annotated[float, Meta(ge=0)] | None = None
    """Density, in kg/m³."""
    viscosity: Annotated[float, Meta(ge=0)] | None = None
    """Viscosity, in Pa s."""
    wind: Vector | None = None
    """Velocity of the medium, in m/s."""

    def __post_init__(self) -> None:
        for name in ("density", "viscosity", "wind"):
            if (value := getattr(self, name)) is not None:
                _refuse_unless_finite(name, value if isinstance(value, tuple) else (value,))


class Timestep(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of the simulation's timestep (s); the control step keeps its length unless `frame_skip` is given."""

    frame_skip: Annotated[int, Meta(ge=1)] | None = None
    """Physics steps per control step, where the control step shall not keep its length."""


class Noise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Normal noise on some slots, or on all, in their own units."""

    std: float
    """Standard deviation, in the slots' own units."""
    slots: tuple[str, ...] = ()
    """Slots that are disturbed; all of them where not given."""

    def __post_init__(self) -> None:
        refuse_unless_positive(self.std)


class Region(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where goals are drawn, in place of the env's own box (m or rad)."""

    low: tuple[float, ...]
    """Lower ends of the box, in m or rad."""
    high: tuple[float, ...]
    """Upper ends of the box, in m or rad."""

    def __post_init__(self) -> None:
        _refuse_unless_finite("a region", (*self.low, *self.high))
        if len(self.low) != len(self.high) or any(a >= b for a, b in zip(self.low, self.high, strict=True)):
            raise ValueError(f"a region goes from low to high, not from {self.low} to {self.high}")


MostPlay = Annotated[float, Meta(gt=0, le=0.5)]


class Play(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Play between a motor and its link: the motor's joint is what is seen, the link is free between two stops."""

    joint: str = ""
    """Joint that has play; all that a motor drives where not given."""
    value: MostPlay
    """Way of the link from one stop to the other while its motor stands, in rad or m."""


CELLS_PER_HILL = 8  # cells of a height field along a hill or a step
MAX_NODES = 1_000_000  # heights of a height field


class Terrain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Uneven ground in place of the flat floor: a height field that follows from its seed, flat where a robot starts.

    Heights that an env reads or bounds are above the flat middle, not above the ground below the robot.
    """

    height: Annotated[float, Meta(gt=0, le=1)]
    """Distance from the lowest to the highest point, in m."""
    form: Literal["rolling", "steps"] = "rolling"
    """Smooth hills, or blocks whose faces rise within an eighth of their side."""
    size: Annotated[float, Meta(gt=0, le=100)] = 0.8
    """Length of a hill, or side of a block, in m."""
    flat: Annotated[float, Meta(gt=0, le=100)] = 0.5
    """Radius of the flat middle, in m."""
    extent: tuple[Annotated[float, Meta(gt=0, le=10_000)], Annotated[float, Meta(gt=0, le=10_000)]] = (25.0, 25.0)
    """Distances from the middle to the edges along x and y, in m; there is no ground beyond."""
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    """Seed that the heights follow from."""

    def __post_init__(self) -> None:
        """Refuse a ground that is flat all over, or too fine.

        Raises:
            ValueError: it is.
        """
        if self.flat >= min(self.extent):
            raise ValueError(f"a flat middle of {self.flat:g} m leaves no hills in an extent of {min(self.extent):g} m")
        if (count := math.prod(self.nodes)) > MAX_NODES:
            raise ValueError(f"{count:,} heights are more than {MAX_NODES:,}: give a larger size or a smaller extent")

    @property
    def nodes(self) -> tuple[int, int]:
        """Number of heights along x and along y: odd, so that one is in the middle."""
        along, across = (2 * math.ceil(end * CELLS_PER_HILL / self.size - 1e-9) + 1 for end in self.extent)
        return along, across


Steps = Annotated[int, Meta(ge=1, le=1000)]
Count = Annotated[int, Meta(ge=1, le=64)]
Share = Annotated[float, Meta(ge=0, le=1)]
MAX_POOL = 1024  # compiled models that one randomised env draws from


class RangeSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Automatic domain randomisation: ranges begin narrow, and an end moves with the score of episodes at it.

    OpenAI et al. 2019, "Solving Rubik's Cube with a Robot Hand", section 5.2 and algorithm 1.
    """

    widen: float
    """Mean score at an end from which it moves out: the success rate, or the return where the env has no success."""
    narrow: float
    """Mean score at an end up to which it moves in."""
    episodes: Annotated[int, Meta(ge=1, le=10_000)] = 10
    """Episodes at an end before it is judged."""
    step: Annotated[float, Meta(gt=0, le=1)] = 0.1
    """Share of the way from the nominal value to the end of the range by which an end moves."""
    start: Share = 0.0
    """Share of the ranges that is drawn from at first."""
    at_end: Annotated[float, Meta(gt=0, le=1)] = 0.5
    """Probability that an episode is one at an end."""

    def __post_init__(self) -> None:
        """Refuse thresholds in the wrong order.

        Raises:
            ValueError: they are.
        """
        _refuse_unless_finite("widen and narrow", (self.widen, self.narrow))
        if self.narrow >= self.widen:
            raise ValueError(f"narrow, {self.narrow:g}, is not below widen, {self.widen:g}")


class Randomisation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Ranges from which each episode's world is drawn: an axis as a variant has it, `[low, high]` for its number."""

    ranges: Annotated[dict[str, Any], Meta(min_length=1)]
    """Axis -> `[low, high]`, or the axis' table with `[low, high]` for its number."""
    pool: Annotated[int, Meta(ge=2, le=MAX_POOL)] = 32
    """Compiled models that are drawn from, spread evenly over the ranges."""
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    """Seed by which the models of the pool lie where they do."""
    schedule: RangeSchedule | None = None
    """How the ranges widen with what is learned; the whole ranges from the start where not given."""


class Variation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Everything that differs from the env as it stands, axis by axis; a bare number is a scale."""

    shape: dict[str, Count] | None = None
    """Numbers that a family's model is built from: legs, links."""
    gravity: float | Gravity | None = None
    """Gravity, in m/s²: a scale, a tilt or a vector."""
    mass: float | Mass | tuple[Mass, ...] | None = None
    """Mass of bodies, in kg; inertia follows as if the density had changed."""
    friction: float | Change | None = None
    """Friction coefficients of all contacts."""
    size: Size | tuple[Size, ...] | None = None
    """Size of geoms, in m; mass and inertia follow at constant density."""
    length: Length | tuple[Length, ...] | None = None
    """Length of bodies, in m; what hangs on them moves along."""
    joint_range: float | Range | tuple[Range, ...] | None = None
    """Range of joints, in rad or m."""
    backlash: MostPlay | Play | tuple[Play, ...] | None = None
    """Play between motors and links; a bare number is that of every driven joint, in rad or m."""
    damping: float | Joint | tuple[Joint, ...] | None = None
    """Damping of joints or tendons, in N m s/rad or N s/m."""
    stiffness: float | Joint | tuple[Joint, ...] | None = None
    """Stiffness of joints or tendons, in N m/rad or N/m."""
    armature: float | Joint | tuple[Joint, ...] | None = None
    """Armature of joints or tendons, in kg m² or kg."""
    frictionloss: float | Joint | tuple[Joint, ...] | None = None
    """Dry friction of joints or tendons, in N m or N."""
    gear: float | Gear | tuple[Gear, ...] | None = None
    """Gear of actuators: the force per unit of control, in N m or N."""
    control_range: float | ControlRange | tuple[ControlRange, ...] | None = None
    """Range of controls: the action space changes with it."""
    cripple: tuple[str, ...] | None = None
    """Actuators that no longer pull."""
    fluid: Fluid | None = None
    """Medium that surrounds the robot."""
    timestep: float | Timestep | None = None
    """Timestep of the simulation, in s; the control step keeps its length."""
    integrator: Literal["Euler", "RK4", "implicit", "implicitfast"] | None = None
    """Integrator of the simulation."""
    solver: Literal["PGS", "CG", "Newton"] | None = None
    """Solver of the constraints."""
    cone: Literal["pyramidal", "elliptic"] | None = None
    """Friction cone of the contacts."""
    contact_softness: float | None = None
    """Factor of the contacts' time constant, above 0."""
    terrain: Annotated[float, Meta(gt=0, le=1)] | Terrain | None = None
    """Uneven ground in place of the flat floor; a bare number is its height, in m."""
    direction: Literal[-1, 1] | None = None
    """Direction that running is paid for: -1 is backwards."""
    target_speed: float | None = None
    """Speed that is aimed at instead of the highest, in m/s."""
    reward: dict[str, float] | None = None
    """Factors of the reward's weights, by the terms' names."""
    goal: Region | None = None
    """Box that goals are drawn from."""
    terminates: bool | None = None
    """Whether an unhealthy robot ends the episode."""
    observe: dict[str, bool] | None = None
    """Named parts of the observation that are shown or hidden."""
    observation_noise: float | Noise | None = None
    """Normal noise on what is seen: its standard deviation, in the slots' units."""
    observation_mask: tuple[str, ...] | None = None
    """Slots that read 0."""
    observation_delay: Steps | None = None
    """Control steps by which the observation is late."""
    action_noise: float | Noise | None = None
    """Normal noise on the actions: its standard deviation, in units of the control."""
    action_delay: Steps | None = None
    """Control steps by which the action is late."""
    action_inversion: bool | tuple[str, ...] | None = None
    """Actuators that pull the other way, or `true` for all."""
    action_scale: float | None = None
    """Factor of every action, above 0."""
    randomise: bool | Randomisation | None = None
    """Ranges that each episode is drawn from, `true` for the table's [randomisation]; of addresses, not of variants."""

    def __post_init__(self) -> None:
        for axis in _SCALES:
            value = getattr(self, axis)
            if isinstance(value, float | int) and not isinstance(value, bool):
                try:
                    refuse_unless_positive(value)
                except ValueError as error:
                    raise ValueError(f"{axis}: {error}") from None
        if self.target_speed is not None:
            _refuse_unless_finite("target_speed", (self.target_speed,))
        for name, scale in (self.reward or {}).items():
            _refuse_unless_finite(f"reward: {name}", (scale,))
        for axis_a, axis_b in _CONTRADICT:
            if getattr(self, axis_a) is not None and getattr(self, axis_b) is not None:
                raise ValueError(f"{axis_a} and {axis_b} contradict each other: give one of them")
        _refuse_lame_gear(self)

    def axes(self) -> Iterator[tuple[str, Any]]:
        """Yield each axis that is changed, with its value as it was written."""
        for axis in Variation.__struct_fields__:
            if (value := getattr(self, axis)) is not None:
                yield axis, value

    def only_axes(self) -> "Variation":
        """Return the bare variation, without what a named variant says about itself."""
        return Variation(**dict(self.axes()))

    def joined(self, other: "Variation", where: str) -> "Variation":
        """Return both variations together.

        Raises:
            InputError: both change the same axis, or two axes contradict each other.
        """
        first, second = dict(self.axes()), dict(other.axes())
        for axis in first.keys() & second.keys():
            raise InputError(f"{where}: {axis} is set twice, to {first[axis]} by the variant and to {second[axis]}")
        try:
            return Variation(**first, **second)
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None


class Variant(Variation, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A variation with a name, shipped with its env."""

    about: str = ""
    """Note on where the variant comes from."""
    intervals: dict[str, tuple[float, float]] = {}
    """Of a variant that was measured: the 95 % interval of each fitted number."""

    def __post_init__(self) -> None:
        """Refuse a variant that is many worlds.

        Raises:
            ValueError: it is drawn anew at each episode, so that no certificate could speak of it.
        """
        super().__post_init__()
        if self.randomise is not None:
            raise ValueError("randomise: a variant is one world; ranges stand in [randomisation], `ENV?randomise=true`")


_SCALES = (
    "gravity",
    "mass",
    "friction",
    "joint_range",
    "damping",
    "stiffness",
    "armature",
    "frictionloss",
    "gear",
    "control_range",
    "timestep",
    "contact_softness",
    "observation_noise",
    "action_noise",
    "action_scale",
)
_CONTRADICT = (("direction", "target_speed"),)


def refuse_unless_positive(number: float) -> None:
    """Refuse a scale or value that is not above 0 and finite.

    Raises:
        ValueError: it is not.
    """
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"a scale or value must be above 0 and finite, not {number}")


def _refuse_unless_finite(name: str, numbers: Sequence[float]) -> None:
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"{name} must be finite, not {numbers if len(numbers) > 1 else numbers[0]}")


def _refuse_both(scale: object, value: object) -> None:
    if (scale is None) == (value is None):
        raise ValueError("give either a scale or a value")


def _refuse_lame_gear(variation: Variation) -> None:
    """A motor that no longer pulls cannot also be made stronger, or be inverted."""
    gears = variation.gear if isinstance(variation.gear, tuple) else (variation.gear,)
    pulled = {part.actuator for part in gears if isinstance(part, Gear)}
    if isinstance(variation.action_inversion, tuple):
        pulled |= set(variation.action_inversion)
    for name in set(variation.cripple or ()) & pulled:
        raise ValueError(f"cripple and another axis contradict each other on '{name}': give one of them")
