"""Random numbers without state: a member's draws follow from its seed, what they are for, and when.

So a member draws the same whoever else is in its cohort, and a checkpoint holds no generator. The counter-based Philox
(Salmon et al. 2011) is numpy's.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

CHUNK = 16  # steps that are drawn at once by `Draws`


class NoiseStream(IntEnum):
    """Purpose of a draw. The numbers are part of every result: none is ever given another meaning."""

    ACTION = 1
    PERMUTATION = 2
    PULL = 3
    EVALUATION = 4
    REPLAY = 5
    POLICY = 6  # the actions within an update
    UNIFORM = 7  # actions before there is anything to act by


def generator(seed: int, stream: NoiseStream, step: int) -> np.random.Generator:
    """Return a generator of the draws of one member, of one stream, at one step; disjoint from all others."""
    return np.random.Generator(np.random.Philox(key=[seed, int(stream)], counter=[0, 0, 0, step]))


def normal(seed: int, stream: NoiseStream, step: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return a member's standard normal numbers."""
    return generator(seed, stream, step).standard_normal(shape, dtype=np.float32)


def permutation(seed: int, step: int, count: int, size: int) -> npt.NDArray[np.int64]:
    """Return a member's `count` permutations of `size` numbers (count, size)."""
    source = generator(seed, NoiseStream.PERMUTATION, step)
    return np.stack([source.permutation(size) for _ in range(count)])


class DrawThreads:
    """Threads that draw while a device works: numpy lets others run meanwhile.

    On a CPU there are none, since each core has a cohort of its own.
    """

    def __init__(self, device: torch.device) -> None:
        self._threads = ThreadPoolExecutor(thread_name_prefix="draws") if device.type == "cuda" else None

    @property
    def ahead(self) -> bool:
        """Whether to draw ahead of need."""
        return self._threads is not None

    def begin(self, tasks: Sequence[Callable[[], Any]]) -> Callable[[], list[Any]]:
        """Begin some draws, and return what waits for their results."""
        if self._threads is None:
            return lambda: [task() for task in tasks]
        futures: list[Future[Any]] = [self._threads.submit(task) for task in tasks]
        return lambda: [future.result() for future in futures]


ONE_THREAD = DrawThreads(torch.device("cpu"))


class IterationDraws:
    """Numbers of every member for one iteration after the other; those of the next are drawn ahead of need.

    Args:
        draw: gives a member's numbers from its seed and the iteration.
        seeds: of the members.
        threads: that draw.
    """

    def __init__(
        self, draw: Callable[[int, int], npt.NDArray[Any]], seeds: Sequence[int], threads: DrawThreads
    ) -> None:
        self._draw, self._seeds, self._threads = draw, seeds, threads
        self._begun: dict[int, Callable[[], list[Any]]] = {}

    def at(self, iteration: int) -> npt.NDArray[Any]:
        """Return the numbers of an iteration (members, ...)."""
        numbers = self._begun.pop(iteration, None) or self._begin(iteration)
        stacked = np.stack(numbers())
        self._begun = {iteration + 1: self._begin(iteration + 1)} if self._threads.ahead else {}
        return stacked

    def _begin(self, iteration: int) -> Callable[[], list[Any]]:
        return self._threads.begin([lambda seed=seed: self._draw(seed, iteration) for seed in self._seeds])


class NoiseDraws:
    """Numbers for one step after the other, drawn for several at once; a step's are the same whatever was asked.

    What a call returns is overwritten by one for a later step.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        stream: NoiseStream,
        shape: tuple[int, ...],
        uniform: bool = False,
        threads: DrawThreads = ONE_THREAD,
    ) -> None:
        self._seeds, self._stream, self._shape, self._uniform = seeds, stream, (CHUNK, *shape), uniform
        self._threads = threads
        self._numbers, self._next = self._empty(), self._empty() if threads.ahead else np.empty(0)
        self._chunk = -1
        self._begun: dict[int, Callable[[], list[Any]]] = {}  # chunk -> what waits until it is in `_next`

    def at(self, step: int) -> npt.NDArray[Any]:
        """Return standard normal numbers in single precision, or uniform ones in [0, 1) (members, *shape)."""
        chunk, place = divmod(step, CHUNK)
        if chunk != self._chunk:
            self._chunk = chunk
            self._take(chunk)
        return self._numbers[:, place]

    def _take(self, chunk: int) -> None:
        for begun, wait in self._begun.items():
            wait()
            if begun == chunk:
                self._numbers, self._next = self._next, self._numbers
        if chunk not in self._begun:
            self._begin(chunk, self._numbers)()
        self._begun = {chunk + 1: self._begin(chunk + 1, self._next)} if self._threads.ahead else {}

    def _empty(self) -> npt.NDArray[Any]:
        return np.empty((len(self._seeds), *self._shape), dtype=np.float64 if self._uniform else np.float32)

    def _begin(self, chunk: int, into: npt.NDArray[Any]) -> Callable[[], list[Any]]:
        """Begin to draw a chunk; each member's numbers come from its own generator."""

        def draw(numbers: npt.NDArray[Any], seed: int) -> None:
            source = generator(seed, self._stream, chunk)
            if self._uniform:
                source.random(out=numbers)
            else:
                source.standard_normal(dtype=np.float32, out=numbers)

        pairs = zip(into, self._seeds, strict=True)
        return self._threads.begin([lambda numbers=numbers, seed=seed: draw(numbers, seed) for numbers, seed in pairs])
