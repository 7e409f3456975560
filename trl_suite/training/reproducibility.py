"""Repeatability of a run: seeds by role, and the number of torch's threads, on which last bits depend."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch

Role = Literal["learner", "evaluation", "home", "pull", "guide", "method", "domain", "dynamics", "replay", "compress"]
_KEYS: dict[Role, int] = {
    "learner": 0,
    "evaluation": 1,
    "home": 2,
    "pull": 3,
    "guide": 4,
    "method": 5,
    "domain": 6,
    "dynamics": 7,
    "replay": 8,
    "compress": 9,
}


def seed_for(seed: int, role: Role, index: int = 0) -> int:
    """Return a seed below 2**31 for one role of the run with this seed."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_KEYS[role], index))
    return int(sequence.generate_state(1)[0]) >> 1


@contextmanager
def threads(count: int) -> Generator[None]:
    """Give torch some threads for a while: two are ten times slower than one for networks of the usual size."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
