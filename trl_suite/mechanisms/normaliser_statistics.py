"""Normaliser statistics: whether copied ones go on learning, with which weight, or are held; an axis of its own.

VecNormalize divides by running statistics (Chan et al.'s update): after n samples a batch of b moves their mean by
b / (n + b) of its distance.
Both engines carry the source's count, and hold what a method freezes.
"""

from collections.abc import Collection, Sequence
from typing import Annotated, Literal, Protocol

import msgspec

from trl_suite.mechanisms.mechanism import Mechanism, everywhere
from trl_suite.networks.components import OBSERVATION_STATISTICS, RETURN_STATISTICS, Components

STATISTICS = "normaliser"  # the selector of both


class Slow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Copied statistics count as so many samples at most: the fewer, the sooner they are the target's."""

    slow: Annotated[int, msgspec.Meta(gt=0)]
    frozen: bool = False  # hold those of observations besides; the scale of returns counts as so many samples


# learn: with the source's whole count, as SB3 loads a VecNormalize. frozen: those of observations stay as they are; the
# scale of returns goes on following, since it is of the learner's own
NormaliserRule = Literal["learn", "frozen"] | Slow


class StatisticsKeys(Protocol):
    """The keys of a method that decide on statistics."""

    @property
    def normaliser(self) -> NormaliserRule:
        """Fate of copied statistics."""
        ...

    @property
    def copy(self) -> Sequence[str]:
        """Selectors of what is copied."""
        ...

    @property
    def freeze(self) -> Sequence[str]:
        """Selectors of frozen layers."""
        ...


def frozen_statistics(method: StatisticsKeys) -> tuple[str, ...]:
    """Return the selectors of the statistics that the method holds."""
    return (OBSERVATION_STATISTICS,) if _holds(method) else ()


def most_samples(method: StatisticsKeys) -> int | None:
    """Return the samples that copied statistics count as at most; None where their count is carried whole."""
    return method.normaliser.slow if isinstance(method.normaliser, Slow) else None


def described(method: StatisticsKeys, copied: Collection[str], into: Components) -> str:
    """Return the fate of the observations' statistics: learn, slow(COUNT), frozen, fresh; none without any."""
    if OBSERVATION_STATISTICS not in into:
        return "none"
    return _word(method) if OBSERVATION_STATISTICS in copied else "fresh"


def column(method: StatisticsKeys) -> str:
    """Return the cell of a methods table: what the method asks for, where the learner normalises."""
    return _word(method) if _copies(method, OBSERVATION_STATISTICS) else "fresh"


def _holds(method: StatisticsKeys) -> bool:
    return method.normaliser.frozen if isinstance(method.normaliser, Slow) else method.normaliser == "frozen"


def _word(method: StatisticsKeys) -> str:
    if isinstance(method.normaliser, Slow):
        return f"slow({method.normaliser.slow:,}){', frozen' if method.normaliser.frozen else ''}"
    return method.normaliser


def _copies(method: StatisticsKeys, component: str) -> bool:
    return STATISTICS in method.copy or component in method.copy


def _check(method: StatisticsKeys) -> str:
    if misplaced := [name for name in method.freeze if f"{name}.".startswith(f"{STATISTICS}.")]:
        return f"freeze: {', '.join(misplaced)}: statistics are held by normaliser = 'frozen', layers by freeze"
    if _holds(method) and not _copies(method, OBSERVATION_STATISTICS):
        return "normaliser: 'frozen' holds the source's statistics: copy 'normaliser.observation' too"
    if isinstance(method.normaliser, Slow) and not any(
        _copies(method, name) for name in (OBSERVATION_STATISTICS, RETURN_STATISTICS)
    ):
        return "normaliser = { slow = ... } weighs the source's statistics: copy 'normaliser' too"
    return ""


NORMALISER_STATISTICS = Mechanism(
    name="normaliser statistics",
    keys=("normaliser",),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": everywhere},
    check=_check,
)
