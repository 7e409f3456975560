"""The table of an env, `env.toml`, as a frozen struct; knows names and numbers, and nothing of MuJoCo."""

from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from trl_suite import content, tables
from trl_suite.errors import InputError
from trl_suite.tables import Unbounded
from trl_suite.worlds.axes.variation import Randomisation, Variant

MAX_NUMBER = 1e10  # mjMAXVAL: MuJoCo calls a state beyond it unstable
MAX_FRAME_SKIP = 10_000  # physics steps of a control step
MAX_EPISODE_STEPS = 10_000_000  # control steps
MAX_VERSION = 1_000_000
MAX_HISTORY = 100  # control steps that an observation may hold
MAX_SHAPE = 1_000  # of any number that a family's model is built from: legs, links

Number = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
PositiveNumber = Annotated[float, Meta(gt=0, le=MAX_NUMBER)]


class Motor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Motors of several joints, in place of all that the model's file has."""

    of: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Hinges and slides, each with a motor of its own; `*` stands for any text."""
    force: PositiveNumber
    """Largest torque or force, in N m or N."""
    kp: PositiveNumber | None = None
    """Stiffness of a position servo, in N m/rad or N/m; a torque motor where not given."""
    kv: Annotated[float, Meta(ge=0, le=MAX_NUMBER)] = 0.0
    """Damping of the servo, in N m s/rad or N s/m."""
    scale: PositiveNumber = 1.0
    """Distance of the servo's set point from its pose per unit of action, in rad or m."""
    range: tuple[Number, Number] = (-1.0, 1.0)
    """Lower and upper end of the action."""

    def __post_init__(self) -> None:
        """Refuse a servo without stiffness, and a range that holds nothing.

        Raises:
            ValueError: it is one.
        """
        if self.kp is None and (self.kv or self.scale != 1.0):
            raise ValueError("kv and scale are a servo's: give kp, or leave them out for a torque motor")
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)}: the lower end comes first, and lies below the upper")


