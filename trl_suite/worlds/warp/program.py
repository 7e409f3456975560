"""Work on a device in stages, torch's and Warp's in turn, each captured once as a graph and replayed on one stream.

Three kinds of trouble are kept out by this order. A graph of torch's that holds Warp's solver loop loses its memory
pool and its random numbers, since the loop is captured by pausing torch's capture; torch cannot capture on Warp's
streams; and graphs that are launched on two streams race without a word. So no graph holds both, and the stream is
torch's.
On the CPU torch has no graphs and its stages simply run; Warp has them, and captures there as on a CUDA device.
"""

import itertools
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch

from trl_suite.worlds.warp.device_capture import (
    captured,
    graphs_wanted,
    refuse_out_of_memory,
    warn_uncaptured,
    without_collection,
)
from trl_suite.worlds.warp.warp_library import library

WARM_UP = 2  # runs before a capture: kernels are loaded and memory pools have grown


class Stage(NamedTuple):
    """A part of the work: it reads and writes memory that stays where it is, and asks nothing of the host."""

    work: Callable[[], object]
    warp: bool  # or torch's


class DeviceStream:
    """The one stream on which a device's work is done in order.

    Args:
        device: a CUDA device, or the CPU, where everything is in order anyway.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cuda: Any = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.warp: Any = library().warp.stream_from_torch(self.cuda) if self.cuda is not None else None

    def follow_caller(self) -> None:
        """Let the stream's work to come wait for the caller's so far."""
        if self.cuda is not None:
            self.cuda.wait_stream(torch.cuda.current_stream(self.device))

    def lead_caller(self) -> None:
        """Let the caller's work to come wait for the stream's so far."""
        if self.cuda is not None:
            torch.cuda.current_stream(self.device).wait_stream(self.cuda)

    @contextmanager
    def entered(self, beside: bool = False) -> Generator[None]:
        """Do what is inside on the stream: after the caller's work so far, and before the caller's work to come.

        Args:
            beside: at the same time as the caller's work, which must have nothing to do with it; who begins calls
                `follow_caller` before, and `lead_caller` when it is over.
        """
        warp = library().warp
        with ExitStack() as stack:
            stack.enter_context(warp.ScopedDevice(str(self.device)))
            if not beside:
                self.follow_caller()
                stack.callback(self.lead_caller)
            if self.cuda is not None:
                stack.enter_context(torch.cuda.stream(self.cuda))
                stack.enter_context(warp.ScopedStream(self.warp))
            yield


class Program:
    """Stages in order.

    Args:
        stages: the work.
        stream: where it is done.
    """

    def __init__(self, stages: Sequence[Stage], stream: DeviceStream) -> None:
        self._stages = [
            Stage(_in_order([stage.work for stage in neighbours]), kind)
            for kind, neighbours in itertools.groupby(stages, lambda stage: stage.warp)
        ]
        self._stream, self._runs = stream, 0
        self._captures = graphs_wanted()
        self._graphs: list[Callable[[], object]] = []

    def run(self) -> None:
        """Do all the work once; must be called within the stream."""
        self._runs += 1
        if self._captures and self._runs == WARM_UP + 1:
            self._capture()
            return
        for work in self._graphs or [stage.work for stage in self._stages]:
            work()

    def forget(self) -> None:
        """Drop the graphs, which hold memory of the device and what they were captured from; nothing runs any more."""
        self._graphs, self._stages = [], []

    def _capture(self) -> None:
        """Capture every stage and run it, in order: a later stage's graph reads where an earlier one's has written.

        Where a stage cannot be captured, all of them run without graphs from then on.
        """
        graphs: list[Callable[[], object]] = []
        for stage in self._stages:
            graph = self._graph_of(stage)
            graph()
            graphs.append(graph)
        self._graphs = graphs if self._captures else []

    def _graph_of(self, stage: Stage) -> Callable[[], object]:
        if not self._captures:
            return stage.work
        try:
            return self._warp_graph(stage.work) if stage.warp else self._torch_graph(stage.work)
        except Exception as error:
            refuse_out_of_memory(error)
            warn_uncaptured("a step of the worlds", error)
            self._captures = False
            return stage.work

    def _warp_graph(self, work: Callable[[], object]) -> Callable[[], object]:
        warp, stream = library().warp, self._stream
        with without_collection(), warp.ScopedCapture(device=str(stream.device), stream=stream.warp) as capture:
            work()
        return lambda: warp.capture_launch(capture.graph, stream=stream.warp)

    def _torch_graph(self, work: Callable[[], object]) -> Callable[[], object]:
        if self._stream.cuda is None:
            return work
        return captured(lambda: _discard(work()), self._stream.cuda)


def _discard(_: object) -> None:
    """Nothing is kept of what a stage returns: what it says, it writes."""


def _in_order(works: Sequence[Callable[[], object]]) -> Callable[[], None]:
    def all_of_it() -> None:
        for work in works:
            work()

    return all_of_it
