"""Self-composing policies: each stage adds a module that attends to the frozen ones before it (Malagon et al. 2024).

The source, with all modules that it has, becomes a frozen module of the learner. The learner's own actor is fresh: its
first layer takes in what the input head gives, beside the state. On SB3 `training/sb3/models/composed_layers.py`
exchanges the actor's trunk and heads; `networks/composition.py` computes both heads.
"""

import math
from typing import Annotated, Protocol

import msgspec
import torch

from trl_suite.algorithms.registry import find
from trl_suite.errors import InputError
from trl_suite.mechanisms.adapters import Added
from trl_suite.mechanisms.mechanism import Mechanism, during
from trl_suite.networks.components import (
    BY_FEATURE,
    INPUT_ATTENTION,
    LOG_STD,
    MODULE_PREFIX,
    OUTPUT_ATTENTION,
    TARGET,
    Components,
)
from trl_suite.networks.composition import count_modules
from trl_suite.networks.policy import Policy
from trl_suite.networks.stage_memory import acts

MODULES_MAX = 127  # frozen ones of a policy: each step goes through all of them


class Composition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A learner that attends to the source's outputs, and adds to what it makes of them."""

    width: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 64  # of queries, keys and of what the input head gives


def composed(
    composition: Composition, learner: Components, source: Policy, generator: torch.Generator, where: str
) -> Added:
    """Return the components of the frozen modules, zeros that the source's are copied to, and those that learn.

    Args:
        composition: of the method.
        learner: the fresh learner's components.
        source: the policy that becomes its last module.
        generator: where the first weights of the heads come from, and those of the first layer's further inputs.
        where: opens a message.

    Raises:
        InputError: the actor has no trunk or explores by state, the source's layers are of other widths, or it has too
            many modules.
    """
    _check_fit(composition, learner, source, where)
    first, actions = learner["actor.trunk.0"], learner["actor.head"]["weight"].shape[0]
    state, width = first["weight"].shape[1], composition.width
    further = _drawn((first["weight"].shape[0], width), state + width, generator)
    output = _head(("query", state), ("key", actions), width=width, generator=generator)
    taken_in = _head(("query", state), ("key", actions), ("value", actions), width=width, generator=generator)
    added: Added = {
        "actor.trunk.0": {**first, "weight": torch.cat([first["weight"].detach(), further], dim=1)},
        OUTPUT_ATTENTION: output,
        INPUT_ATTENTION: taken_in,
    }
    followed = [name for name in added if f"{TARGET}actor.trunk.0" in learner]
    added |= {TARGET + name: {key: value.clone() for key, value in added[name].items()} for name in followed}
    return added | {name: _zeros(origin, source.components) for name, origin in modules(source.components).items()}


def modules(source: Components) -> dict[str, str]:
    """Return the frozen modules of a learner by component, and where each of them stands in the source."""
    earlier = {name: name for name in source if name.startswith(MODULE_PREFIX)}
    last = f"{MODULE_PREFIX}{count_modules(source)}."
    return earlier | {f"{last}{name}": name for name in source if acts(name)}


def _zeros(component: str, source: Components) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(value.detach()) for name, value in source[component].items()}


def _check_fit(composition: Composition, learner: Components, source: Policy, where: str) -> None:
    if "actor.trunk.0" not in learner:
        raise InputError(f"{where}: composition: the actor has no trunk layer, which the input head would lead into")
    if any(BY_FEATURE in components.get(LOG_STD, {}) for components in (learner, source.components)):
        raise InputError(f"{where}: composition: not with use_sde, whose noise is of one network's features")
    if count_modules(source.components) >= MODULES_MAX:
        raise InputError(f"{where}: composition: the source has {MODULES_MAX} modules, and no more can be added")
    heads = source.card.network.composed
    if heads is not None and heads.attention != composition.width:
        raise InputError(
            f"{where}: composition.width: {composition.width}, and the source's heads have {heads.attention}: give that"
        )
    before, now = ([len(parts[name]["weight"]) for name in _trunk(parts)] for parts in (source.components, learner))
    if before != now:
        raise InputError(
            f"{where}: composition: the source's actor has layers of {before} units and the target's of {now}: "
            "modules are of equal widths"
        )


def _trunk(components: Components) -> list[str]:
    names = (f"actor.trunk.{layer}" for layer in range(len(components)))
    return [name for name in names if name in components]


def _head(*maps: tuple[str, int], width: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Return weights and biases of a head's linear maps, drawn as torch draws those of a layer."""
    drawn: dict[str, torch.Tensor] = {}
    for name, inputs in maps:
        drawn[f"{name}_weight"] = _drawn((width, inputs), inputs, generator)
        drawn[f"{name}_bias"] = _drawn((width,), inputs, generator)
    return drawn


def _drawn(shape: tuple[int, ...], inputs: int, generator: torch.Generator) -> torch.Tensor:
    return (2 * torch.rand(shape, generator=generator) - 1) / math.sqrt(inputs)


class _CompositionKeys(Protocol):
    @property
    def composition(self) -> Composition | None: ...

    @property
    def copied_selectors(self) -> tuple[str, ...]: ...

    @property
    def weight_regularizer(self) -> object: ...

    @property
    def adapter(self) -> object: ...

    @property
    def reset(self) -> object: ...

    @property
    def packing(self) -> object: ...

    @property
    def heads(self) -> tuple[str, ...]: ...


def _label(method: _CompositionKeys) -> str:
    return "composes" if method.composition else ""


def _check(method: _CompositionKeys) -> str:
    if method.composition is None:
        return ""
    for key in ("weight_regularizer", "adapter", "reset", "packing", "heads"):
        if getattr(method, key):
            return f"composition gives the actor other layers, which {key} does not know: give one of them"
    if actors := [name for name in method.copied_selectors if acts(name) or name == "actor"]:
        return f"composition: the own network begins fresh, and the source's is a module of it: do not copy {actors[0]}"
    return ""


def _on_sb3(method: _CompositionKeys, algorithm: str) -> str:
    normalised = find(algorithm).normalises_inputs
    return f"composition: each layer of {algorithm} normalises its inputs, and no module does" if normalised else ""


def _needs_source(method: _CompositionKeys) -> bool:
    return method.composition is not None


SELF_COMPOSING = Mechanism(
    name="self-composing policies",
    keys=("composition",),
    can={"sb3": _on_sb3, "transplant": during},
    label=_label,
    check=_check,
    needs_source=_needs_source,
)
