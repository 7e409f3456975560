"""Random numbers of many worlds on a device, without state: a draw follows from its world's seed, its use and its time.

So a world draws the same however many others there are, nothing is asked of the host, and a step can be captured in a
graph. SplitMix64 (Steele, Lea & Flood 2014): the n-th number of a seed is a mixture of seed + n·γ, so that any number
can be had without those before it.
"""

from enum import IntEnum

import torch
from torch import Tensor


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
        """Return standard normal numbers (worlds, width) of the given time of each world (worlds,): Box & Muller's."""
        even = self.uniform(use, times, 2 * width)
        radius = (-2.0 * (1.0 - even[:, :width]).log()).sqrt()
        return radius * (2.0 * torch.pi * even[:, width:]).cos()

    def _bits(self, use: DrawPurpose, times: Tensor, width: int) -> Tensor:
        keys = mixed(self._keys + _signed(use * _GAMMA))
        places = torch.arange(width, dtype=torch.int64, device=keys.device)
        return mixed(keys[:, None] + (times[:, None] * _NUMBERS_PER_DRAW + places + 1) * _GAMMA)


def mixed(state: Tensor) -> Tensor:
    """Return SplitMix64's output for its state, element by element."""
    state = (state ^ _shifted(state, 30)) * _FIRST
    state = (state ^ _shifted(state, 27)) * _SECOND
    return state ^ _shifted(state, 31)


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Return the bits shifted to the right as those of a number without sign."""
    return (bits >> by) & ((1 << (64 - by)) - 1)
