"""What an env is: `env.toml` as a frozen struct; knows names and numbers, and nothing of MuJoCo."""

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

import msgspec
from msgspec import Meta

from trl_suite import content, tables
from trl_suite.errors import InputError

Positive = Annotated[int, Meta(ge=1)]


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Consecutive slots of an observation: one quantity of several elements of the model."""

    kind: str
    of: tuple[str, ...]
    limit: Annotated[float, Meta(gt=0)] | None = None  # clipped to +-limit


class Term(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signed part of the reward."""

    term: str
    weight: float
    of: str = ""
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
    range: tuple[float, float]
    closed: bool = False  # whether the ends themselves are healthy


class Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Noise around the nominal state: its half width, or its standard deviation where it is normal."""

    spread: Annotated[float, Meta(ge=0)]
    shape: Literal["uniform", "normal"]


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The distribution of an episode's first state."""

    position: Spread
    velocity: Spread


class Camera(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a picture is taken from."""

    distance: float | None = None  # m
    body: str = ""  # that the camera follows
    lookat: tuple[float, float, float] | None = None  # m
    elevation: float | None = None  # degrees


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scale of the nominal value, or a value that takes its place."""

    scale: float | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.value is None):
            raise ValueError("give either a scale or a value")
        number = self.scale if self.value is None else self.value
        if number is not None:
            _refuse_unless_positive(number)


class Gravity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scale of gravity, or the vector that takes its place (m/s²)."""

    scale: float | None = None
    value: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if (self.scale is None) == (self.value is None):
            raise ValueError("give either a scale or a value")
        if self.scale is not None:
            _refuse_unless_positive(self.scale)
        elif self.value is not None and not all(map(math.isfinite, self.value)):
            raise ValueError(f"gravity must be finite, not {self.value}")


class Mass(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of the mass of one body, or of all (kg); inertia follows."""

    body: str = ""


class Gear(Change, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A change of the gear of one actuator, or of all: the force per unit of control."""

    actuator: str = ""


class Variation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What differs from the env as it stands, axis by axis; a bare number is a scale."""

    gravity: float | Gravity | None = None
    mass: float | Mass | tuple[Mass, ...] | None = None
    friction: float | Change | None = None
    gear: float | Gear | tuple[Gear, ...] | None = None
    direction: Literal[-1, 1] | None = None

    def __post_init__(self) -> None:
        for axis in ("gravity", "mass", "friction", "gear"):
            value = getattr(self, axis)
            if isinstance(value, float | int):
                try:
                    _refuse_unless_positive(value)
                except ValueError as error:
                    raise ValueError(f"{axis}: {error}") from None

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
            InputError: both change the same axis.
        """
        first, second = dict(self.axes()), dict(other.axes())
        for axis in first.keys() & second.keys():
            raise InputError(f"{where}: {axis} is set twice, to {first[axis]} by the variant and to {second[axis]}")
        return Variation(**first, **second)


class Variant(Variation, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A variation with a name, shipped with its env."""

    about: str = ""


class EnvSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One env: model, task and variants."""

    title: str
    about: str
    model: str
    version: Annotated[int, Meta(ge=0)]
    frame_skip: Positive
    episode_steps: Positive
    observation: Annotated[tuple[Block, ...], Meta(min_length=1)]
    reward: Annotated[tuple[Term, ...], Meta(min_length=1)]
    reset: Start
    healthy: tuple[Bound, ...] = ()
    camera: Camera = Camera()
    equals: str = ""  # the Gymnasium id whose numbers these are
    variants: dict[str, Variant] = {}

    @classmethod
    def read(cls, name: str) -> Self:
        """Return the env of that name.

        Raises:
            InputError: there is none, or its table is wrong.
        """
        return tables.read(content.find("envs", name) / content.MARKER["envs"], cls)


def load(name: str) -> EnvSpec:
    """Return the env of that name, from the workspace or as shipped.

    Raises:
        InputError: there is none, or its table is wrong.
    """
    return EnvSpec.read(name)


def _refuse_unless_positive(number: float) -> None:
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"a scale or value must be above 0 and finite, not {number}")
