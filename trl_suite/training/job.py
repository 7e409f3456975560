"""What is to be trained, who watches, and what comes of it: the same for every engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trl_suite.networks.methods import Method, remembered
from trl_suite.networks.policy import Policy
from trl_suite.record import Freeze, Transplant
from trl_suite.training import settings
from trl_suite.training.evaluation import Episode


class DivergedError(FloatingPointError):
    """The parameters are no longer finite: the run has failed."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training."""

    env: str  # address
    how: settings.Settings
    seed: int
    steps: int  # env steps; rounded up to whole rollouts
    evaluation: settings.Evaluation
    method: str = "scratch"
    definition: Method = field(default_factory=Method)
    source: Policy | None = None
    alias: Mapping[str, str] = field(default_factory=dict[str, str])
    mix: tuple[str, ...] = ()  # addresses that the training worlds take in turn, instead of all being `env`
    upbringing: settings.Upbringing = field(default_factory=settings.Upbringing)
    head_start: int = 0  # env steps before the first of `steps`, which are neither measured nor counted

    @property
    def total(self) -> int:
        """All env steps that are paid for."""
        return self.head_start + self.steps

    @property
    def needs_sb3(self) -> bool:
        """Whether it asks for what only the SB3 engine has, besides the algorithm."""
        special = self.upbringing != settings.Upbringing() or self.head_start > 0
        return special or self.definition.adapter is not None or bool(remembered(self.definition))


class Watcher(Protocol):
    """Who is told of a training's progress, and may end it."""

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        """Take the episodes that the policy made after `step` env steps."""

    def advanced(self, step: int) -> None:
        """Take the number of env steps so far."""

    def stopping(self) -> bool:
        """Return whether the training is to end now."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a training leaves."""

    policy: Policy
    transplant: Transplant
    freeze: Freeze
    steps: int  # env steps made
    unstable_episodes: int
    finished: bool  # False where the watcher ended it
