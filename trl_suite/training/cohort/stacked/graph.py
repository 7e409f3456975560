"""Updates on a CUDA device as graphs: captured once, then replayed whole, without Python between small products."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.stack import Tensors
from trl_suite.worlds.warp.device_capture import captured, graphs_wanted, refuse_out_of_memory, warn_uncaptured

WARM_UP = 2  # runs before a capture: kernels are loaded, buffers made, and the optimisers' plans stand

Work = Callable[[Tensors], Tensors]
"""Does the work on named tensors, and returns others."""

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes work down without doing it, and returns what does it from then on."""


class _Graph(NamedTuple):
    """A captured program."""

    replay: Callable[[], None]
    outputs: Tensors  # where each replay leaves what the work returned
    counted: list[npt.NDArray[np.int64]]  # by how much every optimiser's counts of steps rise


class Launch:
    """Work that is done over and over on tensors of one shape: as a graph where the device has graphs.

    A graph repeats what was computed, not what Python decided. So there is one for every `phase` that a caller names,
    and all are thrown away when an optimiser moves other numbers, or at other rates, than before, or when other tensors
    are given.

    Args:
        work: reads its tensors and the learner's, and asks nothing of the host, hooks around a step included.
        optimisers: that it steps.
        device: where.
    """

    def __init__(self, work: Work, optimisers: Collection[Adam], device: torch.device) -> None:
        self._work, self._optimisers = work, list(optimisers)
        self._capture: Capture | None = captured if device.type == "cuda" and graphs_wanted() else None
        self._held: Tensors = {}  # what graphs read
        self._editions: tuple[int, ...] = ()
        self._runs: Counter[Hashable] = Counter()
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, inputs: Tensors, phase: Hashable = None) -> Tensors:
        """Do the work on what is given, and return what it returns; a later call may overwrite that."""
        if self._capture is None:
            return self._work(inputs)
        self._hold(inputs)
        self._runs[phase] += 1
        if self._runs[phase] <= WARM_UP:
            return self._work(self._held)
        if phase in self._graphs:
            for adam, steps in zip(self._optimisers, self._graphs[phase].counted, strict=True):
                adam.count += steps
        elif (graph := self._captured(self._capture)) is not None:
            self._graphs[phase] = graph
        else:
            return self._work(self._held)
        self._graphs[phase].replay()
        return self._graphs[phase].outputs

    def _hold(self, inputs: Tensors) -> None:
        """Put what is given where graphs read it; without graphs that were captured for something else."""
        editions = tuple(adam.edition for adam in self._optimisers)
        shapes = {name: value.shape for name, value in inputs.items()}
        if editions != self._editions or shapes != {name: value.shape for name, value in self._held.items()}:
            self._editions, self._held = editions, {name: torch.empty_like(value) for name, value in inputs.items()}
            self._runs.clear()
            self._graphs.clear()
        for name, value in inputs.items():
            self._held[name].copy_(value)

    def _captured(self, capture: Capture) -> _Graph | None:
        """Return the graph of the work; where it cannot be captured None, and no other is tried from then on."""
        outputs: Tensors = {}
        before = [(adam.count.copy(), adam.warming.copy()) for adam in self._optimisers]
        try:
            replay = capture(lambda: outputs.update(self._work(self._held)))
        except Exception as error:
            refuse_out_of_memory(error)
            warn_uncaptured("a learner's work", error)
            self._capture = None
            for adam, (count, warming) in zip(self._optimisers, before, strict=True):
                adam.count[:], adam.warming[:] = count, warming
                adam.resumed()
            return None
        counted = [adam.count - count for adam, (count, _) in zip(self._optimisers, before, strict=True)]
        return _Graph(replay, outputs, counted)
