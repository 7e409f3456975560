"""A cohort whose worlds are simulated by Warp: on its CPU device, where it can be tested everywhere."""

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from tests.training.cohort.small import EVALUATION, Keeping, numbers, same
from tests.training.cohort.tape import Tape
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.errors import InputError
from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.cohort.cohort_training import train
from trl_suite.training.cohort.collecting.cohort_evaluation import CohortEvaluator
from trl_suite.training.cohort.collecting.rollout import Collector
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.training_run import TrainingOutcome, Unwatched
from trl_suite.worlds.warp import warp_library
from trl_suite.worlds.warp.program import Program
from trl_suite.worlds.warp.warp_env import WarpVectorEnv

pytestmark = [
    pytest.mark.xdist_group("warp"),
    pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle()),
]


def run(jobs, watchers=None):
    watchers = watchers or [Keeping() for _ in jobs]
    found = dict(train(jobs, watchers, [None] * len(jobs), torch.device("cpu"), "warp"))
    return [found[index] for index in range(len(jobs))]


def test_a_member_becomes_what_it_becomes_alone(make_job):
    jobs = [
        make_job(seed=0),
        make_job(seed=1, env="inverted-pendulum.gravity-1.5"),
        make_job(2, "finetune"),
    ]
    together = [numbers(outcome) for outcome in run(jobs)]
    for job, found in zip(jobs, together, strict=True):
        alone = numbers(run([job])[0])
        for name, value in alone.items():
            assert np.array_equal(value, found[name]), name


def test_a_member_goes_on_from_its_snapshot_to_the_bit(make_job):
    whole = Keeping(keep=True)
    outcome = run([make_job()], [whole])[0]
    middle = whole.snapshots[2]
    again = run([make_job()], [Keeping(resume=middle)])[0]
    for name, value in numbers(outcome).items():
        assert np.array_equal(value, numbers(again)[name]), name


def test_it_learns_about_what_it_learns_on_mujoco(make_job):
    """One update from the same start: other first states, the same world."""
    jobs = [make_job(seed=seed, evaluation=EVALUATION) for seed in range(2)]
    on_mujoco = dict(train(jobs, [Keeping() for _ in jobs], [None] * 2, torch.device("cpu")))
    for ours, theirs in zip(run(jobs), on_mujoco.values(), strict=True):
        assert isinstance(ours, TrainingOutcome)
        assert ours.steps == theirs.steps
        assert ours.unstable_episodes == theirs.unstable_episodes == 0


def test_a_world_that_overflows_fails_its_member_alone(make_job, monkeypatch):
    """One bit in one world of the second member, once: it is named, and the others become what they become alone."""
    jobs, judge = [make_job(seed) for seed in range(3)], WarpVectorEnv._evaluate
    undisturbed = [numbers(outcome) for outcome in run(jobs)]

    def evaluate(batch):
        judge(batch)
        if batch.num_envs == 3 * jobs[0].hyperparameters.n_envs:  # those of the training
            batch._simulation.overflow[jobs[0].hyperparameters.n_envs] |= 4

    monkeypatch.setattr(WarpVectorEnv, "_evaluate", evaluate)
    first, second, third = run(jobs)
    assert isinstance(second, InputError)
    assert "contacts or constraints of 1 of 6 worlds" in str(second)
    assert same(numbers(first), undisturbed[0])
    assert same(numbers(third), undisturbed[2])


def test_a_world_that_overflows_while_it_is_measured_fails_its_member_alone(make_job, monkeypatch):
    jobs, judge = [make_job(seed) for seed in range(3)], WarpVectorEnv._evaluate

    def evaluate(batch):
        judge(batch)
        if batch.num_envs == 3 * EVALUATION.episodes:
            batch._simulation.overflow[-1] |= 1

    monkeypatch.setattr(WarpVectorEnv, "_evaluate", evaluate)
    outcomes = run(jobs)
    assert [isinstance(outcome, InputError) for outcome in outcomes] == [False, False, True]