class Displacement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Actions that displace a hand along the world's axes, in place of controls of its joints.

    Joints follow by damped least squares. Other motors keep their actions, which come after the hand's.
    """

    of: str
    """Site, or body, that is displaced: the point that a gripper grasps with."""
    joints: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Joints that move it, each with a position servo; `*` stands for any text."""
    scale: PositiveNumber
    """Displacement in a control step per unit of action, in m."""
    turn: PositiveNumber | None = None
    """Turn about the vertical in a control step per unit of a fourth action, in rad: the hand then keeps its tilt."""
    damping: PositiveNumber = 0.02
    """Damping λ of the least squares, in m: the more, the less joints move near a singular pose."""


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Consecutive slots of an observation: one quantity of several elements of the model."""

    kind: str
    """Quantity that is read: see the kinds."""
    of: tuple[str, ...]
    """Elements of the model, or single numbers of them; `*` stands for any text, `!torso` for all but the torso."""
    relative_to: str = ""
    """Element whose numbers are subtracted; of a sensor, the frame that it is measured in."""
    limit: PositiveNumber | None = None
    """Largest size: the numbers are clipped to ±limit, in their unit."""
    name: str = ""
    """Name by which the axis `observe` shows or hides this part."""
    history: Annotated[int, Meta(ge=1, le=MAX_HISTORY)] = 1
    """Control steps that are seen: the present one, and those before it, youngest first."""
    visible: bool = msgspec.field(default=True, name="shown")  # the key in tables whose digests are recorded
    """Whether it is seen; a hidden part is shown by the axis `observe`."""


class Term(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signed part of the reward."""

    term: str
    """Function of the state and the action: see the reward terms."""
    weight: Number
    """Factor of the term in the reward; a cost has a negative one."""
    kind: str = ""
    """Quantity that a term of any kind reads: see the kinds."""
    of: str | tuple[str, ...] = ""
    """Element that the term is about: a joint, body or site; a list for terms of several."""
    relative_to: str = ""
    """Element that the distance is measured from, or the frame of a sensor."""
    target: Number = 0.0
    """Value that is aimed at, in the term's unit."""
    command: str = ""
    """Command that is aimed at, in place of the target."""
    width: PositiveNumber = 1.0
    """Width of a tracking term, in the quantity's unit."""
    bounds: tuple[Unbounded, Unbounded] = (0.0, 0.0)
    """Interval that a tolerance pays fully for."""
    margin: PositiveNumber | None = None
    """Distance from the interval at which a tolerance pays 0.1; nothing outside where not given."""
    limit: PositiveNumber | None = None
    """Largest size of the numbers that are read: they are clipped to ±limit."""
    cap: PositiveNumber | None = None
    """Largest size of the weighted value: it is clipped to ±cap."""
    name: str = ""
    """Name in `info` and in tables; needed where two terms are of one function."""
    group: str = ""
    """Terms of a group are added up before they join the others, as rounding follows the order of sums."""

    @property
    def label(self) -> str:
        """The name of this part among the parts of its reward."""
        return self.name or self.term

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements that the term is about, as a list."""
        return self.of if isinstance(self.of, tuple) else (self.of,) if self.of else ()

    def __post_init__(self) -> None:
        """Refuse an interval that holds nothing.

        Raises:
            ValueError: its ends are in the wrong order.
        """
        if not self.bounds[0] <= self.bounds[1]:
            raise ValueError(f"bounds {list(self.bounds)}: the lower end comes first")


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Command that the robot is to follow: drawn uniformly from ranges, for an episode or for a time."""

    name: str
    """Name by which an observation and rewards read it."""
    parts: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Names of its numbers: `x`, `y`, `turn`."""
    low: tuple[Number, ...]
    """Lower ends of the ranges, one per part."""
    high: tuple[Number, ...]
    """Upper ends of the ranges, one per part."""
    unit: tuple[str, ...]
    """Units, one per part: `m/s`."""
    every: PositiveNumber | None = None
    """Time after which another is drawn, in s; held for the whole episode where not given."""
    zero: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of commands that are zero: stand still."""

    def __post_init__(self) -> None:
        """Refuse ranges that hold nothing.

        Raises:
            ValueError: a part has no range, or an empty one.
        """
        if not len(self.parts) == len(self.low) == len(self.high) == len(self.unit):
            raise ValueError(f"{len(self.parts)} parts need as many numbers in low and in high, and as many units")
        if len(set(self.parts)) < len(self.parts):
            raise ValueError("two parts have one name")
        for part, low, high in zip(self.parts, self.low, self.high, strict=True):
            if low > high:
                raise ValueError(f"the range of '{part}', [{low:g}, {high:g}], is empty: low lies above high")


class Clock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clock that an observation reads as `phase`."""

    name: str
    """Name by which an observation reads it."""
    period: PositiveNumber
    """Time of one turn, in s."""
    offset: Number = 0.0
    """Share of a turn by which it is ahead."""


class SuccessCondition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SuccessCondition of success: a length that is small enough, or numbers in an interval."""

    kind: str
    """Quantity that is looked at: see the kinds."""
    of: tuple[str, ...]
    """Elements of the model, or single numbers of them."""
    relative_to: str = ""
    """Element whose numbers are subtracted; of a sensor, the frame that it is measured in."""
    command: str = ""
    """Command that is subtracted: a goal."""
    within: PositiveNumber | None = None
    """Largest length of the numbers as a vector, in their unit."""
    range: tuple[Unbounded, Unbounded] | None = None
    """Interval that all numbers lie in, in their unit."""

    def __post_init__(self) -> None:
        """Refuse a condition that asks for nothing, or for too much.

        Raises:
            ValueError: it has neither a length nor an interval, or has each of them, or an empty interval.
        """
        if (self.within is None) == (self.range is None):
            raise ValueError("give either within or range")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)}: the lower end comes first, and lies below the upper")


