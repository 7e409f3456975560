"""Random numbers without state: a member's draws follow from its seed, what they are for, and when.

So a member draws the same whoever else is in its cohort, and a checkpoint holds no generator. The counter-based Philox
(Salmon et al. 2011) is numpy's.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt


class Stream(IntEnum):
    """What a draw is for. The numbers are part of every result: none is ever given another meaning."""

    ACTION = 1
    PERMUTATION = 2
    PULL = 3
    EVALUATION = 4


def generator(seed: int, stream: Stream, step: int) -> np.random.Generator:
    """Return a generator of the draws of one member, of one stream, at one step; disjoint from all others."""
    return np.random.Generator(np.random.Philox(key=[seed, int(stream)], counter=[0, 0, 0, step]))


def normals(seeds: Sequence[int], stream: Stream, step: int, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return standard normal numbers (members, *shape)."""
    return np.stack([generator(seed, stream, step).standard_normal(shape, dtype=np.float32) for seed in seeds])


def permutations(seeds: Sequence[int], step: int, count: int, size: int) -> npt.NDArray[np.int64]:
    """Return `count` permutations of `size` numbers for each member (members, count, size)."""
    drawn = [generator(seed, Stream.PERMUTATION, step) for seed in seeds]
    return np.stack([np.stack([one.permutation(size) for _ in range(count)]) for one in drawn])
