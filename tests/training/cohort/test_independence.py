"""What becomes of a member does not depend on who else is in its cohort: to the bit."""

import msgspec
import numpy as np
import pytest
import torch

from tests.training.cohort.small import Keeping, numbers, run, same
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.training.cohort.cohort_key import cohort_key
from trl_suite.training.cohort.collecting.rollout import Collector
from trl_suite.training.training_run import DivergedError, TrainingOutcome

COPIED = ("actor", "critic", "normaliser")
THAWS = Method(copy=COPIED, log_std="copied", freeze=("actor.trunk",), thaw={"actor.trunk": 0.5})
NEIGHBOURS = ["scratch", "finetune", "feature-extraction", "critic-warmup", "discriminative-rate", "l2sp", "kickstart"]


@pytest.mark.parametrize("position", [0, 1])
def test_a_member_is_the_same_alone_and_among_others(make_job, position):
    alone, curve = [], [Keeping(), Keeping()]
    alone = run([make_job(seed=3)], [curve[0]])[0]
    others = [make_job(seed=index, method=name) for index, name in enumerate(NEIGHBOURS)]
    others[2] = make_job(seed=2, env="inverted-pendulum.gravity-1.5", method="finetune")
    jobs = [*others[:position], make_job(seed=3), *others[position:]]
    watchers = [Keeping() for _ in jobs]
    watchers[position] = curve[1]
    among = run(jobs, watchers)[position]
    assert same(numbers(alone), numbers(among))
    assert curve[0].curve == curve[1].curve


def test_members_of_other_rates_discounts_and_weights_are_the_same_alone(make_job):
    """Trials of a search train together: what they may differ in is a number per member, to the same bits."""
    shared = {"n_envs": 4, "n_steps": 32, "batch_size": 50, "n_epochs": 3, "hidden": (16, 16)}
    schedules = {"learning_rate_schedule": "linear", "clip_range_schedule": "linear"}
    tables = [
        {},
        {"learning_rate": 1.7e-3, "gamma": 0.97, "gae_lambda": 0.8, "clip_range": 0.1},
        {"ent_coef": 0.013, "vf_coef": 0.31, "max_grad_norm": 0.13, "log_std_init": -1.0, "ortho_init": False},
    ]
    for more in ({}, schedules):
        jobs = [make_job(seed=3, hyperparameters=PPOHyperparameters(**shared, **table, **more)) for table in tables]
        assert len({cohort_key(job) for job in jobs}) == 1
        for job, among in zip(jobs, run(jobs), strict=True):
            assert same(numbers(run([job])[0]), numbers(among))
    fewer_epochs = make_job(hyperparameters=PPOHyperparameters(**shared | {"n_epochs": 2}))
    assert cohort_key(fewer_epochs) != cohort_key(make_job(hyperparameters=PPOHyperparameters(**shared)))


@pytest.mark.parametrize("hidden", [(16, 16), (19, 7)])
def test_members_of_normalised_layers_are_the_same_alone(make_job, hidden):
    how = PPOHyperparameters(n_envs=4, n_steps=32, batch_size=50, n_epochs=3, hidden=hidden, layer_norm=True)
    freezes = Method(freeze=("actor.trunk.0",), thaw={"actor.trunk.0": 0.5})
    jobs = [make_job(seed=seed, hyperparameters=how, steps=256) for seed in range(3)]
    jobs.append(make_job(seed=9, hyperparameters=how, steps=256, method="own", definition=freezes))
    every = run(jobs)
    assert every[0].policy.card.network.layer_norm
    assert not torch.equal(every[0].policy.components["actor.trunk.1.norm"]["weight"], torch.ones(hidden[1]))
    for chosen in ([0], [3], [2, 1]):
        for index, outcome in zip(chosen, run([jobs[index] for index in chosen]), strict=True):
            assert same(numbers(outcome), numbers(every[index]))


def test_low_rank_members_are_the_same_alone_and_among_others(make_job):
    thaws = msgspec.structs.replace(methods.find("lora"), thaw={"actor.trunk": 0.5})
    jobs = [make_job(seed=seed, method="lora") for seed in range(4)]
    jobs += [make_job(seed=3, method="own", definition=thaws, env="inverted-pendulum.gravity-1.5")]
    every = run(jobs)
    for chosen in ([0], [4], [3, 1], [4, 2, 0]):
        for index, outcome in zip(chosen, run([jobs[index] for index in chosen]), strict=True):
            assert same(numbers(outcome), numbers(every[index]))


def test_a_neighbour_that_thaws_changes_nothing_and_is_itself_the_same_alone(make_job):
    pair = run([make_job(seed=3), make_job(seed=1, method="own", definition=THAWS)])
    alone = [run([make_job(seed=3)])[0], run([make_job(seed=1, method="own", definition=THAWS)])[0]]
    for one, other in zip(pair, alone, strict=True):
        assert same(numbers(one), numbers(other))


