"""`trl_suite.transplant`: a source policy's components into any SB3 model that a reader goes on training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import PPO, SAC

from trl_suite.errors import InputError
from trl_suite.networks import freeze, methods
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import Alias, align
from trl_suite.networks.components import OBSERVATION_STATISTICS, Components, select
from trl_suite.networks.methods import Method, WeightPull
from trl_suite.networks.policy import Policy
from trl_suite.networks.transplant import transplant as copy_components
from trl_suite.record import Transplant
from trl_suite.training.home import home_states
from trl_suite.training.library import load_policy
from trl_suite.training.sb3 import model as sb3
from trl_suite.training.sb3.learners import ActsFirst, Model, algorithm_of
from trl_suite.training.sb3.pull import SEEN, fisher, pull_weights
from trl_suite.training.seeds import seed_for

FACTOR, WRITTEN = "factor", "written"  # keys of a parameter group: its factor, and the rate that SB3 wrote


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
        method: a method's name (see `trl_suite/networks/methods.toml`) or a `Method` of your own.
        alias: names of slots or joints in the target -> in the source, where they differ.
        seed: of what the method draws, such as a permutation.

    Raises:
        InputError: the interfaces do not match, a layer's shape differs, the source normalises its observations and
            the model does not, nothing would be left to learn, or the method goes on acting during training, which
            only an experiment can give it. The model is untouched then.
    """
    name, chosen = (method, methods.find(method)) if isinstance(method, str) else ("own", method)
    if during := [key for key in ("thaw", "behaviour", "guide") if getattr(chosen, key)]:
        raise InputError(
            f"method '{name}' acts during training ({', '.join(during)}): name it in an experiment's methods"
        )
    policy = load_policy(source) if isinstance(source, str | Path) else source
    record = implant(policy, into, name, chosen, alias, seed)
    if chosen.weights:
        pull_copied(policy, into, chosen.weights, record, alias, seed)
    return record


def implant(
    source: Policy | None, into: Model, name: str, method: Method, alias: Alias | None, seed: int
) -> Transplant:
    """Do what a method does before training; see `transplant`."""
    components = sb3.components_of(into)
    alignment = None
    if source and method.needs_source:
        alignment = align(source.interface, sb3.interface_of_model(into), alias)
        _check_kind(source, into)
        _check_normaliser(source, components)
    freeze.check(components, select(method.freeze, components, f"method '{name}'"))
    generator = torch.Generator().manual_seed(seed)
    record = copy_components(source, components, alignment, name, method, generator)
    sb3.write_statistics(into, components)
    hold(into, components, record.frozen)
    _renew_optimisers(into, components, method.rate)
    if isinstance(into, ActsFirst):
        into.acts_first = any(component.startswith("actor.") for component in record.copied)
    return record


def hold(model: Model, components: Components, frozen: tuple[str, ...]) -> None:
    """Hold exactly the named components: parameters, statistics and temperature."""
    freeze.hold(components, frozen)
    sb3.hold_statistics(model, frozen)
    sb3.hold_temperature(model, frozen)


def pull_copied(
    source: Policy | None, model: Model, pull: WeightPull, record: Transplant, alias: Alias | None, seed: int
) -> None:
    """Pull what was copied back to where it is now; see `importance`."""
    learner = sb3.policy_of(model, source.card.training) if source else None
    weights = importance(source, learner, pull, alias, seed) if source and learner else {}
    pull_weights(model, pull, record.copied, weights)


def importance(
    source: Policy, learner: Policy, pull: WeightPull, alias: Alias | None, seed: int
) -> dict[str, torch.Tensor]:
    """Return `component.tensor` -> the Fisher information at home of what was just copied; empty where none is asked.

    Raises:
        InputError: the Fisher information is asked for and the target observes more than the source.
    """
    if not pull.fisher:
        return {}
    actor = source_actor(source, learner.interface, align(source.interface, learner.interface, alias))
    return fisher(learner, actor.placed(home_states(source, SEEN, seed_for(seed, "home"))))


def _check_kind(source: Policy, model: Model) -> None:
    """Refuse a source whose layers mean something else in the model."""
    ours = f"{source.card.algorithm} with {source.card.network.activation} layers"
    theirs = f"{algorithm_of(model)} with {sb3.activation_of(model)} layers"
    if ours != theirs:
        raise InputError(f"the source's policy is {ours}, the model's {theirs}: they must agree")


def _check_normaliser(source: Policy, components: Components) -> None:
    if OBSERVATION_STATISTICS in source.components and OBSERVATION_STATISTICS not in components:
        raise InputError(
            "the source normalises its observations and the model does not: its layers would see other numbers; "
            "wrap the model's env, VecNormalize(env)"
        )


def _renew_optimisers(model: Model, components: Components, rate: Mapping[str, float]) -> None:
    """Give the model fresh optimisers over all parameters, frozen ones too, so that they can be thawed and loaded."""
    factors = _factors(components, rate)
    for owner in (model.policy,) if isinstance(model, PPO) else (model.actor, model.critic):
        owner.optimizer = _optimiser(model, list(owner.parameters()), factors)
        if rate:
            owner.optimizer.register_step_pre_hook(_scale_rates)
            owner.optimizer.register_step_post_hook(_restore_rates)
    if isinstance(model, SAC) and model.ent_coef_optimizer is not None and model.log_ent_coef is not None:
        model.ent_coef_optimizer = torch.optim.Adam([model.log_ent_coef], lr=model.lr_schedule(1.0))


def _optimiser(
    model: Model, parameters: list[torch.nn.Parameter], factors: Mapping[int, float]
) -> torch.optim.Optimizer:
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    settings: dict[str, Any] = {"lr": model.lr_schedule(1.0), **model.policy.optimizer_kwargs}
    with_factors = [{"params": members, FACTOR: factor} for factor, members in groups.items()]
    return model.policy.optimizer_class(with_factors, **settings)


def _factors(components: Components, rate: Mapping[str, float]) -> dict[int, float]:
    """Return the factor of every parameter, by its id; a later, narrower selector overrides an earlier one."""
    return {
        id(tensor): factor
        for pattern, factor in rate.items()
        for component in select((pattern,), components, "rate")
        for tensor in components[component].values()
    }


def _scale_rates(optimiser: torch.optim.Optimizer, *_: object) -> None:
    """Apply each group's factor for this step; SB3 writes one rate into every group before each update."""
    for group in optimiser.param_groups:
        group[WRITTEN] = group["lr"]
        group["lr"] = group["lr"] * group[FACTOR]


def _restore_rates(optimiser: torch.optim.Optimizer, *_: object) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group[WRITTEN]
