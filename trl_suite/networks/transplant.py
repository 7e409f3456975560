"""Copying a source policy's components into a target learner, slot by slot and layer by layer."""

from collections.abc import Mapping
from typing import NamedTuple

import torch

from trl_suite.errors import InputError
from trl_suite.networks.adapters import in_source_slots
from trl_suite.networks.align import Alignment
from trl_suite.networks.components import (
    ADAPTER,
    OBSERVATION_STATISTICS,
    OPTIMISER,
    OPTIONAL,
    REPLAY,
    SOURCE,
    TARGET,
    Axis,
    Components,
    select,
    slot_axes,
)
from trl_suite.networks.methods import Lateral, Method, Residual
from trl_suite.networks.policy import Policy
from trl_suite.record import Transplant

_DRIFT = {"normaliser", OBSERVATION_STATISTICS}  # selectors that thaw the statistics
MAX_COUNT = 1e4  # statistics of a million samples would never follow the target: their weight is capped


def transplant(
    source: Policy | None,
    into: Components,
    alignment: Alignment | None,
    name: str,
    method: Method,
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
    columns = tuple(component for component in into if component.startswith(SOURCE))
    frozen = select((*method.freeze, *columns), into, where)
    if not method.needs_source:
        return Transplant(method=name, source="", fresh=tuple(into), frozen=frozen)
    if source is None or alignment is None:
        raise InputError(f"{where} needs a source policy; none was given")
    offered = _offered(source, columns)
    wanted = select((*method.copy, *columns), {**dict.fromkeys(into), **offered}, where)
    copied = tuple(component for component in wanted if component in offered and component in into)
    fit = _Fit(alignment, in_source_slots(method.adapter))
    _check_depth(where, offered, into, wanted)
    _check_residual(where, source, copied)
    _check_adapter(where, source, method, copied, frozen)
    _check_moments(where, source, alignment, copied)
    _check_shapes(offered, into, fit, copied)
    numbers = {component: offered[component] for component in copied}
    for component in (name for name in select(method.shuffle, into, where) if name in copied):
        numbers[component] = _shuffled(numbers[component], generator, where)
    kept = _kept(method, into, where)
    for component in copied:
        _copy(component, numbers[component], into[component], fit, kept.get(component, 1.0))
    _silence_constants(source, into, fit, copied)
    synced = _sync_targets(into, copied)
    return Transplant(
        method=name,
        source=source.digest,
        copied=copied,
        synced=synced,
        fresh=tuple(component for component in into if component not in copied + synced),
        frozen=frozen,
        missing=tuple(component for component in wanted if component not in offered),
        left_over=tuple(name for name in (*source.components, *source.memory) if not {name, SOURCE + name} & {*copied}),
        unmatched=alignment.unmatched,
    )


class _Fit(NamedTuple):
    """How the source's numbers come to lie in the target."""

    alignment: Alignment
    unmoved: frozenset[str]  # components that keep the source's slots

    def axes(self, component: str, tensor: str) -> dict[int, Axis]:
        """Return which dimensions of a tensor follow their slots."""
        return {} if component in self.unmoved else slot_axes(component, tensor)


def _offered(source: Policy, columns: tuple[str, ...]) -> dict[str, Mapping[str, torch.Tensor]]:
    """Return the source's components, under both of their names where they also make a column beside the target's."""
    beside = {name: source.components[name.removeprefix(SOURCE)] for name in columns}
    return {**source.components, **source.memory, **beside}


def _check_residual(where: str, source: Policy, copied: tuple[str, ...]) -> None:
    if source.card.network.residual is not None and any(_acts(name) for name in copied):
        raise InputError(
            f"{where}: the source is a residual policy, whose actor is more than layers: it can guide and be imitated "
            "(jumpstart, kickstart), and its actor cannot be copied"
        )


def _acts(component: str) -> bool:
    return component.removeprefix(SOURCE).startswith("actor.")


def _check_adapter(
    where: str, source: Policy, method: Method, copied: tuple[str, ...], frozen: tuple[str, ...]
) -> None:
    """Refuse an adapter around layers that are not the source's, or whose inputs would drift away from them."""
    behind = {name for name in in_source_slots(method.adapter) if not name.startswith(TARGET)} - {*copied}
    if behind:
        raise InputError(
            f"{where}: a learned input leads into the source's own layer: copy {', '.join(sorted(behind))} too"
        )
    held = OBSERVATION_STATISTICS in copied and OBSERVATION_STATISTICS in frozen and not method.thaw.keys() & _DRIFT
    if isinstance(method.adapter, Lateral | Residual) and OBSERVATION_STATISTICS in source.components and not held:
        raise InputError(
            f"{where}: the source's column sees what its own statistics give: copy and freeze {OBSERVATION_STATISTICS}"
        )


def _check_moments(where: str, source: Policy, alignment: Alignment, copied: tuple[str, ...]) -> None:
    """Refuse moments whose slots have moved: they are of single weights, and nobody aligns them."""
    observed, moved = range(len(source.interface.observation)), range(len(source.interface.action))
    same = (alignment.observation, alignment.action) == (tuple(observed), tuple(moved))
    if not same and any(name.startswith(OPTIMISER) for name in copied):
        raise InputError(f"{where}: an optimiser's moments are copied between equal interfaces only")


def _check_depth(where: str, offered: Components, into: Components, wanted: tuple[str, ...]) -> None:
    """Refuse a layer that only one side has: what lies above it would work on other features."""
    for component in wanted:
        sides = (component in offered, component in into)
        if not sides[0] and component.startswith((REPLAY, OPTIMISER)):
            raise InputError(f"{where}: the source has kept no {component}: make it in an experiment with this method")
        if component not in OPTIONAL and not all(sides):
            owner, other = ("source", "target") if sides[0] else ("target", "source")
            raise InputError(f"{where}: the {owner} has {component} and the {other} has not; name the layers to copy")


def _check_shapes(offered: Components, into: Components, fit: _Fit, copied: tuple[str, ...]) -> None:
    """Refuse a whole layer, before anything is written, if one of its tensors does not fit."""
    for component in copied:
        for tensor, target in into[component].items():
            shape = _aligned_shape(component, tensor, offered[component][tensor], fit)
            if shape != tuple(target.shape):
                raise InputError(
                    f"{component}.{tensor}: {shape} from the source, {tuple(target.shape)} in the target; "
                    "copy between networks of equal widths, or leave this component out"
                )


def _aligned_shape(component: str, tensor: str, value: torch.Tensor, fit: _Fit) -> tuple[int, ...]:
    axes = fit.axes(component, tensor)
    return tuple(
        len(fit.alignment.indices(axes[dimension])) if dimension in axes else size
        for dimension, size in enumerate(value.shape)
    )


def _kept(method: Method, into: Components, where: str) -> dict[str, float]:
    """Return how much of the source is kept of each component that is shrunk and perturbed."""
    return {name: share for pattern, share in method.keep.items() for name in select((pattern,), into, where)}


def _shuffled(
    numbers: Mapping[str, torch.Tensor], generator: torch.Generator | None, where: str
) -> dict[str, torch.Tensor]:
    """Return the layer with its outputs permuted, which the layer above does not know of."""
    if generator is None:
        raise InputError(f"{where} shuffles and needs a torch.Generator to draw from")
    outputs = max(value.shape[0] for value in numbers.values() if value.ndim)
    order = torch.randperm(outputs, generator=generator)
    return {name: value[order] for name, value in numbers.items()}


def _copy(
    component: str, source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor], fit: _Fit, kept: float
) -> None:
    with torch.no_grad():
        for tensor, value in target.items():
            copied = _aligned(component, tensor, source[tensor], value, fit)
            value.copy_(copied if kept == 1.0 else torch.lerp(value, copied, kept))
        if "count" in target:
            target["count"].clamp_(max=MAX_COUNT)