def test_a_neighbour_that_stops_early_changes_nothing(make_job):
    hyperparameters = PPOHyperparameters(
        n_envs=4, n_steps=32, batch_size=50, n_epochs=8, hidden=(16, 16), target_kl=0.005
    )
    fast = Method(rate={"actor": 30.0})
    pair = run(
        [
            make_job(seed=3, hyperparameters=hyperparameters),
            make_job(seed=1, hyperparameters=hyperparameters, method="own", definition=fast),
        ]
    )
    for index, job in enumerate(
        [
            make_job(seed=3, hyperparameters=hyperparameters),
            make_job(seed=1, hyperparameters=hyperparameters, method="own", definition=fast),
        ]
    ):
        assert same(numbers(pair[index]), numbers(run([job])[0]))


def test_a_neighbour_that_diverges_is_named_and_changes_nothing(make_job):
    wild = Method(rate={"critic": 1e38, "actor": 1e38})
    watchers = [Keeping(), Keeping(), Keeping()]
    found = run([make_job(seed=3), make_job(seed=1, method="own", definition=wild), make_job(seed=4)], watchers)
    assert isinstance(found[1], DivergedError)
    assert "not finite after" in str(found[1])
    for index, seed in ((0, 3), (2, 4)):
        assert same(numbers(found[index]), numbers(run([make_job(seed=seed)])[0]))
        assert [step for step, _ in watchers[index].curve] == [0, 128, 256, 384, 512]


@pytest.mark.parametrize("env", ["hopper", pytest.param("half-cheetah", marks=pytest.mark.slow)])
def test_it_holds_for_larger_networks_and_cohorts(make_job, env):
    hyperparameters = PPOHyperparameters(n_envs=3, n_steps=40, batch_size=64, n_epochs=2)
    jobs = [make_job(seed=seed, env=env, hyperparameters=hyperparameters, steps=240) for seed in range(7)]
    every = run(jobs)
    for chosen in ([0], [5, 6], [2, 0, 4]):
        for index, outcome in zip(chosen, run([jobs[index] for index in chosen]), strict=True):
            assert same(numbers(outcome), numbers(every[index]))


@pytest.mark.slow
def test_it_holds_for_thirty_two_members_and_two_threads(make_job):
    hyperparameters = PPOHyperparameters(n_envs=2, n_steps=128, batch_size=100, n_epochs=2)
    jobs = [make_job(seed=seed, env="half-cheetah", hyperparameters=hyperparameters, steps=512) for seed in range(32)]
    every = run(jobs)
    torch.set_num_threads(2)
    try:
        threaded = run(jobs)
    finally:
        torch.set_num_threads(1)
    for index in (0, 7, 31):
        assert same(numbers(every[index]), numbers(run([jobs[index]])[0]))
        assert same(numbers(every[index]), numbers(threaded[index]))


def test_members_with_different_seeds_differ(make_job):
    one, other = (numbers(outcome) for outcome in run([make_job(seed=0), make_job(seed=1)]))
    assert not any(np.array_equal(one[name], other[name]) for name in one if name.startswith("actor.trunk"))


def test_a_member_whose_method_does_not_fit_fails_alone(make_job):
    broken = Method(freeze=("actor", "critic", "log_std"))
    found = run([make_job(seed=3), make_job(seed=1, method="own", definition=broken)])
    assert isinstance(found[0], TrainingOutcome)
    assert "nothing would learn" in str(found[1])


class _Losing(Keeping):
    """A watcher that cannot write any more, as one whose run was taken over."""

    def evaluated(self, step, episodes):
        if step == 256:
            raise OSError("taken over")
        super().evaluated(step, episodes)


def test_a_neighbour_whose_watcher_fails_is_lost_alone(make_job):
    watchers = [Keeping(), _Losing(), Keeping()]
    found = run([make_job(seed=3), make_job(seed=1), make_job(seed=4)], watchers)
    assert str(found[1]) == "taken over"
    for index, seed in ((0, 3), (2, 4)):
        assert same(numbers(found[index]), numbers(run([make_job(seed=seed)])[0]))


def test_what_stops_the_whole_cohort_is_told_of_every_member(make_job, monkeypatch):
    monkeypatch.setattr("trl_suite.training.cohort.cohort.Cohort.iterate", lambda *_: 1 / 0)
    assert [type(one) for one in run([make_job(seed=3), make_job(seed=4)])] == [ZeroDivisionError] * 2


def test_a_cohort_of_which_nobody_is_left_ends(make_job, monkeypatch):
    wild = Method(rate={"critic": 1e38, "actor": 1e38})
    rollouts = []
    collect = Collector.collect
    monkeypatch.setattr(Collector, "collect", lambda self, k: rollouts.append(k) or collect(self, k))
    assert isinstance(run([make_job(method="own", definition=wild)])[0], DivergedError)
    assert rollouts == [0]
