"""Reset: named components take their fresh value again after shares of the budget, their optimizer state with them.

Nikishin et al. 2022, section 4 (the last layers, again and again); Lyle et al. 2024; the baseline of Reset & Distil
(Ahn et al. 2024). It says nothing of an engine: both give it a `MethodLearner`, and it acts between two rollouts.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Protocol

import msgspec
import torch

from trl_suite.errors import InputError
from trl_suite.mechanisms.mechanism import Mechanism, MethodLearner, during, everywhere
from trl_suite.networks.components import OPTIMISER, REPLAY, TARGET, Components, select

Moment = Annotated[float, msgspec.Meta(gt=0, lt=1)]  # as a share of the target's budget


class Reset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which components take the values that the paired scratch run began with, and when."""

    components: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    at: Annotated[tuple[Moment, ...], msgspec.Meta(min_length=1)]  # shares of the budget, rising


class ResetCallback:
    """The resets of one run.

    Raises:
        InputError: a component does not exist, is none that an optimiser moves, or is frozen when it would be reset.
    """

    def __init__(self, reset: Reset, learner: MethodLearner, thaws: Mapping[str, int | None]) -> None:
        self._learner, self._done = learner, 0
        self._due = [round(share * learner.steps) for share in reset.at]
        names = select(reset.components, learner.components(), f"{learner.where}: reset")
        for name in names:
            self._check(name, thaws)
        followers = tuple(TARGET + name for name in names if TARGET + name in learner.components())
        self._names = tuple(dict.fromkeys((*names, *followers)))

    def next(self, step: int) -> int | None:
        """Return the env step of the next reset after this one."""
        return next((due for due in self._due[self._done :] if due > step), None)

    def advance(self, step: int) -> None:
        """Reset what is due after so many env steps; several that are due at once are one."""
        due = sum(at <= step for at in self._due)
        if due == self._done:
            return
        self._done, components = due, self._learner.components()
        with torch.no_grad():
            for name in self._names:
                for tensor, value in components[name].items():
                    value.copy_(self._learner.fresh[name][tensor].reshape(value.shape))
        self._learner.restart(self._names)

    def state(self) -> dict[str, Any]:
        """Return how many resets have been made."""
        return {"done": self._done}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a snapshot's count."""
        self._done = int(state["done"])

    def held(self) -> dict[str, str]:
        """Return nothing: a reset holds nothing."""
        return {}

    def hands_on(self) -> Components:
        """Return nothing."""
        return {}

    def _check(self, name: str, thaws: Mapping[str, int | None]) -> None:
        where = self._learner.where
        if name.startswith(("normaliser.", OPTIMISER)) or name == REPLAY:
            raise InputError(f"{where}: reset: {name} is no layer: an optimiser does not move it; name layers alone")
        if name in thaws and ((thawed := thaws[name]) is None or thawed > self._due[0]):
            raise InputError(f"{where}: reset: {name} is frozen then; thaw it before, or leave it out of the reset")


class _ResetKeys(Protocol):
    @property
    def reset(self) -> Reset | None: ...

    @property
    def adapter(self) -> object: ...


def _label(method: _ResetKeys) -> str:
    return "resets" if method.reset else ""


def _check(method: _ResetKeys) -> str:
    if method.reset is None:
        return ""
    if list(method.reset.at) != sorted(set(method.reset.at)):
        return f"reset.at: {list(method.reset.at)} does not rise: give each share once, in order"
    if method.adapter is not None:
        return "reset gives a layer its fresh value, and an adapter has no such layer: give one of them"
    return ""


def _callback(method: _ResetKeys, learner: MethodLearner, thaws: Mapping[str, int | None]) -> ResetCallback:
    assert method.reset is not None
    return ResetCallback(method.reset, learner, thaws)


RESET = Mechanism(
    name="reset",
    keys=("reset",),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": during},
    label=_label,
    check=_check,
    callback=_callback,
)