@pytest.mark.parametrize("env", ["inverted-pendulum", "hopper"])
def test_a_rollout_on_the_device_is_the_hosts(make_job, env):
    """The same worlds, collected with nothing asked of the host and with everything: statistics, values, episodes."""
    found = []
    for on_host in (False, True):
        members = [CohortMember(seed, make_job(seed, env=env), spaces_of(env), Unwatched(), None) for seed in range(2)]
        cohort = Cohort(members, torch.device("cpu"), "warp")
        cohort.worlds.batch.on_device._limit = 11  # some episodes are cut off, and their value goes on
        collector, learner = cohort.algorithm.collector, cohort.algorithm.learner
        if on_host:
            given = (learner.stack, learner.networks, cohort.normaliser, cohort.worlds, [0, 1], cohort.alive)
            collector = Collector(cohort.hyperparameters, *given)
        collector._seeds[:] = [0, 1]
        collector.reset()
        rollouts = [collector.collect(iteration) for iteration in range(2)]
        found.append((rollouts, cohort, collector.episodes))
    (ours, on_device, mine_ended), (theirs, on_host, wanted_ended) = found
    for mine, td_target in zip(ours, theirs, strict=True):
        for name in ("observation", "action", "log_prob", "advantage", "value_target"):
            assert torch.allclose(getattr(mine, name), getattr(td_target, name), atol=1e-4), name
    for name, values in on_device.normaliser.arrays().items():
        assert np.allclose(values, on_host.normaliser.arrays()[name], rtol=1e-6, atol=1e-9), name
    for member in range(2):
        assert mine_ended.mean(member) == pytest.approx(wanted_ended.mean(member))


def test_a_measurement_on_the_device_is_the_hosts(make_job):
    members = [
        CohortMember(seed, make_job(seed), spaces_of("inverted-pendulum"), Unwatched(), None) for seed in range(2)
    ]
    cohort = Cohort(members, torch.device("cpu"), "warp")
    ours = cohort.measure(lambda: False)
    on_host = CohortEvaluator(cohort._evaluator._worlds, [0, 1], EVALUATION.episodes, torch.device("cpu"))
    given = (cohort.algorithm.act, cohort.normaliser, cohort.alive, "deterministic", lambda: False)
    for mine, td_target in zip(ours, on_host(*given), strict=True):
        assert [one.length for one in mine] == [one.length for one in td_target]
        assert [one.value for one in mine] == pytest.approx([one.value for one in td_target])
    assert cohort.measure(lambda: True) is None


def test_sac_trains_on_warp_too(make_job):
    hyperparameters = SACHyperparameters(batch_size=32, hidden=(16, 16), learning_starts=64)
    outcome = run([make_job(hyperparameters=hyperparameters, steps=128)])[0]
    assert isinstance(outcome, TrainingOutcome), outcome
    assert outcome.steps == 128


def test_steps_that_are_replayed_collect_and_measure_what_python_does(make_job, monkeypatch):
    hyperparameters, tape = (
        PPOHyperparameters(n_envs=4, n_steps=32, batch_size=64, n_epochs=2, hidden=(16, 16)),
        Tape(),
    )
    jobs = [
        make_job(seed, hyperparameters=hyperparameters, steps=256, evaluation=replace(EVALUATION, stochastic=True))
        for seed in range(2)
    ]
    found = []
    for captures in (False, True):
        if captures:
            monkeypatch.setattr(Program, "_torch_graph", lambda _, work: tape(work))
        watchers = [Keeping() for _ in jobs]
        found.append(([numbers(one) for one in run(jobs, watchers)], [one.curve for one in watchers]))
    (plain, td_target), (replayed, measured) = found
    assert all(same(one, other) for one, other in zip(plain, replayed, strict=True))
    assert measured == td_target
    assert tape.replays > 20 * tape.captures > 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_a_training_runs_on_a_gpu(make_job):
    jobs = [make_job(seed=0), make_job(1, "feature-extraction"), make_job(2, env="inverted-pendulum.gravity-1.5")]
    found = dict(train(jobs, [Unwatched() for _ in jobs], [None] * 3, torch.device("cuda"), "warp"))
    for outcome in found.values():
        assert isinstance(outcome, TrainingOutcome), outcome
        assert outcome.freeze.holds
