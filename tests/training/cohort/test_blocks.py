"""Large networks are computed one after the other, or by several threads: to the same bits."""

import pytest
import torch

from tests.training.cohort.small import Keeping, job, numbers, same
from trl_suite import machine_resources
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.training.cohort.cohort_training import train
from trl_suite.training.cohort.learning.off_policy import layouts
from trl_suite.training.cohort.learning.replay_rings import TransitionBatch
from trl_suite.training.cohort.learning.sac_update import SACUpdate
from trl_suite.training.cohort.learning.td3_update import TD3Update
from trl_suite.training.cohort.stacked import network
from trl_suite.training.cohort.stacked.net_threads import NetThreads, net_threads
from trl_suite.training.cohort.stacked.stack import Stack

SLOTS, ACTIONS, BATCH, MEMBERS = 17, 6, 100, 3
CASES = {
    "sac": (SACUpdate, SACHyperparameters(hidden=(64, 48))),
    "sac normalised": (SACUpdate, SACHyperparameters(hidden=(64, 48), layer_norm=True, activation="silu")),
    "td3": (TD3Update, TD3Hyperparameters(hidden=(40, 30))),
}


def learned(name: str, members: slice, updates: int = 4) -> dict[str, torch.Tensor]:
    """Parameters of some of the members after some updates."""
    update, hyperparameters = CASES[name]
    generator = torch.Generator().manual_seed(0)
    stacks = {}
    for key, layout in layouts(hyperparameters, SLOTS, ACTIONS).items():
        numbers = 0.1 * torch.randn(layout.rows, MEMBERS, layout.size, generator=generator)
        stack = stacks[key] = Stack.zeros(layout, len(range(MEMBERS)[members]), torch.device("cpu"))
        for place, index in enumerate(range(MEMBERS)[members]):
            whole = Stack(layout, numbers).member(index)
            stack.write(place, whole)
    learner = update(hyperparameters, stacks, {})
    for _ in range(updates):
        sizes = (SLOTS, ACTIONS, 1, SLOTS)
        seen, action, reward, ahead = (torch.randn(MEMBERS, BATCH, n, generator=generator)[members] for n in sizes)
        draws = torch.randn(2, MEMBERS, BATCH, ACTIONS, generator=generator)[:, members]
        learner.update(
            TransitionBatch(seen, action.tanh(), reward[..., 0], ahead, torch.ones_like(reward[..., 0])), draws
        )
    return {key: stack.flat for key, stack in stacks.items()}


@pytest.fixture
def without_denormals():
    """As in a training; the threads of networks have it for themselves."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@pytest.mark.usefixtures("without_denormals")
@pytest.mark.parametrize("name", CASES)
def test_members_apart_learn_what_they_learn_together_and_alone(name, monkeypatch):
    together = learned(name, slice(None))
    together_alone = learned(name, slice(1, 2))
    assert all(torch.equal(together_alone[key][:, 0], together[key][:, 1]) for key in together)
    monkeypatch.setattr(network, "BLOCK_BYTES", 0)
    apart = learned(name, slice(None))
    # a head of one output is another product there, so that its sums are rounded otherwise
    assert all(torch.allclose(apart[key], together[key], rtol=1e-4, atol=1e-5) for key in together)
    with net_threads(2):
        shared_out = learned(name, slice(None))
    assert all(torch.equal(shared_out[key], apart[key]) for key in apart)
    alone = learned(name, slice(1, 2))
    assert all(torch.equal(alone[key][:, 0], apart[key][:, 1]) for key in apart)
    assert not torch.equal(apart["critic"][:, 0], apart["critic"][:, 1])


def test_a_run_on_two_cores_is_the_run_on_one(monkeypatch):
    monkeypatch.setattr(network, "BLOCK_BYTES", 0)
    outcomes = [
        outcome
        for cores in (1, 2)
        for _, outcome in train([job(seed=3)], [Keeping()], [None], torch.device("cpu"), cores=cores)
    ]
    assert same(*map(numbers, outcomes))


def test_a_fault_in_a_thread_is_the_callers():
    threads = NetThreads(2)
    with pytest.raises(ZeroDivisionError):
        threads.run([lambda: None, lambda: 1 // 0])
    threads.close()


@pytest.mark.parametrize(("load", "idle"), [(0.1, 4), (1.4, 3), (9.0, 1)])
def test_cores_that_others_use_are_left_to_them(load, idle, monkeypatch):
    monkeypatch.setattr(machine_resources, "cores", lambda: 4)
    monkeypatch.setattr(machine_resources.os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert machine_resources.idle_cores() == idle
