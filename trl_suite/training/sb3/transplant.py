"""`trl_suite.transplant`: a source policy's components into any SB3 model that a reader goes on training."""

from pathlib import Path

import torch

from trl_suite.errors import InputError
from trl_suite.mechanisms import freeze_schedule, methods
from trl_suite.mechanisms.adapters import Added, LearnedInput, additions
from trl_suite.mechanisms.copy import transplant as copy_components
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.weight_regularizer import WeightRegularizer, regularize
from trl_suite.networks.align import Alias, Alignment, align
from trl_suite.networks.components import OBSERVATION_STATISTICS, SOURCE, Components, select
from trl_suite.networks.policy import Policy
from trl_suite.record import Transplant
from trl_suite.training.acting.source_states import importance
from trl_suite.training.policy_import import load_policy
from trl_suite.training.sb3 import sb3_model as sb3
from trl_suite.training.sb3 import source_memory
from trl_suite.training.sb3.layers import adapt
from trl_suite.training.sb3.learners import ActsFirst, Model, algorithm_of
from trl_suite.training.sb3.rates import optimisers, renew_optimisers


def transplant(
    source: Policy | str | Path | None,
    into: Model,
    method: str | Method = "finetune",
    alias: Alias | None = None,
    seed: int = 0,
) -> Transplant:
    """Copy components of the source into the model, freeze what the method freezes, and return the record of all.

    The model is changed in place and trains on with `learn`. Its optimisers are made anew: a moment estimated for other
    weights would move these.

    Args:
        source: a policy, or whatever `trl_suite.load_policy` takes: a name, a folder, an SB3 zip.
        into: an SB3 PPO, SAC or TD3 model with an MlpPolicy, as fresh as the paired scratch run.
        method: a method's name (see `trl_suite/mechanisms/methods.toml`) or a `Method` of your own.
        alias: names of slots or joints in the target -> in the source, where they differ.
        seed: of what the method draws, such as a permutation.

    Raises:
        InputError: the interfaces do not match, a layer's shape differs, the source normalises its observations and
            the model does not, nothing would be left to learn, or the method goes on acting during training, which
            only an experiment can give it. The model is untouched then.
    """
    name, definition = (method, methods.find(method)) if isinstance(method, str) else ("own", method)
    if why := methods.refusal("transplant", definition, algorithm_of(into)):
        raise InputError(f"method '{name}': {why}")
    policy = load_policy(source) if isinstance(source, str | Path) else source
    record = implant(policy, into, name, definition, alias, seed)
    if definition.weight_regularizer:
        regularize_copied(policy, into, definition.weight_regularizer, record, alias, seed)
    return record


def implant(
    source: Policy | None, into: Model, name: str, method: Method, alias: Alias | None, seed: int
) -> Transplant:
    """Do what a method does before training; see `transplant`."""
    alignment = _alignment(source, into, method, alias) if source and method.needs_source else None
    generator = torch.Generator().manual_seed(seed)
    components = _everything(into)
    added: Added = {}
    if source and alignment and method.adapter:
        added = additions(method.adapter, components, source.components, alignment, generator)
    frozen = select(method.frozen_selectors, components | added, f"method '{name}'")
    freeze_schedule.check(components | added, frozen)
    source_memory.check(into, method.copy, frozen)
    transitions = source_memory.fitted(source, into, alignment, method, generator) if source and alignment else {}
    if method.adapter:
        adapt(into, method.adapter, added)
        renew_optimisers(into, {}, {})  # the old ones hold layers that were exchanged
        components = _everything(into)
    record = copy_components(source, components, alignment, name, method, generator)
    sb3.write_statistics(into, components)
    source_memory.fill(into, transitions)
    hold(into, components, record.frozen)
    renew_optimisers(into, components, method.rate)
    source_memory.write_optimizer_state(into, components, record.copied)
    if isinstance(into, ActsFirst):
        into.acts_first = any(component.startswith(("actor.", f"{SOURCE}actor.head")) for component in record.copied)
    return record


def hold(model: Model, components: Components, frozen: tuple[str, ...]) -> None:
    """Hold exactly the named components: parameters, statistics and temperature."""
    freeze_schedule.hold(components, frozen)
    sb3.hold_statistics(model, frozen)
    sb3.hold_temperature(model, frozen)
    source_memory.hold_replay(model, frozen)


def regularize_copied(
    source: Policy | None,
    model: Model,
    regularizer: WeightRegularizer,
    record: Transplant,
    alias: Alias | None,
    seed: int,
) -> None:
    """Pull what was copied back to where it is now; see `mechanisms.weight_regularizer`."""
    learner = sb3.policy_of(model, source.card.training) if source else None
    weights = importance(source, learner, regularizer, alias, seed) if source and learner else {}
    regularize(optimisers(model), sb3.components_of(model), regularizer, record.copied, weights)


def _alignment(source: Policy, model: Model, method: Method, alias: Alias | None) -> Alignment:
    """Return the alignment of source and model, whose layers are to mean the same."""
    alignment = align(source.interface, sb3.interface_of_model(model), alias, isinstance(method.adapter, LearnedInput))
    _check_kind(source, model)
    _check_normaliser(source, sb3.components_of(model))
    return alignment


def _everything(model: Model) -> dict[str, dict[str, torch.Tensor]]:
    """Return all of the model that a method may name."""
    return sb3.components_of(model) | source_memory.empty(model)


def _check_kind(source: Policy, model: Model) -> None:
    """Refuse a source whose layers mean something else in the model."""
    source_kind = f"{source.card.algorithm} with {source.card.network.activation} layers"
    model_kind = f"{algorithm_of(model)} with {sb3.activation_of(model)} layers"
    if model_kind != source_kind:
        raise InputError(f"the source's policy is {source_kind}, the model's {model_kind}: they must agree")


def _check_normaliser(source: Policy, components: Components) -> None:
    if OBSERVATION_STATISTICS in source.components and OBSERVATION_STATISTICS not in components:
        raise InputError(
            "the source normalises its observations and the model does not: its layers would see other numbers; "
            "wrap the model's env, VecNormalize(env)"
        )
