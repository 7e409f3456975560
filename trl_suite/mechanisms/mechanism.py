"""A mechanism as data: its keys, who can do it, its label; and what an engine gives one that acts during training."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import msgspec
import torch

from trl_suite.networks.components import Components
from trl_suite.networks.policy import Policy

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]  # of the target's budget, or of a mixture
Strength = Annotated[float, msgspec.Meta(gt=0)]
Place = Literal["sb3", "cohort", "transplant"]  # the engines, and `trl_suite.transplant`, after which a reader trains
Rule = Callable[[Any], str]  # of a method: a sentence, or "" where there is nothing to say
Refusal = Callable[[Any, str], str]  # of a method and an algorithm's name: why not, or ""


class MethodLearner(Protocol):
    """One run's learner as a mechanism sees it, whichever engine it lies in."""

    @property
    def where(self) -> str:
        """The method's name, as it opens a message."""
        ...

    @property
    def steps(self) -> int:
        """The target's budget in env steps."""
        ...

    @property
    def fresh(self) -> Components:
        """The values of the paired scratch run before its first step, by component."""
        ...

    @property
    def env(self) -> str:
        """The address that is trained on."""
        ...

    @property
    def source(self) -> Policy | None:
        """The policy that the run starts from, with what it hands on of the stages before it."""
        ...

    def components(self) -> Components:
        """Return the components as they are; writing to a parameter writes the learner's."""
        ...

    def restart(self, components: Collection[str]) -> None:
        """Forget the optimizer state of these components, as if their next step were their first."""
        ...

    def mask(self, masks: Components) -> None:
        """Let only the numbers of these tensors learn where the mask, of the tensor's shape, is 1."""
        ...


class MethodCallback(Protocol):
    """One run's method between two rollouts; made after the transplant, before the first step."""

    def next(self, step: int) -> int | None:
        """Return the next env step after this one at which something is due; None where nothing is."""
        ...

    def advance(self, step: int) -> None:
        """Do what is due after so many env steps."""

    def state(self) -> dict[str, Any]:
        """Return the facts that a snapshot needs, as JSON holds them."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a snapshot's facts; the learner's numbers are restored by its engine."""

    def held(self) -> Mapping[str, str]:
        """Return the sha256 of all that it holds fixed from the first step to the last, by name."""
        ...

    def hands_on(self) -> Components:
        """Return its memory for the next stage of a sequence, by components that begin with `stages.`."""
        ...


class HandOver:
    """Callback that acts when it is made and no more, and hands numbers on to the next stage of a sequence."""

    def __init__(self, stored: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        self._stored = stored

    def next(self, step: int) -> int | None:
        """Return None: nothing is due during a stage."""

    def advance(self, step: int) -> None:
        """Do nothing."""

    def state(self) -> dict[str, Any]:
        """Return nothing: what is stored follows from the source."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up nothing."""

    def held(self) -> dict[str, str]:
        """Return nothing: it holds nothing fixed."""
        return {}

    def hands_on(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the memory that is handed on, by components that begin with `stages.`."""
        return {name: dict(tensors) for name, tensors in self._stored.items()}


def _nothing(_: Any) -> str:
    return ""


def _no_source(_: Any) -> bool:
    return False


def everywhere(method: Any, algorithm: str) -> str:
    """Return "": it can be done with every method and algorithm."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """One thing that methods do; its room holds all that is particular to it."""

    name: str  # as an error names it
    keys: tuple[str, ...]  # of a method's table, owned by this mechanism alone
    can: Mapping[Place, Refusal]  # a place that is not named refuses the mechanism
    label: Rule = _nothing  # what it does during training, for the tables
    check: Rule = _nothing  # what is wrong with its keys
    needs_source: Callable[[Any], bool] = _no_source
    # of a method, a learner, and each component that begins frozen -> the env step after which it learns, or None
    callback: Callable[[Any, MethodLearner, Mapping[str, int | None]], MethodCallback] | None = None

    def refusal(self, place: Place, method: Any, algorithm: str) -> str:
        """Return why a place cannot do what the method asks of this mechanism, or ""."""
        if place not in self.can:
            keys = ", ".join(self.keys) or self.name
            return f"{PLACES[place]} does not know the mechanism '{self.name}' ({keys})"
        why = self.can[place](method, algorithm)
        return f"{why} ({', '.join(self.keys)})" if why and place == "transplant" else why


PLACES: Mapping[Place, str] = {
    "sb3": "the engine sb3",
    "cohort": "the engine cohort",
    "transplant": "trl_suite.transplant",
}


def during(method: Any, algorithm: str) -> str:
    """Return why `trl_suite.transplant` cannot do what acts during training."""
    return "acts during training: name it in an experiment's methods"
