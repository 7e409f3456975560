"""Random generators as rows of numbers, so that what they go on with can be kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

RNG_STATE_WORDS = 6  # state and increment, 128 bits each, and a half-used draw
_LOW = 2**64 - 1

Row = NDArray[np.uint64]


def pack_rng(generators: Sequence[np.random.Generator]) -> Row:
    """Return the states (generators, 6) of PCG64 generators, NumPy's default."""
    return np.array([_row(generator.bit_generator.state) for generator in generators], dtype=np.uint64).reshape(
        -1, RNG_STATE_WORDS
    )


def restore_rng(generator: np.random.Generator, row: Row) -> None:
    """Let a PCG64 generator go on from a row of `packed`."""
    high, low, increment_high, increment_low, has_half, half = (int(number) for number in row)
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": high << 64 | low, "inc": increment_high << 64 | increment_low},
        "has_uint32": has_half,
        "uinteger": half,
    }


def _row(state: Any) -> list[int]:
    pcg_state = state["state"]
    numbers = (pcg_state["state"], pcg_state["inc"])
    return [part for number in numbers for part in (number >> 64, number & _LOW)] + [
        state["has_uint32"],
        state["uinteger"],
    ]