def _aligned(component: str, tensor: str, source: torch.Tensor, target: torch.Tensor, fit: _Fit) -> torch.Tensor:
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


def _silence_constants(source: Policy, into: Components, fit: _Fit, copied: tuple[str, ...]) -> None:
    """Give observations that were constant in the source unit variance and no weight.

    Their variance is next to nothing, so that the first change in the target would reach the network as the largest
    number that the normaliser lets through.
    """
    if OBSERVATION_STATISTICS not in copied:
        return
    constant = _constant(source.components[OBSERVATION_STATISTICS])
    places = [p for p, index in enumerate(fit.alignment.observation) if index is not None and constant[index]]
    with torch.no_grad():
        into[OBSERVATION_STATISTICS]["var"][places] = 1.0
        for component in copied:
            seen = ADAPTER + component if component in fit.unmoved else component
            for tensor, value in into[seen].items():
                if tensor.endswith("map") or fit.axes(component, tensor).get(1) in ("observation", "both"):
                    value[:, places] = 0.0


def _constant(statistics: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return which slots never left their mean: SB3's prior of weight 1e-4 is then all there is to their variance."""
    mean, var, count = statistics["mean"], statistics["var"], statistics["count"]
    return (count > 1) & (var * count <= 2e-4 * (1 + mean**2))
