"""Adapters: components beside a learner's own, each with the value from which it learns.

Learned inputs, low-rank products, lateral columns, residuals. On SB3 `training/sb3/models/layers.py` exchanges layers;
in a cohort `training/cohort/stacked/low_rank.py` has low-rank products for PPO, and no other adapter.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Protocol

import msgspec
import torch

from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.mechanisms.mechanism import Mechanism, Strength, during
from trl_suite.networks.adapted_layers import AdaptedLayer, ColumnLayer, LowRankLayer, MappedLayer, ResidualHead
from trl_suite.networks.align import Alignment
from trl_suite.networks.components import (
    ADAPTER,
    BY_FEATURE,
    LOG_STD,
    NORM,
    SOURCE_PREFIX,
    TARGET,
    Components,
    slot_axes,
)

Added = dict[str, dict[str, torch.Tensor]]
Part = Literal["actor", "critic"]


class _TaggedAdapter(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"
):
    """A table whose key `kind` says what it is."""


class LearnedInput(_TaggedAdapter, frozen=True, tag="learned-input"):
    """A linear map from the target's slots to the source's before the first layer, which starts as the names say.

    The head, whose rows are the target's actions, is the map on the other side: it starts from trunk features, never
    from the source's actions (as in arXiv 2509.22310).
    """

    on: tuple[Part, ...] = ("actor", "critic")


class LowRank(_TaggedAdapter, frozen=True, tag="low-rank"):
    """A product of two thin matrices, 0 at first, on the frozen weights of every trunk layer (LoRA, Hu et al. 2021).

    Biases learn beside it. For layers as small as these it constrains the rank, and saves nothing.
    """

    on: tuple[Part, ...] = ("actor", "critic")
    rank: Annotated[int, msgspec.Meta(gt=0)] = 4


class Lateral(_TaggedAdapter, frozen=True, tag="lateral"):
    """The source's trunk as a frozen column beside a fresh one (progressive networks, Rusu et al. 2016, eq. 1).

    From the second layer on, the fresh column takes in the source's features through weights that are 0 at first.
    """

    on: tuple[Part, ...] = ("actor", "critic")


class Residual(_TaggedAdapter, frozen=True, tag="residual"):
    """Actions that are the frozen source's plus bound * tanh(a fresh network), which is 0 at first.

    Silver et al. 2018 and Johannink et al. 2018; the sum is made before the algorithm bounds it, and the critic sees
    what is executed.
    """

    bound: Strength = 0.5  # of the correction, in units of the action before it is clipped or squashed


Adapter = LearnedInput | LowRank | Lateral | Residual


def additions(
    adapter: Adapter, learner: Components, source: Components, alignment: Alignment, generator: torch.Generator
) -> Added:
    """Return the components that the adapter adds, and those of the learner that begin as something else with it.

    `adapter.X` holds what is learned beside component X, `source.X` the place of the source's frozen X.

    Args:
        adapter: of the method.
        learner: the fresh learner's components.
        source: the source policy's.
        alignment: target slots -> source slots.
        generator: where the first thin matrix of a low-rank product comes from.

    Raises:
        InputError: the source's trunk has another number of layers, layers that columns would stand beside are
            normalised, their learner explores by state, or a residual's target moves what the source does not.
    """
    match adapter:
        case LearnedInput():
            added = _learned_inputs(adapter, learner, source, alignment)
        case LowRank():
            added = _low_rank(adapter, learner, generator)
        case Lateral():
            added = _columns(adapter.on, learner, source, alignment) | _laterals(adapter, learner, source)
        case Residual():
            added = _residual(learner, source, alignment)
    followed = {TARGET + name: tensors for name, tensors in added.items() if _followed(name, learner)}
    return added | {name: {key: value.clone() for key, value in tensors.items()} for name, tensors in followed.items()}


def in_source_slots(adapter: Adapter | None) -> frozenset[str]:
    """Return the components whose columns are the source's slots: those behind a learned map."""
    parts = adapter.on if isinstance(adapter, LearnedInput) else ()
    return frozenset(f"{prefix}{part}.trunk.0" for part in parts for prefix in ("", TARGET))


