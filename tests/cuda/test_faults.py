"""Work that cannot be captured runs without graphs; waits that are left out are seen."""

import contextlib

import numpy as np
import pytest
import torch

from tests.cuda.beside import runs, trained
from tests.cuda.runtime import simulated
from tests.training.cohort.small import numbers, same
from trl_suite.errors import UncapturedWarning
from trl_suite.training.cohort.learning.ppo_update import PPOUpdate
from trl_suite.training.cohort.learning.replay_rings import ReplayRings
from trl_suite.training.cohort.stacked.device_staging import DeviceStaging
from trl_suite.training.training_run import TrainingOutcome
from trl_suite.worlds.warp import warp_library
from trl_suite.worlds.warp.program import DeviceStream
from trl_suite.worlds.warp.warp_env import WarpVectorEnv

pytestmark = pytest.mark.xdist_group("cuda")
warp = pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
STEPS = {"sac": 80, "td3": 80, "ppo": 4 * 128}


def planted(work):
    """Return work with a copy from the host in it."""

    def copies(self, *given, **more):
        torch.as_tensor(np.zeros(2), device="cuda" if torch.cuda.is_available() else "cpu")
        return work(self, *given, **more)

    return copies


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "physics", "owner", "name"),
    [
        ("sac", "mujoco", ReplayRings, "at"),
        ("td3", "mujoco", ReplayRings, "at"),
        ("ppo", "mujoco", PPOUpdate, "differentiate"),
        pytest.param("ppo", "warp", WarpVectorEnv, "_evaluate", marks=[warp, pytest.mark.xdist_group("warp")]),
    ],
)
def test_a_copy_within_a_capture_is_said_once_and_the_work_goes_on_without(
    monkeypatch, algorithm, physics, owner, name
):
    # a thaw throws captures away at every update for a while: with so few of SAC's none would be left
    thawing = "gradual-unfreeze" if algorithm == "ppo" else "finetune"
    jobs = runs(algorithm, ["scratch", thawing], steps=STEPS[algorithm])
    monkeypatch.setattr(owner, name, planted(getattr(owner, name)))
    on_cpu = trained(jobs, "cpu", physics)
    with (
        simulated(),
        pytest.warns(UncapturedWarning, match="runs kernel by kernel.*: Cannot copy between CPU and CUDA"),
    ):
        on_cuda = trained(jobs, "cuda", physics)
    assert all(same(numbers(one), numbers(other)) for one, other in zip(on_cpu, on_cuda, strict=True))


@pytest.mark.slow
def test_graphs_can_be_done_without(monkeypatch):
    monkeypatch.setenv("TRL_SUITE_GRAPHS", "0")
    jobs = runs("td3", ["scratch"], steps=STEPS["td3"])
    with simulated() as device:
        (outcome,) = trained(jobs, "cuda")
    assert not device.count["captures"]
    assert same(numbers(trained(jobs, "cpu")[0]), numbers(outcome))


def test_too_little_memory_is_no_reason_to_do_without_graphs(monkeypatch):
    def full(self, places):
        if torch.cuda.is_available() and torch.cuda.current_stream().stream_id:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return at(self, places)

    at = ReplayRings.at
    monkeypatch.setattr(ReplayRings, "at", full)
    with simulated():
        (outcome,) = trained(runs("sac", ["scratch"], steps=STEPS["sac"]), "cuda")
    assert isinstance(outcome, torch.OutOfMemoryError)


def without_waiting(self):
    if self._device is not self._host:
        self._host.copy_(self._device, non_blocking=True)
    return self.host


@pytest.mark.parametrize(
    ("algorithm", "physics", "owner", "name", "mutant"),
    [
        pytest.param("ppo", "warp", DeviceStream, "follow_caller", lambda self: None, marks=[warp, pytest.mark.slow]),
        pytest.param("ppo", "warp", DeviceStream, "lead_caller", lambda self: None, marks=[warp, pytest.mark.slow]),
        ("sac", "mujoco", DeviceStaging, "fetch", without_waiting),
    ],
    ids=["entering the worlds' stream", "leaving it", "reading actions"],
)
def test_a_wait_that_is_left_out_is_seen(monkeypatch, algorithm, physics, owner, name, mutant):
    jobs = runs(algorithm, ["scratch"], steps=STEPS[algorithm])
    on_cpu = trained(jobs, "cpu", physics)
    monkeypatch.setattr(owner, name, mutant)
    with simulated() as device, contextlib.suppress(Exception):
        (outcome,) = trained(jobs, "cuda", physics)
    learned = isinstance(outcome, TrainingOutcome) and same(numbers(on_cpu[0]), numbers(outcome))
    assert device.faults or not learned
