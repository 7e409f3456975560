"""A world whose optimum is known, learners that take a second, and a source for each algorithm."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.logger import Logger

from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.networks.actor import source_actor
from trl_suite.networks.align import align
from trl_suite.networks.card import Training
from trl_suite.networks.policy import Policy
from trl_suite.training import settings
from trl_suite.training.from_scratch import Unwatched
from trl_suite.training.sb3.methods.method_callbacks import MethodCallbacks
from trl_suite.training.sb3.methods.transplant import implant
from trl_suite.training.sb3.models import sb3_model as sb3
from trl_suite.training.training_run import TrainingRun

STEPS = 16  # of an episode of Follow


class Follow(gymnasium.Env[Any, Any]):
    """Pays -(action - gain * first observation)^2: the best policy is linear, and its return is 0."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._left = STEPS
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        paid = -float((action[0] - self.gain * self._now[0]) ** 2)
        self._left -= 1
        return self._seen(), paid, False, self._left == 0, {}

    def _seen(self) -> Any:
        self._now = self.np_random.uniform(-1.0, 1.0, 3)
        return self._now


for name, gain in (("Follow-v0", 1.0), ("FollowLess-v0", 0.8)):
    gymnasium.register(name, Follow, kwargs={"gain": gain})

FOLLOW, LESS = "gymnasium:Follow-v0", "gymnasium:FollowLess-v0"
CARD = Training(env=FOLLOW, seed=0, steps=0)
TINY = {"hidden": (8, 8), "buffer_size": 1000, "learning_starts": 30, "batch_size": 16}
HOW: dict[str, Hyperparameters] = {
    "ppo": PPOHyperparameters(n_envs=2, n_steps=64, batch_size=32, n_epochs=4, hidden=(8, 8), learning_rate=3e-3),
    "sac": SACHyperparameters(**TINY, learning_rate=3e-3),
    "td3": TD3Hyperparameters(**TINY, learning_rate=3e-3),
}
EVERYTHING = ("actor", "critic", "temperature", "normaliser")


class OnDemand(dict[str, Policy]):
    """A policy per algorithm, each made when it is first asked for."""

    def __init__(self, make: Callable[[str], Policy]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, algorithm: str) -> Policy:
        self[algorithm] = self._make(algorithm)
        return self[algorithm]


def source(algorithm: str) -> Policy:
    """A policy that has learned to follow, a little."""
    model = sb3.build(FOLLOW, HOW[algorithm], 7)
    model.learn(512 if algorithm == "ppo" else 250)
    return sb3.policy_of(model, CARD)


@pytest.fixture(scope="session")
def sources() -> OnDemand:
    return OnDemand(source)


def job(algorithm: str, source: Policy | None, definition: Method, **changes: Any) -> TrainingRun:
    values: dict[str, Any] = {
        "env": LESS, "hyperparameters": HOW[algorithm], "seed": 3, "steps": 256, "method": "tested",
        "evaluation": settings.Evaluation(every=128, episodes=1), "definition": definition, "source": source,
    }  # fmt: skip
    return TrainingRun(**(values | changes))


def prepared(algorithm: str, source: Policy, method: Method, **changes: Any):
    """A model as `train` has it at its first step, its callbacks, and the source as it would act there."""
    task = job(algorithm, source, method, **changes)
    model = sb3.build(task.env, task.hyperparameters, task.seed, one_by_one=method.guide_policy is not None)
    model.set_logger(Logger(folder=None, output_formats=[]))
    fresh = methods.fresh_values(method, sb3.components_of(model))
    record = implant(source, model, "tested", method, None, 0)
    interface = sb3.interface_of_model(model)
    actor = source_actor(source, interface, align(source.interface, interface))
    return model, MethodCallbacks(model, task, record, fresh), actor


def numbers(model) -> dict[str, Any]:
    """All tensors of a model, copied, by `component.tensor`."""
    return {
        f"{name}.{tensor}": value.detach().clone()
        for name, tensors in sb3.components_of(model).items()
        for tensor, value in tensors.items()
    }


class Steps(Unwatched):
    """Notes the steps and the mean returns of the evaluations."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.returns: list[float] = []

    def evaluated(self, step: int, episodes: Any) -> None:
        self.seen.append(step)
        self.returns.append(float(np.mean([episode.value for episode in episodes])))
