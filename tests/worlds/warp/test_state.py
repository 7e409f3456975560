"""Worlds on Warp go on exactly where they were, in this batch or in another."""

import numpy as np
import pytest
import torch

from trl_suite.errors import InputError
from trl_suite.worlds.warp.warp_env import WarpVectorEnv

pytestmark = pytest.mark.xdist_group("warp")
NOISY = {"observation_noise": 0.1, "action_delay": 2, "action_noise": 0.1}


def made(worlds: int, variants=None) -> WarpVectorEnv:
    return WarpVectorEnv(worlds, "hopper", variants, device="cpu", autoreset_mode="SameStep", max_episode_steps=9)


def gone_on(batch: WarpVectorEnv, actions: torch.Tensor) -> torch.Tensor:
    found = [torch.cat([batch.step(action)[0], batch._reward[:, None]], 1).clone() for action in actions]
    return torch.stack(found)


def test_worlds_that_move_to_another_batch_go_on_as_they_would_have():
    first = made(4, [None, NOISY, "gravity-1.5", NOISY])
    actions = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (30, 4, 3)).astype(np.float32))
    first.reset(seed=3)
    gone_on(first, actions[:14])
    kept = first.state([1, 3])
    second = made(2, [NOISY, NOISY])  # never reset
    second.restore([0, 1], kept)
    assert torch.allclose(gone_on(second, actions[14:, [1, 3]]), gone_on(first, actions[14:])[:, [1, 3]], atol=1e-5)


def test_a_state_of_others_is_refused():
    batch = made(3)
    batch.reset(seed=0)
    with pytest.raises(InputError, match="a state of 2 worlds for 1"):
        batch.restore([0], batch.state([0, 1]))
