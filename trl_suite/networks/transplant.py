"""Copying a source policy's components into a target learner, slot by slot and layer by layer."""

from collections.abc import Mapping

import torch

from trl_suite.errors import InputError
from trl_suite.networks.align import Alignment
from trl_suite.networks.components import (
    OBSERVATION_STATISTICS,
    OPTIONAL,
    TARGET,
    Axis,
    Components,
    select,
    slot_axes,
)
from trl_suite.networks.methods import Method
from trl_suite.networks.policy import Policy
from trl_suite.record import Transplant

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
    frozen = select(method.freeze, into, where)
    if not method.needs_source:
        return Transplant(method=name, source="", fresh=tuple(into), frozen=frozen)
    if source is None or alignment is None:
        raise InputError(f"{where} needs a source policy; none was given")
    wanted = select(method.copy, {**dict.fromkeys(into), **dict.fromkeys(source.components)}, where)
    copied = tuple(component for component in wanted if component in source.components and component in into)
    _check_depth(where, source, into, wanted)
    _check_shapes(source, into, alignment, copied)
    kept = _kept(method, into, where)
    shuffled = select(method.shuffle, into, where)
    for component in copied:
        numbers = source.components[component]
        if component in shuffled:
            numbers = _shuffled(numbers, generator, where)
        _copy(component, numbers, into[component], alignment, kept.get(component, 1.0))
    _silence_constants(source, into, alignment, copied)
    synced = _sync_targets(into, copied)
    return Transplant(
        method=name,
        source=source.digest,
        copied=copied,
        synced=synced,
        fresh=tuple(component for component in into if component not in copied + synced),
        frozen=frozen,
        missing=tuple(component for component in wanted if component not in source.components),
        left_over=tuple(component for component in source.components if component not in copied),
        unmatched=alignment.unmatched,
    )


def _check_depth(where: str, source: Policy, into: Components, wanted: tuple[str, ...]) -> None:
    """Refuse a layer that only one side has: what lies above it would work on other features."""
    for component in wanted:
        sides = (component in source.components, component in into)
        if component not in OPTIONAL and not all(sides):
            owner, other = ("source", "target") if sides[0] else ("target", "source")
            raise InputError(f"{where}: the {owner} has {component} and the {other} has not; name the layers to copy")


def _check_shapes(source: Policy, into: Components, alignment: Alignment, copied: tuple[str, ...]) -> None:
    """Refuse a whole layer, before anything is written, if one of its tensors does not fit."""
    for component in copied:
        for tensor, target in into[component].items():
            shape = _aligned_shape(component, tensor, source.components[component][tensor], alignment)
            if shape != tuple(target.shape):
                raise InputError(
                    f"{component}.{tensor}: {shape} from the source, {tuple(target.shape)} in the target; "
                    "copy between networks of equal widths, or leave this component out"
                )


def _aligned_shape(component: str, tensor: str, value: torch.Tensor, alignment: Alignment) -> tuple[int, ...]:
    axes = slot_axes(component, tensor)
    return tuple(
        len(alignment.indices(axes[dimension])) if dimension in axes else size
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
    component: str,
    source: Mapping[str, torch.Tensor],
    target: Mapping[str, torch.Tensor],
    alignment: Alignment,
    kept: float,
) -> None:
    with torch.no_grad():
        for tensor, value in target.items():
            copied = _aligned(component, tensor, source[tensor], value, alignment)
            value.copy_(copied if kept == 1.0 else torch.lerp(value, copied, kept))
        if "count" in target:
            target["count"].clamp_(max=MAX_COUNT)


def _aligned(
    component: str, tensor: str, source: torch.Tensor, target: torch.Tensor, alignment: Alignment
) -> torch.Tensor:
    """Return the source's numbers at the target's slots.

    A target slot without a counterpart gets a weight column of zeros, which leaves the function of the shared slots
    as it was; an action without one, and its statistics, keep the target's fresh values.
    """
    for dimension, axis in slot_axes(component, tensor).items():
        source = _gathered(source, target, dimension, axis, alignment)
    return source


def _gathered(
    source: torch.Tensor, target: torch.Tensor, dimension: int, axis: Axis, alignment: Alignment
) -> torch.Tensor:
    silent = axis != "action" and source.ndim == 2
    pieces = [
        source.select(dimension, index) if index is not None else _unmatched(target.select(dimension, place), silent)
        for place, index in enumerate(alignment.indices(axis))
    ]
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


def _silence_constants(source: Policy, into: Components, alignment: Alignment, copied: tuple[str, ...]) -> None:
    """Give observations that were constant in the source unit variance and no weight.

    Their variance is next to nothing, so that the first change in the target would reach the network as the largest
    number that the normaliser lets through.
    """
    if OBSERVATION_STATISTICS not in copied:
        return
    constant = _constant(source.components[OBSERVATION_STATISTICS])
    places = [place for place, index in enumerate(alignment.observation) if index is not None and constant[index]]
    with torch.no_grad():
        into[OBSERVATION_STATISTICS]["var"][places] = 1.0
        for component in copied:
            for tensor, value in into[component].items():
                if slot_axes(component, tensor).get(1) in ("observation", "both"):
                    value[:, places] = 0.0


def _constant(statistics: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return which slots never left their mean: SB3's prior of weight 1e-4 is then all there is to their variance."""
    mean, var, count = statistics["mean"], statistics["var"], statistics["count"]
    return (count > 1) & (var * count <= 2e-4 * (1 + mean**2))
