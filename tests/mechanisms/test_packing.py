"""PackNet: who owns a weight, against a few lines of numpy; what is held, to the bit; what is refused."""

import itertools
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from tests.training.cohort.small import HOW, Keeping, numbers, run, same
from tests.training.cohort.small import job as small_job
from trl_suite.errors import InputError
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.packing import Packing, count_kept, pruned
from trl_suite.networks.policy import load
from trl_suite.networks.stage_memory import STAGE_OWNERS, policy_of_task
from trl_suite.training.sb3.loop import train as train_on_sb3
from trl_suite.training.training_run import TrainingOutcome, TrainingRun, Unwatched

FIRST, SECOND = "inverted-pendulum", "inverted-pendulum.gravity-1.5"
PACKING = Packing(keep=0.5, at=0.5)
PACKED = ("actor.trunk.0.weight", "actor.trunk.1.weight", "actor.head.weight")
EVEN = msgspec.structs.replace(HOW, batch_size=64)  # SB3 warns of a shorter last minibatch
BEGIN = Method(packing=PACKING)
GO_ON = Method(
    copy=("actor", "critic", "normaliser"), log_std="copied", normaliser="frozen", packing=PACKING
)  # fmt: skip


def job(**more) -> TrainingRun:
    return small_job(hyperparameters=EVEN, **more)


def outcome(engine: str, training: TrainingRun) -> TrainingOutcome:
    result = train_on_sb3(training, Unwatched()) if engine == "sb3" else run([training])[0]
    assert isinstance(result, TrainingOutcome), result
    return result


@pytest.fixture(scope="module", params=["sb3", "cohort"])
def stages(request) -> list[TrainingOutcome]:
    first = outcome(request.param, job(env=FIRST, definition=BEGIN))
    second = outcome(request.param, job(env=SECOND, definition=GO_ON, source=first.policy))
    return [first, second, outcome(request.param, job(env=FIRST, definition=GO_ON, source=second.policy))]


def owners(result: TrainingOutcome) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in result.policy.memory[STAGE_OWNERS].items()}


def test_the_largest_of_the_free_weights_are_kept():
    weight, owner = np.random.default_rng(0).normal(size=(4, 5)), np.zeros((4, 5), dtype=np.int8)
    owner[0, :] = 1
    after = pruned(torch.tensor(weight), torch.tensor(owner), 2, 0.4).numpy()
    free = np.flatnonzero(owner == 0)
    largest = free[np.argsort(-np.abs(weight.flat[free]))[:6]]  # 0.4 of 15
    assert sorted(np.flatnonzero(after == 2)) == sorted(largest)
    assert (after[0] == 1).all()


@pytest.mark.parametrize(("free", "keep", "expected"), [(15, 0.4, 6), (1, 0.1, 1), (0, 0.5, 0), (3, 0.99, 3)])
def test_a_stage_keeps_one_weight_at_least(free, keep, expected):
    assert count_kept(free, keep) == expected


def test_each_stage_owns_its_share_of_what_was_free(stages):
    for name in PACKED:
        size, left = owners(stages[0])[name].size, owners(stages[0])[name].size
        for stage, result in enumerate(stages, 1):
            count = max(1, round(0.5 * left))
            assert (owners(result)[name] == stage).sum() == count
            left -= count
            assert (owners(result)[name] == 0).sum() == left < size


def test_weights_that_no_stage_owns_are_0_and_those_of_earlier_ones_never_move(stages):
    for before, after in itertools.pairwise(stages):
        for name in PACKED:
            owner, was, now = owners(before)[name], numbers(before)[name], numbers(after)[name]
            assert (was[owner == 0] == 0).all()
            assert np.array_equal(now[owner > 0], was[owner > 0])
            assert (now[owners(after)[name] > owner.max()] != 0).any()
        for layer in ("actor.trunk.0", "actor.trunk.1", "actor.head"):
            assert np.array_equal(numbers(after)[f"{layer}.bias"], numbers(before)[f"{layer}.bias"])


def test_the_proof_names_what_is_held_within_a_layer(stages):
    assert not stages[0].freeze.before
    for result in stages[1:]:
        assert result.freeze.holds
        assert {f"{layer} (owned before)" for layer in ("actor.trunk.0", "actor.trunk.1", "actor.head")} <= set(
            result.freeze.before
        )


def test_the_first_task_is_acted_as_after_its_own_stage_to_the_bit(stages, tmp_path):
    states = np.random.default_rng(1).normal(size=(50, 4))
    stages[1].policy.save(tmp_path)
    for policy in (stages[1].policy, load(Path(tmp_path))):
        then, now = stages[0].policy.predict(states)[0], policy_of_task(policy, FIRST).predict(states)[0]
        assert np.array_equal(then, now)
        assert not np.array_equal(policy.predict(states)[0], now)
    assert policy_of_task(stages[1].policy, SECOND) is stages[1].policy
    assert policy_of_task(stages[1].policy, "inverted-pendulum.gravity-0.5") is stages[1].policy


@pytest.mark.parametrize("step", [128, 384])  # before and after weights are given up
def test_a_stage_goes_on_from_a_snapshot_to_the_bit(step):
    first = outcome("cohort", job(env=FIRST, definition=BEGIN))
    training = job(env=SECOND, definition=GO_ON, source=first.policy)
    watcher = Keeping(keep=True)
    (whole,) = run([training], [watcher])
    snapshot = next(snapshot for snapshot in watcher.snapshots if snapshot.step == step)
    (resumed,) = run([training], [Keeping(resume=snapshot)])
    assert isinstance(whole, TrainingOutcome)
    assert isinstance(resumed, TrainingOutcome)
    assert same(numbers(resumed), numbers(whole))
    assert same(owners(resumed), owners(whole))


def test_a_source_that_was_not_packed_is_refused():
    (scratch,) = run([job(env=FIRST)])
    assert isinstance(scratch, TrainingOutcome)
    (refused,) = run([job(env=SECOND, definition=GO_ON, source=scratch.policy)])
    assert isinstance(refused, InputError)
    assert "the source was not packed; it belongs into a [sequence]" in str(refused)
