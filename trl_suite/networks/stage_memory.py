"""Memory of the stages before a policy's own, in a sequence of tasks, and the policy that it is on each of them.

It lies beside the weights, in `memory.safetensors`, whose digest the card names. A stage's memory is made when the next
one begins, from the policy and the memory that it starts from: nothing is lost where a stage is made again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import torch

from trl_suite.networks.components import LOG_STD, MODULE_PREFIX, Components
from trl_suite.networks.composition import module_of

if TYPE_CHECKING:
    from trl_suite.networks.policy import Policy

STAGE_PREFIX = "stages."  # opens the components that are handed on
STAGE_IMPORTANCE = "stages.importance"  # `component.tensor` -> how much the earlier tasks depend on each number
STAGE_OWNERS = "stages.owners"  # `component.tensor` -> the stage that owns each weight, from 1 on; 0 where it is free
STAGE_STATES = "stages.states."  # opens the states of each earlier task, and what its policy did there: stages.states.0
STAGE_REPLAYS = "stages.replay."  # opens the transitions of each earlier task
STAGE_ACTORS = "stages.actors."  # opens the whole actor of each earlier task, where later columns stand beside it
STAGE_HEADS = "stages.heads."  # opens the heads of each earlier task: `component.tensor` -> its numbers


def dtype_of(component: str, tensor: str) -> torch.dtype:
    """Return the type of the numbers of a tensor that is handed on."""
    if component == STAGE_OWNERS:
        return torch.int8
    return torch.float64 if tensor.endswith("observations") or tensor.startswith("term.") else torch.float32


def handed_on(memory: Components) -> dict[str, dict[str, torch.Tensor]]:
    """Return the part of a policy's memory that is of earlier stages."""
    return {name: dict(tensors) for name, tensors in memory.items() if name.startswith(STAGE_PREFIX)}


def policy_of_task(policy: "Policy", env: str) -> "Policy":
    """Return the policy as it acts on a task: the weights and heads that are that task's, where stages have their own.

    Args:
        policy: of a stage.
        env: the task; on one that no stage has had, the policy acts as it is.
    """
    if env == policy.card.training.env or env not in policy.earlier_tasks:
        return policy
    stage = max(index for index, task in enumerate(policy.earlier_tasks) if task == env)
    if policy.card.network.composed is not None:
        return _module(policy, stage)
    if actor := policy.memory.get(f"{STAGE_ACTORS}{stage}"):
        return _column(policy, actor)
    components = _with_heads(policy.components, policy.memory.get(f"{STAGE_HEADS}{stage}", {}))
    return replace(policy, components=_owned(components, policy.memory.get(STAGE_OWNERS, {}), stage + 1))


def _module(policy: "Policy", stage: int) -> "Policy":
    """Return the policy with a frozen module of its own, which attends to those before it, in place of its actor."""
    composed = policy.card.network.composed
    assert composed is not None
    earlier = tuple(f"{MODULE_PREFIX}{index}." for index in range(stage))
    components = {
        name: tensors
        for name, tensors in policy.components.items()
        if not acts(name) and (not name.startswith(MODULE_PREFIX) or name.startswith(earlier))
    }
    attended = msgspec.structs.replace(composed, modules=stage) if stage else None
    network = msgspec.structs.replace(policy.card.network, composed=attended)
    card = msgspec.structs.replace(policy.card, network=network)
    return replace(policy, card=card, components={**components, **module_of(stage, policy.components)})


def actors_of(source: "Policy") -> dict[str, dict[str, torch.Tensor]]:
    """Return the actor of each stage up to the source's own, `stages.actors.K`."""
    stored = {name: dict(tensors) for name, tensors in source.memory.items() if name.startswith(STAGE_ACTORS)}
    actor = {
        f"{name}.{tensor}": value.detach().clone()
        for name, tensors in source.components.items()
        for tensor, value in tensors.items()
        if acts(name)
    }
    return stored | {f"{STAGE_ACTORS}{len(source.earlier_tasks)}": actor}


def acts(component: str) -> bool:
    """Whether a component is one of the actor's, its deviation included."""
    return component == LOG_STD or component.startswith("actor.")


def _column(policy: "Policy", actor: Mapping[str, torch.Tensor]) -> "Policy":
    """Return the policy with an earlier actor, of fewer columns, in place of its own."""
    components = {name: dict(tensors) for name, tensors in policy.components.items() if not acts(name)}
    for name, value in actor.items():
        component, _, tensor = name.rpartition(".")
        components.setdefault(component, {})[tensor] = value
    layers = [f"actor.trunk.{layer}.weight" for layer in range(len(policy.card.network.actor))]
    widths = tuple(len(actor[layer]) for layer in layers)
    network = msgspec.structs.replace(policy.card.network, actor=widths)
    return replace(policy, card=msgspec.structs.replace(policy.card, network=network), components=components)


def _with_heads(components: Components, heads: Mapping[str, torch.Tensor]) -> Components:
    """Return the components with the tensors of a task's heads in place of their own."""
    return {
        name: {tensor: heads.get(f"{name}.{tensor}", value) for tensor, value in tensors.items()}
        for name, tensors in components.items()
    }


def _owned(components: Components, owners: Mapping[str, torch.Tensor], stage: int) -> Components:
    """Return the components with 0 in place of all weights that a later stage owns, or none."""

    def visible(name: str, value: torch.Tensor) -> torch.Tensor:
        owner = owners.get(name)
        return value if owner is None else torch.where((owner > 0) & (owner <= stage), value, 0.0)

    return {
        name: {tensor: visible(f"{name}.{tensor}", value) for tensor, value in tensors.items()}
        for name, tensors in components.items()
    }
