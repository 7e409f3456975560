"""A cohort that learns on a GPU learns what it learns on the CPU, to rounding."""

import numpy as np
import pytest
import torch

from tests.training.cohort.small import job, numbers
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.mechanisms import methods
from trl_suite.training.cohort.cohort_training import train
from trl_suite.training.cohort.learning.ppo_update import PPOUpdate, Transitions
from trl_suite.training.cohort.stacked import graph
from trl_suite.training.cohort.stacked.parameter_layout import on_policy
from trl_suite.training.cohort.stacked.stack import Stack
from trl_suite.training.training_run import TrainingOutcome, Unwatched

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device"),
]
CUDA = torch.device("cuda")
OFF = {"batch_size": 32, "hidden": (16, 16), "learning_starts": 64, "buffer_size": 300, "n_envs": 2}


def test_an_update_is_the_cpus():
    hyperparameters = PPOHyperparameters(batch_size=64, n_epochs=2)
    layout, size, members = on_policy(17, 6, hyperparameters.hidden), 256, 4
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, members, layout.size, generator=generator) * 0.1
    given = [torch.randn(members, size, *more, generator=generator) for more in ((17,), (6,), (), (), ())]
    given[2] = given[2] * 0.1 - 8.0
    orders = np.stack([np.stack([np.random.default_rng(k).permutation(size) for k in range(2)])] * members)
    found = []
    for device in (torch.device("cpu"), CUDA):
        stack = Stack.zeros(layout, members, device)
        stack.flat.copy_(start)
        learner = PPOUpdate(hyperparameters, stack)
        learner.update(Transitions(*(one.to(device) for one in given)), orders, np.ones_like(learner.adam.learning))
        found.append(stack.flat.cpu())
    assert float((found[0] - found[1]).abs().max()) < 1e-4


@pytest.mark.parametrize(
    "hyperparameters",
    [
        PPOHyperparameters(n_envs=4, n_steps=32, batch_size=32),
        SACHyperparameters(**OFF),
        TD3Hyperparameters(**OFF, action_noise=0.1),
    ],
    ids=["ppo", "sac", "td3"],
)
def test_graphs_learn_what_python_learns(hyperparameters, monkeypatch):
    source = dict(train([job(seed=7, hyperparameters=hyperparameters)], [Unwatched()], [None], torch.device("cpu")))[
        0
    ].policy
    jobs, captures = (
        [
            job(seed=0, hyperparameters=hyperparameters),
            job(seed=1, method="kickstart", hyperparameters=hyperparameters, source=source),
        ],
        [],
    )
    monkeypatch.setattr(graph, "captured", lambda work, capture=graph.captured: captures.append(1) or capture(work))
    with_graphs = dict(train(jobs, [Unwatched(), Unwatched()], [None] * 2, CUDA))
    assert captures
    monkeypatch.setattr(graph, "WARM_UP", 10**9)
    without = dict(train(jobs, [Unwatched(), Unwatched()], [None] * 2, CUDA))
    for index in range(2):
        one, other = numbers(with_graphs[index]), numbers(without[index])
        assert max(float(np.abs(one[name] - other[name]).max()) for name in one) < 1e-3


@pytest.mark.parametrize("hyperparameters", [SACHyperparameters, TD3Hyperparameters])
def test_sac_and_td3_run_there_and_keep_what_is_frozen(hyperparameters):
    own = hyperparameters(**OFF, normalise_observation=True)
    source = dict(train([job(seed=7, hyperparameters=own)], [Unwatched()], [None], CUDA))[0].policy
    names = ("scratch", "feature-extraction", "kickstart", "critic-warmup")
    jobs = [
        job(seed, name, hyperparameters=own, source=source if methods.find(name).needs_source else None)
        for seed, name in enumerate(names)
    ]
    for outcome in dict(train(jobs, [Unwatched() for _ in jobs], [None] * len(jobs), CUDA)).values():
        assert isinstance(outcome, TrainingOutcome), outcome
        assert outcome.freeze.holds


def test_a_whole_training_runs_there_and_keeps_what_is_frozen(make_job):
    jobs = [make_job(seed=0), make_job(seed=1, method="feature-extraction"), make_job(seed=2, method="kickstart")]
    found = dict(train(jobs, [Unwatched() for _ in jobs], [None] * 3, CUDA))
    for outcome in found.values():
        assert isinstance(outcome, TrainingOutcome), outcome
        assert outcome.freeze.holds
