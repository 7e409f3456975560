"""The members' noise: disjoint, without state, and its own."""

import numpy as np

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
    every = noise.normals([5, 6, 7], NoiseStream.ACTION, 3, (4, 2))
    assert np.array_equal(noise.normals([6], NoiseStream.ACTION, 3, (4, 2))[0], every[1])
    assert every.dtype == np.float32
    assert not np.array_equal(every[0], every[1])


def test_streams_and_steps_are_disjoint():
    words = [
        noise.generator(5, stream, step).bit_generator.random_raw(1_000) for stream in NoiseStream for step in (0, 1, 2)
    ]
    assert len(np.unique(np.concatenate(words))) == 1_000 * len(words)


def test_permutations_are_permutations():
    found = noise.permutations([5, 6], 0, 3, 50)
    assert found.shape == (2, 3, 50)
    assert (np.sort(found, axis=2) == np.arange(50)).all()
    assert len({tuple(one) for one in found.reshape(-1, 50).tolist()}) == 6


def test_normals_are_normal():
    drawn = noise.normals(range(50), NoiseStream.ACTION, 0, (20_000,)).astype(float)
    assert abs(drawn.mean()) < 0.004
    assert abs(drawn.std() - 1) < 0.003
    assert abs((drawn**4).mean() - 3) < 0.03
