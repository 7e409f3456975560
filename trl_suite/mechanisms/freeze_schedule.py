"""Holding components fixed, and proving that they were."""

import hashlib
from collections.abc import Mapping, Sequence

import torch

from trl_suite.errors import InputError
from trl_suite.networks.components import Components
from trl_suite.record import Freeze


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
    return {name: _hash(components[name]) for name in frozen}


def _hash(tensors: Mapping[str, torch.Tensor]) -> str:
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