class Success(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an episode is a success: `info["is_success"]`."""

    conditions: Annotated[tuple[SuccessCondition, ...], Meta(min_length=1)]
    """Conditions that all hold at once."""
    hold: Annotated[float, Meta(ge=0, le=MAX_NUMBER)] = 0.0
    """Time for which they must hold without a break, in s."""
    when: Literal["ever", "end"] = "ever"
    """Whether it counts that they ever held in the episode, or that they hold at its end."""
    ends: bool = False
    """Whether success ends the episode."""


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An interval outside of which the robot is not healthy, and the episode ends."""

    kind: str
    """Quantity that is looked at: see the kinds."""
    of: tuple[str, ...]
    """Elements of the model, or single numbers of them: `rootz`, `torso.z`, `*`."""
    range: tuple[Unbounded, Unbounded]
    """Lower and upper end, in the quantity's unit; `-inf` and `inf` are allowed."""
    closed: bool = False
    """Whether the ends themselves are healthy."""

    def __post_init__(self) -> None:
        """Refuse an interval that holds nothing.

        Raises:
            ValueError: its ends are in the wrong order.
        """
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)}: the lower end comes first, and lies below the upper")


class Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Noise around the nominal state: its half width, or its standard deviation where it is normal."""

    spread: Annotated[float, Meta(ge=0, le=MAX_NUMBER)]
    """Half width, or standard deviation of the normal shape, in the quantities' own units."""
    shape: Literal["uniform", "normal"]
    """Distribution of the noise."""


class Goal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Coordinates that are drawn uniformly from a box, and stand still at first."""

    joints: tuple[str, ...]
    """Joints that hold the goal: it is a place that they are put to."""
    low: tuple[Number, ...]
    """Lower ends of the box, one per joint, in m or rad."""
    high: tuple[Number, ...]
    """Upper ends of the box, one per joint, in m or rad."""
    within: PositiveNumber | None = None
    """Largest distance from the origin, in m or rad."""
    beyond: PositiveNumber | None = None
    """Smallest distance from the origin, in m or rad."""

    def __post_init__(self) -> None:
        """Refuse a box that is none.

        Raises:
            ValueError: it has not one lower and one higher end per joint.
        """
        if not len(self.joints) == len(self.low) == len(self.high):
            raise ValueError(f"{len(self.joints)} joints need as many numbers in low and in high")
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("low lies above high")


class ObjectPlace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Object that is put at a place of its own in every episode, drawn uniformly from a box."""

    joints: Annotated[tuple[str, ...], Meta(min_length=1)]
    """Coordinates of the object, from the origin of the goal: slides, or parts of a free joint, `cube.x`."""
    low: tuple[Number, ...]
    """Lower ends of the box, one per coordinate, in m."""
    high: tuple[Number, ...]
    """Upper ends of the box, one per coordinate, in m."""
    clearance: Annotated[float, Meta(ge=0, le=MAX_NUMBER)] = 0.0
    """Smallest distance from the goal and from the objects before it, in m, over the coordinates that they share."""

    def __post_init__(self) -> None:
        """Refuse a box that is none.

        Raises:
            ValueError: it has not one lower and one higher end per coordinate.
        """
        if not len(self.joints) == len(self.low) == len(self.high):
            raise ValueError(f"{len(self.joints)} joints need as many numbers in low and in high")
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("low lies above high")


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The distribution of an episode's first state."""

    position: Spread
    """Noise on the positions of all joints, in m and rad."""
    velocity: Spread
    """Noise on the velocities of all joints, in m/s and rad/s."""
    keyframe: str = ""
    """Keyframe of the model that episodes start at, with its controls; the model's own state where not given."""
    pose: dict[str, Number] = {}
    """Positions of joints, in m and rad, in place of the keyframe's: `thigh_*`, `root.z`; servos stand there."""
    goal: Goal | None = None
    """Place of the goal, drawn for every episode."""
    objects: tuple[ObjectPlace, ...] = ()
    """Objects that are put at random places, in order, each clear of those before it."""
    still: tuple[str, ...] = ()
    """Joints that stand still at first."""


