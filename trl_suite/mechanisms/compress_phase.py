"""Compress phase: what an active column has learned is distilled into a knowledge base (Schwarz et al. 2018).

The knowledge base is the policy of the stage before, whose trunk stands as a frozen column beside the active one while
that learns (progress, the adapter `lateral`). The last share of the budget is the compress phase: the active column
acts and learns no more, and the knowledge base is pulled to its actions under online EWC. The knowledge base is then
the stage's policy. It acts on SB3, in `training/sb3/methods/knowledge_base.py`.
"""

from typing import Annotated, Protocol

import msgspec

from trl_suite.errors import InputError
from trl_suite.mechanisms.adapters import Adapter, Lateral
from trl_suite.mechanisms.mechanism import Mechanism, Share, Strength, during, everywhere
from trl_suite.mechanisms.weight_regularizer import WeightRegularizer

PhaseShare = Annotated[float, msgspec.Meta(gt=0, lt=1)]  # of the target's budget


class Compress(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The compress phase: how much of the budget it takes, and how far the knowledge base may move."""

    share: PhaseShare = 0.2  # the last of the budget, in whole rollouts: paid for, and nothing else is trained
    strength: Strength = 1.0  # of the pull to the knowledge base before, weighed by its Fisher information
    carry: Share = 1.0  # of the earlier stages' Fisher information; 1 sums it over stages

    @property
    def regularizer(self) -> WeightRegularizer:
        """The online EWC of the phase."""
        return WeightRegularizer(strength=self.strength, on=("actor",), fisher=True, carry=self.carry)

    def begins(self, steps: int, rollout: int, where: str) -> int:
        """Return the env step at which the phase begins: that of a rollout, so early that the phase has its share.

        Args:
            steps: the budget in env steps.
            rollout: env steps between two updates.
            where: opens a message.

        Raises:
            InputError: the budget has no rollout for the phase before this one.
        """
        begins = min(round((1 - self.share) * steps) // rollout, steps // rollout - 1) * rollout
        if begins <= 0:
            raise InputError(
                f"{where}: compress: {steps:,} steps in rollouts of {rollout:,} leave no rollout to learn from before "
                f"the compress phase (share = {self.share:g}): give more steps, or a smaller share"
            )
        return begins


class _CompressKeys(Protocol):
    @property
    def compress(self) -> Compress | None: ...

    @property
    def adapter(self) -> Adapter | None: ...


def _label(method: _CompressKeys) -> str:
    return "compresses" if method.compress else ""


def _check(method: _CompressKeys) -> str:
    columns = isinstance(method.adapter, Lateral) and method.adapter.on == ("actor",)
    if method.compress and not columns:
        return "compress needs an active column: give adapter = { kind = 'lateral', on = ['actor'] } too"
    return ""


def _needs_source(method: _CompressKeys) -> bool:
    return method.compress is not None


COMPRESS_PHASE = Mechanism(
    name="compress phase",
    keys=("compress",),
    can={"sb3": everywhere, "transplant": during},
    label=_label,
    check=_check,
    needs_source=_needs_source,
)
