"""Updates that are captured once and replayed learn, to the bit, what Python would have let them learn."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from tests.training.cohort.small import HOW, job, numbers, run, same
from tests.training.cohort.tape import Tape
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.algorithms.td3 import TD3Hyperparameters
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.adapters import LowRank
from trl_suite.training.cohort.learning.off_policy import layouts
from trl_suite.training.cohort.learning.ppo_update import PPOUpdate
from trl_suite.training.cohort.learning.replay_rings import ReplayRings
from trl_suite.training.cohort.learning.sac_update import SACUpdate
from trl_suite.training.cohort.learning.source_gradients import DistillationGradient
from trl_suite.training.cohort.learning.td3_update import TD3Update
from trl_suite.training.cohort.stacked import adam
from trl_suite.training.cohort.stacked.graph import Launch
from trl_suite.training.cohort.stacked.parameter_layout import actors, on_policy
from trl_suite.training.cohort.stacked.stack import Stack

SMALL = {"batch_size": 32, "hidden": (16, 16), "learning_starts": 64, "buffer_size": 300, "n_envs": 2}
PPO = replace(HOW, n_epochs=12)
METHODS = ("scratch", "feature-extraction", "gradual-unfreeze", "l2sp", "kickstart", "bc")


@pytest.fixture
def tape(monkeypatch):
    """Lets launches capture with a tape from now on."""
    found, made = Tape(), Launch.__init__

    def init(launch, *given):
        made(launch, *given)
        launch._capture = found

    return lambda: (monkeypatch.setattr(Launch, "__init__", init), found)[1]


def jobs(hyperparameters, names=METHODS):
    (source,) = run([job(seed=9, hyperparameters=hyperparameters)])
    return [
        job(
            seed,
            name,
            hyperparameters=hyperparameters,
            source=source.policy if methods.find(name).needs_source else None,
        )
        for seed, name in enumerate(names)
    ]


@pytest.mark.parametrize(
    ("hyperparameters", "names"),
    [
        (SACHyperparameters(**SMALL, normalise_observation=True), METHODS),
        (SACHyperparameters(**SMALL, train_freq=8, gradient_steps=5, ent_coef=0.1), METHODS),
        (TD3Hyperparameters(**SMALL, action_noise=0.1), METHODS),
        (TD3Hyperparameters(**SMALL, action_noise=0.1, train_freq=4, gradient_steps=3), METHODS),
        (PPO, METHODS),
        (PPO, ("lora", "lora")),
    ],
    ids=["sac", "sac, five at once", "td3", "td3, three at once", "ppo", "ppo, low-rank products"],
)
def test_replays_learn_what_python_learns(hyperparameters, names, tape):
    td_target = jobs(hyperparameters, names)
    plain = [numbers(one) for one in run(td_target)]
    used = tape()
    for one, other in zip(run(td_target), plain, strict=True):
        assert same(numbers(one), other)
    assert used.replays > 3 * used.captures > 0


def test_an_update_that_may_stop_early_is_not_captured(tape):
    used = tape()
    run([job(hyperparameters=replace(PPO, target_kl=0.01))])
    assert used.captures == 0


def test_a_graph_is_not_used_for_what_has_another_shape():
    tape, launch = Tape(), Launch(lambda given: {"sum": given["x"].sum() + 0}, [], torch.device("cpu"))
    launch._capture = tape
    for size in (3, 3, 3, 3, 5, 5, 5, 5):
        assert launch({"x": torch.ones(size)})["sum"] == size
    assert (tape.captures, tape.replays) == (2, 4)


@pytest.fixture
def nowhere(monkeypatch):
    """A device without numbers: who asks for one of its numbers, or mixes it with the host's tensors, fails."""

    def fused(tensors, counts, rate, epsilon):
        assert {one.device.type for each in (*tensors, counts) for one in each} == {"meta"}

    monkeypatch.setattr(adam, "_fused", fused)  # torch has no such kernel for it
    return torch.device("meta")


@pytest.mark.parametrize(
    ("kind", "hyperparameters"),
    [(SACUpdate, SACHyperparameters()), (TD3Update, TD3Hyperparameters())],
    ids=["sac", "td3"],
)
def test_an_off_policy_update_asks_nothing_of_the_host(kind, hyperparameters, nowhere):
    learner = kind(
        hyperparameters,
        {name: Stack.zeros(one, 4, nowhere) for name, one in layouts(hyperparameters, 17, 6).items()},
        {},
    )
    ring = ReplayRings(4, 50, 2, 17, 6, nowhere)
    for _ in range(hyperparameters.policy_delay if kind is TD3Update else 1):
        batch = ring.at(torch.zeros(2, 4, 32, dtype=torch.int64, device=nowhere))
        told = learner.update(batch, torch.zeros(2, 4, 32, 6, device=nowhere))
    assert {value.device for value in told.values()} == {nowhere}


@pytest.mark.parametrize("algorithm", ["ppo", "sac", "td3"])
def test_imitating_asks_nothing_of_the_host(algorithm, nowhere):
    layout = on_policy(17, 6, (64, 64)) if algorithm == "ppo" else actors(algorithm, 17, 6, (64, 64))
    stack = Stack.zeros(layout, 4, nowhere)
    optimiser = adam.Adam(stack, stack.zeros_like(), 1e-3, 1e-8)
    imitation = DistillationGradient(optimiser, "relu", algorithm, [2])
    examples = {"normalized_obs": torch.zeros(60, 17), "mean": torch.zeros(60, 6), "log_std": torch.zeros(60, 6)}
    of_member = {name: each.to(nowhere) for name, each in examples.items()}
    given = imitation.drawn([of_member], torch.zeros(1, 3, 20).long(), [0.7])
    assert {value.device for value in given.values()} == {nowhere}
    imitation.show(given, 1)
    optimiser.step()


@pytest.mark.parametrize("adapter", [None, LowRank()])
def test_an_epoch_of_ppo_asks_nothing_of_the_host(adapter, nowhere):
    hyperparameters = PPOHyperparameters(activation="relu")  # tanh reads a number of the host's, which a graph may
    learner = PPOUpdate(hyperparameters, Stack.zeros(on_policy(17, 6, hyperparameters.hidden, adapter), 4, nowhere))
    some = np.ones_like(learner.adam.learning)
    some[0, 1] = False
    learner._learn(some)
    order = torch.zeros(4, 512, dtype=torch.int64, device=nowhere)
    told = learner._epoch({"rows": torch.zeros(2048, 32, device=nowhere), "order": order}, reports=True)
    assert told["reports"].device == nowhere
