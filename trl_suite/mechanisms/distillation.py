"""Distillation: a penalty on how far the learner's actions are from the source's.

On the learner's own states it is kickstarting (Schmitt et al. 2018), on states that the source visited in its own env
behavioural cloning, and on kept states of all earlier tasks of a sequence ClonEx's (Wolczyk et al. 2022, section 4),
which are kept with what each task's policy did there. On SB3 it is a hook on the actor's optimiser, here; in a cohort
`training/cohort/learning/source_gradients.py` writes the same gradient by hand.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from trl_suite.errors import InputError
from trl_suite.mechanisms.mechanism import Mechanism, Share, Strength, during, everywhere
from trl_suite.networks.actor import SourceActor
from trl_suite.networks.stage_memory import STAGE_STATES

BATCH_STATES = 256  # per step on which actions are compared
SOURCE_STATES = 2_000  # that a source visits in its own env, for cloning and for the Fisher information

Raw = npt.NDArray[np.float64]
States = Callable[[], Raw]  # -> (batch, target slots), unnormalised
Behaviour = dict[str, torch.Tensor]  # observations (count, slots), mean and, but for TD3, log_std (count, actions)
Gaussian = tuple[torch.Tensor, torch.Tensor | None]  # mean (batch, actions), log std; None where there is none (TD3)


class Distillation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A penalty on the divergence of the learner's actions from the source's.

    On the learner's own states it is kickstarting (Schmitt et al. 2018), on states that the source visited at home
    behavioural cloning; on those of all earlier stages it is towards what each stage's policy did there.
    """

    strength: Strength
    states: Literal["own", "source", "earlier"] = "own"
    halving: Share | None = None  # of the budget, in which the strength halves; None keeps it
    least: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # the strength never falls below

    def at(self, progress: float) -> float:
        """Return the strength after a share of the budget."""
        decayed = self.strength * 0.5 ** (progress / self.halving) if self.halving else self.strength
        return max(self.least, decayed)


Examples = Callable[[], tuple[Raw, Gaussian]]  # -> states, and what is imitated there


def distil(
    optimizer: torch.optim.Optimizer,
    distillation: Distillation,
    examples: Examples,
    gaussian: Callable[[Raw], Gaussian],
    progress: Callable[[], float],
) -> None:
    """Add the gradient of strength * KL(source || learner) before every step of the actor's optimiser.

    Args:
        optimizer: of the actor.
        distillation: strength and schedule.
        examples: what is imitated and where; called once per step.
        gaussian: the learner's distribution at unnormalised states, with a gradient.
        progress: share of the budget that is used.
    """

    def imitate(*_: object) -> None:
        strength = distillation.at(progress())
        if strength <= 0:
            return
        raw, imitated = examples()
        loss = strength * divergence(imitated, gaussian(raw))
        if loss.requires_grad:  # a frozen actor has nothing to learn from it
            loss.backward()

    optimizer.register_step_pre_hook(imitate)


def divergence(source: Gaussian, learner: Gaussian) -> torch.Tensor:
    """KL(source || learner), meaned over states: of Gaussians before tanh, whose KL tanh does not change.

    TD3 has no distribution: the squared distance of its actions from the source's stands for it; `learner` is then its
    action, and `source` the mean before tanh.
    """
    (source_mean, source_log_std), (mean, log_std) = source, learner
    if log_std is None:
        return (mean - torch.tanh(source_mean)).square().sum(1).mean()
    assert source_log_std is not None  # only TD3 has none, and source and learner are of one algorithm
    # KL(N(m, s) || N(m', s')) = log s' - log s + (s^2 + (m - m')^2) / (2 s'^2) - 1/2
    spread = (2 * source_log_std).exp() + (source_mean - mean).square()
    return (log_std - source_log_std + spread / (2 * (2 * log_std).exp()) - 0.5).sum(1).mean()


def state_sampler(states: Raw, generator: np.random.Generator) -> States:
    """Return a function that draws from fixed states."""
    return lambda: states[generator.integers(len(states), size=BATCH_STATES)]


def source_examples(source: SourceActor, states: States) -> Examples:
    """Return a function that asks the source what it does in states."""

    def draw() -> tuple[Raw, Gaussian]:
        raw = states()
        return raw, source.gaussian(raw)

    return draw


def kept_behaviours(source: SourceActor, visited: Raw) -> dict[str, Behaviour]:
    """Return the kept states of every stage up to the source's own, with what its policy did there.

    Args:
        source: the policy of the stage before, behind the learner's slots.
        visited: states of its own env, in the learner's slots (count, slots).

    Raises:
        InputError: a stage before had other slots.
    """
    earlier = {name: dict(tensors) for name, tensors in source.policy.memory.items() if name.startswith(STAGE_STATES)}
    for name, tensors in earlier.items():
        if tensors["observations"].shape[1] != visited.shape[1]:
            raise InputError(f"{name}: its states have {tensors['observations'].shape[1]} slots, the learner others")
    mean, log_std = source.gaussian(visited)
    behaviour = {"observations": torch.as_tensor(visited), "mean": mean}
    behaviour |= {} if log_std is None else {"log_std": log_std.contiguous()}
    return earlier | {f"{STAGE_STATES}{len(source.policy.earlier_tasks)}": behaviour}


def together(behaviours: Mapping[str, Behaviour]) -> Behaviour:
    """Return the kept states of all stages in one, as many of each stage."""
    first, *_ = behaviours.values()
    return {name: torch.cat([stage[name] for stage in behaviours.values()]) for name in first}


def kept_gaussian(behaviour: Behaviour, indices: torch.Tensor) -> Gaussian:
    """Return mean and log std (count, actions) of the actions in some of the kept states."""
    return behaviour["mean"][indices], behaviour["log_std"][indices] if "log_std" in behaviour else None


def kept_examples(behaviour: Behaviour, generator: np.random.Generator) -> Examples:
    """Return a function that draws from kept states."""

    def draw() -> tuple[Raw, Gaussian]:
        indices = torch.from_numpy(generator.integers(len(behaviour["mean"]), size=BATCH_STATES))
        return behaviour["observations"][indices].numpy(), kept_gaussian(behaviour, indices)

    return draw


class _DistillationKeys(Protocol):
    @property
    def distillation(self) -> Distillation | None: ...


def _label(method: _DistillationKeys) -> str:
    return "pulls actions" if method.distillation else ""


def _needs_source(method: _DistillationKeys) -> bool:
    return method.distillation is not None


DISTILLATION = Mechanism(
    name="distillation",
    keys=("distillation",),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": during},
    label=_label,
    needs_source=_needs_source,
)
