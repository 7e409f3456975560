"""A method before training, whichever engine trains: the source fits the learner, and what is added and given to it."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch

from trl_suite.algorithms.hyperparameters import Activation
from trl_suite.errors import InputError
from trl_suite.interface import Interface
from trl_suite.mechanisms import freeze_schedule
from trl_suite.mechanisms.adapters import Added, LearnedInput, additions
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.self_composing import composed
from trl_suite.mechanisms.task_replay import earlier_replays
from trl_suite.networks.align import Alias, Alignment, align
from trl_suite.networks.card import Normaliser
from trl_suite.networks.components import BY_FEATURE, LOG_STD, OPTIMISER, REPLAY, SOURCE_PREFIX, Components, select
from trl_suite.networks.policy import Policy
from trl_suite.record import Transplant
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.reward_relabelling import relabelled
from trl_suite.training.training_run import TrainingRun

OBSERVATION_FIELDS = ("observations", "next_observations")  # of a replay, by SB3's names
NUMBER_FIELDS = ("rewards", "dones", "timeouts")

Tensors = dict[str, torch.Tensor]


class ReplayRoom(NamedTuple):
    """Facts of a learner's replay that decide which transitions of a source it can be given."""

    env: str  # address, whose reward they are paid by
    n_envs: int
    transitions: int  # that it holds
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]


class PreparedLearner(Protocol):
    """A fresh learner of an engine, as a method is prepared for it."""

    algorithm: str
    keeps_given: bool  # whether its replay can hold what it was given for good

    def activation(self) -> Activation:
        """Return the function between its layers."""
        ...

    def interface(self) -> Interface:
        """Return the slots of its env."""
        ...

    def normaliser(self) -> Normaliser | None:
        """Return how its observations and rewards are scaled."""
        ...

    def replay_room(self) -> ReplayRoom:
        """Return the facts of its replay."""
        ...


class Preparation(NamedTuple):
    """Contributions of a method to a learner before its components are copied."""

    alignment: Alignment | None
    added: Added  # by an adapter
    transitions: Tensors  # of the source, in the learner's slots; empty where none are copied


def prepare(
    source: Policy | None,
    learner: PreparedLearner,
    components: Components,
    method: Method,
    where: str,
    alias: Alias | None,
    generator: torch.Generator,
) -> Preparation:
    """Check that a method fits source and learner, and draw what it adds; the learner is left as it is.

    Args:
        source: the policy, or None.
        learner: what takes it.
        components: all of the learner that a method may name.
        method: what is done.
        where: opens messages about the method.
        alias: names that differ.
        generator: of what the method draws.

    Raises:
        InputError: the source's layers mean something else in the learner, a name is wrong, or all would be frozen.
    """
    alignment = _alignment(source, learner, method, components, alias) if source and method.needs_source else None
    added: Added = {}
    if source and alignment and method.adapter:
        added = additions(method.adapter, components, source.components, alignment, generator)
    if source and method.composition:
        added = composed(method.composition, components, source, generator, where)
    whole = {**components, **added}
    frozen = select(method.frozen_selectors, whole, where)
    freeze_schedule.check(whole, frozen)
    _check_memory(learner, method, frozen)
    transitions = _fitted(source, learner, alignment, method, generator) if source and alignment else {}
    return Preparation(alignment, added, transitions)


def drawn(transitions: Tensors, received: int, run: TrainingRun) -> Tensors:
    """Return the transitions that a run stores: all, or as many as it is asked for, drawn from those it collected.

    Args:
        transitions: of its replay, one row each.
        received: how many of the first rows it did not collect.
        run: the training.
    """
    count, size = run.source_training.transitions, len(transitions["rewards"])
    if count is None:
        return transitions
    generator = np.random.default_rng(seed_for(run.seed, "replay"))
    rows = received + generator.permutation(size - received)[:count]
    return {name: values[torch.from_numpy(rows)] for name, values in transitions.items()}


def source_acts(record: Transplant) -> bool:
    """Whether what was copied acts: a learner's own policy then collects the first transitions, instead of chance."""
    return any(component.startswith(("actor.", f"{SOURCE_PREFIX}actor.head")) for component in record.copied)


def _alignment(
    source: Policy, learner: PreparedLearner, method: Method, components: Components, alias: Alias | None
) -> Alignment:
    """Return the alignment of source and learner, whose layers are to mean the same."""
    alignment = align(source.interface, learner.interface(), alias, isinstance(method.adapter, LearnedInput))
    _check_kind(source, learner, method, components)
    _check_normaliser(source, learner)
    return alignment


def _check_kind(source: Policy, learner: PreparedLearner, method: Method, components: Components) -> None:
    """Refuse a source whose layers mean something else in the learner."""
    source_kind = f"{source.card.algorithm} with {source.card.network.activation} layers"
    model_kind = f"{learner.algorithm} with {learner.activation()} layers"
    if model_kind != source_kind:
        raise InputError(f"the source's policy is {source_kind}, the model's {model_kind}: they must agree")
    by_state = [BY_FEATURE in whose.get(LOG_STD, {}) for whose in (source.components, components)]
    if LOG_STD in method.copied_selectors and by_state[0] != by_state[1]:
        owner, other = ("source", "model") if by_state[0] else ("model", "source")
        raise InputError(
            f"the {owner} explores by state (use_sde) and the {other} does not: a method with log_std = 'fresh' can "
            "copy the rest"
        )


