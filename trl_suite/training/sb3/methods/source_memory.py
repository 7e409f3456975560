"""The memory of an SB3 learner besides its parameters: transitions and optimizer state."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer

from trl_suite.networks.components import REPLAY, Components, select
from trl_suite.networks.policy_memory import MOMENTS, STEP, TERM_PREFIX, owner
from trl_suite.training.preparation import NUMBER_FIELDS, OBSERVATION_FIELDS, ReplayRoom, drawn
from trl_suite.training.sb3.methods.replay_buffer import SourceReplayBuffer
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.learners import Model, has_temperature, is_on_policy
from trl_suite.training.sb3.models.rates import optimisers
from trl_suite.training.training_run import TrainingRun

Tensors = dict[str, torch.Tensor]


def empty(model: Model) -> dict[str, Tensors]:
    """Return the components that the learner could be given besides its parameters, as a fresh one has them.

    A replay has no tensors here: it has no length of its own.
    """
    replay: dict[str, Tensors] = {} if is_on_policy(model) else {REPLAY: {}}
    return replay | optimizer_state(model)


def kept(model: Model, run: TrainingRun) -> dict[str, Tensors]:
    """Return copies of the components that the run stores beside its weights.

    Raises:
        InputError: the learner has none such.
    """
    memory = selected(model, run.source_training.keep)
    if REPLAY not in run.source_training.keep:
        return memory
    buffer = _buffer(model)
    received = buffer.given * model.n_envs if isinstance(buffer, SourceReplayBuffer) else 0
    return memory | {REPLAY: drawn(_transitions(buffer), received, run)}


def selected(model: Model, patterns: Sequence[str]) -> dict[str, Tensors]:
    """Return copies of the optimizer state that the patterns name; one that names the replay alone adds nothing.

    Raises:
        InputError: the learner has none such.
    """
    names = select(patterns, empty(model), "keep")
    return {name: tensors for name, tensors in optimizer_state(model).items() if name in names}


def is_kept(run: TrainingRun) -> bool:
    """Return whether the run's replay holds more than was collected, or more of it than a snapshot takes."""
    return REPLAY in (*run.source_training.keep, *run.definition.copy) or run.definition.task_replay is not None


def fill(model: Model, transitions: Tensors) -> None:
    """Begin the learner's replay with the transitions, if there are any."""
    if not transitions:
        return
    buffer = _buffer(model)
    rows = len(transitions["rewards"]) // model.n_envs
    for name, values in transitions.items():
        field: NDArray[Any] = getattr(buffer, name)  # (rows, worlds, ...)
        field[:rows] = values.numpy().reshape(rows, *field.shape[1:])
    buffer.pos = rows
    if isinstance(buffer, SourceReplayBuffer):
        buffer.given = rows


def replay_room(model: Model) -> ReplayRoom:
    """Return the facts of a learner's replay that decide which transitions it can be given."""
    buffer, space = _buffer(model), cast("Box", model.action_space)
    low, high = (tuple(map(float, bound)) for bound in (space.low, space.high))
    return ReplayRoom(sb3.address_of(model), model.n_envs, buffer.buffer_size * model.n_envs, low, high)


def keeps_given(model: Model) -> bool:
    """Whether the learner's replay can hold what it was given for good."""
    return not is_on_policy(model) and isinstance(model.replay_buffer, SourceReplayBuffer)


def given(model: Model) -> dict[str, Tensors]:
    """Return the transitions that the learner was given and does not overwrite: what a freeze of its replay holds."""
    if is_on_policy(model) or not isinstance(model.replay_buffer, SourceReplayBuffer) or not model.replay_buffer.held:
        return {}
    buffer = model.replay_buffer
    names = (*OBSERVATION_FIELDS, "actions", *NUMBER_FIELDS)
    return {REPLAY: {name: torch.from_numpy(getattr(buffer, name)[: buffer.held]) for name in names}}


def hold_replay(model: Model, frozen: Sequence[str]) -> None:
    """Keep the given transitions from being overwritten where the replay is frozen, and no longer where it is not."""
    if not is_on_policy(model) and isinstance(model.replay_buffer, SourceReplayBuffer):
        model.replay_buffer.held = model.replay_buffer.given if REPLAY in frozen else 0


def _buffer(model: Model) -> ReplayBuffer:
    assert not is_on_policy(model)
    assert model.replay_buffer is not None
    return model.replay_buffer


def _transitions(buffer: ReplayBuffer) -> Tensors:
    """The transitions of a replay, one row each."""
    rows = buffer.size()

    def flat(values: NDArray[Any], kind: torch.dtype) -> torch.Tensor:
        return torch.as_tensor(values[:rows].reshape(-1, *values.shape[2:]).copy(), dtype=kind)

    fields = {name: flat(getattr(buffer, name), torch.float64) for name in OBSERVATION_FIELDS}
    fields |= {name: flat(getattr(buffer, name), torch.float32) for name in ("actions", *NUMBER_FIELDS)}
    terms = buffer.terms if isinstance(buffer, SourceReplayBuffer) else {}
    return fields | {TERM_PREFIX + name: flat(values, torch.float64) for name, values in terms.items()}


def optimizer_state(model: Model) -> dict[str, dict[str, torch.Tensor]]:
    """Return copies of Adam's moments and steps, `optimiser.actor` and the like; zeros where there was no step."""
    states: dict[str, dict[str, torch.Tensor]] = {}
    for name, optimiser, parameter in _learned(model):
        state = optimiser.state.get(parameter, {})
        tensors = states.setdefault(owner(name.rpartition(".")[0]), {})
        tensors |= {f"{name}.{key}": state.get(key, torch.zeros_like(parameter)).detach().clone() for key in MOMENTS}
        tensors[f"{name}.{STEP}"] = torch.as_tensor(state.get(STEP, 0.0), dtype=torch.float32).clone()
    return states


def write_optimizer_state(model: Model, memories: Components, names: Sequence[str]) -> None:
    """Put the named moments into the learner's optimisers; their rates stay as they are."""
    for name, optimiser, parameter in _learned(model):
        if (owner_name := owner(name.rpartition(".")[0])) in names:
            optimiser.state[parameter] = {
                key: memories[owner_name][f"{name}.{key}"].clone() for key in (*MOMENTS, STEP)
            }


def forget(model: Model, components: Collection[str]) -> None:
    """Let the optimisers' next step of these components be their first."""
    for name, optimiser, parameter in _learned(model):
        if name.rpartition(".")[0] in components:
            optimiser.state.pop(parameter, None)


def _learned(model: Model) -> Iterator[tuple[str, torch.optim.Optimizer, torch.Tensor]]:
    """Yield `component.tensor`, optimiser and parameter of all that an optimiser moves."""
    named = {v: f"{name}.{key}" for name, tensors in sb3.components_of(model).items() for key, v in tensors.items()}
    tuned = [model.ent_coef_optimizer] if has_temperature(model) and model.ent_coef_optimizer is not None else []
    for optimiser in (*optimisers(model), *tuned):
        if not isinstance(optimiser, torch.optim.Adam):  # another one's state is no mean and variance of gradients
            continue
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                yield named[parameter], optimiser, parameter
