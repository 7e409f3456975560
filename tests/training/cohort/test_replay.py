"""The ring gives back every transition that SB3's buffer would, with half of its observations."""

import numpy as np
import pytest
import torch

from trl_suite.training.cohort.collecting.cohort_envs import StepResult
from trl_suite.training.cohort.learning import replay_rings
from trl_suite.training.cohort.learning.replay_rings import ReplayRings

MEMBERS, WORLDS, SLOTS, ACTIONS = 3, 2, 4, 2
CPU = torch.device("cpu")


def filled(size: int, steps: int, seed: int = 0):
    """A ring after some steps, and a list of all transitions as they were."""
    rng = np.random.default_rng(seed)
    ring, told = ReplayRings(MEMBERS, size, WORLDS, SLOTS, ACTIONS, CPU), []
    normalized_obs = rng.normal(size=(MEMBERS, WORLDS, SLOTS)).astype(np.float32).astype(np.float64)
    ring.observe(normalized_obs)
    for _ in range(steps):
        normalized_obs = told_step(ring, told, normalized_obs, rng)
    return ring, told


def told_step(ring, told, normalized_obs, rng):
    action = rng.uniform(-1, 1, (MEMBERS, WORLDS, ACTIONS)).astype(np.float32)
    following, last = (rng.normal(size=normalized_obs.shape).astype(np.float32).astype(np.float64) for _ in range(2))
    ended = rng.random((MEMBERS, WORLDS)) < 0.3
    cut = ended & (rng.random(ended.shape) < 0.5)
    reward = rng.normal(size=ended.shape).astype(np.float32).astype(np.float64)
    moment = StepResult(following, reward, ended, cut if cut.any() else None, last if cut.any() else None, None)
    ring.add(action, moment)
    told.append((normalized_obs, action, reward, np.where(cut[..., None], last, following), ~(ended & ~cut)))
    return following


def rows(batch, member):
    """A member's batch, one row per transition; what follows a terminal one has no meaning."""
    following = np.where(batch.not_done[member, :, None].numpy() > 0, batch.next_obs[member].numpy(), 0.0)
    parts = [batch.observation[member], batch.action[member], batch.reward[member, :, None], following]
    return np.concatenate([*(np.asarray(part) for part in parts), batch.not_done[member, :, None]], axis=1)


def expected(told, member):
    found = []
    for normalized_obs, action, reward, following, not_done in told:
        for w in range(WORLDS):
            keeps = not_done[member, w]
            numbers = (
                normalized_obs[member, w],
                action[member, w],
                [reward[member, w]],
                following[member, w] * keeps,
                [keeps],
            )
            found.append(np.concatenate(numbers))
    return np.array(found)


def every(ring, size):
    """Numbers that stand for each transition once."""
    grid = np.array([((row + 0.5) / size, (world + 0.5) / WORLDS) for row in range(size) for world in range(WORLDS)])
    return np.repeat(grid[None], MEMBERS, axis=0)


def drawn(ring, uniform):
    return ring.at(torch.as_tensor(ring.places(uniform)))


def in_order(values):
    return values[np.lexsort(values.T[::-1])]


@pytest.mark.parametrize("steps", [7, 40, 41, 42, 43, 61, 123])
def test_every_transition_that_is_held_is_drawn(steps):
    ring, told = filled(40, steps)
    held = min(steps, 40)
    assert (ring.drawable == held).all()
    batch = drawn(ring, every(ring, held))
    for member in range(MEMBERS):
        found, right = rows(batch, member), expected(told[-held:], member)
        assert np.allclose(in_order(found), in_order(right.astype(np.float32)), atol=0)


def test_what_was_given_comes_first_and_is_overwritten_last_in():
    given = {
        "observations": torch.arange(24.0, dtype=torch.float64).reshape(6, SLOTS),
        "next_observations": -torch.arange(24.0, dtype=torch.float64).reshape(6, SLOTS),
        "actions": torch.full((6, ACTIONS), 0.5),
        "rewards": torch.arange(6.0),
        "dones": torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 0.0]),
        "timeouts": torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
    }
    ring = ReplayRings(MEMBERS, 40, WORLDS, SLOTS, ACTIONS, CPU)
    ring.give(1, given)
    ring.observe(np.zeros((MEMBERS, WORLDS, SLOTS)))
    assert ring.drawable.tolist() == [0, 3, 0]
    batch = drawn(ring, np.repeat(every(ring, 3)[1][None], MEMBERS, axis=0))
    assert torch.equal(batch.observation[1], given["observations"].float())
    assert batch.not_done[1].tolist() == [1, 0, 1, 1, 1, 1]
    keeps = batch.not_done[1] > 0
    assert torch.equal(batch.next_obs[1][keeps], given["next_observations"].float()[keeps])
    rng, told = np.random.default_rng(0), []
    normalized_obs = np.zeros((MEMBERS, WORLDS, SLOTS))
    for _ in range(60):
        normalized_obs = told_step(ring, told, normalized_obs, rng)
    batch = drawn(ring, every(ring, 40))
    assert np.allclose(in_order(rows(batch, 1)), in_order(expected(told[-40:], 1).astype(np.float32)), atol=0)


