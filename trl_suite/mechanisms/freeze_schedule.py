"""Freeze schedule: which components are held fixed and until when, and the proof that they were.

On SB3 `requires_grad` holds a parameter; in a cohort `training/cohort/stacked/adam.py` leaves its part out of every
step.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import torch

from trl_suite.errors import InputError
from trl_suite.mechanisms.mechanism import Mechanism, Share, during, everywhere
from trl_suite.networks.components import Components, select
from trl_suite.record import Freeze, Transplant

WARMUP_UPDATES = 10  # over which the learning rate of a thawed layer rises


class FreezeBrokenError(RuntimeError):
    """A component that was to be held fixed has moved: the run's result cannot be used."""


def check(components: Components, frozen: Sequence[str]) -> None:
    """Refuse to freeze all that learns.

    Raises:
        InputError: everything would be frozen, which leaves no loss to follow.
    """
    learning = [name for name, tensors in components.items() if any(map(_learns, tensors.values()))]
    if learning and set(learning) <= set(frozen):
        raise InputError(f"every component is frozen ({', '.join(learning)}): nothing would learn")


def hold(components: Components, frozen: Sequence[str]) -> None:
    """Take the frozen components' parameters out of training, and put all others in.

    `requires_grad` does it for good: a parameter without a gradient is skipped by the optimiser, whereas a gradient of
    zero still moves it through Adam's momentum.
    """
    for name, tensors in components.items():
        for parameter in filter(_learns, tensors.values()):
            parameter.requires_grad_(name not in frozen)
            parameter.grad = None


def _learns(tensor: torch.Tensor) -> bool:
    return isinstance(tensor, torch.nn.Parameter)


def hashes(components: Components, frozen: Sequence[str]) -> dict[str, str]:
    """Return the sha256 of every frozen component's numbers."""
    return {name: hash_of(components[name]) for name in frozen}


def hash_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the sha256 of tensors, with their names, types and shapes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        numbers = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {numbers.dtype} {tuple(numbers.shape)}".encode())
        digest.update(numbers.numpy().tobytes())
    return digest.hexdigest()


def sealed(components: Components, frozen: Sequence[str]) -> Freeze:
    """Return the state before training: hashes of what is frozen, and how many parameters may move."""
    parameters = [tensor for tensors in components.values() for tensor in tensors.values() if _learns(tensor)]
    return Freeze(
        before=hashes(components, frozen),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        total=sum(p.numel() for p in parameters),
    )


def proved(
    seal: Freeze,
    components: Components,
    released: Mapping[str, str] | None = None,
    released_at: Mapping[str, int] | None = None,
) -> Freeze:
    """Return the seal with the hashes after training.

    Args:
        seal: from before.
        components: as they are now.
        released: the hashes of components that were thawed, taken when they were.
        released_at: the env step at which each was.

    Raises:
        FreezeBrokenError: a frozen component moved; it is named.
    """
    released = dict(released or {})
    after = hashes(components, tuple(name for name in seal.before if name not in released)) | released
    moved = [name for name, digest in after.items() if digest != seal.before[name]]
    if moved:
        raise FreezeBrokenError(f"frozen components moved during training: {', '.join(moved)}")
    return Freeze(
        before=seal.before,
        after=after,
        until=dict(released_at or {}),
        trainable=seal.trainable,
        total=seal.total,
    )


def with_held(proof: Freeze, before: Mapping[str, str], after: Mapping[str, str]) -> Freeze:
    """Return a proof with the hashes of what callbacks hold within components.

    Args:
        proof: of whole components.
        before: name -> hash before the first step.
        after: the same when training ended.

    Raises:
        FreezeBrokenError: a part moved; it is named.
    """
    if moved := [name for name, digest in before.items() if after.get(name) != digest]:
        raise FreezeBrokenError(f"frozen parts moved during training: {', '.join(moved)}")
    return msgspec.structs.replace(proof, before={**proof.before, **before}, after={**proof.after, **after})


class FreezeSchedule:
    """The frozen components of one run. Made after the transplant, before the first step."""

    def __init__(self, thaw: Mapping[str, float], steps: int, record: Transplant, components: Components) -> None:
        """Begin with all that the transplant froze.

        Args:
            thaw: selector -> share of the budget after which it learns.
            steps: budget in env steps.
            record: of the transplant.
            components: the learner's own.

        Raises:
            InputError: a selector names nothing that is frozen.
        """
        self.frozen = set(record.frozen)
        self.released: dict[str, str] = {}  # component -> its hash when it was released
        self.released_at: dict[str, int] = {}
        self._seal = sealed(components, record.frozen)
        self._due = _thaws(thaw, steps, record)

    def release(self, step: int, components: Callable[[], Components]) -> set[str]:
        """Release what is due after so many env steps, and return it; it is proved unmoved so far."""
        due = {name for name, at in self._due.items() if at <= step and name in self.frozen}
        if due:
            self.released |= hashes(components(), tuple(sorted(due)))
            self.released_at |= dict.fromkeys(due, step)
            self.frozen -= due
        return due

    @property
    def thaws(self) -> dict[str, int | None]:
        """The env step after which each component that begins frozen learns; None where it never does."""
        return {name: self._due.get(name) for name in self._seal.before}

    def next(self, step: int) -> int | None:
        """Return the next step after this one at which something is due; None where nothing is."""
        return min((at for name, at in self._due.items() if at > step and name in self.frozen), default=None)

    def proof(self, components: Components) -> Freeze:
        """Return the proof that nothing moved while it was frozen.

        Raises:
            FreezeBrokenError: a component did; it is named.
        """
        return proved(self._seal, components, self.released, self.released_at)

    def state(self) -> dict[str, dict[str, str] | dict[str, int]]:
        """Return the components released so far, for a snapshot."""
        return {"released": dict(self.released), "released_at": dict(self.released_at)}

    def restore(self, state: dict[str, dict[str, str] | dict[str, int]]) -> None:
        """Take up a snapshot's state."""
        self.released = {name: str(digest) for name, digest in state["released"].items()}
        self.released_at = {name: int(step) for name, step in state["released_at"].items()}
        self.frozen -= set(self.released)


def _thaws(thaw: Mapping[str, float], steps: int, record: Transplant) -> dict[str, int]:
    """Return the env step after which each frozen component learns."""
    where = f"method '{record.method}'"
    due = {name: share for pattern, share in thaw.items() for name in select((pattern,), record.frozen, where)}
    return {name: round(share * steps) for name, share in due.items()}


class _FreezeKeys(Protocol):
    @property
    def freeze(self) -> Sequence[str]: ...

    @property
    def thaw(self) -> Mapping[str, Share]: ...


def _label(method: _FreezeKeys) -> str:
    return "thaws" if method.thaw else ""


def _transplanted(method: _FreezeKeys, algorithm: str) -> str:
    return during(method, algorithm) if method.thaw else ""


FREEZE_SCHEDULE = Mechanism(
    name="freeze schedule",
    keys=("freeze", "thaw"),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": _transplanted},
    label=_label,
)
