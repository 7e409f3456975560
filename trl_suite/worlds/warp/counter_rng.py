"""Random numbers of many worlds on a device, without state: a draw follows from its world's seed, its use and its time.

So a world draws the same however many others there are, nothing is asked of the host, and a step can be captured in a
graph. SplitMix64 (Steele, Lea & Flood 2014): the n-th number of a seed is a mixture of seed + n·γ, so that any number
can be had without those before it.
"""

import functools
import importlib
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from trl_suite.worlds.warp.warp_library import library


def _signed(number: int) -> int:
    """Return the number whose 64 bits are those of an unsigned one: torch's have a sign, and overflow as C's do."""
    return (number + 2**63) % 2**64 - 2**63


_GAMMA = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)
_NUMBERS_PER_DRAW = 2**16  # of one draw: more than any robot has coordinates or slots, several times over


class DrawPurpose(IntEnum):
    """Purpose of a draw. The numbers are part of every result: none is ever given another meaning."""

    POSITION = 1
    VELOCITY = 2
    GOAL = 3
    ACTION = 4
    OBSERVATION = 5
    FIRST_OBSERVATION = 6
    COMMAND = 7
    PLACEMENT = 8


class CounterRng:
    """The draws of many worlds.

    Args:
        worlds: how many.
        device: where.
    """

    def __init__(self, envs: int, device: torch.device) -> None:
        self._keys = torch.zeros(envs, dtype=torch.int64, device=device)

    def seed(self, envs: Tensor, seeds: Tensor) -> None:
        """Give worlds (n,) their seeds (n,), 64-bit integers."""
        self._keys[envs] = mixed(seeds)

    def keys(self) -> Tensor:
        """Return the keys made of the seeds (worlds,), in place."""
        return self._keys

    def uniform(self, use: DrawPurpose, times: Tensor, width: int) -> Tensor:
        """Return numbers from [0, 1) (worlds, width) of the given time of each world (worlds,)."""
        return self._bits(use, times, width).bitwise_and(2**24 - 1).float() * 2.0**-24

    def normal(self, use: DrawPurpose, times: Tensor, width: int) -> Tensor:
        """Return standard normal numbers (worlds, width) of the given time of each world (worlds,)."""
        return normals(self.uniform(use, times, 2 * width))

    def _bits(self, use: DrawPurpose, times: Tensor, width: int) -> Tensor:
        keys = mixed(self._keys + _signed(use * _GAMMA))
        places = torch.arange(width, dtype=torch.int64, device=keys.device)
        return mixed(keys[:, None] + (times[:, None] * _NUMBERS_PER_DRAW + places + 1) * _GAMMA)


class UniformDraws:
    """Numbers from [0, 1) of several uses, of one time of each env: drawn by one kernel, into memory that stays.

    They are those of `CounterRng.uniform`, which takes some twenty kernels for each use.

    Args:
        rng: of the envs.
        widths: use -> how many numbers.
        times: of each env (envs,), live.
    """

    def __init__(self, rng: CounterRng, widths: Mapping[DrawPurpose, int], times: Tensor) -> None:
        keys = rng.keys()
        uses = [_signed(use * _GAMMA) for use, width in widths.items() for _ in range(width)]
        places = [place + 1 for width in widths.values() for place in range(width)]
        self._numbers = torch.zeros(len(keys), len(uses), device=keys.device)
        columns = [torch.tensor(column, dtype=torch.int64, device=keys.device) for column in (uses, places)]
        self._of_use = dict(zip(widths, self._numbers.split(list(widths.values()), dim=1), strict=True))
        self._device = str(keys.device)
        self._arrays = [library().warp.from_torch(tensor) for tensor in (keys, times, *columns, self._numbers)]
        self._kept = columns  # whose memory the arrays are

    def draw(self) -> None:
        """Draw the numbers of the present times: work of Warp's."""
        *inputs, numbers = self._arrays
        library().warp.launch(
            _uniform_kernel(), dim=numbers.size, inputs=inputs, outputs=[numbers], device=self._device
        )

    def of(self, use: DrawPurpose) -> Tensor:
        """Return the numbers of a use as they were drawn last (envs, width), in place."""
        return self._of_use[use]


@functools.cache
def _uniform_kernel() -> Any:
    """Return the kernel of `UniformDraws`; SplitMix64 as in `mixed`, on numbers without sign.

    Warp reads off the source how many dimensions `tid()` has, where it knows its own module again, and takes one where
    it doesn't: a launch of two then writes beyond the array, out of a cache that does not tell them apart. So the
    module is Warp's own, whatever stands in for it in `library`, and the dimension is one.
    """
    wp: Any = importlib.import_module("warp")
    gamma, first, second = (wp.uint64(number % 2**64) for number in (_GAMMA, _FIRST, _SECOND))
    per_draw, fraction = wp.uint64(_NUMBERS_PER_DRAW), wp.uint64(2**24 - 1)
    unit = wp.float32(2.0**-24)

    @wp.func
    def mix_state(state: wp.uint64) -> wp.uint64:  # pyright: ignore[reportInvalidTypeForm]
        once = (state ^ (state >> wp.uint64(30))) * first
        two = (once ^ (once >> wp.uint64(27))) * second
        return two ^ (two >> wp.uint64(31))

    @wp.kernel(enable_backward=False)
    def draw_uniform(
        keys: wp.array(dtype=wp.int64),  # pyright: ignore[reportInvalidTypeForm]
        times: wp.array(dtype=wp.int64),  # pyright: ignore[reportInvalidTypeForm]
        uses: wp.array(dtype=wp.int64),  # pyright: ignore[reportInvalidTypeForm]
        places: wp.array(dtype=wp.int64),  # pyright: ignore[reportInvalidTypeForm]
        numbers: wp.array2d(dtype=wp.float32),  # pyright: ignore[reportInvalidTypeForm]
    ) -> None:
        index = wp.tid()
        env, column = index // numbers.shape[1], index % numbers.shape[1]
        key = mix_state(wp.uint64(keys[env]) + wp.uint64(uses[column]))
        place = wp.uint64(times[env]) * per_draw + wp.uint64(places[column])
        bits = mix_state(key + place * gamma)
        numbers[env, column] = wp.float32(bits & fraction) * unit

    return draw_uniform


def normals(uniform: Tensor) -> Tensor:
    """Return standard normal numbers (n, width) from numbers in [0, 1) (n, 2 width): Box & Muller's."""
    width = uniform.shape[1] // 2
    radius = (-2.0 * (1.0 - uniform[:, :width]).log()).sqrt()
    return radius * (2.0 * torch.pi * uniform[:, width:]).cos()


def mixed(state: Tensor) -> Tensor:
    """Return SplitMix64's output for its state, element by element."""
    state = (state ^ _shifted(state, 30)) * _FIRST
    state = (state ^ _shifted(state, 27)) * _SECOND
    return state ^ _shifted(state, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Return the bits shifted to the right as those of a number without sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
