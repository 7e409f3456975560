"""Training order, its observers and its outcome: the same for every engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from trl_suite import provenance
from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.errors import InputError
from trl_suite.interface import Interface
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.actor import SourceActor, source_actor
from trl_suite.networks.align import align
from trl_suite.networks.card import Training
from trl_suite.networks.components import Components
from trl_suite.networks.policy import Policy
from trl_suite.record import Freeze, Transplant
from trl_suite.training import settings
from trl_suite.training.acting.evaluation import Episode


class DivergedError(FloatingPointError):
    """The parameters are no longer finite: the run has failed."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """One training."""

    env: str  # address
    hyperparameters: Hyperparameters
    seed: int
    steps: int  # env steps; what is left after the last whole rollout teaches nothing
    evaluation: settings.Evaluation
    method: str = "scratch"
    definition: Method = field(default_factory=Method)
    source: Policy | None = None
    alias: Mapping[str, str] = field(default_factory=dict[str, str])
    training_variants: tuple[
        str, ...
    ] = ()  # addresses that the training worlds take in turn, instead of all being `env`
    source_training: settings.SourceTraining = field(default_factory=settings.SourceTraining)
    preset: str = ""  # where the hyperparameters come from
    head_start: int = 0  # env steps before the first of `steps`, which are paid for and not measured

    @property
    def total(self) -> int:
        """All env steps that are paid for."""
        return self.head_start + self.steps

    def actor(self, interface: Interface) -> SourceActor:
        """Return the source behind an interface.

        Raises:
            InputError: there is no source, or it cannot act there.
        """
        if self.source is None:
            raise InputError(f"method '{self.method}' needs a source policy; none was given")
        return source_actor(self.source, interface, align(self.source.interface, interface, self.alias))

    def remembering(self, policy: Policy, memory: Components, stages: Components) -> Policy:
        """Return the run's policy with what it keeps beside its weights.

        Args:
            policy: as it is at the end.
            memory: its own replay and optimizer state.
            stages: what it hands on of earlier stages.
        """
        remembers = stages or policy.card.network.composed
        tasks = (*self.source.earlier_tasks, self.source.card.training.env) if self.source and remembers else ()
        return replace(policy, memory={**memory, **stages}, earlier_tasks=tasks)

    def grid(self) -> list[int]:
        """Return the env steps at which the policy is measured, counted from the end of the head start."""
        return [*range(0, self.steps, self.evaluation.every), self.steps]

    def training(self, steps: int, last: Sequence[Episode], seconds: float) -> Training:
        """Return how a policy came to be, for its card.

        Args:
            steps: env steps made.
            last: the deterministic episodes of the last evaluation.
            seconds: that it took.
        """
        values = [episode.value for episode in last]
        commit, dirty = provenance.commit()
        return Training(
            env=self.env,
            seed=self.seed,
            steps=min(steps, self.total),
            return_mean=float(np.mean(values)) if values else None,
            return_std=float(np.std(values)) if values else None,
            episodes=len(values),
            seconds=round(seconds, 1),
            hyperparameters=self.hyperparameters.table() | msgspec.to_builtins(self.source_training),
            preset=self.preset,
            versions=provenance.versions(),
            commit=commit,
            dirty=dirty,
        )


def training_addresses(env: str, training_variants: Sequence[str], worlds: int) -> list[str]:
    """Addresses of the training envs: the variants in turn, or the env itself."""
    return [training_variants[i % len(training_variants)] if training_variants else env for i in range(worlds)]


def _no_segments() -> dict[str, dict[str, npt.NDArray[np.generic]]]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that a training needs to go on exactly where it was; taken between two rollouts, never inside one."""

    step: int  # env steps made
    arrays: Mapping[str, npt.NDArray[np.generic]]
    facts: Mapping[str, Any]  # what is no array, as JSON holds it
    # large parts by a name that stands for their content: what was kept under a name is not written again
    segments: Mapping[str, Mapping[str, npt.NDArray[np.generic]]] = field(default_factory=_no_segments)


class Watcher(Protocol):
    """Who is told of a training's progress, keeps its snapshots, and may end it."""

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        """Take the episodes that the policy made after `step` env steps."""

    def acted(self, step: int, policy: Callable[[], Policy]) -> None:
        """Take the policy that was evaluated after `step` env steps; it is a copy, made when it is called for."""

    def advanced(self, step: int) -> None:
        """Take the number of env steps so far."""

    def stopping(self) -> bool:
        """Return whether the training is to end now."""
        ...

    def resumed(self) -> Snapshot | None:
        """Return the snapshot to go on from; None starts from the beginning."""
        ...

    def due(self) -> bool:
        """Return whether a snapshot is wanted now; one is wanted in any case where the training is stopped."""
        ...

    def keep(self, snapshot: Snapshot) -> None:
        """Take a snapshot; evaluations told before it are not told again by a training that goes on from it."""


class Unwatched:
    """A watcher that lets a training run to its end."""

    def evaluated(self, step: int, episodes: Sequence[Episode]) -> None:
        """Ignore the episodes."""

    def acted(self, step: int, policy: Callable[[], Policy]) -> None:
        """Ignore the policy."""

    def advanced(self, step: int) -> None:
        """Ignore the step."""

    def stopping(self) -> bool:
        """Return False."""
        return False

    def resumed(self) -> Snapshot | None:
        """Return None."""
        return None

    def due(self) -> bool:
        """Return False."""
        return False

    def keep(self, snapshot: Snapshot) -> None:
        """Drop the snapshot."""


@dataclass(frozen=True, kw_only=True)
class TrainingOutcome:
    """Result of a training: the policy, and what was copied, frozen and made."""

    policy: Policy
    transplant: Transplant
    freeze: Freeze
    steps: int  # env steps made
    unstable_episodes: int
    ranges: dict[str, tuple[float, float]]  # that episodes were drawn from at the end, by the numbers' names
    finished: bool  # False where the watcher ended it
    compress_steps: int = 0  # of them, env steps that trained nothing but a knowledge base


Result = TrainingOutcome | Exception  # a training that failed takes none of the others with it