def _check_normaliser(source: Policy, learner: PreparedLearner) -> None:
    """Refuse a learner that normalises observations in another way than the source's layers have learned with."""
    of_source, of_model = _scaling(source.card.normaliser), _scaling(learner.normaliser())
    if of_source and not of_model:
        raise InputError(
            "the source normalises its observations and the model does not: its layers would see other numbers; "
            "wrap the model's env, VecNormalize(env)"
        )
    if of_model and not of_source:
        raise InputError(
            "the model normalises its observations and the source does not: its layers would see other numbers; "
            "wrap the model's env in VecNormalize(env, norm_obs=False), or in none"
        )
    if of_source and of_model and of_source != of_model:
        raise InputError(
            f"the source clips normalised observations at {of_source[0]:g} with epsilon {of_source[1]:g}, the model "
            f"at {of_model[0]:g} with {of_model[1]:g}: VecNormalize(env, clip_obs={of_source[0]!r}, "
            f"epsilon={of_source[1]!r})"
        )


def _scaling(normaliser: Normaliser | None) -> tuple[float, float] | None:
    """Return clip and epsilon of a normaliser; None where observations are left alone."""
    return (normaliser.clip_observation, normaliser.epsilon) if normaliser and normaliser.observation else None


def _check_memory(learner: PreparedLearner, method: Method, frozen: Sequence[str]) -> None:
    """Refuse a freeze that could not be kept: of moments, or of a replay that is fresh or that no experiment made."""
    if moving := [name for name in frozen if name.startswith(OPTIMISER)]:
        raise InputError(f"{', '.join(moving)} cannot be frozen: moments follow every gradient; freeze what they move")
    if REPLAY in frozen and not (learner.keeps_given and (REPLAY in method.copy or method.task_replay)):
        raise InputError("a replay is frozen only where it is copied, and only in an experiment")


def _fitted(
    source: Policy, learner: PreparedLearner, alignment: Alignment, method: Method, generator: torch.Generator
) -> Tensors:
    """Return the source's transitions in the learner's slots, paid as its env pays; none where none are copied.

    Raises:
        InputError: the learner sees or moves what the source does not, its actions have other bounds, its reward is
            not told by the source's terms, or its replay is too small.
    """
    if method.task_replay:
        return _of_earlier_tasks(source, learner.replay_room(), alignment)
    if REPLAY not in method.copy or REPLAY not in source.memory:
        return {}
    room = learner.replay_room()
    _check_bounds(source, room, alignment)
    share = method.keep.get(REPLAY, 1.0)
    replay = source.memory[REPLAY]
    rewards = relabelled(replay, source.card.training.env, room.env)
    count = int(share * len(rewards)) // room.n_envs * room.n_envs
    if count >= room.transitions:
        raise InputError(
            f"{count} transitions would leave no room in the replay: keep a share of them "
            "(keep = { replay = 0.1 }), or give it a larger buffer_size"
        )
    drawn = torch.randperm(len(rewards), generator=generator)[:count]
    seen, moved = (torch.tensor(alignment.indices(axis)) for axis in ("observation", "action"))
    fields = {name: replay[name][drawn][:, seen] for name in OBSERVATION_FIELDS}
    fields |= {"actions": replay["actions"][drawn][:, moved], "rewards": rewards[drawn]}
    return fields | {name: replay[name][drawn] for name in NUMBER_FIELDS[1:]}


def _of_earlier_tasks(source: Policy, room: ReplayRoom, alignment: Alignment) -> Tensors:
    """Return the transitions of all earlier tasks, paid as each task paid them; whole rows of the learner's envs."""
    _check_bounds(source, room, alignment)
    replays = earlier_replays(source, "method").values()
    names = (*OBSERVATION_FIELDS, "actions", *NUMBER_FIELDS)
    fields = {name: torch.cat([replay[name] for replay in replays]) for name in names}
    count = len(fields["rewards"]) // room.n_envs * room.n_envs
    if count >= room.transitions:
        raise InputError(
            f"task_replay: {count} transitions of earlier tasks would leave no room in the replay: keep fewer of each, "
            "or give it a larger buffer_size"
        )
    return {name: values[:count] for name, values in fields.items()}


def _check_bounds(source: Policy, room: ReplayRoom, alignment: Alignment) -> None:
    network = source.card.network
    moved = [index for index in alignment.action if index is not None]
    alike = len(moved) == len(alignment.action) and sorted(moved) == list(range(len(network.action_low)))
    if None in alignment.observation or not alike:
        raise InputError("a replay is copied to an env that sees no more than the source's, and moves the same")
    low, high = (np.asarray(bound, dtype=np.float32)[moved] for bound in (network.action_low, network.action_high))
    least, most = (np.asarray(bound, dtype=np.float32) for bound in (room.action_low, room.action_high))
    if not (np.array_equal(low, least) and np.array_equal(high, most)):
        raise InputError("a replay is copied between envs whose actions have the same bounds")
