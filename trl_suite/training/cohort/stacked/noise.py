"""Random numbers without state: a member's draws follow from its seed, what they are for, and when.

So a member draws the same whoever else is in its cohort, and a checkpoint holds no generator. The counter-based Philox
(Salmon et al. 2011) is numpy's.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

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


def normals(seeds: Sequence[int], stream: NoiseStream, step: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return standard normal numbers (members, *shape)."""
    return np.stack([generator(seed, stream, step).standard_normal(shape, dtype=np.float32) for seed in seeds])


def permutations(seeds: Sequence[int], step: int, count: int, size: int) -> npt.NDArray[np.int64]:
    """Return `count` permutations of `size` numbers for each member (members, count, size)."""
    drawn = [generator(seed, NoiseStream.PERMUTATION, step) for seed in seeds]
    return np.stack([np.stack([source.permutation(size) for _ in range(count)]) for source in drawn])


class NoiseDraws:
    """Numbers for one step after the other, drawn for several at once; a step's are the same whatever was asked.

    What a call returns is overwritten by one for a later step.
    """

    def __init__(
        self, seeds: Sequence[int], stream: NoiseStream, shape: tuple[int, ...], uniform: bool = False
    ) -> None:
        self._seeds, self._stream, self._shape, self._uniform = seeds, stream, (CHUNK, *shape), uniform
        self._held = np.empty((len(seeds), *self._shape), dtype=np.float64 if uniform else np.float32)
        self._from = -1

    def at(self, step: int) -> npt.NDArray[Any]:
        """Return standard normal numbers in single precision, or uniform ones in [0, 1) (members, *shape)."""
        chunk, place = divmod(step, CHUNK)
        if chunk != self._from:
            self._from = chunk
            for numbers, seed in zip(self._held, self._seeds, strict=True):
                self._draw(numbers, generator(seed, self._stream, chunk))
        return self._held[:, place]

    def _draw(self, numbers: npt.NDArray[Any], source: np.random.Generator) -> None:
        if self._uniform:
            source.random(out=numbers)
        else:
            source.standard_normal(dtype=np.float32, out=numbers)
