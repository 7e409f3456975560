"""Head start: scratch learns on the target for as many steps as the source had, before the first step counts.

Both engines count a job's `head_start` before its `steps`; no evaluation of the grid falls into it.
"""

from typing import Protocol

from trl_suite.mechanisms.mechanism import Mechanism, during, everywhere


class _HeadStartKeys(Protocol):
    @property
    def head_start(self) -> bool: ...

    @property
    def needs_source(self) -> bool: ...


def _label(method: _HeadStartKeys) -> str:
    return "starts earlier" if method.head_start else ""


def _check(method: _HeadStartKeys) -> str:
    if method.head_start and method.needs_source:
        return "head_start gives the source's steps to a run without one: nothing can be taken from it"
    return ""


HEAD_START = Mechanism(
    name="head start",
    keys=("head_start",),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": during},
    label=_label,
    check=_check,
)
