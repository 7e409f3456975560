"""Weight regularizer: a decay towards the source's weights (L2-SP, Li et al. 2018; EWC, Kirkpatrick et al. 2017).

On SB3 it is a hook on the optimisers, here; in a cohort `training/cohort/learning/source_gradients.py` does it to one
member's rows.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch.func import grad, vmap

from trl_suite.mechanisms.mechanism import Mechanism, Strength, everywhere
from trl_suite.networks.components import Components, select
from trl_suite.networks.input_norms import is_running
from trl_suite.networks.policy import Policy

GRADIENT_STATES = 500  # states whose gradients are held at once
LEAST_FISHER = 1e-12  # a mean of the Fisher information below it would be divided by


class WeightRegularizer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A decay towards the source's weights: after each step, w -= rate * strength * importance * (w - source).

    The importance is 1 (L2-SP) or the actor's Fisher information, scaled to a mean of 1 (EWC).
    """

    strength: Strength
    on: tuple[str, ...] = ("actor", "critic")
    fisher: bool = False


def regularized(regularizer: WeightRegularizer, components: Components, copied: Sequence[str]) -> tuple[str, ...]:
    """Return the components that are pulled back: those that it names and the source gave.

    Raises:
        InputError: it names a component that does not exist.
    """
    return tuple(name for name in select(regularizer.on, components, "weight_regularizer.on") if name in copied)


def regularize(
    optimizers: Sequence[torch.optim.Optimizer],
    components: Components,
    regularizer: WeightRegularizer,
    copied: Sequence[str],
    importance: Mapping[str, torch.Tensor],
) -> None:
    """Decay what was copied towards what it is now, after every step of its optimiser.

    Decoupled from the gradient, since Adam would rescale a penalty (methods that add it to the loss pull harder where
    gradients are small).

    Args:
        optimizers: of the learner, just transplanted.
        components: its own.
        regularizer: strength, components, and whether `importance` weighs them.
        copied: the components that came from the source.
        importance: `component.tensor` -> weights of the same shape; 1 where there is none.
    """
    anchors = {
        value: (value.detach().clone(), importance.get(f"{name}.{tensor}", torch.ones(())))
        for name in regularized(regularizer, components, copied)
        for tensor, value in components[name].items()
        if isinstance(value, torch.nn.Parameter)
    }

    def decay(optimizer: torch.optim.Optimizer, *_: object) -> None:
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter in anchors and parameter.requires_grad:
                        anchor, weight = anchors[parameter]
                        # w -= min(rate * strength * importance, 1) * (w - anchor): never past the anchor
                        share = (group["lr"] * regularizer.strength * weight).clamp(max=1.0)
                        parameter.sub_(share * (parameter - anchor))

    for optimizer in optimizers:
        optimizer.register_step_post_hook(decay)


def fisher(policy: Policy, states: npt.NDArray[np.float64]) -> dict[str, torch.Tensor]:
    """Diagonal Fisher information of the actor's parameters, scaled to a mean of 1, by `component.tensor`.

    For a Gaussian policy with fixed deviation it is the mean over states of sum_d (d mean_d / d w)^2 / std_d^2
    (Continual World's EWC uses the same).

    Args:
        policy: in the target's slots.
        states: (count, slots), unnormalised.
    """
    parts = {
        name: {tensor: value for tensor, value in tensors.items() if not is_running(tensor)}
        for name, tensors in policy.components.items()
        if name.startswith("actor.")
    }
    normalized_obs = torch.as_tensor(policy.normalised(states))

    def action(parameters: dict[str, dict[str, torch.Tensor]], state: torch.Tensor, index: int) -> torch.Tensor:
        whole = {name: {**tensors, **parameters.get(name, {})} for name, tensors in policy.components.items()}
        mean, log_std = policy.gaussian(state[None], whole)
        scale = 1.0 if log_std is None else log_std[0, index].detach().exp()
        return mean[0, index] / scale

    total = {f"{name}.{tensor}": torch.zeros_like(v) for name, ts in parts.items() for tensor, v in ts.items()}
    for index in range(len(policy.interface.action)):
        grads = vmap(grad(action), in_dims=(None, 0, None), chunk_size=GRADIENT_STATES)(parts, normalized_obs, index)
        for name, tensors in grads.items():
            for tensor, grad_weight in tensors.items():
                total[f"{name}.{tensor}"] += grad_weight.square().mean(0)  # E[(d mean_d / d w)^2] / std_d^2
    mean = torch.cat([value.flatten() for value in total.values()]).mean().clamp(min=LEAST_FISHER)
    return {name: value / mean for name, value in total.items()}


class _RegularizerKeys(Protocol):
    @property
    def weight_regularizer(self) -> WeightRegularizer | None: ...

    @property
    def adapter(self) -> object: ...


def _label(method: _RegularizerKeys) -> str:
    return "pulls weights" if method.weight_regularizer else ""


def _check(method: _RegularizerKeys) -> str:
    if method.adapter and method.weight_regularizer and method.weight_regularizer.fisher:
        return "weight_regularizer.fisher is of the source's own layers: give no adapter with it"
    return ""


def _needs_source(method: _RegularizerKeys) -> bool:
    return method.weight_regularizer is not None


WEIGHT_REGULARIZER = Mechanism(
    name="weight regularizer",
    keys=("weight_regularizer",),
    can={"sb3": everywhere, "cohort": everywhere, "transplant": everywhere},
    label=_label,
    check=_check,
    needs_source=_needs_source,
)
