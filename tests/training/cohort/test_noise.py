"""The members' noise: disjoint, without state, and its own."""

import numpy as np
import pytest
import torch

from trl_suite.training.cohort.stacked import noise
from trl_suite.training.cohort.stacked.noise import NoiseStream


def test_philox_gives_the_known_answers():
    # Random123's kat_vectors, philox4x64-10: zeros, and all bits set; numpy counts up before it draws
    zeros = np.random.Philox(key=0, counter=[2**64 - 1] * 4).random_raw(4).tolist()
    assert [f"{word:016x}" for word in zeros] == [
        "16554d9eca36314c", "db20fe9d672d0fdc", "d7e772cee186176b", "7e68b68aec7ba23b",
    ]  # fmt: skip
    ones = np.random.Philox(key=2**128 - 1, counter=[2**64 - 2, *[2**64 - 1] * 3]).random_raw(4).tolist()
    assert [f"{word:016x}" for word in ones] == [
        "87b092c3013fe90b", "438c3c67be8d0224", "9cc7d7c69cd777b6", "a09caebf594f0ba0",
    ]  # fmt: skip


def test_a_members_draws_are_its_own():
    every = [noise.normal(seed, NoiseStream.ACTION, 3, (4, 2)) for seed in (5, 6, 7)]
    assert np.array_equal(noise.normal(6, NoiseStream.ACTION, 3, (4, 2)), every[1])
    assert every[0].dtype == np.float32
    assert not np.array_equal(every[0], every[1])


def test_streams_and_steps_are_disjoint():
    words = [
        noise.generator(5, stream, step).bit_generator.random_raw(1_000) for stream in NoiseStream for step in (0, 1, 2)
    ]
    assert len(np.unique(np.concatenate(words))) == 1_000 * len(words)


def test_permutations_are_permutations():
    found = np.stack([noise.permutation(seed, 0, 3, 50) for seed in (5, 6)])
    assert found.shape == (2, 3, 50)
    assert (np.sort(found, axis=2) == np.arange(50)).all()
    assert len({tuple(one) for one in found.reshape(-1, 50).tolist()}) == 6


def test_normals_are_normal():
    drawn = np.stack([noise.normal(seed, NoiseStream.ACTION, 0, (20_000,)) for seed in range(50)]).astype(float)
    assert abs(drawn.mean()) < 0.004
    assert abs(drawn.std() - 1) < 0.003
    assert abs((drawn**4).mean() - 3) < 0.03


@pytest.mark.parametrize("uniform", [False, True])
def test_threads_draw_ahead_and_change_no_number(uniform):
    threads = noise.DrawThreads(torch.device("cuda"))
    alone, ahead = (noise.NoiseDraws(range(5), NoiseStream.POLICY, (3, 2), uniform, *more) for more in ((), (threads,)))
    for step in (0, 1, 15, 16, 40, 41, 3, 200):  # back and far ahead too, as a resumed run begins anywhere
        assert np.array_equal(alone.at(step), ahead.at(step)), step


def test_iterations_are_drawn_ahead_and_change_no_number():
    def draw(seed, iteration):
        return noise.permutation(seed, iteration, 2, 9)

    alone = noise.IterationDraws(draw, range(4), noise.ONE_THREAD)
    ahead = noise.IterationDraws(draw, range(4), noise.DrawThreads(torch.device("cuda")))
    for iteration in (0, 1, 2, 7, 1):
        assert np.array_equal(alone.at(iteration), ahead.at(iteration)), iteration
