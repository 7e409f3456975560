"""A freeze that survives SB3's own `save` and `load`, in what these keep: optimizer state and plain attributes.

`requires_grad` is not saved. What is saved is Adam's second moment: where it is infinite, Adam's step is 0 for good.
"""

import torch

from trl_suite.networks.components import TEMPERATURE, Components
from trl_suite.training.sb3.models.learners import Model, has_temperature
from trl_suite.training.sb3.models.rates import optimisers

FROZEN = "frozen_components"  # attribute of a model, and so a field of its zip
_SECOND_MOMENTS: dict[type[torch.optim.Optimizer], tuple[tuple[str, ...], str]] = {
    # optimizer -> its running means, and the one by whose root it divides
    torch.optim.Adam: (("exp_avg", "exp_avg_sq"), "exp_avg_sq"),
    torch.optim.RMSprop: (("square_avg",), "square_avg"),
}


def persist(model: Model, components: Components, frozen: tuple[str, ...]) -> None:
    """Let exactly the frozen components stay frozen where the model is saved and loaded.

    Args:
        model: whose frozen parameters are held already.
        components: of the model.
        frozen: those that are held.
    """
    parameters = {tensor for name in frozen for tensor in components.get(name, {}).values()}
    for optimizer in optimisers(model):
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in parameters:
                    _stop(optimizer, parameter, group)
                elif _is_stopped(optimizer, parameter):
                    del optimizer.state[parameter]
    if TEMPERATURE in frozen and has_temperature(model) and model.log_ent_coef is not None:
        model.ent_coef = float(model.log_ent_coef.detach().exp())  # a number is not tuned by a model that is loaded
    setattr(model, FROZEN, list(frozen))


def remembered(model: Model) -> tuple[str, ...] | None:
    """Return the components that were frozen when the model was saved; None where nothing says so."""
    names = getattr(model, FROZEN, None)
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


def _stop(optimizer: torch.optim.Optimizer, parameter: torch.Tensor, group: dict[str, object]) -> None:
    """Give a parameter a state from which each step is 0; one of an optimizer without such a state is left."""
    if type(optimizer) not in _SECOND_MOMENTS or group.get("weight_decay"):
        return
    means, divisor = _SECOND_MOMENTS[type(optimizer)]
    state = {name: torch.full_like(parameter, torch.inf if name == divisor else 0.0).detach() for name in means}
    optimizer.state[parameter] = {"step": torch.tensor(0.0), **state}


def _is_stopped(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> bool:
    divisor = _SECOND_MOMENTS.get(type(optimizer), ((), ""))[1]
    state = optimizer.state.get(parameter, {})
    return divisor in state and bool(torch.isinf(state[divisor]).all())
