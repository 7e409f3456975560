"""Replay and optimizer state: what a source keeps beside its weights, copied by the key `copy`.

On SB3 `training/sb3/methods/source_memory.py` fills the learner's replay and optimisers; in a cohort
`training/cohort/learning/replay_rings.py` and `training/cohort/stacked/optimizer_state.py` do.
"""

from collections.abc import Sequence
from typing import Protocol

from trl_suite.mechanisms.mechanism import Mechanism, everywhere
from trl_suite.networks.components import OPTIMISER, REPLAY


class _ReplayKeys(Protocol):
    @property
    def copy(self) -> Sequence[str]: ...


def remembered(method: _ReplayKeys) -> tuple[str, ...]:
    """Return the selectors by which the method copies what lies beside a source's weights: replay, optimizer state."""
    return tuple(name for name in method.copy if name == REPLAY or f"{name}.".startswith(OPTIMISER))


REPLAYED = Mechanism(
    name="replay",
    keys=(),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": everywhere},
)
