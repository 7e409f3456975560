"""What is measured for contacts and constraints is enough, and memory is counted."""

import numpy as np
import pytest
import torch

from trl_suite import content
from trl_suite.worlds.address import Address
from trl_suite.worlds.stepping.env import built
from trl_suite.worlds.warp.limits import bytes_per_world, limits
from trl_suite.worlds.warp.merge import solvable, structure
from trl_suite.worlds.warp.warp_env import WarpVectorEnv

pytestmark = pytest.mark.xdist_group("warp")


def test_limits_are_the_same_every_time_and_grow_with_the_robot():
    def of(name: str):
        table, model, *_ = built(Address.parse(name))
        return limits([solvable(model)], table.frame_skip)

    assert of("hopper") == of("hopper")
    assert of("humanoid-standup").constraints > of("hopper").constraints > of("inverted-pendulum").constraints
    assert bytes_per_world("humanoid") > bytes_per_world("hopper") > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("name", content.names("envs"))
def test_nothing_overflows_under_full_controls_in_any_variant(name: str):
    """100,000 env steps of all variants that one batch can hold."""
    table, nominal, task, _ = built(Address.parse(name))
    variants: list[str | None] = [None]
    for variant in table.variants:
        own, model, other, variation = built(Address.parse(f"{name}.{variant}"))
        alike = not model.nhfield and structure(model) == structure(nominal) and own.frame_skip == table.frame_skip
        if alike and other.interface == task.interface and not variation.control_range:
            variants.append(variant)
    worlds = -(-512 // len(variants)) * len(variants)
    batch = WarpVectorEnv(worlds, name, variants * (worlds // len(variants)), device="cpu", autoreset_mode="SameStep")
    batch.reset(seed=0)
    rng, high = np.random.default_rng(0), batch.action_space.high
    for _ in range(-(-100_000 // worlds)):
        batch.step(torch.from_numpy(np.where(rng.random(high.shape) < 0.5, high, -high)))
    assert batch.overflown() == 0
