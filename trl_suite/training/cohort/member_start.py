"""Start of a member of a cohort: fresh components as Stable-Baselines3 draws them, and the transplant.

No SB3 model is built for it, and no SB3 is imported.
"""

from typing import NamedTuple

import numpy as np
import torch

from trl_suite.algorithms.hyperparameters import Activation, Hyperparameters, OffPolicyHyperparameters
from trl_suite.algorithms.registry import find
from trl_suite.interface import Interface, Spaces
from trl_suite.mechanisms import freeze_schedule, methods
from trl_suite.mechanisms.adapters import Added
from trl_suite.mechanisms.copy import transplant
from trl_suite.networks.adapted_layers import LowRankLayer
from trl_suite.networks.card import Card, Network, Normaliser, Training
from trl_suite.networks.components import ADAPTER, OPTIMISER, REPLAY, Components
from trl_suite.networks.fresh_networks import TWINS, FreshComponents, fresh_moments, fresh_networks, fresh_statistics
from trl_suite.networks.policy import Policy
from trl_suite.record import Transplant
from trl_suite.training.preparation import ReplayRoom, prepare, source_acts
from trl_suite.training.reproducibility import seed_for, threads
from trl_suite.training.training_run import TrainingRun

VECNORMALIZE_CLIP, VECNORMALIZE_EPSILON = 10.0, 1e-8  # SB3's defaults; the clip in standard deviations


class MemberStart(NamedTuple):
    """A member before its first step."""

    components: FreshComponents  # of its networks, its adapter's beside them, and of its statistics
    fresh: FreshComponents  # those of the paired scratch run, where the method asks for them
    memory: FreshComponents  # moments by `optimiser.actor` and the like, copied or 0; a replay has no tensors here
    transitions: dict[str, torch.Tensor]  # that its replay is given, by SB3's names; empty where there are none
    record: Transplant
    acts_first: bool  # whether its own policy collects the first transitions


class _PreparedMember:
    """A member as a method is prepared for it."""

    def __init__(self, hyperparameters: Hyperparameters, place: Spaces) -> None:
        self.algorithm: str = hyperparameters.algorithm
        self.keeps_given = not find(self.algorithm).on_policy
        self._hyperparameters, self._place = hyperparameters, place

    def activation(self) -> Activation:
        return self._hyperparameters.activation

    def interface(self) -> Interface:
        return self._place.interface

    def normaliser(self) -> Normaliser | None:
        return normaliser_of(self._hyperparameters)

    def replay_room(self) -> ReplayRoom:
        hyperparameters = self._hyperparameters
        assert isinstance(hyperparameters, OffPolicyHyperparameters)
        rows = max(hyperparameters.buffer_size // hyperparameters.n_envs, 1)
        place = self._place
        return ReplayRoom(
            place.env, hyperparameters.n_envs, rows * hyperparameters.n_envs, place.action_low, place.action_high
        )


def normaliser_of(hyperparameters: Hyperparameters) -> Normaliser | None:
    """Return how a learner with these hyperparameters normalises; None where it does not."""
    if not (hyperparameters.normalise_observation or hyperparameters.normalise_reward):
        return None
    return Normaliser(
        observation=hyperparameters.normalise_observation,
        reward=hyperparameters.normalise_reward,
        clip_observation=VECNORMALIZE_CLIP,
        clip_reward=VECNORMALIZE_CLIP,
        epsilon=VECNORMALIZE_EPSILON,
        gamma=hyperparameters.gamma,
    )


def start(run: TrainingRun, place: Spaces) -> MemberStart:
    """Return a run's start, its method's transplant done.

    Raises:
        InputError: the method does not fit source and target.
    """
    hyperparameters, method = run.hyperparameters, run.definition
    networks = _fresh(run, place)
    fresh = methods.fresh_values(method, networks)
    memory: FreshComponents = {} if find(hyperparameters.algorithm).on_policy else {REPLAY: {}}
    if hyperparameters.has_moments:
        memory |= fresh_moments(networks)
    generator = torch.Generator().manual_seed(seed_for(run.seed, "method"))
    learner, where = _PreparedMember(hyperparameters, place), f"method '{run.method}'"
    prepared = prepare(run.source, learner, networks | memory, method, where, run.alias, generator)
    if prepared.added:
        networks = _with_added(networks, prepared.added)
        memory |= fresh_moments(networks) if hyperparameters.has_moments else {}
    components = networks | memory
    record = transplant(run.source, components, prepared.alignment, run.method, method, generator)
    freeze_schedule.hold(components, record.frozen)
    acts_first = not find(hyperparameters.algorithm).on_policy and source_acts(record)
    return MemberStart(networks, fresh, memory, prepared.transitions, record, acts_first)


def moments_of(memory: Components) -> FreshComponents:
    """Return the moments alone."""
    return {name: dict(tensors) for name, tensors in memory.items() if name.startswith(OPTIMISER)}


def policy_of(hyperparameters: Hyperparameters, place: Spaces, components: Components, training: Training) -> Policy:
    """Return a policy with copies of the components, low-rank products folded into their layers."""
    plain = {
        name: {tensor: value.detach().cpu().clone() for tensor, value in tensors.items()}
        for name, tensors in _folded(components).items()
    }
    low, high = (tuple(np.asarray(bound, np.float32).tolist()) for bound in (place.action_low, place.action_high))
    network = Network(
        actor=hyperparameters.hidden,
        critic=hyperparameters.hidden,
        critics=1 if find(hyperparameters.algorithm).on_policy else TWINS,
        activation=hyperparameters.activation,
        layer_norm=hyperparameters.layer_norm,
        action_low=low,
        action_high=high,
    )
    card = Card(
        algorithm=hyperparameters.algorithm,
        network=network,
        interface=place.interface,
        training=training,
        normaliser=normaliser_of(hyperparameters),
    )
    return Policy(card=card, components=plain)


def _fresh(run: TrainingRun, place: Spaces) -> FreshComponents:
    slots, actions = len(place.interface.observation), len(place.interface.action)
    with threads(1):
        networks = fresh_networks(run.hyperparameters, slots, actions, seed_for(run.seed, "learner"))
    return networks | fresh_statistics(normaliser_of(run.hyperparameters), slots)


def _with_added(networks: FreshComponents, added: Added) -> FreshComponents:
    """Return the components with those of low-rank products behind the layers that they stand beside, as on SB3."""
    whole: FreshComponents = {}
    for name, tensors in networks.items():
        whole[name] = tensors
        if beside := added.get(ADAPTER + name):
            whole[ADAPTER + name] = {key: torch.nn.Parameter(value) for key, value in beside.items()}
    assert added.keys() <= whole.keys(), "a cohort has no adapter but low-rank products"
    return whole


def _folded(components: Components) -> Components:
    plain = {name: dict(tensors) for name, tensors in components.items() if not name.startswith(ADAPTER)}
    for name, tensors in components.items():
        if name.startswith(ADAPTER):
            layer = {key: torch.nn.Parameter(value) for key, value in plain[name.removeprefix(ADAPTER)].items()}
            adapted = LowRankLayer(layer["weight"], layer["bias"], tensors, None, 0)
            plain[name.removeprefix(ADAPTER)] = adapted.folded()._asdict()
    return plain
