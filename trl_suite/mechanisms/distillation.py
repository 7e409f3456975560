"""Distillation: a penalty on how far the learner's actions are from the source's.

On the learner's own states it is kickstarting (Schmitt et al. 2018), on states that the source visited in its own env
behavioural cloning. On SB3 it is a hook on the actor's optimiser, here; in a cohort
`training/cohort/learning/source_gradients.py` writes the same gradient by hand.
"""

from collections.abc import Callable
from typing import Annotated, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from trl_suite.mechanisms.mechanism import Mechanism, Share, Strength, during, everywhere
from trl_suite.networks.actor import SourceActor

BATCH_STATES = 256  # per step on which actions are compared
SOURCE_STATES = 2_000  # that a source visits in its own env, for cloning and for the Fisher information

Raw = npt.NDArray[np.float64]
States = Callable[[], Raw]  # -> (batch, target slots), unnormalised
Gaussian = tuple[torch.Tensor, torch.Tensor | None]  # mean (batch, actions), log std; None where there is none (TD3)


class Distillation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A penalty on the divergence of the learner's actions from the source's.

    On the learner's own states it is kickstarting (Schmitt et al. 2018), on states that the source visited at home
    behavioural cloning.
    """

    strength: Strength
    states: Literal["own", "source"] = "own"
    halving: Share | None = None  # of the budget, in which the strength halves; None keeps it
    least: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # the strength never falls below

    def at(self, progress: float) -> float:
        """Return the strength after a share of the budget."""
        decayed = self.strength * 0.5 ** (progress / self.halving) if self.halving else self.strength
        return max(self.least, decayed)


def distil(
    optimizer: torch.optim.Optimizer,
    distillation: Distillation,
    source: SourceActor,
    gaussian: Callable[[Raw], Gaussian],
    states: States,
    progress: Callable[[], float],
) -> None:
    """Add the gradient of strength * KL(source || learner) before every step of the actor's optimiser.

    Args:
        optimizer: of the actor.
        distillation: strength and schedule.
        source: who is imitated.
        gaussian: the learner's distribution at unnormalised states, with a gradient.
        states: where; called once per step.
        progress: share of the budget that is used.
    """

    def imitate(*_: object) -> None:
        strength = distillation.at(progress())
        if strength <= 0:
            return
        raw = states()
        loss = strength * divergence(source.gaussian(raw), gaussian(raw))
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
