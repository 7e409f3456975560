"""Envs of outside suites, of the packages that are installed: slots, goals, success, and shifts."""

import importlib
import warnings

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.env_checker import check_env

from trl_suite.errors import InputError
from trl_suite.worlds.outside.outside_env import OutsideEnv, is_installed
from trl_suite.worlds.outside.shift_certificate import certify_shift
from trl_suite.worlds.outside.suite_table import by_id, suites
from trl_suite.worlds.stepping.env import interface_of, make
from trl_suite.worlds.stepping.vector_env import make_vector

ROWS = [(suite, spec) for suite in suites() for spec in suite.envs]


def needs(address: str) -> None:
    suite = by_id()[address.removeprefix("gymnasium:").partition("?")[0]].suite
    if not is_installed(suite):
        pytest.skip(f"{suite.title} is not installed")


def episode(env, seed, steps):
    observation, _ = env.reset(seed=seed)
    rng, rows = np.random.default_rng(seed), [observation]
    for _ in range(steps):
        action = rng.uniform(env.action_space.low, env.action_space.high).astype(np.float32)
        observation, reward, *_, info = env.step(action)
        rows.append(np.append(observation, [reward, info["is_success"]]))
    return rows


@pytest.mark.parametrize("env_id", [spec.env_ids[-1] for _, spec in ROWS])
def test_an_env_has_the_slots_of_its_row_and_a_seed_says_all(env_id):
    needs(env_id)
    env = make(f"gymnasium:{env_id}")
    assert len(interface_of(env).observation) == env.observation_space.shape[0]
    assert interface_of(env) == by_id()[env_id].spec.interface
    first, second, third = episode(env, 3, 5), episode(env, 3, 5), episode(env, 4, 5)
    assert all(map(np.array_equal, first, second))
    assert not np.array_equal(first[0], third[0]) or not np.array_equal(first[-1], third[-1])
    assert not any(key.startswith("reward_") for key in env.step(env.action_space.sample())[-1])
    env.close()


def test_fetch_is_gymnasium_robotics_own_step_for_step():
    needs("FetchPush-v4")
    ours = OutsideEnv("gymnasium:FetchPush-v4")
    package = gymnasium.make("FetchPush-v4", disable_env_checker=True)
    seen, theirs = ours.reset(seed=1)[0], package.reset(seed=1)[0]
    rng = np.random.default_rng(0)
    for _ in range(20):
        goal_first = np.concatenate([theirs[key] for key in ("achieved_goal", "desired_goal", "observation")])
        assert np.array_equal(seen, goal_first)
        action = rng.uniform(-1, 1, 4).astype(np.float32)
        seen, reward, *_, info = ours.step(action)
        theirs, their_reward, *_, their_info = package.step(action)
        assert reward == their_reward
        assert info["is_success"] == bool(their_info["is_success"])


def test_stable_baselines_accepts_one():
    needs("FetchReach-v4")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*recommend", UserWarning)
        check_env(OutsideEnv("gymnasium:FetchReach-v4"))


def test_success_at_the_end_and_once_are_told_apart():
    needs("FetchReach-v4")
    env = OutsideEnv("gymnasium:FetchReach-v4")
    env.reset(seed=0)
    inner = env._env.unwrapped
    inner.goal = inner._get_obs()["achieved_goal"].copy()
    assert env.step(np.zeros(4, np.float32))[-1]["is_success"] is True
    inner.goal = inner.goal + 1.0
    assert env.step(np.zeros(4, np.float32))[-1]["is_success"] is False  # at the episode's last step alone
    needs("PointMaze_UMaze-v3")
    maze = OutsideEnv("gymnasium:PointMaze_UMaze-v3")
    maze.reset(seed=0)
    maze._env.unwrapped.goal = maze.step(np.zeros(2, np.float32))[0][:2].copy()
    assert maze.step(np.zeros(2, np.float32))[-1]["is_success"] is True
    maze._env.unwrapped.goal = np.array([9.0, 9.0])
    assert maze.step(np.zeros(2, np.float32))[-1]["is_success"] is True
    maze.reset(seed=1)
    maze._env.unwrapped.goal = np.array([9.0, 9.0])
    assert maze.step(np.zeros(2, np.float32))[-1]["is_success"] is False