def weights(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what stands before `weight` in each weight's name, and the weight: one for each of twin critics."""
    for name, tensor in tensors.items():
        if name.endswith("weight"):
            yield name.removesuffix("weight"), tensor


def features_below(component: str, prefix: str, added: Added) -> int:
    """Return how many features of the source's column reach a layer beside the learner's own.

    Args:
        component: the layer, without `target.`.
        prefix: of which of twin critics, as `weights` yields it.
        added: what `additions` returned.
    """
    part = "actor" if component == LOG_STD else component.partition(".")[0]
    column = trunk(f"{SOURCE_PREFIX}{part}", added)
    depth = column.index(SOURCE_PREFIX + component) if SOURCE_PREFIX + component in column else len(column)
    return len(added[column[depth - 1]][f"{prefix}bias"]) if depth else 0


def _followed(name: str, learner: Components) -> bool:
    """Whether a target network follows what was added; it shares the frozen layers of a source."""
    return not name.startswith(SOURCE_PREFIX) and TARGET + name.removeprefix(ADAPTER) in learner


def trunk(part: str, components: Components) -> list[str]:
    """Return the names of a part's trunk layers, from the bottom up."""
    names: list[str] = []
    while (name := f"{part}.trunk.{len(names)}") in components:
        names.append(name)
    return names


def _learned_inputs(adapter: LearnedInput, learner: Components, source: Components, alignment: Alignment) -> Added:
    added: Added = {}
    for name in (f"{part}.trunk.0" for part in adapter.on):
        if name not in source or name not in learner:
            raise InputError(f"a learned input needs {name}, which source or target has not")
        added[ADAPTER + name], added[name] = {}, dict(learner[name])
        for prefix, weight in weights(source[name]):
            named = _named_map(alignment, slot_axes(name, f"{prefix}weight")[1] == "both", weight.shape[1])
            added[name][f"{prefix}weight"] = torch.zeros_like(weight)
            added[ADAPTER + name] |= {f"{prefix}map": named, f"{prefix}shift": torch.zeros(weight.shape[1])}
    return added


def _named_map(alignment: Alignment, sees_actions: bool, inputs: int) -> torch.Tensor:
    """Return the map that the names give, (source slots, target slots): each target slot to what stands for it."""
    axis = "both" if sees_actions else "observation"
    named = torch.zeros(inputs, len(alignment.indices(axis)))
    for place, (index, share) in enumerate(zip(alignment.indices(axis), alignment.shares(axis), strict=True)):
        if index is not None:
            named[index, place] = share
    return named


def _low_rank(adapter: LowRank, learner: Components, generator: torch.Generator) -> Added:
    added: Added = {}
    for name in (layer for part in adapter.on for layer in trunk(part, learner)):
        added[ADAPTER + name] = {}
        for prefix, weight in weights(learner[name]):
            outputs, inputs = weight.shape
            down = torch.randn(adapter.rank, inputs, generator=generator) / inputs**0.5
            thin = {"up": torch.zeros(outputs, adapter.rank), "down": down, "shift": torch.zeros(outputs)}
            added[ADAPTER + name] |= {prefix + key: value for key, value in thin.items()}
    return added


def _columns(parts: tuple[str, ...], learner: Components, source: Components, alignment: Alignment) -> Added:
    """Return room for the source's trunks, their first layer in the target's slots."""
    if "actor" in parts and BY_FEATURE in learner.get(LOG_STD, {}):
        raise InputError("columns: not with use_sde, whose noise is of the features of one column")
    added: Added = {}
    for part in parts:
        source_layers, layers = trunk(part, source), trunk(part, learner)
        if not source_layers or len(source_layers) != len(layers):
            raise InputError(
                f"the {part}'s trunk has {len(source_layers)} layers in the source and {len(layers)} in the target: "
                "columns beside each other need as many of both"
            )
        if any(name + NORM in components for components in (source, learner) for name in layers):
            raise InputError(
                f"the {part}'s layers are normalised (layer_norm), and columns side by side would be as one"
            )
        added |= {SOURCE_PREFIX + name: _room(name, source[name], alignment) for name in source_layers}
    return added


def _room(name: str, tensors: Mapping[str, torch.Tensor], alignment: Alignment) -> dict[str, torch.Tensor]:
    room: dict[str, torch.Tensor] = {}
    for key, value in tensors.items():
        axes = slot_axes(name, key)
        shape = [len(alignment.indices(axes[i])) if i in axes else size for i, size in enumerate(value.shape)]
        room[key] = torch.zeros(shape)
    return room


def _laterals(adapter: Lateral, learner: Components, source: Components) -> Added:
    """Return weights of 0 from the source's features to all that the fresh column has above its first layer."""
    added: Added = {}
    for part in adapter.on:
        layers = trunk(part, learner)
        above = [*layers[1:], f"{part}.head"]
        if part == "actor" and "weight" in learner.get(LOG_STD, {}):
            above.append(LOG_STD)
        for name in above:
            below = layers[layers.index(name) - 1] if name in layers else layers[-1]
            widths = {prefix: weight.shape[0] for prefix, weight in weights(source[below])}
            added[ADAPTER + name] = {
                f"{prefix}lateral": torch.zeros(weight.shape[0], widths[prefix])
                for prefix, weight in weights(learner[name])
            }
    return added


def _residual(learner: Components, source: Components, alignment: Alignment) -> Added:
    if idle := alignment.action.count(None):
        slots = ", ".join(alignment.unmatched[-idle:])  # where actions stand last
        raise InputError(f"a residual corrects the source's actions, and the source has none for {slots}")
    head = {name: torch.zeros_like(tensor) for name, tensor in learner["actor.head"].items()}
    room = _room("actor.head", source["actor.head"], alignment)
    return _columns(("actor",), learner, source, alignment) | {f"{SOURCE_PREFIX}actor.head": room, "actor.head": head}


def kind_of(adapter: Adapter, component: str) -> type[AdaptedLayer]:
    """Return the class of an adapted component's layer."""
    match adapter:
        case LowRank():
            return LowRankLayer
        case LearnedInput():
            return MappedLayer
        case Residual() if component == "actor.head":
            return ResidualHead
        case _:
            return ColumnLayer


class _AdapterKeys(Protocol):
    @property
    def adapter(self) -> Adapter | None: ...

    @property
    def distillation(self) -> object: ...

    @property
    def weight_regularizer(self) -> object: ...


def _label(method: _AdapterKeys) -> str:
    return f"adapts ({msgspec.to_builtins(method.adapter)['kind']})" if method.adapter else ""


def _on_sb3(method: _AdapterKeys, algorithm: str) -> str:
    normalised = method.adapter is not None and find(algorithm).normalises_inputs
    return f"each layer of {algorithm} normalises its inputs, and no adapter does" if normalised else ""


def _in_cohort(method: _AdapterKeys, algorithm: str) -> str:
    """Only PPO's trunks have low-rank products in a cohort, and nothing that pulls is there beside them."""
    pulled = method.distillation is not None or method.weight_regularizer is not None
    if isinstance(method.adapter, LowRank) and find(algorithm).on_policy and not pulled:
        return ""
    return "its method has an adapter"


def _needs_source(method: _AdapterKeys) -> bool:
    return method.adapter is not None


ADAPTERS = Mechanism(
    name="adapters",
    keys=("adapter",),
    can={"sb3": _on_sb3, "cohort": _in_cohort, "transplant": during},
    label=_label,
    needs_source=_needs_source,
)