class Camera(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a picture is taken from."""

    distance: PositiveNumber | None = None
    """Distance from what is looked at, in m."""
    body: str = ""
    """Body that the camera follows."""
    lookat: tuple[Number, Number, Number] | None = None
    """Point that is looked at, in m."""
    elevation: Number | None = None
    """Angle of the view above the horizontal, in degrees; a negative one looks down."""


class EnvSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One env: model, task and variants."""

    title: str
    """Line in lists: a robot and its task."""
    about: str
    """Sentence on the task, for the env's page."""
    model: str
    """MJCF file beside the table, `gymnasium:hopper.xml`, a family's name (`family:ant`), or another package's model:
    `package:NAME/path.xml`, `menagerie:unitree_go1`."""
    version: Annotated[int, Meta(ge=0, le=MAX_VERSION)]
    """Number at the end of the Gymnasium id; a table that acts otherwise than before has a new one."""
    frame_skip: Annotated[int, Meta(ge=1, le=MAX_FRAME_SKIP)]
    """Physics steps per control step; the control step lasts so many of the model's timesteps."""
    episode_steps: Annotated[int, Meta(ge=1, le=MAX_EPISODE_STEPS)]
    """Control steps after which an episode is cut."""
    observation: Annotated[tuple[Block, ...], Meta(min_length=1)]
    """Parts of the observation, in order."""
    reward: Annotated[tuple[Term, ...], Meta(min_length=1)]
    """Signed terms whose sum is the reward."""
    reset: Start
    """First state of an episode."""
    commands: tuple[Command, ...] = ()
    """Commands that the robot is to follow."""
    clocks: tuple[Clock, ...] = ()
    """Clocks that the observation reads as `phase`."""
    success: Success | None = None
    """Whether an episode is a success; without it none is spoken of."""
    healthy: tuple[Bound, ...] = ()
    """Intervals outside of which the robot is not healthy."""
    terminates: bool = True
    """Whether an unhealthy robot ends the episode."""
    motors: tuple[Motor, ...] = ()
    """Motors that take the place of the model's own, in the order of the actions."""
    displacement: Displacement | None = None
    """Actions that displace a hand; without it every action is a motor's."""
    floor: bool = False
    """Whether a plane at height 0 is added to a model that has none."""
    shape: dict[str, Annotated[int, Meta(ge=1, le=MAX_SHAPE)]] = {}
    """Numbers that a family's model is built from: legs, links."""
    camera: Camera = Camera()
    """Place that pictures are taken from."""
    equals: str = ""
    """Gymnasium id whose numbers these are, to the bit."""
    notes: tuple[str, ...] = ()
    """Sentences for the env's page on how published variants differ."""
    variants: dict[str, Variant] = {}
    """Named variants: each a table of axes."""
    randomisation: Randomisation | None = None
    """Ranges that episodes are drawn from at the address `ENV?randomise=true`."""

    @classmethod
    def read(cls, name: str) -> Self:
        """Return the env of that name.

        Raises:
            InputError: there is none, or its table is wrong.
        """
        folder = content.find("envs", name)
        env_spec = tables.read(folder / content.MARKER["envs"], cls)
        if ":" in env_spec.model:
            return env_spec
        if not env_spec.model.endswith(".xml") or Path(env_spec.model).name != env_spec.model:
            raise InputError(f"{folder}: model '{env_spec.model}' is neither a name nor an XML file beside the table")
        return msgspec.structs.replace(env_spec, model=f"file:{folder / env_spec.model}")


def load(name: str) -> EnvSpec:
    """Return the env of that name, from the workspace or as shipped.

    Raises:
        InputError: there is none, or its table is wrong.
    """
    return EnvSpec.read(name)
