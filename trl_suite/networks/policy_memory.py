"""Transitions and optimizer state that a policy may keep beside its weights, in a file of their own."""

import hashlib
from pathlib import Path

import safetensors.torch
import torch

from trl_suite.errors import InputError
from trl_suite.files import storing, write_atomically
from trl_suite.networks import stage_memory, store
from trl_suite.networks.card import Card, Memory
from trl_suite.networks.components import MODULE_PREFIX, OPTIMISER, REPLAY, TARGET, TEMPERATURE, Components
from trl_suite.networks.input_norms import is_running
from trl_suite.networks.store import Shapes

MEMORY_FILE = "memory.safetensors"
TERM_PREFIX = "term."  # opens the names of the reward's terms among a replay's tensors
MOMENTS = ("exp_avg", "exp_avg_sq")  # Adam's, of each parameter, beside its number of steps
STEP = "step"


def save(folder: Path, memory: Components, tasks: tuple[str, ...] = ()) -> Memory | None:
    """Write the file and return what the card says of it; without any, remove an older file and return None.

    Args:
        folder: of the policy.
        memory: what it keeps beside its weights.
        tasks: addresses of the stages before its own, of which it keeps something, here or in its weights.
    """
    path = folder / MEMORY_FILE
    if not memory and not tasks:
        path.unlink(missing_ok=True)
        return None
    content = safetensors.torch.save({key: value.contiguous() for key, value in sorted(_flat(memory).items())})
    with storing(path, len(content)):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    replay = memory.get(REPLAY, {})
    return Memory(
        sha256=hashlib.sha256(content).hexdigest(),
        transitions=len(replay["rewards"]) if replay else 0,
        terms=tuple(sorted(name.removeprefix(TERM_PREFIX) for name in replay if name.startswith(TERM_PREFIX))),
        moments=tuple(name for name in memory if name.startswith(OPTIMISER)),
        tasks=tasks,
        stages={key: tuple(value.shape) for key, value in sorted(_flat(stage_memory.handed_on(memory)).items())},
    )


def load(folder: Path, card: Card) -> dict[str, dict[str, torch.Tensor]]:
    """Return the components kept beside the weights; an empty mapping where the card names none.

    Raises:
        InputError: the file is missing, too large or damaged, or is not what the card says.
    """
    if card.memory is None:
        return {}
    path, expected = folder / MEMORY_FILE, _expected(card, card.memory)
    content = store.read_bytes(path, store.size(expected))
    if hashlib.sha256(content).hexdigest() != card.memory.sha256:
        raise InputError(f"{path}: its sha256 is not the one in {store.CARD}; the file was changed or damaged")
    flat = store.tensors(content, path)
    store.check(path, flat, expected)
    components: dict[str, dict[str, torch.Tensor]] = {}
    for key, value in flat.items():
        component, _, tensor = key.partition("/")
        components.setdefault(component, {})[tensor] = value
    return components


def owner(component: str) -> str:
    """Return whose moments a component's are: `optimiser.actor`, `optimiser.critic`, `optimiser.temperature`."""
    parts = (part for part in component.split(".") if part in ("critic", TEMPERATURE))
    return OPTIMISER + next(parts, "actor")


def _flat(memory: Components) -> dict[str, torch.Tensor]:
    return {f"{name}/{key}": value for name, tensors in memory.items() for key, value in tensors.items()}


def _expected(card: Card, memory: Memory) -> Shapes:
    shapes = _replay(card, memory) if memory.transitions else {}
    for name, (shape, dtype) in store.expected(card).items():
        component = name.rpartition(".")[0]
        moved = not component.startswith((TARGET, MODULE_PREFIX, "normaliser.")) and not is_running(name)
        if moved and owner(component) in memory.moments:
            key = f"{owner(component)}/{name}"
            shapes |= {f"{key}.{moment}": (shape, dtype) for moment in MOMENTS} | {f"{key}.{STEP}": ((), dtype)}
    weights = store.expected(card)
    _refuse_parts(memory, weights)
    return shapes | {key: (shape, _stage_dtype(key, shape, weights)) for key, shape in memory.stages.items()}


def _refuse_parts(memory: Memory, weights: Shapes) -> None:
    """Refuse an earlier actor that is not whole.

    Raises:
        InputError: a tensor is missing; both are named.
    """
    whole = {name for name in weights if stage_memory.acts(name.rpartition(".")[0])}
    actors = {key.partition("/")[0] for key in memory.stages if key.startswith(stage_memory.STAGE_ACTORS)}
    for actor in actors:
        if missing := {f"{actor}/{name}" for name in whole} - memory.stages.keys():
            raise InputError(f"{store.CARD}: memory.stages: lacks '{min(missing)}'")


def _stage_dtype(key: str, shape: tuple[int, ...], weights: Shapes) -> torch.dtype:
    """Return the type of a tensor that a stage hands on.

    Raises:
        InputError: it is none, or is of a weight and has another shape.
    """
    component, _, tensor = key.partition("/")
    if not component.startswith(stage_memory.STAGE_PREFIX) or not tensor:
        raise InputError(f"{store.CARD}: memory.stages: '{key}' is nothing that a stage hands on")
    if component.startswith(stage_memory.STAGE_ACTORS) and not _is_of_column(tensor, shape, weights):
        raise InputError(
            f"{store.CARD}: memory.stages: '{key}' has the shape {shape}, and is of no column of the actor"
        )
    by_layer = component in (stage_memory.STAGE_IMPORTANCE, stage_memory.STAGE_OWNERS)
    by_weight = by_layer or component.startswith(stage_memory.STAGE_HEADS)
    if by_weight and (tensor not in weights or weights[tensor][0] != shape):
        raise InputError(f"{store.CARD}: memory.stages: '{key}' has the shape {shape}, and is of no such weight")
    return stage_memory.dtype_of(component, tensor)


def _is_of_column(tensor: str, shape: tuple[int, ...], weights: Shapes) -> bool:
    """Whether a tensor is one of the policy's actor, of no more columns: no larger in any dimension."""
    whole = weights.get(tensor, ((), torch.float32))[0]
    return len(whole) == len(shape) and all(0 < size <= most for size, most in zip(shape, whole, strict=True))


def _replay(card: Card, memory: Memory) -> Shapes:
    count, slots, actions = memory.transitions, len(card.interface.observation), len(card.interface.action)
    observation = ((count, slots), torch.float64)
    shapes: Shapes = {
        "observations": observation,
        "next_observations": observation,
        "actions": ((count, actions), torch.float32),
    }
    shapes |= {name: ((count,), torch.float32) for name in ("rewards", "dones", "timeouts")}
    shapes |= {f"{TERM_PREFIX}{name}": ((count,), torch.float64) for name in memory.terms}
    return {f"{REPLAY}/{name}": shape for name, shape in shapes.items()}
