"""Packing: each stage of a sequence owns some weights of shared layers for good (PackNet, Mallya & Lazebnik 2018).

A stage learns in the weights that no earlier one owns. After a share of its budget it keeps the largest of them, sets
the others to 0, and goes on with what it keeps (section 3.1: prune, then retrain). Biases learn in the first stage
alone. On SB3 a hook on each gradient masks it; in a cohort `training/cohort/stacked/adam.py` does.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec
import numpy as np
import torch

from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.mechanisms.freeze_schedule import hash_of
from trl_suite.mechanisms.mechanism import Mechanism, MethodLearner, during
from trl_suite.networks.components import Components, select
from trl_suite.networks.stage_memory import STAGE_OWNERS

OpenShare = Annotated[float, msgspec.Meta(gt=0, lt=1)]
STAGES_MAX = 127  # that a weight's owner, a byte with a sign, can name


class Packing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The part of the free weights that a stage keeps, and when it gives the others up."""

    keep: OpenShare = 0.5  # of the weights that are free when the stage begins, in each layer
    at: OpenShare = 0.8  # of the stage's budget, after which it learns in the weights that it keeps
    on: tuple[str, ...] = ("actor",)


def count_kept(free: int, keep: float) -> int:
    """Return how many of a layer's free weights a stage keeps: at least one, where there is any."""
    return min(free, max(1, round(keep * free)))


def pruned(weight: torch.Tensor, owner: torch.Tensor, stage: int, keep: float) -> torch.Tensor:
    """Return the owners after a stage has kept the largest of its free weights; of equal ones the first.

    Args:
        weight: of a layer.
        owner: of each weight, 0 where it is free.
        stage: which takes what it keeps.
        keep: the share of the free weights.
    """
    free = (owner == 0).flatten().nonzero()[:, 0]
    # the weights of largest magnitude stay (Mallya & Lazebnik 2018, section 3.1)
    order = weight.detach().flatten()[free].abs().argsort(descending=True, stable=True)
    after = owner.flatten().clone()
    after[free[order[: count_kept(len(free), keep)]]] = stage
    return after.view_as(owner)


def packed(packing: Packing, heads: Sequence[str], components: Components, where: str) -> tuple[str, ...]:
    """Return the components whose weights stages share: those that it names, but heads that every task has of its own.

    Raises:
        InputError: it names a component that does not exist.
    """
    apart = select(heads, components, f"{where}: heads")
    return tuple(name for name in select(packing.on, components, f"{where}: packing.on") if name not in apart)


def owners_after(
    packing: Packing, heads: Sequence[str], components: Components, stages: int
) -> dict[str, torch.Tensor]:
    """Return owners as so many stages leave them, by `component.tensor`: as many of each, where it does not matter."""
    owners: dict[str, torch.Tensor] = {}
    for name in packed(packing, heads, components, "packing"):
        for tensor, weight in components[name].items():
            if weight.ndim == 2:
                owner = torch.zeros(weight.shape, dtype=torch.int8)
                for stage in range(1, min(stages, STAGES_MAX) + 1):
                    owner = pruned(weight, owner, stage, packing.keep)
                owners[f"{name}.{tensor}"] = owner
    return owners


