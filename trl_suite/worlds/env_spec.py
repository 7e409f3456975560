"""What an env is: `env.toml` as a frozen struct; knows names and numbers, and nothing of MuJoCo."""

from pathlib import Path
from typing import Annotated, Literal, Self

import msgspec
from msgspec import Meta

from trl_suite import content, tables
from trl_suite.errors import InputError
from trl_suite.worlds.axes.variation import Variant

Positive = Annotated[int, Meta(ge=1)]


class Block(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Consecutive slots of an observation: one quantity of several elements of the model."""

    kind: str
    of: tuple[str, ...]  # names, with `*` as in file names
    relative_to: str = ""  # what is subtracted
    limit: Annotated[float, Meta(gt=0)] | None = None  # clipped to +-limit
    name: str = ""  # by which the axis `observe` shows or hides it
    shown: bool = True


class Term(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One signed part of the reward."""

    term: str
    weight: float
    of: str = ""
    relative_to: str = ""
    target: float = 0.0  # what the measured is compared with
    limit: Annotated[float, Meta(gt=0)] | None = None  # what is measured is clipped to +-limit
    cap: Annotated[float, Meta(gt=0)] | None = None  # the weighted value is clipped to +-cap
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


class Goal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Coordinates that are drawn uniformly from a box, and stand still at first."""

    joints: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    within: Annotated[float, Meta(gt=0)] | None = None  # of the origin
    beyond: Annotated[float, Meta(gt=0)] | None = None  # of the origin


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The distribution of an episode's first state."""

    position: Spread
    velocity: Spread
    goal: Goal | None = None
    still: tuple[str, ...] = ()  # joints that stand still at first


class Camera(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a picture is taken from."""

    distance: float | None = None  # m
    body: str = ""  # that the camera follows
    lookat: tuple[float, float, float] | None = None  # m
    elevation: float | None = None  # degrees


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
    terminates: bool = True  # whether an unhealthy robot ends the episode
    shape: dict[str, Positive] = {}  # the numbers that a family's model is built from
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
