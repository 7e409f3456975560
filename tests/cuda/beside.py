"""The same trainings on the CPU and on the simulated device."""

from collections.abc import Sequence

import torch

from tests.cuda.device import SimulatedDevice
from tests.cuda.runtime import simulated
from tests.training.cohort.small import Keeping, job, numbers, same
from trl_suite.algorithms.a2c import A2CHyperparameters
from trl_suite.algorithms.hyperparameters import Hyperparameters
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.mechanisms import methods
from trl_suite.training.cohort.cohort_training import train
from trl_suite.training.training_run import Result, TrainingOutcome, TrainingRun, Unwatched

OFF = {"batch_size": 32, "hidden": (16, 16), "learning_starts": 64, "buffer_size": 300, "n_envs": 2}
HYPERPARAMETERS: dict[str, Hyperparameters] = {
    "ppo": PPOHyperparameters(n_envs=4, n_steps=32, batch_size=50, n_epochs=5, hidden=(16, 16)),
    "a2c": A2CHyperparameters(n_envs=4, n_steps=16, hidden=(16, 16)),
    "sac": SACHyperparameters(**OFF),
    "td3": TD3Hyperparameters(**OFF, action_noise=0.1),
}


def runs(algorithm: str | Hyperparameters, names: Sequence[str], **more) -> list[TrainingRun]:
    """Return a training of each method, whose source is of the same algorithm."""
    hyperparameters = HYPERPARAMETERS[algorithm] if isinstance(algorithm, str) else algorithm
    first = job(seed=7, hyperparameters=hyperparameters, steps=128)
    source = dict(train([first], [Unwatched()], [None], torch.device("cpu")))[0].policy
    return [
        job(
            seed,
            name,
            hyperparameters=hyperparameters,
            source=source if methods.find(name).needs_source else None,
            **more,
        )
        for seed, name in enumerate(names)
    ]


def trained(
    jobs: Sequence[TrainingRun], device: str, physics: str = "mujoco", watchers: Sequence[Keeping] | None = None
) -> list[Result]:
    watchers = watchers or [Keeping() for _ in jobs]
    results = dict(train(jobs, watchers, [None] * len(jobs), torch.device(device), physics))
    return [results[index] for index in range(len(jobs))]


def compare(jobs: Sequence[TrainingRun], physics: str = "mujoco") -> SimulatedDevice:
    """Train on both; all that was learned and measured must be the same, and no race seen."""
    plain, beside = ([Keeping() for _ in jobs] for _ in range(2))
    on_cpu = trained(jobs, "cpu", physics, plain)
    with simulated() as device:
        on_cuda = trained(jobs, "cuda", physics, beside)
    for run, one, other in zip(jobs, on_cpu, on_cuda, strict=True):
        assert isinstance(other, TrainingOutcome), (run.method, other)
        assert same(numbers(one), numbers(other)), run.method
        assert other.freeze.holds
    assert [watcher.curve for watcher in plain] == [watcher.curve for watcher in beside]
    assert not device.faults, device.faults
    assert device.count["captures"]
    assert device.count["graph launches"] >= device.count["captures"]
    return device
