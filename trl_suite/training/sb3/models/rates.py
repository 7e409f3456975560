"""Learning rates by component: factors that survive what SB3 writes, and a gentle start for what is thawed."""

from collections.abc import Mapping
from typing import Any

import torch

from trl_suite.mechanisms.freeze_schedule import WARMUP_UPDATES
from trl_suite.mechanisms.rate import factors
from trl_suite.networks.components import Components
from trl_suite.training.sb3.models.learners import Model, has_temperature, is_on_policy

FACTOR, WRITTEN = "factor", "written"  # keys of a parameter group: its factor, and the rate that SB3 wrote


def optimisers(model: Model) -> list[torch.optim.Optimizer]:
    """Return the optimisers of actor and critic: one for PPO, two for the others."""
    owners = (model.policy,) if is_on_policy(model) else (model.actor, model.critic)
    return [owner.optimizer for owner in owners]


def renew_optimisers(model: Model, components: Components, rate: Mapping[str, float]) -> None:
    """Give the model fresh optimisers over all parameters, frozen ones too, so that they can be thawed and loaded.

    Args:
        model: the learner.
        components: its own.
        rate: selector -> factor of the learning rate; a later, narrower selector overrides an earlier one.
    """
    by_parameter = _factors(components, rate)
    for owner in (model.policy,) if is_on_policy(model) else (model.actor, model.critic):
        owner.optimizer = _optimiser(model, list(owner.parameters()), by_parameter)
        if rate:
            owner.optimizer.register_step_pre_hook(_scale_rates)
            owner.optimizer.register_step_post_hook(_restore_rates)
    if has_temperature(model) and model.ent_coef_optimizer is not None and model.log_ent_coef is not None:
        model.ent_coef_optimizer = torch.optim.Adam([model.log_ent_coef], lr=model.lr_schedule(1.0))


def warm_up(model: Model, thawed: Components) -> None:
    """Let the rate of what was just thawed rise linearly over its first updates.

    Adam's first step is as long as the rate, however small the gradient: it would throw a whole layer off at once.
    """
    parameters = {tensor for tensors in thawed.values() for tensor in tensors.values()}
    for optimiser in optimisers(model):
        members = {parameter for group in optimiser.param_groups for parameter in group["params"]} & parameters
        if members:
            warming = _Warming(members)
            optimiser.register_step_pre_hook(warming.remember)
            optimiser.register_step_post_hook(warming.shorten)


class _Warming:
    """Shortens the first steps of some parameters; Adam itself counts them, so that it goes on after a resume."""

    def __init__(self, parameters: set[torch.Tensor]) -> None:
        self._parameters = parameters
        self._before: dict[torch.Tensor, torch.Tensor] = {}

    def remember(self, optimiser: torch.optim.Optimizer, *_: object) -> None:
        self._before = {p: p.detach().clone() for p in self._parameters if _steps(optimiser, p) < WARMUP_UPDATES}

    def shorten(self, optimiser: torch.optim.Optimizer, *_: object) -> None:
        with torch.no_grad():
            for parameter, before in self._before.items():
                parameter.copy_(torch.lerp(before, parameter, min(1.0, _steps(optimiser, parameter) / WARMUP_UPDATES)))


def _steps(optimiser: torch.optim.Optimizer, parameter: torch.Tensor) -> float:
    return float(optimiser.state.get(parameter, {}).get("step", 0))


def _optimiser(
    model: Model, parameters: list[torch.nn.Parameter], by_parameter: Mapping[int, float]
) -> torch.optim.Optimizer:
    groups: dict[float, list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(by_parameter.get(id(parameter), 1.0), []).append(parameter)
    settings: dict[str, Any] = {"lr": model.lr_schedule(1.0), **model.policy.optimizer_kwargs}
    with_factors = [{"params": members, FACTOR: factor} for factor, members in groups.items()]
    return model.policy.optimizer_class(with_factors, **settings)


def _factors(components: Components, rate: Mapping[str, float]) -> dict[int, float]:
    """Return the factor of every parameter, by its id."""
    return {
        id(tensor): factor
        for component, factor in factors(rate, components).items()
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
