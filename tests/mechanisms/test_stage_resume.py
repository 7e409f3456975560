"""Each stream method on SB3: a stage that goes on from a snapshot in its midst comes out to the bit."""

import pytest

from tests.mechanisms.streams import FIRST, SECOND, STEPS, order, stage
from tests.training.cohort.small import Keeping, numbers, same
from trl_suite.mechanisms import methods
from trl_suite.networks.policy import Policy
from trl_suite.training.sb3.loop import train

METHODS = (
    "ewc-online", "mas", "clonex", "packnet", "progressive", "progress-and-compress", "componet",
)  # fmt: skip


@pytest.fixture(scope="module")
def sources() -> dict[str, Policy]:
    packing = methods.find("packnet").first_stage
    first = stage(FIRST).policy
    return dict.fromkeys(METHODS, first) | {"packnet": stage(FIRST, "packnet", definition=packing).policy}


def memory_of(policy: Policy) -> dict[str, object]:
    return {f"{name}.{key}": value.numpy() for name, part in policy.memory.items() for key, value in part.items()}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_stage_goes_on_from_a_snapshot_to_the_bit(method, sources):
    training = order(SECOND, method, sources[method])
    watcher = Keeping(keep=True)
    whole = train(training, watcher)
    assert [snapshot.step for snapshot in watcher.snapshots] == [64, 128, 192]
    for snapshot in (watcher.snapshots[0], watcher.snapshots[-1]):
        resumed = train(training, Keeping(resume=snapshot))
        assert same(numbers(resumed), numbers(whole))
        assert same(memory_of(resumed.policy), memory_of(whole.policy))
        assert (resumed.freeze, resumed.compress_steps) == (whole.freeze, whole.compress_steps)


@pytest.mark.slow
def test_a_stage_with_a_replay_that_was_handed_on_keeps_no_snapshot_and_comes_out_to_the_bit():
    first = stage(FIRST, "scratch", algorithm="sac", source_training=order(FIRST, "task-replay").source_training)
    training = order(SECOND, "task-replay", first.policy, algorithm="sac")
    stopped = Keeping(keep=True, stop_at=STEPS // 2)
    assert not train(training, stopped).finished
    assert not stopped.snapshots
    again, whole = train(training, Keeping()), train(training, Keeping(keep=True))
    assert same(numbers(again), numbers(whole))
    assert same(memory_of(again.policy), memory_of(whole.policy))
