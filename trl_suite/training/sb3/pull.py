"""Penalties towards a source, as hooks on SB3's optimisers: no copy of any `train` is needed."""

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import PPO, SAC, TD3
from torch.func import grad, vmap

from trl_suite.mechanisms.methods import BehaviourPull, WeightPull
from trl_suite.networks.actor import SourceActor
from trl_suite.networks.components import select
from trl_suite.networks.policy import Policy
from trl_suite.training.sb3 import sb3_model as sb3
from trl_suite.training.sb3.learners import Model
from trl_suite.training.sb3.rates import optimisers

BATCH = 256  # states per step on which behaviours are compared
SEEN = 2_000  # states at home, for the Fisher information and for cloning

Raw = npt.NDArray[np.float64]
States = Callable[[], Raw]  # -> (batch, target slots), unnormalised


def pull_weights(
    model: Model, pull: WeightPull, copied: tuple[str, ...], importance: Mapping[str, torch.Tensor]
) -> None:
    """Decay what was copied towards what it is now, after every step of its optimiser.

    Decoupled from the gradient, since Adam would rescale a penalty (methods that add it to the loss pull harder where
    gradients are small).

    Args:
        model: just transplanted.
        pull: strength, components, and whether `importance` weighs them.
        copied: the components that came from the source.
        importance: `component.tensor` -> weights of the same shape; 1 where there is none.
    """
    components = sb3.components_of(model)
    anchors = {
        value: (value.detach().clone(), importance.get(f"{name}.{tensor}", torch.ones(())))
        for name in select(pull.on, components, "weights.on")
        if name in copied
        for tensor, value in components[name].items()
        if isinstance(value, torch.nn.Parameter)
    }

    def decay(optimiser: torch.optim.Optimizer, *_: object) -> None:
        with torch.no_grad():
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    if parameter in anchors and parameter.requires_grad:
                        anchor, weight = anchors[parameter]
                        # never past the anchor, however strong the pull
                        parameter.sub_((group["lr"] * pull.strength * weight).clamp(max=1.0) * (parameter - anchor))

    for optimiser in optimisers(model):
        optimiser.register_step_post_hook(decay)


def fisher(policy: Policy, states: Raw) -> dict[str, torch.Tensor]:
    """Return the diagonal Fisher information of the actor's parameters, scaled to a mean of 1, by `component.tensor`.

    For a Gaussian policy with fixed deviation it is the mean over states of sum_d (d mean_d / d w)^2 / std_d^2
    (Continual World's EWC uses the same).

    Args:
        policy: in the target's slots.
        states: (count, slots), unnormalised.
    """
    parts = {name: dict(tensors) for name, tensors in policy.components.items() if name.startswith("actor.")}
    rest = {name: tensors for name, tensors in policy.components.items() if name not in parts}
    seen = torch.as_tensor(policy.normalised(states))

    def action(parameters: dict[str, dict[str, torch.Tensor]], state: torch.Tensor, index: int) -> torch.Tensor:
        mean, log_std = policy.gaussian(state[None], {**rest, **parameters})
        scale = 1.0 if log_std is None else log_std[0, index].detach().exp()
        return mean[0, index] / scale

    total = {f"{name}.{tensor}": torch.zeros_like(v) for name, ts in parts.items() for tensor, v in ts.items()}
    for index in range(len(policy.interface.action)):
        slopes = vmap(grad(action), in_dims=(None, 0, None), chunk_size=500)(parts, seen, index)
        for name, tensors in slopes.items():
            for tensor, slope in tensors.items():
                total[f"{name}.{tensor}"] += slope.square().mean(0)
    mean = torch.cat([value.flatten() for value in total.values()]).mean().clamp(min=1e-12)
    return {name: value / mean for name, value in total.items()}


def pull_behaviour(
    model: Model, pull: BehaviourPull, source: SourceActor, states: States, progress: Callable[[], float]
) -> None:
    """Add the gradient of strength * KL(source || learner) before every step of the actor's optimiser.

    Args:
        model: the learner.
        pull: strength and schedule.
        source: who is imitated.
        states: where; called once per step.
        progress: share of the budget that is used.
    """

    def imitate(*_: object) -> None:
        strength = strength_at(pull, progress())
        if strength <= 0:
            return
        loss = strength * divergence(model, source, states())
        if loss.requires_grad:  # a frozen actor has nothing to learn from it
            loss.backward()

    optimisers(model)[0].register_step_pre_hook(imitate)


def strength_at(pull: BehaviourPull, progress: float) -> float:
    """Return the strength after a share of the budget."""
    return max(pull.least, pull.strength * 0.5 ** (progress / pull.halving) if pull.halving else pull.strength)


def divergence(model: Model, source: SourceActor, states: Raw) -> torch.Tensor:
    """Return KL(source || learner), meaned over states: of Gaussians before tanh, whose KL tanh does not change.

    TD3 has no distribution: the squared distance of its actions from the source's stands for it.
    """
    mean, log_std = source.gaussian(states)
    wrapper = model.get_vec_normalize_env()
    seen = torch.as_tensor(np.asarray(states if wrapper is None else wrapper.normalize_obs(states), dtype=np.float32))
    if isinstance(model, TD3):
        return (model.actor(seen) - torch.tanh(mean)).square().sum(1).mean()
    assert log_std is not None  # only TD3 has none, and source and learner are of one algorithm
    ours, our_log_std = _gaussian(model, seen)
    spread = (2 * log_std).exp() + (mean - ours).square()
    return (our_log_std - log_std + spread / (2 * (2 * our_log_std).exp()) - 0.5).sum(1).mean()


def _gaussian(model: PPO | SAC, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(model, SAC):
        mean, log_std, _ = model.actor.get_action_dist_params(seen)
        return mean, log_std
    normal = cast("torch.distributions.Normal", model.policy.get_distribution(seen).distribution)
    return normal.mean, normal.stddev.log()


def own_states(model: Model, generator: np.random.Generator) -> States:
    """Return a function that draws states from the learner's own rollout or replay."""

    def draw() -> Raw:
        if isinstance(model, PPO):
            held = model.rollout_buffer.observations
            seen = held.reshape(-1, held.shape[-1])
            batch = seen[generator.integers(len(seen), size=BATCH)]
            wrapper = model.get_vec_normalize_env()  # PPO keeps what its network saw
            return np.asarray(batch if wrapper is None else wrapper.unnormalize_obs(batch), dtype=np.float64)
        assert model.replay_buffer is not None
        held = model.replay_buffer.observations
        seen = held[: model.replay_buffer.size()].reshape(-1, held.shape[-1])
        return np.asarray(seen[generator.integers(len(seen), size=BATCH)], dtype=np.float64)

    return draw


def among(states: Raw, generator: np.random.Generator) -> States:
    """Return a function that draws from fixed states."""
    return lambda: states[generator.integers(len(states), size=BATCH)]
