"""One trunk, several tasks: a head for each, chosen by a mark that the trunk never sees (Wołczyk et al. 2022).

What is stored has the mean of the heads, and is an ordinary network.
"""

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn
from torch import nn
from torch.nn import functional

from trl_suite.networks.adapted_layers import FoldableLayer, Plain
from trl_suite.training.sb3.models.layers import exchange, layers
from trl_suite.training.sb3.models.learners import Model


class Marked(VecEnvWrapper):
    """Adds to each observation one number per task, 1 for the world's own and 0 for the others; tasks take turns."""

    def __init__(self, venv: VecEnv, tasks: int) -> None:
        slots = int(np.prod(venv.observation_space.shape or ()))
        super().__init__(venv, observation_space=Box(-np.inf, np.inf, (slots + tasks,), np.float64))
        self._marks = np.eye(tasks)[np.arange(venv.num_envs) % tasks]  # (worlds, tasks)

    def reset(self) -> NDArray[Any]:
        """Return the first observations (worlds, slots + tasks)."""
        return self._marked(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Return the results of the step, with marked observations."""
        observations, rewards, ended, infos = self.venv.step_wait()
        for world in np.flatnonzero(ended):
            last = infos[world]["terminal_observation"]
            infos[world]["terminal_observation"] = np.concatenate([last, self._marks[world]])
        return self._marked(observations), rewards, ended, infos

    def _marked(self, observations: Any) -> NDArray[Any]:
        return np.concatenate([observations, self._marks], axis=1)


class PassingLayer(FoldableLayer):
    """A layer of the trunk: the mark goes past it, to stand last among what it returns."""

    def __init__(self, layer: nn.Linear, slots: int, tasks: int, first: bool) -> None:
        super().__init__()
        self._at, self._tasks = slots if first else layer.in_features, tasks
        columns = [column for column in range(layer.in_features) if not 0 <= column - self._at < tasks]
        self.weight, self.bias = nn.Parameter(layer.weight[:, columns].detach()), layer.bias

    def folded(self) -> Plain:
        """Return the layer without the mark."""
        return Plain(self.weight, self.bias)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Return features and mark; what was normalised, or went through an activation, has kept its sign."""
        before, mark, after = seen.split([self._at, self._tasks, seen.shape[-1] - self._at - self._tasks], dim=-1)
        features = functional.linear(torch.cat([before, after], dim=-1), self.weight, self.bias)
        return torch.cat([features, (mark > 0).to(features)], dim=-1)


class Heads(FoldableLayer):
    """A head for each task, which all begin alike."""

    def __init__(self, head: nn.Linear, tasks: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(head.weight.detach().repeat(tasks, 1, 1))  # (tasks, outputs, features)
        self.bias = nn.Parameter(head.bias.detach().repeat(tasks, 1))

    def folded(self) -> Plain:
        """Return the mean of the heads."""
        return Plain(self.weight.mean(0), self.bias.mean(0))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Return the output of the marked head."""
        features, mark = seen.split([self.weight.shape[2], len(self.weight)], dim=-1)
        outputs = torch.einsum("...f,tof->...to", features, self.weight) + self.bias
        return torch.einsum("...to,...t->...o", outputs, (mark > 0).to(outputs))


def share_trunk(model: Model, slots: int, tasks: int) -> None:
    """Give each task of a fresh model, whose observations are marked, its own heads; its optimisers are then stale.

    Args:
        model: the learner.
        slots: of an observation, without the mark.
        tasks: how many.
    """
    for place, layer in layers(model, nn.Linear):
        first = place.component.endswith("trunk.0")
        trunk = ".trunk." in place.component
        exchange(model, place, PassingLayer(layer, slots, tasks, first) if trunk else Heads(layer, tasks))
