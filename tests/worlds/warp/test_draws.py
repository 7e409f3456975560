"""Draws without state: SplitMix64's own numbers, spread as they should be, and none used twice."""

import numpy as np
import pytest
import torch

from trl_suite.worlds.warp import counter_rng
from trl_suite.worlds.warp.counter_rng import CounterRng, DrawPurpose, mixed


def seeded(worlds: int) -> CounterRng:
    made = CounterRng(worlds, torch.device("cpu"))
    made.seed(torch.arange(worlds), torch.arange(worlds))
    return made


def test_the_numbers_are_splitmix64s():
    """As a seed of 1234567 gives them in the authors' C."""
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    states = 1234567 + torch.arange(1, 6) * counter_rng._GAMMA
    assert [int(number) % 2**64 for number in mixed(states)] == wanted


@pytest.mark.parametrize(("name", "mean", "std"), [("uniform", 0.5, 12**-0.5), ("normal", 0.0, 1.0)])
def test_draws_have_their_moments(name: str, mean: float, std: float):
    drawn = getattr(seeded(2000), name)(DrawPurpose.POSITION, torch.zeros(2000, dtype=torch.int64), 100)
    assert drawn.shape == (2000, 100)
    assert abs(float(drawn.mean()) - mean) < 5 * std / np.sqrt(drawn.numel())
    assert abs(float(drawn.std()) - std) < 0.01
    assert np.abs(np.corrcoef(drawn[:, :20].T) - np.eye(20)).max() < 0.12


def test_no_two_draws_are_alike():
    made, times = seeded(50), torch.arange(50)
    every = [made.uniform(use, times + later, 40) for use in DrawPurpose for later in (0, 50)]
    bits = torch.stack([made._bits(use, times + later, 40) for use in DrawPurpose for later in (0, 50)])
    assert bits.unique().numel() == bits.numel()
    assert all(float(one.min()) >= 0.0 and float(one.max()) < 1.0 for one in every)


def test_a_world_keeps_its_draws_whoever_is_beside_it():
    times = torch.tensor([3, 5, 7])
    assert torch.equal(
        seeded(3).uniform(DrawPurpose.GOAL, times, 4), seeded(9).uniform(DrawPurpose.GOAL, times.repeat(3), 4)[:3]
    )


def test_one_kernel_draws_the_same_bits():
    made, times = seeded(50), torch.arange(50) * 1000
    widths = {DrawPurpose.POSITION: 9, DrawPurpose.VELOCITY: 18, DrawPurpose.GOAL: 0, DrawPurpose.ACTION: 64}
    draws = counter_rng.UniformDraws(made, widths, times)
    for _ in range(2):
        draws.draw()
        for use, width in widths.items():
            assert torch.equal(draws.of(use), made.uniform(use, times, width))
        times += 3  # in place, as a step counts them up
