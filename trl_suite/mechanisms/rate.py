"""Rate: a factor of the learning rate for each component (discriminative rates, Howard & Ruder 2018, section 3.2).

On SB3 each factor has a parameter group of its own (`training/sb3/models/rates.py`); in a cohort every part of every
member has a rate of its own (`training/cohort/stacked/adam.py`).
"""

from collections.abc import Mapping
from typing import Protocol

from trl_suite.mechanisms.mechanism import Mechanism, Strength, everywhere
from trl_suite.networks.components import Components, select


class _RateKeys(Protocol):
    @property
    def rate(self) -> Mapping[str, Strength]: ...


def factors(rate: Mapping[str, float], components: Components) -> dict[str, float]:
    """Return the factor of every component that a selector names; a later, narrower selector overrides an earlier one.

    Raises:
        InputError: a selector names nothing.
    """
    return {name: factor for pattern, factor in rate.items() for name in select((pattern,), components, "rate")}


def _label(method: _RateKeys) -> str:
    return "scales rates" if method.rate else ""


RATE = Mechanism(
    name="rate",
    keys=("rate",),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": everywhere},
    label=_label,
)
