"""What a step, a minibatch and a checkpoint may cost on a GPU, counted on the simulated one."""

import itertools
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from tests.cuda.beside import HYPERPARAMETERS, runs
from tests.cuda.runtime import simulated
from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.training.cohort import cohort_training
from trl_suite.training.cohort.cohort import Cohort
from trl_suite.training.cohort.member import CohortMember
from trl_suite.training.cohort.member_snapshot import CohortReader
from trl_suite.training.policy_import import spaces_of
from trl_suite.training.run_log import RunLog
from trl_suite.training.training_run import TrainingOutcome, Unwatched
from trl_suite.worlds.warp import warp_library

SAC_WAITS_PER_STEP = 2
TORCH_NODES_PER_STEP = 120  # of worlds and networks together, besides physics: 288 before
CHECKPOINT_BYTES = 1.1  # beside the members' own
pytestmark = pytest.mark.xdist_group("cuda")  # one worker builds what stands for the device
warp = pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())


def cohort_of(jobs, physics="mujoco") -> Cohort:
    members = [CohortMember(i, run, spaces_of(run.env), Unwatched(), None) for i, run in enumerate(jobs)]
    cohort = Cohort(members, torch.device("cuda"), physics)
    cohort.algorithm.reset()
    return cohort


def iterated(cohort: Cohort, times: int, first: int = 0) -> None:
    for index in range(first, first + times):
        cohort.iterate(index * cohort.rollout, cohort.rollout)


@warp
@pytest.mark.slow
@pytest.mark.xdist_group("warp")
def test_an_env_step_of_ppo_waits_for_nothing_and_has_few_nodes():
    hyperparameters = PPOHyperparameters(n_envs=2, n_steps=8, batch_size=16, n_epochs=1, hidden=(16, 16))
    jobs = runs(hyperparameters, ["scratch", "scratch"], env="half-cheetah")
    with simulated() as device:
        cohort = cohort_of(jobs, "warp")
        iterated(cohort, 1)
        before = Counter(device.count)
        collector = cohort.algorithm.collector
        collector._now.zero_()
        for _ in range(4):
            collector._go(False)
        spent = Counter(device.count) - before
    assert spent["waits"] == 0
    assert spent["graph kernels"] / 4 <= TORCH_NODES_PER_STEP
    assert (spent["graph launches"] + spent["warp graph launches"]) / 4 <= 5


@pytest.mark.slow
@pytest.mark.parametrize("names", [("scratch", "l2sp"), ("scratch", "feature-extraction")])
def test_an_env_step_of_sac_waits_twice_at_most(names):
    with simulated() as device:
        cohort = cohort_of(runs("sac", names))
        iterated(cohort, 40)
        before = device.count["waits"]
        iterated(cohort, 16, 40)
        assert (device.count["waits"] - before) / 16 <= SAC_WAITS_PER_STEP


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo", "sac", "td3"])
def test_nodes_of_a_minibatch_do_not_grow_with_the_members_that_have_a_penalty(algorithm):
    nodes = []
    for names in (["scratch", "l2sp", "kickstart", "scratch", "scratch", "scratch"], ["l2sp", "kickstart", "bc"] * 2):
        with simulated() as device:
            cohort = cohort_of(runs(algorithm, names))
            iterated(cohort, 6 if algorithm == "ppo" else 45)
            before = Counter(device.count)
            iterated(cohort, 1, 6 if algorithm == "ppo" else 45)
            spent = Counter(device.count) - before
            nodes.append(spent["graph kernels"] / spent["graph launches"])
    assert nodes[0] == nodes[1]


@pytest.mark.parametrize("algorithm", [pytest.param("ppo", marks=pytest.mark.slow), "sac"])
def test_a_checkpoint_reads_little_more_than_the_members_own(algorithm):
    with simulated() as device:
        cohort = cohort_of(runs(algorithm, ["scratch"] * 5))
        iterated(cohort, 4 if algorithm == "ppo" else 30)
        before, reader = device.count["bytes to host"], CohortReader(cohort)
        snapshots = [reader.take(index, 0, 0) for index in range(5)]
        read = device.count["bytes to host"] - before
    own = sum(array.nbytes for snapshot in snapshots for array in snapshot.arrays.values())
    assert read <= CHECKPOINT_BYTES * own


@pytest.mark.slow
def test_what_stands_in_an_earlier_checkpoint_is_not_read_again(monkeypatch):
    monkeypatch.setattr("trl_suite.training.cohort.learning.replay_rings.SEGMENT", 400)
    with simulated() as device:
        cohort = cohort_of(runs("sac", ["scratch"]))
        iterated(cohort, 60)
        snapshot = CohortReader(cohort).take(0, 0, 0)
        before = device.count["bytes to host"]
        names = list(snapshot.segments)
        assert len(names) > 3
        assert device.count["bytes to host"] == before
        read = sum(array.nbytes for array in snapshot.segments[names[0]].values())
        assert read == device.count["bytes to host"] - before > 0


def test_tensorboard_is_told_once_a_second_at_most(tmp_path, monkeypatch):
    """On a clock that goes on by a fifth of a second whenever it is read; the last line may come sooner."""
    told, ticks = [], itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks) / 5)

    def record(self, name, value):
        if name == "time/fps":
            told.append(next(ticks) / 5)

    monkeypatch.setattr(cohort_training, "time", clock)
    monkeypatch.setattr(RunLog, "record", record)
    jobs = runs(HYPERPARAMETERS["sac"], ["scratch"], steps=128)
    (outcome,) = dict(cohort_training.train(jobs, [Unwatched()], [tmp_path], torch.device("cpu"))).values()
    assert isinstance(outcome, TrainingOutcome), outcome
    assert len(told) > 2
    assert min(after - before for before, after in itertools.pairwise(told[:-1])) >= cohort_training.LOG_SECONDS
