"""Trunks that learn how the world moves, from random actions and without any reward (Pathak et al. 2017, §2.1)."""

from typing import NamedTuple, cast

import numpy as np
import torch
from gymnasium.spaces import Box
from torch.nn import functional

from trl_suite.mechanisms.adapters import trunk
from trl_suite.networks.activation_functions import ACTIVATIONS, hidden
from trl_suite.networks.components import NORM
from trl_suite.training.reproducibility import seed_for
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.sb3.models.learners import Model, is_deterministic, is_on_policy
from trl_suite.training.sb3.observer import StoppedError
from trl_suite.training.settings import Dynamics
from trl_suite.training.training_run import TrainingRun, Watcher


class DynamicsTransitions(NamedTuple):
    """Transitions."""

    before: torch.Tensor  # (transitions, slots), as the networks see it
    action: torch.Tensor  # (transitions, actions), in [-1, 1]
    after: torch.Tensor  # (transitions, slots)


def learn_dynamics(model: Model, run: TrainingRun, hyperparameters: Dynamics, watcher: Watcher) -> None:
    """Train the model's trunks and leave its heads.

    Random actions are made for the whole budget first. No reward is read, and no statistics of returns are kept.

    Raises:
        StoppedError: the watcher wants the training to end.
    """
    moves = _collected(model, run.total, seed_for(run.seed, "dynamics"), watcher)
    generator = torch.Generator().manual_seed(seed_for(run.seed, "dynamics", 1))
    learn_trunks(model, moves, hyperparameters, run.hyperparameters.minibatch, generator)


def learn_trunks(
    model: Model, moves: DynamicsTransitions, hyperparameters: Dynamics, batch: int, generator: torch.Generator
) -> list[float]:
    """Fit the trunks to the transitions and return the mean loss of each epoch.

    A trunk that sees states alone tells the action from the features of two states, and the next state's features
    from features and action. The critics of SAC and TD3, which see the action, do the latter for the actor's features.
    """
    objectives = _objectives(model, moves.action.shape[1], hyperparameters, generator)
    learned = {
        parameter for objective in objectives for parameter in (*objective.trunk.parameters(), *objective.predictors)
    }
    optimiser = torch.optim.Adam(learned, lr=model.lr_schedule(1.0))
    losses: list[float] = []
    for _ in range(hyperparameters.epochs):
        order = torch.randperm(len(moves.before), generator=generator).split(batch)
        losses.append(float(np.mean([_step(optimiser, objectives, moves, rows) for rows in order])))
    if not is_on_policy(model):
        model.critic_target.load_state_dict(model.critic.state_dict())
    if is_deterministic(model):
        model.actor_target.load_state_dict(model.actor.state_dict())
    return losses


def _step(
    optimiser: torch.optim.Optimizer, objectives: list["_Objective"], moves: DynamicsTransitions, rows: torch.Tensor
) -> float:
    batch = DynamicsTransitions(*(part[rows] for part in moves))
    loss = torch.stack([objective.loss(batch) for objective in objectives]).sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return float(loss.detach())


class _Trunk:
    """The layers of one trunk, of one of twin critics where there are two."""

    def __init__(self, model: Model, part: str, prefix: str) -> None:
        self._components, self._prefix = sb3.components_of(model), prefix
        self._layers = trunk(part, self._components)
        self._activation = ACTIVATIONS[sb3.activation_of(model)].apply
        self.width = len(self._components[self._layers[-1]][f"{prefix}bias"])

    def __call__(self, seen: torch.Tensor) -> torch.Tensor:
        for name in self._layers:
            seen = hidden(seen, self._components, name, self._activation, self._prefix)
        return seen

    def parameters(self) -> list[torch.Tensor]:
        """Return the parameters of its layers and of their norms."""
        names = [name for layer in self._layers for name in (layer, layer + NORM) if name in self._components]
        return [self._components[name][self._prefix + key] for name in names for key in ("weight", "bias")]