class PackingCallback:
    """The packing of one run of a stage.

    Raises:
        InputError: a component does not exist or is frozen, the source was not packed, or no weight of a layer is free.
    """

    def __init__(
        self, packing: Packing, heads: Sequence[str], learner: MethodLearner, thaws: Mapping[str, int | None]
    ) -> None:
        self._packing, self._learner, self._pruned = packing, learner, False
        self._due = round(packing.at * learner.steps)
        self._names = packed(packing, heads, learner.components(), learner.where)
        if frozen := [name for name in self._names if name in thaws]:
            raise InputError(f"{learner.where}: packing: {', '.join(frozen)} is frozen: no stage could own its weights")
        earlier = learner.source.memory.get(STAGE_OWNERS, {}) if learner.source else {}
        if learner.source and not earlier:
            raise InputError(f"{learner.where}: packing: the source was not packed; it belongs into a [sequence]")
        self.stage = 1 + max((int(owner.max()) for owner in earlier.values()), default=0)
        self._owners = {key: self._owner_of(key, weight, earlier) for key, weight in self._weights()}
        self._check_free()
        self._mask()

    def next(self, step: int) -> int | None:
        """Return the env step after which the stage gives weights up, if it lies ahead."""
        return None if self._pruned or self._due <= step else self._due

    def advance(self, step: int) -> None:
        """Give up the smallest of the free weights, where it is due: they are 0 from now on."""
        if self._pruned or step < self._due:
            return
        self._pruned = True
        with torch.no_grad():
            for key, weight in self._weights():
                self._owners[key] = pruned(weight.cpu(), self._owners[key], self.stage, self._packing.keep)
                weight.mul_((self._owners[key] != 0).to(weight))
        self._mask()
        self._learner.restart(self._names)

    def state(self) -> dict[str, Any]:
        """Return whether weights were given up, and who owns each, a byte of base64 text a weight."""
        owners = {key: base64.b64encode(owner.numpy().tobytes()).decode() for key, owner in self._owners.items()}
        return {"pruned": self._pruned, "owners": owners}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up a snapshot's owners."""
        self._pruned = bool(state["pruned"])
        for key, text in state["owners"].items():
            numbers = np.frombuffer(base64.b64decode(text), dtype=np.int8).copy()
            self._owners[key] = torch.from_numpy(numbers).view_as(self._owners[key])
        self._mask()

    def held(self) -> dict[str, str]:
        """Return the sha256 of the weights of earlier stages, and of the biases where they are past learning."""
        if self.stage == 1:
            return {}
        components = self._learner.components()
        return {f"{name} (owned before)": hash_of(self._past(name, components[name])) for name in self._names}

    def hands_on(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return who owns each weight."""
        return {STAGE_OWNERS: dict(self._owners)}

    def _weights(self) -> Iterator[tuple[str, torch.Tensor]]:
        components = self._learner.components()
        for name in self._names:
            for tensor, value in components[name].items():
                if value.ndim == 2:
                    yield f"{name}.{tensor}", value

    def _owner_of(self, key: str, weight: torch.Tensor, earlier: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if earlier and (key not in earlier or earlier[key].shape != weight.shape):
            raise InputError(f"{self._learner.where}: packing: the source's {key} was not packed, or has another shape")
        return earlier[key].clone() if earlier else torch.zeros(weight.shape, dtype=torch.int8)

    def _check_free(self) -> None:
        full = [key for key, owner in self._owners.items() if not bool((owner == 0).any())]
        if full or self.stage > STAGES_MAX:
            raise InputError(
                f"{self._learner.where}: packing leaves no free weight to stage {self.stage} in "
                f"{', '.join(full) or 'any layer'}: lower packing.keep ({self._packing.keep:g}), or take wider layers"
            )

    def _mask(self) -> None:
        """Let learn: the free weights before the stage gave any up, its own ones after; biases in the first stage."""
        learning = self.stage if self._pruned else 0
        components = self._learner.components()
        masks: dict[str, dict[str, torch.Tensor]] = {}
        for name in self._names:
            masks[name] = {}
            for tensor, value in components[name].items():
                owner = self._owners.get(f"{name}.{tensor}")
                mask = torch.full(value.shape, self.stage == 1) if owner is None else owner == learning
                masks[name][tensor] = mask.to(torch.float32)
        self._learner.mask(masks)

    def _past(self, name: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the numbers that earlier stages own, 0 in place of all others."""
        past: dict[str, torch.Tensor] = {}
        for tensor, value in tensors.items():
            owner = self._owners.get(f"{name}.{tensor}")
            numbers = value.detach().cpu()
            past[tensor] = numbers if owner is None else torch.where((owner > 0) & (owner < self.stage), numbers, 0.0)
        return past


class _PackingKeys(Protocol):
    @property
    def packing(self) -> Packing | None: ...

    @property
    def heads(self) -> Sequence[str]: ...

    @property
    def weight_regularizer(self) -> object: ...

    @property
    def adapter(self) -> object: ...

    @property
    def reset(self) -> object: ...


def _label(method: _PackingKeys) -> str:
    return "packs" if method.packing else ""


def _check(method: _PackingKeys) -> str:
    if method.packing is None:
        return ""
    for key in ("weight_regularizer", "adapter", "reset"):
        if getattr(method, key) is not None:
            return f"packing holds single weights, which {key} would move: give one of them"
    return ""


def _can(method: _PackingKeys, algorithm: str) -> str:
    normalised = find(algorithm).normalises_inputs
    return f"packing holds weights, and the running statistics of {algorithm}'s layers would move" if normalised else ""


def _callback(method: _PackingKeys, learner: MethodLearner, thaws: Mapping[str, int | None]) -> PackingCallback:
    assert method.packing is not None
    return PackingCallback(method.packing, method.heads, learner, thaws)


PACKING = Mechanism(
    name="packing",
    keys=("packing",),
    can={"sb3": _can, "cohort": _can, "transplant": during},
    label=_label,
    check=_check,
    callback=_callback,
)