def given(rows):
    """Transitions that a ring begins with; none is like another."""
    count = rows * WORLDS
    observation = 100.0 + torch.arange(float(count * SLOTS), dtype=torch.float64).reshape(count, SLOTS)
    return {
        "observations": observation,
        "next_observations": -observation,
        "actions": torch.full((count, ACTIONS), 0.5),
        "rewards": torch.arange(float(count)),
        "dones": torch.zeros(count),
        "timeouts": torch.zeros(count),
    }


@pytest.mark.parametrize("steps", [3, 36, 37, 38, 80, 123])
def test_what_is_held_stays_and_the_rest_goes_round_behind_it(steps):
    ring, told, rng = ReplayRings(MEMBERS, 40, WORLDS, SLOTS, ACTIONS, CPU), [], np.random.default_rng(0)
    first = given(4)
    ring.give(1, first)
    ring.hold(1, 4)
    proof = ring.held(1)
    normalized_obs = np.zeros((MEMBERS, WORLDS, SLOTS))
    ring.observe(normalized_obs)
    for _ in range(steps):
        normalized_obs = told_step(ring, told, normalized_obs, rng)
    assert all(torch.equal(value, ring.held(1)[name]) for name, value in proof.items())
    assert all(torch.equal(value, replay_rings.essence(first)[name]) for name, value in proof.items())
    assert ring.held(0) == {}
    held = min(4 + steps, 40)
    assert ring.drawable[1] == held
    found = in_order(rows(drawn(ring, every(ring, held)), 1))
    mine = expected(told[-(held - 4) :], 1).astype(np.float32)
    assert np.allclose(found[: len(mine)], in_order(mine), atol=0)
    assert (found[len(mine) :, 0] >= 100).all()  # the first observation of those that were given
    assert np.array_equal(found[len(mine) :, :SLOTS], first["observations"])


@pytest.mark.parametrize("steps", [10, 37, 60, 74])
def test_what_is_held_no_longer_is_overwritten_and_nothing_else_is_lost(steps):
    ring, told, rng = ReplayRings(MEMBERS, 40, WORLDS, SLOTS, ACTIONS, CPU), [], np.random.default_rng(0)
    ring.give(1, given(4))
    ring.hold(1, 4)
    normalized_obs = np.zeros((MEMBERS, WORLDS, SLOTS))
    ring.observe(normalized_obs)
    for _ in range(steps):
        normalized_obs = told_step(ring, told, normalized_obs, rng)
    ring.hold(1, 0)
    for _ in range(13):
        normalized_obs = told_step(ring, told, normalized_obs, rng)
    batch = rows(drawn(ring, every(ring, int(ring.drawable[1]))), 1)
    mine = {tuple(row) for row in expected(told, 1).astype(np.float32)}
    collected = [tuple(row) for row in batch if row[0] < 100]
    assert set(collected) <= mine
    assert len(set(collected)) == len(collected)
    for _ in range(80):
        normalized_obs = told_step(ring, told, normalized_obs, rng)
    batch = drawn(ring, every(ring, 40))
    assert np.allclose(in_order(rows(batch, 1)), in_order(expected(told[-40:], 1).astype(np.float32)), atol=0)


@pytest.mark.parametrize("steps", [5, 40, 45, 100])
def test_all_that_can_be_drawn_is_told_by_sb3s_names(steps):
    ring, told = filled(40, steps)
    for member in range(MEMBERS):
        kept = replay_rings.essence(ring.transitions(member))
        parts = ("observations", "actions", "rewards", "next_observations", "not_done")
        found = np.concatenate([kept[name].numpy().reshape(len(kept["not_done"]), -1) for name in parts], axis=1)
        right = expected(told[-min(steps, 40) :], member).astype(np.float32)
        assert np.allclose(in_order(found), in_order(right), atol=0)


@pytest.mark.parametrize("steps", [5, 40, 45, 100])
def test_a_member_goes_on_from_its_parts_in_other_company(steps, monkeypatch):
    monkeypatch.setattr(replay_rings, "SEGMENT", 400)  # a few rows each
    ring, _ = filled(40, steps)
    other, _ = filled(40, 3, seed=1)
    arrays, parts = ring.state(2)
    other.restore(0, arrays, parts)
    uniform = np.random.default_rng(2).random((MEMBERS, 50, 2))
    swapped = uniform[[2, 1, 0]]
    assert np.array_equal(rows(drawn(ring, uniform), 2), rows(drawn(other, swapped), 0))
    names = set(parts)
    rng, told, normalized_obs = np.random.default_rng(3), [], np.zeros((MEMBERS, WORLDS, SLOTS))
    told_step(ring, told, normalized_obs, rng)
    later = ring.state(2)[1]
    for name in names & set(later):  # what was kept under a name is not kept again
        for key, value in parts[name].items():
            assert np.array_equal(value, later[name][key])
