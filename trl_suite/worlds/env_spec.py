"""The table of an env, `env.toml`, as a frozen struct; knows names and numbers, and nothing of MuJoCo."""

from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from trl_suite import content, tables
from trl_suite.errors import InputError
from trl_suite.tables import Unbounded
from trl_suite.worlds.axes.variation import Variant

MAX_NUMBER = 1e10  # mjMAXVAL: MuJoCo calls a state beyond it unstable
MAX_FRAME_SKIP = 10_000  # physics steps of a control step
MAX_EPISODE_STEPS = 10_000_000  # control steps
MAX_VERSION = 1_000_000
MAX_SHAPE = 1_000  # of any number that a family's model is built from: legs, links

Number = Annotated[float, Meta(ge=-MAX_NUMBER, le=MAX_NUMBER)]
PositiveNumber = Annotated[float, Meta(gt=0, le=MAX_NUMBER)]


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Consecutive slots of an observation: one quantity of several elements of the model."""

    kind: str
    of: tuple[str, ...]  # names, with `*` as in file names
    relative_to: str = ""  # what is subtracted
    limit: PositiveNumber | None = None  # clipped to +-limit
    name: str = ""  # by which the axis `observe` shows or hides it
    visible: bool = msgspec.field(default=True, name="shown")  # the key in tables whose digests are recorded


class Term(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signed part of the reward."""

    term: str
    weight: Number
    of: str = ""
    relative_to: str = ""
    target: Number = 0.0  # what the measured is compared with
    limit: PositiveNumber | None = None  # what is measured is clipped to +-limit
    cap: PositiveNumber | None = None  # the weighted value is clipped to +-cap
    name: str = ""  # under which `info` and the README report it; the term's own unless two share it
    group: str = ""  # rounding follows the order of sums: a group is added up before it joins the others

    @property
    def label(self) -> str:
        """The name of this part among the parts of its reward."""
        return self.name or self.term


class Bound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An interval outside of which the robot is not healthy, and the episode ends."""

    kind: str
    of: tuple[str, ...]
    range: tuple[Unbounded, Unbounded]
    closed: bool = False  # whether the ends themselves are healthy

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
    shape: Literal["uniform", "normal"]


class Goal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Coordinates that are drawn uniformly from a box, and stand still at first."""

    joints: tuple[str, ...]
    low: tuple[Number, ...]
    high: tuple[Number, ...]
    within: PositiveNumber | None = None  # of the origin
    beyond: PositiveNumber | None = None  # of the origin

    def __post_init__(self) -> None:
        """Refuse a box that is none.

        Raises:
            ValueError: it has not one lower and one higher end per joint.
        """
        if not len(self.joints) == len(self.low) == len(self.high):
            raise ValueError(f"{len(self.joints)} joints need as many numbers in low and in high")
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("low lies above high")


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The distribution of an episode's first state."""

    position: Spread
    velocity: Spread
    keyframe: str = ""  # of the model, that the noise is added to, with its controls; the model's qpos0 without one
    goal: Goal | None = None
    still: tuple[str, ...] = ()  # joints that stand still at first


class Camera(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a picture is taken from."""

    distance: PositiveNumber | None = None  # m
    body: str = ""  # that the camera follows
    lookat: tuple[Number, Number, Number] | None = None  # m
    elevation: Number | None = None  # degrees


class EnvSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One env: model, task and variants."""

    title: str
    about: str
    model: str
    version: Annotated[int, Meta(ge=0, le=MAX_VERSION)]
    frame_skip: Annotated[int, Meta(ge=1, le=MAX_FRAME_SKIP)]
    episode_steps: Annotated[int, Meta(ge=1, le=MAX_EPISODE_STEPS)]
    observation: Annotated[tuple[Block, ...], Meta(min_length=1)]
    reward: Annotated[tuple[Term, ...], Meta(min_length=1)]
    reset: Start
    healthy: tuple[Bound, ...] = ()
    terminates: bool = True  # whether an unhealthy robot ends the episode
    shape: dict[str, Annotated[int, Meta(ge=1, le=MAX_SHAPE)]] = {}  # the numbers that a family's model is built from
    camera: Camera = Camera()
    equals: str = ""  # the Gymnasium id whose numbers these are
    notes: tuple[str, ...] = ()  # what published variants of this env do, where it is not what their names say
    variants: dict[str, Variant] = {}

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
