"""Hindsight experience replay over flat observations, on a goal env of a few lines."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from trl_suite.algorithms.sac import SACHyperparameters
from trl_suite.errors import InputError
from trl_suite.interface import Interface, Slot
from trl_suite.training.cohort.cohort_key import obstacle
from trl_suite.training.engines import alone
from trl_suite.training.presets import choose
from trl_suite.training.sb3.loop import train
from trl_suite.training.sb3.methods.hindsight import GoalSlots, HindsightReplayBuffer, compute_rewards, goal_slots
from trl_suite.training.settings import Evaluation
from trl_suite.training.training_run import TrainingRun, Unwatched

GOALS = GoalSlots(np.array([0]), np.array([1]))
STEP = {"low": -np.inf, "high": np.inf}


class LineEnv(gymnasium.Env):
    """A point on a line goes to a goal; an episode has seven steps."""

    def __init__(self):
        one = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.observation_space = spaces.Dict({"achieved_goal": one, "desired_goal": one, "observation": one})
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.goal, self.steps = np.zeros(1), self.np_random.uniform(-1, 1, 1), 0
        return self._seen(), {}

    def step(self, action):
        self.place, self.steps = self.place + action, self.steps + 1
        reward = float(self.compute_reward(self.place, self.goal, {}))
        return self._seen(), reward, False, self.steps == 7, {"is_success": reward == 0}

    def compute_reward(self, achieved_goal, desired_goal, info):
        return -(np.linalg.norm(achieved_goal - desired_goal, axis=-1) > 0.1).astype(np.float64)

    def _seen(self):
        return {
            "achieved_goal": self.place.copy(), "desired_goal": self.goal.copy(), "observation": self.place.copy()
        }  # fmt: skip


def filled(rows: int, steps: int, n_envs: int = 1, share: int = 4) -> HindsightReplayBuffer:
    """A replay of episodes of seven steps in which the achieved goal counts all steps of its env, from 1 on."""
    buffer = HindsightReplayBuffer(
        rows * n_envs, spaces.Box(**STEP, shape=(3,), dtype=np.float64), spaces.Box(-1, 1, (1,)), n_envs=n_envs
    )
    buffer.aim(GOALS, share, lambda achieved, goal: -(np.abs(achieved - goal)[:, 0] > 0.5).astype(float))
    for step in range(steps):
        before, after = (np.array([[number, -1.0, 0.0]] * n_envs) for number in (step, step + 1.0))
        done = np.array([(step + 1) % 7 == 0] * n_envs)
        buffer.add(before, after, np.zeros((n_envs, 1)), np.full(n_envs, -1.0), done, [{}] * n_envs)
    return buffer


@pytest.mark.parametrize(("rows", "steps"), [(100, 70), (40, 133)])  # the second has been written over three times
@pytest.mark.parametrize("n_envs", [1, 3])
def test_a_sampled_goal_was_reached_later_in_the_same_episode(rows, steps, n_envs):
    np.random.seed(0)
    batch = filled(rows, steps, n_envs).sample(2000)
    reached, goal = batch.next_observations[:, 0].numpy(), batch.next_observations[:, 1].numpy()
    drawn = goal >= 0
    assert np.array_equal(batch.observations[:, 1].numpy(), goal)
    assert ((goal >= reached) & ((goal - 1) // 7 == (reached - 1) // 7))[drawn].all()
    assert np.array_equal(batch.rewards[:, 0].numpy()[drawn] == 0, (reached == goal)[drawn])
    assert (batch.rewards[:, 0].numpy()[~drawn] == -1).all()
    assert {*np.unique((goal - reached)[drawn])} == set(range(7))


def test_four_of_five_goals_are_of_hindsight():
    np.random.seed(1)
    batch = filled(700, 700).sample(5000)
    assert (batch.next_observations[:, 1].numpy() >= 0).mean() == pytest.approx(0.8, abs=0.02)


def test_a_sample_leaves_the_replay_as_it_is():
    buffer = filled(100, 70)
    before = buffer.observations.copy(), buffer.next_observations.copy(), buffer.rewards.copy()
    buffer.sample(500)
    assert all(map(np.array_equal, before, (buffer.observations, buffer.next_observations, buffer.rewards)))


def test_transitions_of_an_episode_that_goes_on_keep_their_goals():
    batch = filled(100, 6).sample(200)
    assert (batch.next_observations[:, 1].numpy() == -1).all()


def test_rewards_are_the_envs():
    rewards = compute_rewards(DummyVecEnv([LineEnv]))
    assert rewards(np.array([[0.0], [1.0]]), np.array([[0.05], [0.0]])).tolist() == [-0.0, -1.0]


def test_an_env_without_goals_is_refused_by_name():
    with pytest.raises(InputError, match="hopper: n_sampled_goal: it has no achieved_goal and desired_goal"):
        goal_slots(Interface(observation=(Slot("a", "m"),), action=()), "hopper")


def run(env: str, n_sampled_goal: int, steps: int = 300) -> TrainingRun:
    hyperparameters = SACHyperparameters(
        learning_starts=64, batch_size=32, hidden=(16, 16), buffer_size=1000, n_sampled_goal=n_sampled_goal
    )
    evaluation = Evaluation(every=steps, episodes=2)
    return TrainingRun(env=env, hyperparameters=hyperparameters, seed=0, steps=steps, evaluation=evaluation)


@pytest.fixture
def line():
    gymnasium.register("Line-v0", LineEnv)
    yield "gymnasium:Line-v0"
    del gymnasium.registry["Line-v0"]


def test_sac_learns_with_hindsight_on_any_goal_env(line):
    plain, hindsight = (train(run(line, goals), Unwatched()).policy for goals in (0, 4))
    assert plain.interface == hindsight.interface
    names = ("achieved_goal.0", "desired_goal.0", "observation.0")
    assert hindsight.interface.observation_names == names
    weights = [policy.components["actor.trunk.0"]["weight"] for policy in (plain, hindsight)]
    assert not np.array_equal(*weights)


def test_a_run_with_hindsight_is_the_same_again(line):
    first, second = (train(run(line, 4), Unwatched()).policy for _ in range(2))
    for name, tensors in first.components.items():
        assert all(np.array_equal(value, second.components[name][key]) for key, value in tensors.items())


def test_hindsight_on_an_env_of_the_suite_is_refused_and_no_cohort_takes_it():
    asked = run("inverted-pendulum", 4)
    assert "n_sampled_goal" in obstacle(asked)
    assert alone(asked) == "sb3"
    with pytest.raises(InputError, match="inverted-pendulum: n_sampled_goal"):
        train(asked, Unwatched())


def test_hindsight_is_the_default_where_the_table_says_that_a_goal_is_given():
    assert choose("gymnasium:FetchReach-v4", "sac").hyperparameters.n_sampled_goal == 4
    assert choose("gymnasium:FetchReach-v4", "sac", overrides={"n_sampled_goal": 0}).hyperparameters.n_sampled_goal == 0
    assert choose("gymnasium:Meta-World/reach-v3", "sac").hyperparameters.n_sampled_goal == 0
    assert "n_sampled_goal" not in choose("hopper", "sac").hyperparameters.table()
    assert "n_sampled_goal" not in choose("gymnasium:FetchReach-v4", "ppo").hyperparameters.table()
