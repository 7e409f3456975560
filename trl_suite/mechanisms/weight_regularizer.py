"""Weight regularizer: a decay towards the source's weights (L2-SP, Li et al. 2018; EWC, Kirkpatrick et al. 2017).

In a sequence of tasks the importance of a weight may be summed over stages: online EWC (Schwarz et al. 2018, section
3.2) and MAS (Aljundi et al. 2018). The weights that it pulls towards are those of the stage before, as in both papers.

On SB3 it is a hook on the optimisers, here; in a cohort `training/cohort/learning/source_gradients.py` does it to one
member's rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch.func import grad, vmap

from trl_suite.errors import InputError
from trl_suite.mechanisms.mechanism import Mechanism, Share, Strength, everywhere
from trl_suite.networks.components import Components, select
from trl_suite.networks.input_norms import is_running
from trl_suite.networks.policy import Policy

GRADIENT_STATES = 500  # states whose gradients are held at once
LEAST_FISHER = 1e-12  # a mean of the Fisher information below it would be divided by


class WeightRegularizer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A decay towards the source's weights: after each step, w -= rate * strength * importance * (w - source).

    The importance is 1 (L2-SP), the actor's Fisher information (EWC) or how far its output moves with a weight (MAS);
    each stage's is scaled to a mean of 1, so that tasks count alike (Schwarz et al. 2018, section 3.2).
    """

    strength: Strength
    on: tuple[str, ...] = ("actor", "critic")
    fisher: bool = False
    sensitivity: bool = False  # MAS, in place of the Fisher information
    carry: Share = 0.0  # of the earlier stages' importance; 0 forgets it, 1 sums it over stages

    @property
    def weighs(self) -> bool:
        """Whether weights are pulled by their importance."""
        return self.fisher or self.sensitivity


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

    def action(mean: torch.Tensor, log_std: torch.Tensor | None, index: int) -> torch.Tensor:
        scale = 1.0 if log_std is None else log_std[0, index].detach().exp()
        return mean[0, index] / scale

    total = _zeros(policy)
    for index in range(len(policy.interface.action)):
        for name, grads in _gradients(policy, states, partial(action, index=index)):
            total[name] += grads.square().mean(0)  # E[(d mean_d / d w)^2] / std_d^2
    return _scaled(total)


def sensitivity(policy: Policy, states: npt.NDArray[np.float64]) -> dict[str, torch.Tensor]:
    """Sensitivity of the actor's output to each of its parameters, scaled to a mean of 1, by `component.tensor`.

    Omega_w = E_s |d ||mean(s)||^2 / d w| (Aljundi et al. 2018, section 4): needs no deviation, and no reward.

    Args:
        policy: in the target's slots.
        states: (count, slots), unnormalised.
    """

    def length(mean: torch.Tensor, _: torch.Tensor | None) -> torch.Tensor:
        return mean[0].square().sum()  # ||F(s)||^2

    # E_s |d ||F||^2 / d w|
    return _scaled({name: grads.abs().mean(0) for name, grads in _gradients(policy, states, length)})


def accumulated(
    importance: Mapping[str, torch.Tensor], earlier: Mapping[str, torch.Tensor], carry: float
) -> dict[str, torch.Tensor]:
    """Importance of a stage with a share of that of all stages before.

    F*_k = carry * F*_(k-1) + F_k (Schwarz et al. 2018, section 3.2).

    Raises:
        InputError: the earlier stages' is of other layers.
    """
    for name, value in earlier.items():
        if carry and (name not in importance or importance[name].shape != value.shape):
            raise InputError(f"the importance of {name} over the stages before is of a layer of another shape")
    return {name: value + carry * earlier[name] if name in earlier else value for name, value in importance.items()}


Output = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]  # of mean and log std of one state: a number


def _gradients(policy: Policy, states: npt.NDArray[np.float64], output: Output) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield `component.tensor` and the gradient of an output of the actor by it at every state (count, ...)."""
    parts = _actor(policy)
    normalized_obs = torch.as_tensor(policy.normalised(states))

    def at_state(parameters: dict[str, dict[str, torch.Tensor]], state: torch.Tensor) -> torch.Tensor:
        whole = {name: {**tensors, **parameters.get(name, {})} for name, tensors in policy.components.items()}
        return output(*policy.gaussian(state[None], whole))

    grads = vmap(grad(at_state), in_dims=(None, 0), chunk_size=GRADIENT_STATES)(parts, normalized_obs)
    for name, tensors in grads.items():
        for tensor, values in tensors.items():
            yield f"{name}.{tensor}", values


def _actor(policy: Policy) -> dict[str, dict[str, torch.Tensor]]:
    """Return the actor's tensors that an optimiser moves."""
    return {
        name: {tensor: value for tensor, value in tensors.items() if not is_running(tensor)}
        for name, tensors in policy.components.items()
        if name.startswith("actor.")
    }


def _zeros(policy: Policy) -> dict[str, torch.Tensor]:
    parts = _actor(policy)
    return {f"{name}.{key}": torch.zeros_like(value) for name, ts in parts.items() for key, value in ts.items()}


def _scaled(importance: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    mean = torch.cat([value.flatten() for value in importance.values()]).mean().clamp(min=LEAST_FISHER)
    return {name: value / mean for name, value in importance.items()}


class _RegularizerKeys(Protocol):
    @property
    def weight_regularizer(self) -> WeightRegularizer | None: ...

    @property
    def adapter(self) -> object: ...


def _label(method: _RegularizerKeys) -> str:
    return "pulls weights" if method.weight_regularizer else ""


def _check(method: _RegularizerKeys) -> str:
    regularizer = method.weight_regularizer
    if regularizer is None:
        return ""
    if method.adapter and regularizer.weighs:
        key = "fisher" if regularizer.fisher else "sensitivity"
        return f"weight_regularizer.{key} is of the source's own layers: give no adapter with it"
    if regularizer.fisher and regularizer.sensitivity:
        return "weight_regularizer: fisher and sensitivity are two measures of importance: give one of them"
    if regularizer.carry and not regularizer.weighs:
        return "weight_regularizer.carry is of an importance: give fisher or sensitivity too"
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
