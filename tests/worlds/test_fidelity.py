"""The suite's envs are Gymnasium's v5, number for number."""

import gymnasium
import numpy as np
import pytest

from trl_suite import content
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.stepping.env import make

ENVS = [name for name in content.names("envs") if load(name).equals]
pytestmark = pytest.mark.filterwarnings("ignore:.*settotalmass.*")  # Gymnasium's HalfCheetah, on every construction


def pair(name: str, **kwargs):
    return make(name, **kwargs), gymnasium.make(load(name).equals)


@pytest.mark.parametrize("name", ENVS)
def test_spaces_and_time_are_gymnasiums(name: str):
    ours, theirs = pair(name)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.unwrapped.dt == theirs.unwrapped.dt
    assert ours.spec.max_episode_steps == theirs.spec.max_episode_steps
    assert ours.metadata["render_fps"] == theirs.metadata["render_fps"]
    assert set(ours.metadata["render_modes"]) == set(theirs.metadata["render_modes"])


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ENVS)
def test_whole_episodes_differ_by_nothing(name: str, seed: int):
    ours, theirs = pair(name)
    rng = np.random.default_rng(seed)
    first = ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
    for _ in range(2):  # episodes, so that a reset after an episode is compared too
        assert np.array_equal(*first)
        assert first[0].dtype == first[1].dtype
        done = False
        while not done:
            # half of the actions small: the robots that fall last longer
            action = theirs.action_space.high * rng.uniform(-1, 1, ours.action_space.shape) * rng.choice([0.05, 1])
            action = action.astype(np.float32)
            left, right = ours.step(action), theirs.step(action)
            assert np.array_equal(left[0], right[0])
            assert left[1:4] == right[1:4]
            done = right[2] or right[3]
        first = ours.reset()[0], theirs.reset()[0]


@pytest.mark.parametrize("name", ENVS)
def test_they_agree_beyond_termination(name: str):
    ours, theirs = (env.unwrapped for env in pair(name))
    ours.reset(seed=3)
    theirs.reset(seed=3)
    rng = np.random.default_rng(3)
    for _ in range(300):
        action = rng.uniform(theirs.action_space.low, theirs.action_space.high).astype(np.float32)
        left, right = ours.step(action), theirs.step(action)
        assert np.array_equal(left[0], right[0])
        assert left[1:4] == right[1:4]


@pytest.mark.parametrize("name", ["half-cheetah", "hopper", "walker2d"])
def test_backwards_is_gymnasiums_negative_weight(name: str):
    ours = make(f"{name}.backwards")
    theirs = gymnasium.make(load(name).equals, forward_reward_weight=-1.0)
    ours.reset(seed=0)
    theirs.reset(seed=0)
    theirs.action_space.seed(0)
    for _ in range(20):
        action = theirs.action_space.sample()
        assert ours.step(action)[1] == theirs.step(action)[1]


@pytest.mark.parametrize(
    ("name", "axes", "kwargs"),
    [
        (
            "ant",
            {"observe": {"place": True, "contact": False}},
            {"exclude_current_positions_from_observation": False, "include_cfrc_ext_in_observation": False},
        ),
        (
            "ant",
            {"reward": {"forward": 2.0, "effort": 0.5, "contact": 3.0, "alive": 0.0}},
            {
                "forward_reward_weight": 2.0,
                "ctrl_cost_weight": 0.25,
                "contact_cost_weight": 3.0 * 5e-4,
                "healthy_reward": 0.0,
            },
        ),
        ("ant", {"terminates": False}, {"terminate_when_unhealthy": False}),
        ("humanoid", {"observe": {"inertia": False}}, {"include_cinert_in_observation": False}),
        (
            "humanoid",
            {"observe": {"motion": False, "motor": False}},
            {"include_cvel_in_observation": False, "include_qfrc_actuator_in_observation": False},
        ),
        (
            "humanoid",
            {"observe": {"contact": False, "place": True}, "terminates": False},
            {
                "include_cfrc_ext_in_observation": False,
                "exclude_current_positions_from_observation": False,
                "terminate_when_unhealthy": False,
            },
        ),
        (
            "humanoid-standup",
            {"observe": {"inertia": False, "place": True}},
            {"include_cinert_in_observation": False, "exclude_current_positions_from_observation": False},
        ),
        (
            "swimmer",
            {"observe": {"place": True}, "reward": {"effort": 10.0}},
            {"exclude_current_positions_from_observation": False, "ctrl_cost_weight": 10.0 * 1e-4},
        ),
        (
            "hopper",
            {"observe": {"place": True}, "reward": {"alive": 2.0}},
            {"exclude_current_positions_from_observation": False, "healthy_reward": 2.0},
        ),
        ("half-cheetah", {"observe": {"place": True}}, {"exclude_current_positions_from_observation": False}),
        (
            "walker2d",
            {"observe": {"place": True}, "terminates": False},
            {"exclude_current_positions_from_observation": False, "terminate_when_unhealthy": False},
        ),
        (
            "reacher",
            {"reward": {"distance": 2.0, "effort": 0.5}},
            {"reward_dist_weight": 2.0, "reward_control_weight": 0.5},
        ),
        (
            "pusher",
            {"reward": {"distance": 2.0, "near": 3.0, "effort": 2.0}},
            {"reward_dist_weight": 2.0, "reward_near_weight": 1.5, "reward_control_weight": 0.2},
        ),
    ],
)
def test_gymnasiums_keywords_are_axes(name: str, axes: dict, kwargs: dict):
    ours, theirs = make(name, **axes), gymnasium.make(load(name).equals, **kwargs)
    assert ours.observation_space == theirs.observation_space
    for seed in range(2):
        assert np.array_equal(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])
        theirs.action_space.seed(seed)
        for _ in range(150):
            action = theirs.action_space.sample()
            left, right = ours.step(action), theirs.step(action)
            assert np.array_equal(left[0], right[0])
            assert left[1:4] == right[1:4]
            if right[2]:
                break
