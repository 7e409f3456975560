"""`torch.cuda` and Warp as the simulated device has them."""

import contextlib
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch

from tests.cuda.device import (
    CUDA,
    CaptureError,
    Makers,
    SimulatedDevice,
    SimulatedGraph,
    SimulatedTensor,
    _Capture,
    site,
)
from trl_suite.worlds.warp import warp_library
from trl_suite.worlds.warp.simulation import Simulation

FREE_BYTES, TOTAL_BYTES = 139 * 2**30, 141 * 2**30


class SimulatedStream:
    """A stream."""

    device = CUDA

    def __init__(self, device: Any = None, stream_id: int | None = None, **_: Any) -> None:
        names = SimulatedDevice.present().stream_names
        self.stream_id = self.cuda_stream = len(names) if stream_id is None else stream_id
        names.setdefault(self.stream_id, f"stream {self.stream_id}")

    def wait_stream(self, other: "SimulatedStream") -> None:
        device = SimulatedDevice.present()
        device.wait_for(self.stream_id, device.clock_of(other.stream_id))

    def wait_event(self, event: "SimulatedEvent") -> None:
        SimulatedDevice.present().wait_for(self.stream_id, event.clock)

    def record_event(self, event: Any = None) -> "SimulatedEvent":
        event = event or SimulatedEvent()
        event.record(self)
        return event

    def synchronize(self) -> None:
        SimulatedDevice.present().wait("stream.synchronize", self.stream_id)


class SimulatedEvent:
    """A mark on a stream."""

    def __init__(self, **_: Any) -> None:
        self.clock: dict[int, int] = {}
        self._stream = 0

    def record(self, stream: SimulatedStream | None = None) -> None:
        device = SimulatedDevice.present()
        self._stream = device.stream if stream is None else stream.stream_id
        self.clock = device.clock_of(self._stream)

    def synchronize(self) -> None:
        SimulatedDevice.present().wait("event.synchronize", self._stream)

    def query(self) -> bool:
        SimulatedDevice.present().land(self.clock)  # so fast a device has done all by then
        return True


class SimulatedCapture:
    """`torch.cuda.graph`."""

    def __init__(
        self, graph: SimulatedGraph, pool: Any = None, stream: SimulatedStream | None = None, **_: Any
    ) -> None:
        self._graph, self._stream = graph, stream or SimulatedStream()

    def __enter__(self) -> None:
        device = SimulatedDevice.present()
        if device.capture is not None:
            raise CaptureError("a capture is under way")
        device.count["captures"] += 1
        self._graph.site = site()
        self._before, device.stream = device.stream, self._stream.stream_id
        device.capture = _Capture(self._graph)

    def __exit__(self, *_: Any) -> None:
        device = SimulatedDevice.present()
        capture, device.capture, device.stream = device.capture, None, self._before
        assert capture is not None
        capture.end()


@contextlib.contextmanager
def _entered(stream: SimulatedStream) -> Iterator[None]:
    device = SimulatedDevice.present()
    before, device.stream = device.stream, stream.stream_id
    try:
        yield
    finally:
        device.stream = before


def _current(_: Any = None) -> SimulatedStream:
    return SimulatedStream(stream_id=SimulatedDevice.present().stream)


