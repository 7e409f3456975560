"""Guide policy: the source opens training episodes and hands over (JSRL, Uchendu et al. 2023, algorithm 1).

On SB3 the envs are wrapped one by one (`training/sb3/methods/method_callbacks.py`). A cohort steps the envs of all
members as one batch, which runs no other policy inside a reset: it refuses.
"""

from typing import Protocol

import msgspec

from trl_suite.mechanisms.mechanism import Mechanism, Share, during, everywhere


class GuidePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The source opens each training episode and hands over after a random number of steps (Uchendu et al. 2023).

    What it does is paid from the budget. The longest opening shrinks linearly to nothing.
    """

    opening: Share = 0.5  # longest opening, as a share of the time limit
    until: Share = 0.5  # of the budget, when openings have shrunk to nothing

    def longest(self, limit: int, progress: float) -> int:
        """Return the longest opening in env steps, after a share of the budget, for episodes of at most `limit`."""
        return int(self.opening * limit * max(0.0, 1 - progress / self.until)) if self.until > 0 else 0


class _GuideKeys(Protocol):
    @property
    def guide_policy(self) -> GuidePolicy | None: ...


def _label(method: _GuideKeys) -> str:
    return "guides" if method.guide_policy else ""


def _in_cohort(method: _GuideKeys, algorithm: str) -> str:
    return "a guide opens its episodes"


def _needs_source(method: _GuideKeys) -> bool:
    return method.guide_policy is not None


GUIDE_POLICY = Mechanism(
    name="guide policy",
    keys=("guide_policy",),
    can={"sb3": everywhere, "cohort": _in_cohort, "transplant": during},
    label=_label,
    needs_source=_needs_source,
)