class _OfStates:
    """Objective of a trunk that sees states alone: Pathak et al. 2017, eq. 2 to 7, with linear predictors."""

    def __init__(self, trunk: _Trunk, actions: int, hyperparameters: Dynamics, generator: torch.Generator) -> None:
        self.trunk, self._hyperparameters = trunk, hyperparameters
        self._ahead = _linear(trunk.width + actions, trunk.width, generator)
        self._back = _linear(2 * trunk.width, actions, generator)
        self.predictors = (self._ahead, self._back)

    def loss(self, moves: DynamicsTransitions) -> torch.Tensor:
        """Return the weighted sum of both errors; the features that are predicted do not follow the prediction."""
        before, after = self.trunk(moves.before), self.trunk(moves.after)
        ahead = functional.linear(torch.cat([before, moves.action], dim=1), self._ahead)
        back = functional.linear(torch.cat([before, after], dim=1), self._back)
        forward = functional.mse_loss(ahead, after.detach())
        return self._hyperparameters.forward * forward + self._hyperparameters.inverse * functional.mse_loss(
            back, moves.action
        )


class _OfActions:
    """Objective of a trunk that sees states and actions: predict the features that another will have."""

    def __init__(self, trunk: _Trunk, goal: _Trunk, generator: torch.Generator) -> None:
        self.trunk, self._goal = trunk, goal
        self._ahead = _linear(trunk.width, goal.width, generator)
        self.predictors = (self._ahead,)

    def loss(self, moves: DynamicsTransitions) -> torch.Tensor:
        """Return the error of the prediction."""
        ahead = functional.linear(self.trunk(torch.cat([moves.before, moves.action], dim=1)), self._ahead)
        return functional.mse_loss(ahead, self._goal(moves.after).detach())


_Objective = _OfStates | _OfActions


def _objectives(model: Model, actions: int, hyperparameters: Dynamics, generator: torch.Generator) -> list[_Objective]:
    actor = _Trunk(model, "actor", "")
    objectives: list[_Objective] = [_OfStates(actor, actions, hyperparameters, generator)]
    if is_on_policy(model):
        return [*objectives, _OfStates(_Trunk(model, "critic", ""), actions, hyperparameters, generator)]
    critics = [_Trunk(model, "critic", f"q{net}_") for net in range(model.critic.n_critics)]
    return [*objectives, *(_OfActions(critic, actor, generator) for critic in critics)]


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> torch.Tensor:
    return (torch.randn(outputs, inputs, generator=generator) / inputs**0.5).requires_grad_()


def _collected(model: Model, steps: int, seed: int, watcher: Watcher) -> DynamicsTransitions:
    """Transitions that random actions brought about; the model's statistics are then of them."""
    wrapper, worlds = model.get_vec_normalize_env(), model.get_env()
    inner = worlds if wrapper is None else wrapper.venv  # below the normaliser, which would count rewards
    assert inner is not None
    generator, space = np.random.default_rng(seed), cast("Box", model.action_space)
    seen, transitions = inner.reset(), []
    while model.num_timesteps < steps:
        action = generator.uniform(-1.0, 1.0, size=(inner.num_envs, *space.shape)).astype(np.float32)
        after, _, ended, infos = inner.step(space.low + 0.5 * (action + 1.0) * (space.high - space.low))
        last = np.array(after)
        for world in np.flatnonzero(ended):
            last[world] = infos[world]["terminal_observation"]
        transitions.append((seen, action, last))
        seen = after
        model.num_timesteps += inner.num_envs
        watcher.advanced(model.num_timesteps)
        if watcher.stopping():
            raise StoppedError
    before, action, last = (np.concatenate(part) for part in zip(*transitions, strict=True))
    if wrapper is not None and wrapper.norm_obs:
        wrapper.obs_rms.update(before)
        before, last = wrapper.normalize_obs(before), wrapper.normalize_obs(last)
    return DynamicsTransitions(*(torch.as_tensor(part, dtype=torch.float32) for part in (before, action, last)))
