"""What lies between a policy and a world."""

import numpy as np
import pytest

from trl_suite.worlds.stepping.env import RobotEnv


def rolled(steps: int = 6, **axes):
    """Observations and rewards under fixed actions, and those of the plain hopper."""
    found = []
    for world in (RobotEnv("hopper", **axes), RobotEnv("hopper")):
        rng = np.random.default_rng(0)
        rows, states = [world.reset(seed=0)[0]], [world.data.qpos.copy()]
        for _ in range(steps):
            rows.append(world.step(rng.uniform(-0.2, 0.2, 3).astype(np.float32))[0])
            states.append(world.data.qpos.copy())
        found.append((np.array(rows), np.array(states)))
    return found


def test_noise_moves_what_is_seen_and_not_the_world():
    (seen, states), (plain, same) = rolled(steps=400, observation_noise=0.1)
    assert np.array_equal(states, same)
    assert (seen - plain).std() == pytest.approx(0.1, rel=0.1)
    assert abs((seen - plain).mean()) < 0.01


def test_noise_on_some_slots():
    (seen, _), (plain, _) = rolled(observation_noise={"std": 1.0, "slots": ["rootz.position"]})
    assert (seen[:, 0] != plain[:, 0]).all()
    assert np.array_equal(seen[:, 1:], plain[:, 1:])


def test_a_mask_reads_zero():
    (seen, _), (plain, _) = rolled(observation_mask=["rooty.position", "rootx.velocity"])
    assert not seen[:, [1, 5]].any()
    assert np.array_equal(np.delete(seen, [1, 5], axis=1), np.delete(plain, [1, 5], axis=1))


def test_a_delay_shows_what_was():
    (seen, _), (plain, _) = rolled(observation_delay=2)
    assert np.array_equal(seen, plain[[0, 0, 0, 1, 2, 3, 4]])


def test_a_delayed_action_comes_later():
    (_, late), (_, plain) = rolled(action_delay=6)
    still = RobotEnv("hopper")
    still.reset(seed=0)
    for step in range(6):
        still.step(np.zeros(3, np.float32))
        assert np.array_equal(late[step + 1], still.data.qpos)
    assert not np.array_equal(late[-1], plain[-1])


@pytest.mark.parametrize(
    ("axes", "factor"),
    [
        ({"action_inversion": True}, [-1, -1, -1]),
        ({"action_inversion": ["leg_joint"]}, [1, -1, 1]),
        ({"action_scale": 0.5}, [0.5, 0.5, 0.5]),
        ({"action_scale": 0.5, "action_inversion": ["foot_joint"]}, [0.5, 0.5, -0.5]),
    ],
)
def test_actions_are_turned(axes: dict, factor: list[float]):
    one, other = RobotEnv("hopper", **axes), RobotEnv("hopper")
    one.reset(seed=0)
    other.reset(seed=0)
    action = np.array([0.5, -0.25, 1.0], np.float32)
    left, right = one.step(action), other.step(action * np.array(factor, np.float32))
    assert np.array_equal(left[0], right[0])
    assert left[4]["reward_effort"] == -1e-3 * (action * action).sum()  # of what the policy asked for


def test_a_seed_decides_the_noise():
    def trace(seed: int) -> np.ndarray:
        world = RobotEnv("hopper", observation_noise=0.1, action_noise=0.1)
        world.reset(seed=seed)
        return np.array([world.step(np.zeros(3, np.float32))[0] for _ in range(5)])

    assert np.array_equal(trace(3), trace(3))
    assert not np.array_equal(trace(3), trace(4))
