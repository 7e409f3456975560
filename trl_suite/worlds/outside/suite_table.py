"""The suites of other packages, as `suites.toml` lists them: ids, slots, goals, success, and how each is installed."""

import itertools
import re
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from trl_suite import tables
from trl_suite.interface import Interface, Slot

SUITES_FILE = Path(__file__).parent / "suites.toml"
ACHIEVED, DESIRED = "achieved_goal.", "desired_goal."  # open the slots of what is reached and what is to be
_BRACES = re.compile(r"\{([^{}]*)\}")
_SLOT = re.compile(r"(?P<name>.+?) \[(?P<unit>.+)\]")


class SuccessFlag(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Entry of an env's `info` that tells success, and when an episode counts as one."""

    key: str
    holds: Literal["at_end", "once"]  # true at the episode's last step, or at any of its steps
    means: Literal["true", "empty"] = "true"  # of the entry


class OutsideSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Envs of another package that see and do the same."""

    ids: tuple[str, ...]  # Gymnasium's; {a,b} stands for an id each
    about: str
    observation: tuple[str, ...]
    action: tuple[str, ...]
    goal: tuple[str, ...] = ()  # () where the env gives none
    hindsight: bool = False  # whether its reward can be computed anew for many goals at a time
    simulator: str = ""  # attribute of the env that holds `model` and `data`; "" for the env itself
    success: SuccessFlag

    @property
    def env_ids(self) -> list[str]:
        """Every id."""
        return [name for pattern in self.ids for name in expanded(pattern)]

    @property
    def interface(self) -> Interface:
        """Slots in the order in which Gymnasium flattens the observation: the goal's come first."""
        goal = slots(self.goal)
        seen = [*_opened(ACHIEVED, goal), *_opened(DESIRED, goal), *slots(self.observation)]
        return Interface(observation=tuple(seen), action=slots(self.action))


class Suite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Package with its envs."""

    title: str
    package: str  # as Python imports it
    install: str  # command
    documentation: str
    envs: tuple[OutsideSpec, ...]


class _SuitesFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    suites: tuple[Suite, ...]


class Listed(NamedTuple):
    """An id's suite and table."""

    suite: Suite
    spec: OutsideSpec


@cache
def suites() -> tuple[Suite, ...]:
    """Every suite of the table."""
    return tables.read(SUITES_FILE, _SuitesFile).suites


@cache
def by_id() -> dict[str, Listed]:
    """Gymnasium id -> its suite and table, of all suites, installed or not."""
    return {name: Listed(suite, spec) for suite in suites() for spec in suite.envs for name in spec.env_ids}


def expanded(pattern: str) -> list[str]:
    """Return the texts that a pattern stands for: `a{b,c}` gives `ab` and `ac`."""
    parts = _BRACES.split(pattern)  # plain text and the inside of braces in turn
    choices = [part.split(",") if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


def slots(patterns: tuple[str, ...]) -> tuple[Slot, ...]:
    """Return the slots of patterns like `gripper.{x,y,z}.place [m]`, in order.

    Raises:
        ValueError: a pattern has no unit.
    """
    expanded_slots: list[Slot] = []
    for pattern in patterns:
        match = _SLOT.fullmatch(pattern)
        if match is None:
            raise ValueError(f"slot '{pattern}': write 'NAME [UNIT]'")
        expanded_slots += [Slot(name, match["unit"]) for name in expanded(match["name"])]
    return tuple(expanded_slots)


def _opened(prefix: str, goal: tuple[Slot, ...]) -> list[Slot]:
    return [Slot(prefix + slot.name, slot.unit) for slot in goal]
