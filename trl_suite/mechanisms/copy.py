"""Copy: a source policy's components into a target learner, slot by slot and layer by layer.

Both engines call it before training: on SB3 into the model's own tensors, in a cohort into a member's before they are
stacked.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import torch

from trl_suite.errors import InputError
from trl_suite.mechanisms.fit import Copies, Fit, check, columns, refuse_missing_critic
from trl_suite.mechanisms.mechanism import Mechanism, everywhere
from trl_suite.mechanisms.normaliser_statistics import described, most_samples
from trl_suite.networks.align import Alignment
from trl_suite.networks.components import (
    ADAPTER,
    INPUT_NORM,
    LOG_STD,
    OBSERVATION_STATISTICS,
    TARGET,
    Axis,
    Components,
    select,
)
from trl_suite.networks.policy import Policy
from trl_suite.networks.stage_memory import STAGE_PREFIX
from trl_suite.record import Transplant

LogStd = Literal["fresh", "copied"]


def transplant(
    source: Policy | None,
    into: Components,
    alignment: Alignment | None,
    name: str,
    method: Copies,
    generator: torch.Generator | None = None,
) -> Transplant:
    """Copy what the method names into the target's tensors, in place, and return the record of every component.

    Args:
        source: where from; None for a method that copies nothing.
        into: the target learner's components, as fresh as in the paired scratch run.
        alignment: target slots -> source slots; None without a source.
        name: the method's name, for the record.
        method: what is copied and frozen.
        generator: where permutations come from, for a method that shuffles.

    Raises:
        InputError: the method needs a source and there is none, names a component that does not exist, or a layer's
            shape differs. Nothing has been written then.
    """
    where = f"method '{name}'"
    if source is not None:
        refuse_missing_critic(source, method, where)
    frozen = select((*method.frozen_selectors, *columns(into)), into, where)
    if not method.needs_source:
        return Transplant(
            method=name,
            source="",
            fresh=tuple(into),
            frozen=frozen,
            normaliser=described(method, (), into),
            log_std="fresh" if LOG_STD in into else "none",
        )
    if source is None or alignment is None:
        raise InputError(f"{where} needs a source policy; none was given")
    fit = Fit(where, source, into, alignment, method, frozen)
    check(fit)
    shares = _source_shares(method, into, where)
    for component, numbers in _shuffled(fit, generator).items():
        _copy(component, numbers, fit, shares.get(component, 1.0))
    _silence_constants(fit)
    return _recorded(fit, name, synced=_sync_targets(into, fit.copied))


def _recorded(fit: Fit, name: str, synced: tuple[str, ...]) -> Transplant:
    origins = {*fit.copied, *map(fit.origin, fit.copied)}
    components = (*fit.source.components, *(name for name in fit.source.memory if not name.startswith(STAGE_PREFIX)))
    return Transplant(
        method=name,
        source=fit.source.digest,
        copied=fit.copied,
        synced=synced,
        fresh=tuple(component for component in fit.into if component not in fit.copied + synced),
        frozen=fit.frozen,
        missing=tuple(component for component in fit.requested if component not in fit.offered),
        left_over=tuple(component for component in components if component not in origins),
        unmatched=fit.alignment.unmatched,
        normaliser=described(fit.method, fit.copied, fit.into),
        log_std="none" if LOG_STD not in fit.into else "copied" if LOG_STD in fit.copied else "fresh",
    )


def _source_shares(method: Copies, into: Components, where: str) -> dict[str, float]:
    """Return how much of the source is kept of each component that is shrunk and perturbed."""
    return {name: share for pattern, share in method.keep.items() for name in select((pattern,), into, where)}


def _shuffled(fit: Fit, generator: torch.Generator | None) -> dict[str, Mapping[str, torch.Tensor]]:
    """Return the copied numbers, with the outputs of some layers permuted, which the layers above do not know of."""
    numbers = {component: fit.offered[component] for component in fit.copied}
    for component in select(fit.method.shuffle, fit.into, fit.where):
        if component in numbers:
            if generator is None:
                raise InputError(f"{fit.where} shuffles and needs a torch.Generator to draw from")
            rows = {name: value for name, value in numbers[component].items() if INPUT_NORM not in name}
            order = torch.randperm(max(value.shape[0] for value in rows.values() if value.ndim), generator=generator)
            numbers[component] = {**numbers[component], **{name: value[order] for name, value in rows.items()}}
    return numbers


def _copy(component: str, source: Mapping[str, torch.Tensor], fit: Fit, share: float) -> None:
    target = fit.into[component]
    with torch.no_grad():
        for tensor, value in target.items():
            copied = _aligned(component, tensor, source[tensor], value, fit)
            value.copy_(copied if share == 1.0 or not copied.is_floating_point() else torch.lerp(value, copied, share))
        if "count" in target and (most := most_samples(fit.method)) is not None:
            target["count"].clamp_(max=float(most))


def _aligned(component: str, tensor: str, source: torch.Tensor, target: torch.Tensor, fit: Fit) -> torch.Tensor:
    """Return the source's numbers at the target's slots.

    A target slot without a counterpart gets a weight column of zeros, which leaves the function of the shared slots
    as it was; an action without one, and its statistics, keep the target's fresh values. Columns that two slots of the
    target have from one of the source are halved.
    """
    for dimension, axis in fit.axes(component, tensor).items():
        source = _gathered(source, target, dimension, axis, fit.alignment)
    return source


def _gathered(
    source: torch.Tensor, target: torch.Tensor, dimension: int, axis: Axis, alignment: Alignment
) -> torch.Tensor:
    column = axis != "action" and source.ndim == 2
    pieces: list[torch.Tensor] = []
    for place, (index, share) in enumerate(zip(alignment.indices(axis), alignment.shares(axis), strict=True)):
        if index is None:
            pieces.append(_unmatched(target.select(dimension, place), column))
        else:
            piece = source.select(dimension, index)
            pieces.append(piece * share if column else piece)
    return torch.stack([piece.detach().to(source) for piece in pieces], dim=dimension)


def _unmatched(fresh: torch.Tensor, silent: bool) -> torch.Tensor:
    return torch.zeros_like(fresh) if silent else fresh


def _sync_targets(into: Components, copied: tuple[str, ...]) -> tuple[str, ...]:
    """Make the target of every copied layer its equal, unless it was copied itself; return those that were."""
    synced = tuple(TARGET + name for name in copied if TARGET + name in into and TARGET + name not in copied)
    with torch.no_grad():
        for name in synced:
            for tensor, value in into[name].items():
                value.copy_(into[name.removeprefix(TARGET)][tensor])
    return synced


def _silence_constants(fit: Fit) -> None:
    """Give observations that were constant in the source unit variance and no weight.

    Their variance is next to nothing, so that the first change in the target would reach the network as the largest
    number that the normaliser lets through.
    """
    if OBSERVATION_STATISTICS not in fit.copied:
        return
    constant = _constant(fit.source.components[OBSERVATION_STATISTICS])
    places = [p for p, index in enumerate(fit.alignment.observation) if index is not None and constant[index]]
    with torch.no_grad():
        fit.into[OBSERVATION_STATISTICS]["var"][places] = 1.0
        for component in fit.copied:
            layer = ADAPTER + component if component in fit.unmoved else component
            for tensor, value in fit.into[layer].items():
                if tensor.endswith("map") or fit.axes(component, tensor).get(1) in ("observation", "both"):
                    value[:, places] = 0.0


def _constant(statistics: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return which slots never left their mean: SB3's prior of weight 1e-4 is then all there is to their variance."""
    mean, var, count = statistics["mean"], statistics["var"], statistics["count"]
    return (count > 1) & (var * count <= 2e-4 * (1 + mean**2))


class _CopyKeys(Protocol):
    @property
    def copy(self) -> Sequence[str]: ...

    @property
    def log_std(self) -> LogStd: ...

    @property
    def fresh(self) -> Sequence[str]: ...

    @property
    def keep(self) -> Mapping[str, float]: ...

    @property
    def shuffle(self) -> Sequence[str]: ...


def _check(method: _CopyKeys) -> str:
    if LOG_STD in method.copy:
        return "copy: 'log_std' has a key of its own: log_std = 'copied'"
    idle = [key for key in ("fresh", "keep", "shuffle") if getattr(method, key) and not _needs_source(method)]
    return f"{', '.join(idle)} changes what is copied, and nothing is: give copy too" if idle else ""


def _needs_source(method: _CopyKeys) -> bool:
    return bool(method.copy) or method.log_std == "copied"


COPY = Mechanism(
    name="copy",
    keys=("copy", "log_std", "fresh", "keep", "shuffle"),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": everywhere},
    check=_check,
    needs_source=_needs_source,
)