def test_a_controller_that_goes_to_the_goal_succeeds_at_fetchs_task():
    needs("FetchReach-v4")
    env = OutsideEnv("gymnasium:FetchReach-v4")
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        truncated = False
        while not truncated:
            towards = 10.0 * (observation[3:6] - observation[:3])  # desired_goal minus achieved_goal
            observation, _, _, truncated, info = env.step(np.append(np.clip(towards, -1, 1), 0).astype(np.float32))
        assert info["is_success"] is True


@pytest.mark.filterwarnings("ignore:Constant:UserWarning")  # Meta-World's own, of its scripted policies
@pytest.mark.parametrize("task", ["reach", "drawer-close"])
def test_meta_worlds_scripted_policy_succeeds_at_its_task(task):
    needs(f"Meta-World/{task}-v3")
    policies = importlib.import_module("metaworld.policies")
    policy = policies.ENV_POLICY_MAP[f"{task}-v3"]()
    env = OutsideEnv(f"gymnasium:Meta-World/{task}-v3")
    observation, _ = env.reset(seed=0)
    for _ in range(200):
        action = np.clip(policy.get_action(observation), -1, 1).astype(np.float32)
        observation, *_, info = env.step(action)
        if info["is_success"]:
            break
    assert info["is_success"] is True
    env.close()


def test_several_run_side_by_side():
    needs("PointMaze_UMaze-v3")
    worlds = make_vector("gymnasium:PointMaze_UMaze-v3", 2)
    worlds.reset(seed=[0, 1])
    *_, infos = worlds.step(worlds.action_space.sample())
    assert infos["is_success"].tolist() == [False, False]
    worlds.close()


CERTIFIED = [
    "FetchReach-v4?gravity=1.5",
    pytest.param("FetchPush-v4?friction=0.5&mass=2", marks=pytest.mark.slow),
    pytest.param("AntMaze_UMaze-v5?damping=2", marks=pytest.mark.slow),
    pytest.param("PointMaze_UMaze-v3?gear=0.5", marks=pytest.mark.slow),
    pytest.param("Meta-World/push-v3?friction=0.5", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("shift", CERTIFIED)
def test_a_shift_is_certified(shift):
    needs(shift)
    certificate = certify_shift(f"gymnasium:{shift}")
    assert certificate.proved, certificate.problems
    assert max(certificate.parted.values()) > 0
    assert certificate.address.startswith("gymnasium:")


def test_a_shift_under_which_the_simulation_breaks_down_is_told():
    needs("FetchReach-v4")
    certificate = certify_shift("gymnasium:FetchReach-v4?gravity=1e9")
    assert certificate.problems == ("no world to learn in: MuJoCo calls 3 of 3 episodes of random actions unstable",)


def test_a_shift_reaches_the_simulated_model_and_no_other_env():
    needs("FetchReach-v4")
    base, heavy = (OutsideEnv(f"gymnasium:FetchReach-v4{axes}") for axes in ("", "?gravity=1.5"))
    assert heavy.model.opt.gravity[2] == pytest.approx(1.5 * base.model.opt.gravity[2])
    assert OutsideEnv("gymnasium:FetchReach-v4").model.opt.gravity[2] == base.model.opt.gravity[2]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("AdroitHandDoor-v1?gear=0.5", "gear does not apply: the env itself writes 'actuator_biasprm'"),
        ("FetchReach-v4?gear=2", "switched off"),
        ("FetchReach-v4?timestep=2", "the env fixes how long a step is"),
        ("FetchReach-v4?observation_noise=0.1", "these axes can change: gravity"),
        ('FetchPush-v4?mass={"body":"object","scale":2}', "did you mean 'object0'"),
    ],
)
def test_a_shift_that_the_env_does_not_take_is_refused_by_name(address, message):
    needs(address)
    with pytest.raises(InputError, match=message) as refusal:
        make(f"gymnasium:{address}").reset(seed=0)
    assert str(refusal.value).startswith("gymnasium:")


def test_a_certificate_of_no_shift_is_refused():
    with pytest.raises(InputError, match="shifts are certified"):
        certify_shift("gymnasium:FetchReach-v4")