class SimulatedWarp:
    """Warp, whose CPU device stands behind cuda:0."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._capturing: set[int] | None = None  # memory that a capture's work touches
        self._touched: dict[int, set[int]] = {}  # by graph

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def is_cuda_available(self) -> bool:
        return True

    def get_cuda_driver_version(self) -> tuple[int, int]:
        return (13, 0)

    def stream_from_torch(self, stream: Any) -> Any:
        return stream

    def ScopedDevice(self, device: Any) -> Any:  # noqa: N802
        return self._real.ScopedDevice("cpu")

    def ScopedStream(self, stream: Any) -> Any:  # noqa: N802
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def ScopedCapture(self, device: Any = None, stream: Any = None, **_: Any) -> Iterator[Any]:  # noqa: N802
        SimulatedDevice.present().count["warp captures"] += 1
        self._capturing = set()
        try:
            with self._real.ScopedCapture(device="cpu") as capture:
                yield capture
        finally:
            touched, self._capturing = self._capturing, None
        self._touched[id(capture.graph)] = touched

    def capture_launch(self, graph: Any, stream: Any = None) -> None:
        device = SimulatedDevice.present()
        if stream is not None and stream.stream_id != device.stream:
            device.faults[f"a graph of Warp's is launched on another stream than torch's, at {site()}"] += 1
        device.count["warp graph launches"] += 1
        device.touch(self._touched[id(graph)], self._touched[id(graph)])
        self._real.capture_launch(graph)

    def to_torch(self, array: Any) -> torch.Tensor:
        return SimulatedTensor(self._real.to_torch(array))

    def from_torch(self, tensor: torch.Tensor, **more: Any) -> Any:
        return self._real.from_torch(tensor.elem if isinstance(tensor, SimulatedTensor) else tensor, **more)

    def launch(self, kernel: Any, dim: Any, inputs: Any = (), outputs: Any = (), **_: Any) -> None:
        arrays = {value.ptr for value in (*inputs, *outputs) if isinstance(value, self._real.array) and value.ptr}

        def work() -> None:
            self._real.launch(kernel, dim=dim, inputs=list(inputs), outputs=list(outputs), device="cpu")

        self.working(arrays, work)

    def working(self, arrays: set[int], work: Callable[[], Any], kernels: int = 1) -> None:
        """Do work on memory of the device; what a capture of Warp's takes down is counted when it is launched."""
        if self._capturing is not None:
            self._capturing |= arrays
            work()
            return
        SimulatedDevice.present().launched(arrays, work, kernels)


@contextlib.contextmanager
def simulated(free: int = FREE_BYTES) -> Generator[SimulatedDevice]:
    """Let there be a CUDA device: for torch, and for Warp where it is installed."""
    device = SimulatedDevice()
    SimulatedDevice._present = device
    with contextlib.ExitStack() as stack:

        def patch(owner: Any, name: str, value: Any) -> None:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)

        for name, value in {
            "_lazy_init": lambda: None,
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "current_device": lambda: 0,
            "Stream": SimulatedStream,
            "Event": SimulatedEvent,
            "current_stream": _current,
            "stream": _entered,
            "set_stream": lambda stream: setattr(device, "stream", stream.stream_id),
            "CUDAGraph": SimulatedGraph,
            "graph": SimulatedCapture,
            "synchronize": lambda *_: device.wait("synchronize"),
            "empty_cache": lambda: None,
            "mem_get_info": lambda *_: (free, TOTAL_BYTES),
            "get_device_name": lambda *_: "a GPU that is not there",
        }.items():
            patch(torch.cuda, name, value)
        if not warp_library.obstacle():
            _simulate_warp(patch)
        stack.enter_context(Makers())
        stack.enter_context(device)
        yield device
    SimulatedDevice._present = None


def _simulate_warp(patch: Callable[[Any, str, Any], None]) -> None:
    real = warp_library.library
    warp = SimulatedWarp(real().warp)
    packages = warp_library.Library(warp, real().mujoco_warp)
    for name, module in list(sys.modules.items()):
        if name.startswith("trl_suite.") and getattr(module, "library", None) is real:
            patch(module, "library", lambda: packages)
    for name in ("advance", "forward", "refresh"):
        patch(Simulation, name, _seen(warp, getattr(Simulation, name)))


def _seen(warp: SimulatedWarp, work: Callable[[Simulation], None]) -> Callable[[Simulation], None]:
    """Return work of Warp's on the memory of a simulation, which the device takes note of."""

    def seen(simulation: Simulation) -> None:
        warp.working(_arrays(warp, simulation._data), lambda: work(simulation), kernels=0)

    return seen


def _arrays(warp: SimulatedWarp, struct: Any) -> set[int]:
    values = [getattr(struct, name) for name in struct.__dataclass_fields__]
    nested = [value for value in values if hasattr(value, "__dataclass_fields__")]
    arrays = {value.ptr for value in values if isinstance(value, warp.array) and value.ptr}
    return arrays.union(*(_arrays(warp, value) for value in nested))
