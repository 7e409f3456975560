"""Small cohorts: seconds, not minutes."""

from copy import deepcopy

import numpy as np
import torch

from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.mechanisms import methods
from trl_suite.networks.policy import Policy
from trl_suite.training import settings
from trl_suite.training.acting.evaluation import Episode
from trl_suite.training.cohort.cohort_training import train
from trl_suite.training.training_run import Snapshot, TrainingOutcome, TrainingRun, Unwatched

HOW = PPOHyperparameters(n_envs=4, n_steps=32, batch_size=50, n_epochs=3, hidden=(16, 16))  # a short last minibatch
STEPS = 4 * 128
EVALUATION = settings.Evaluation(every=128, episodes=2)


class Keeping(Unwatched):
    """Remembers everything; takes a snapshot at every rollout where it is asked to."""

    def __init__(self, keep: bool = False, resume: Snapshot | None = None, stop_at: int | None = None) -> None:
        self.curve: list[tuple[int, list[Episode]]] = []
        self.snapshots: list[Snapshot] = []
        self._keep, self._resume, self._stop_at, self._step = keep, resume, stop_at, 0

    def evaluated(self, step, episodes):
        self.curve.append((step, list(episodes)))

    def advanced(self, step):
        self._step = step

    def stopping(self):
        return self._stop_at is not None and self._step >= self._stop_at

    def resumed(self):
        return self._resume

    def due(self):
        return self._keep

    def keep(self, snapshot):
        self.snapshots.append(deepcopy(snapshot))  # large parts lie in memory that is written on


def job(seed: int = 0, method: str = "scratch", env: str = "inverted-pendulum", source: Policy | None = None, **more):
    definition = more.pop("definition", None) or methods.find(method)
    values = {"hyperparameters": HOW, "steps": STEPS, "evaluation": EVALUATION} | more
    return TrainingRun(env=env, seed=seed, method=method, definition=definition, source=source, **values)


def run(jobs: list[TrainingRun], watchers: list[Keeping] | None = None) -> list[TrainingOutcome | Exception]:
    watchers = watchers or [Keeping() for _ in jobs]
    found = dict(train(jobs, watchers, [None] * len(jobs), torch.device("cpu")))
    return [found[index] for index in range(len(jobs))]


def numbers(outcome: TrainingOutcome | Exception) -> dict[str, np.ndarray]:
    """Everything that a run has learned."""
    assert isinstance(outcome, TrainingOutcome), outcome
    return {
        f"{name}.{tensor}": value.numpy()
        for name, tensors in outcome.policy.components.items()
        for tensor, value in tensors.items()
    }


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(value, other[name]) for name, value in one.items())
