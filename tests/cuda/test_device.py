"""The simulated device refuses what a CUDA device refuses, and sees what a CUDA device suffers in silence."""

import inspect
import sys

import numpy as np
import pytest
import torch

from tests.cuda.device import CUDA, CaptureError
from trl_suite.training.cohort.stacked.device_staging import DeviceStaging, StagedArray
from trl_suite.worlds.warp import counter_rng, warp_library

pytestmark = pytest.mark.xdist_group("cuda")  # one worker builds what stands for the device


def capture(work):
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.sum().item(),
        lambda x: bool(x.any()),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.as_tensor(np.zeros(3), device=CUDA),
        lambda x: torch.zeros(3).to(CUDA),
        lambda x: x.copy_(torch.zeros(3)),
        lambda x: x[torch.tensor([0, 1])],
    ],
)
def test_a_capture_takes_no_copy_and_no_question(device, ask):
    x = torch.ones(3, device=CUDA)
    ask(x)
    with pytest.raises(CaptureError):
        capture(lambda: ask(x))
    assert device.capture is None


def test_a_capture_does_nothing_and_a_replay_all_of_it(device):
    x = torch.ones(3, device=CUDA)
    made = []
    graph = capture(lambda: made.append(x.mul_(2.0) + 1.0))
    assert x.tolist() == [1.0] * 3
    assert made[0].isnan().all()
    graph.replay()
    graph.replay()
    assert x.tolist() == [4.0] * 3
    assert made[0].tolist() == [5.0] * 3


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.add(x, 1.0, out=torch.zeros(3)),
        lambda x: x.index_put_((torch.tensor([0], device=CUDA),), torch.ones(1)),
        lambda x: x.numpy(),
        lambda x: np.asarray(x),
    ],
)
def test_host_and_device_do_not_mix(device, mix):
    with pytest.raises((RuntimeError, TypeError)):
        mix(torch.ones(3, device=CUDA))


def test_a_host_number_may_take_part(device):
    assert (torch.ones(3, device=CUDA) + torch.tensor(-1.0)).tolist() == [0.0] * 3


def test_waits_and_copies_are_counted(device):
    x = torch.zeros(4, device=CUDA)
    assert device.count["waits"] == 0
    x.cpu()
    x.copy_(torch.zeros(4))
    float(x.sum())
    assert (device.count["waits"], device.count["bytes to host"], device.count["bytes to device"]) == (3, 16, 16)


def test_who_does_not_wait_for_another_stream_is_seen(device):
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    with torch.cuda.stream(first):
        x = torch.ones(3, device=CUDA)
    with torch.cuda.stream(second):
        x.add_(1.0)
    assert [fault for fault in device.faults if "uses what stream" in fault]
    device.faults.clear()
    first.wait_stream(second)
    with torch.cuda.stream(first):
        x.add_(1.0)
    assert not device.faults


def test_pinned_memory_that_is_written_while_it_is_sent_is_seen(device):
    staging = DeviceStaging({"x": StagedArray((3,))}, CUDA)
    staging.send({"x": np.ones(3)})
    staging.host["x"][:] = 2.0  # past `write`, which would have waited
    torch.cuda.synchronize()
    assert [fault for fault in device.faults if "pinned memory was written" in fault]


def test_staging_waits_before_it_is_written_again_and_at_no_other_time(device):
    staging = DeviceStaging({"x": StagedArray((3,)), "i": StagedArray((2,), torch.int64)}, CUDA)
    sent = staging.send({"x": np.arange(3), "i": [4, 5]})
    assert device.count["waits"] == 0
    assert (sent["x"] + 1).tolist() == [1.0, 2.0, 3.0]
    staging.send({"x": np.zeros(3)})
    assert sent["i"].tolist() == [4, 5]
    sent["x"].add_(7.0)
    assert staging.fetch()["x"].tolist() == [7.0] * 3
    assert not device.faults


def test_what_comes_to_pinned_memory_is_not_there_before_the_host_has_waited(device):
    host = torch.zeros(2, pin_memory=True)
    host.copy_(torch.ones(2, device=CUDA), non_blocking=True)
    assert host.isnan().all()
    torch.cuda.synchronize()
    assert host.tolist() == [1.0, 1.0]


@pytest.mark.skipif(bool(warp_library.obstacle()), reason=warp_library.obstacle())
def test_a_kernel_is_defined_with_warps_own_module(device):
    """With another one Warp takes a launch of two dimensions for one, writes beyond arrays, and caches it on disk."""
    kernel = counter_rng._uniform_kernel.__wrapped__()
    assert warp_library.library().warp is not sys.modules["warp"]
    assert inspect.getclosurevars(kernel.func).nonlocals["wp"] is sys.modules["warp"]
