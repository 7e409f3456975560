"""Seeds by role, so that paired runs share their worlds and a new role changes no other stream."""

from typing import Literal

import numpy as np

Role = Literal["learner", "evaluation", "home", "pull", "guide", "method", "domain", "dynamics"]
_KEYS: dict[Role, int] = {
    "learner": 0,
    "evaluation": 1,
    "home": 2,
    "pull": 3,
    "guide": 4,
    "method": 5,
    "domain": 6,
    "dynamics": 7,
}


def seed_for(seed: int, role: Role, index: int = 0) -> int:
    """Return a seed below 2**31 for one role of the run with this seed."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_KEYS[role], index))
    return int(sequence.generate_state(1)[0]) >> 1
