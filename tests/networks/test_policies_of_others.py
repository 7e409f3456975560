"""Policies of others act here as they do under SB3, to the bit, or are refused by name."""

import json
import re
import shutil
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import trl_suite
from trl_suite.errors import InputError
from trl_suite.networks.activation_functions import ACTIVATIONS
from trl_suite.networks.formats.zip_export import left_to_sb3
from trl_suite.training.policy_import import load_policy

ENV, ID = "inverted-pendulum", "InvertedPendulum-v5"
SMALL = {PPO: {"n_steps": 8, "batch_size": 8, "n_epochs": 1}, A2C: {}}


def model(kind, env=None, **keywords):
    sizes = SMALL.get(kind, {"buffer_size": 20})
    keywords.setdefault("policy_kwargs", {"net_arch": [4, 3]})
    return kind("MlpPolicy", env or DummyVecEnv([lambda: gym.make(ID)]), device="cpu", seed=1, **sizes, **keywords)


def saved(folder, kind, env=None, **keywords):
    made = model(kind, env, **keywords)
    made.save(folder / "model.zip")
    return made, folder / "model.zip"


def with_fields(path, changes):
    """Write the zip again with other plain fields; None takes one away."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    fields = json.loads(members["data"]) | changes
    members["data"] = json.dumps({name: value for name, value in fields.items() if value is not None})
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return path


# --- every algorithm whose policies are plain layers ---


@pytest.mark.parametrize(("kind", "name"), [(PPO, ""), (A2C, ""), (SAC, ""), (TD3, ""), (DDPG, "DDPG")])
def test_a_policy_acts_as_under_sb3_also_after_an_export(tmp_path, kind, name):
    made, path = saved(tmp_path, kind)
    policy = load_policy(path, env=ENV)
    states = np.random.default_rng(0).normal(size=(1000, 4)) * 5
    expected = made.predict(states, deterministic=True)[0]
    assert policy.card.training.trained_by == name
    assert np.array_equal(policy.predict(states)[0], expected)
    exported = policy.to_sb3(tmp_path / "again.zip")[0]
    loader = {"ppo": PPO, "a2c": A2C, "sac": SAC, "td3": TD3}[policy.card.algorithm]
    assert np.array_equal(loader.load(exported, device="cpu").predict(states, deterministic=True)[0], expected)
    assert load_policy(exported, env=ENV).digest == policy.digest


def test_an_export_beside_statistics_that_are_not_its_own_is_refused(tmp_path):
    policy = load_policy(saved(tmp_path, PPO)[1], env=ENV)
    (tmp_path / "again.vecnormalize.pkl").write_bytes(b"another's")
    with pytest.raises(InputError, match=r"again.vecnormalize.pkl: would be read as the policy's statistics"):
        policy.to_sb3(tmp_path / "again.zip")
    assert not (tmp_path / "again.zip").exists()


@pytest.mark.parametrize("kind", [PPO, SAC])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_acts_as_under_sb3_also_after_an_export(tmp_path, kind, activation):
    made, path = saved(tmp_path, kind, policy_kwargs={"activation_fn": ACTIVATIONS[activation].module})
    policy = load_policy(path, env=ENV)
    assert policy.card.network.activation == activation
    states = np.random.default_rng(0).normal(size=(100, 4)) * 5
    expected = made.predict(states, deterministic=True)[0]
    assert np.array_equal(policy.predict(states)[0], expected)
    policy.save(tmp_path / "folder")
    assert np.array_equal(load_policy(tmp_path / "folder").predict(states)[0], expected)
    exported = policy.to_sb3(tmp_path / "again.zip")[0]
    assert np.array_equal(kind.load(exported, device="cpu").predict(states, deterministic=True)[0], expected)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("<class 'torch.nn.modules.activation.Mish'>", "its activation is Mish;"),
        ("<class 'mine.SiLU'>", "its activation is mine.SiLU;"),
        (
            "functools.partial(<class 'torch.nn.modules.activation.ELU'>, alpha=2)",
            "its activation is functools.partial",
        ),
    ],
)
def test_another_activation_is_refused_by_its_name(tmp_path, written, message):
    path = with_fields(saved(tmp_path, PPO)[1], {"policy_kwargs": {"activation_fn": written}})
    with pytest.raises(InputError, match=re.escape(message)):
        load_policy(path, env=ENV)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_delta": 8, "delta_std": 0.1}, "a policy of ARS, which cannot be imported: it has no critic"),
        ({"exploration_fraction": 0.1}, "a policy of DQN, which cannot be imported: its actions are discrete"),
        ({"policy_class": {"__module__": "sb3_contrib.qrdqn.policies"}}, "a policy of QR-DQN"),
        ({"policy_class": {"__module__": "sb3_contrib.common.maskable.policies"}}, "a policy of MaskablePPO"),
        ({"_last_lstm_states": {}}, "a policy of RecurrentPPO"),
        ({"use_sde": True}, r"state-dependent exploration \(gSDE\)"),
        ({"policy_kwargs": {"features_extractor_class": "<class 'x.Scale'>"}}, "its features extractor is x.Scale"),
        ({"policy_class": {"__module__": "x.policies"}}, "its policy class is of x.policies"),
        ({"observation_space": {":type:": "<class 'gymnasium.spaces.dict.Dict'>"}}, "its observations are Dict"),
        ({"action_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>"}}, "its actions are Discrete"),
        ({"_last_original_obs": {":serialized:": "gASVAA=="}}, "was trained with VecNormalize, by its fields"),
    ],
)
def test_others_are_refused_by_their_own_name(tmp_path, fields, message):
    path = with_fields(saved(tmp_path, PPO)[1], fields)
    with pytest.raises(InputError, match=message):
        load_policy(path, env=ENV)


def test_trpo_is_read_as_ppo(tmp_path):
    made, path = saved(tmp_path, A2C)
    policy = load_policy(with_fields(path, {"cg_max_steps": 15, "n_steps": 8}), env=ENV)
    assert (policy.card.algorithm, policy.card.training.trained_by) == ("ppo", "TRPO")
    assert np.array_equal(policy.predict(np.ones(4))[0], made.predict(np.ones(4), deterministic=True)[0])


def test_a_file_in_torchs_old_format_is_named(tmp_path):
    _, path = saved(tmp_path, PPO)
    torch.save({"log_std": torch.zeros(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()} | {
            "policy.pth": (tmp_path / "old.pth").read_bytes()
        }
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    with pytest.raises(InputError, match="policy.pth is in the format that torch wrote before 1.6"):
        load_policy(path, env=ENV)


# --- what stands between a policy and its env ---


class Scale(BaseFeaturesExtractor):
    """A features extractor without parameters."""

    def __init__(self, space):
        super().__init__(space, 4)

    def forward(self, observations):
        return observations * 0.1


WRAPPERS = {
    "RescaleAction": lambda env: gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1)),
    "TransformAction": lambda env: gym.wrappers.TransformAction(env, lambda action: -action, env.action_space),
    "TransformObservation": lambda env: gym.wrappers.TransformObservation(env, lambda state: state[::-1].copy(), None),
    "NormalizeObservation": gym.wrappers.NormalizeObservation,
    "DelayObservation": lambda env: gym.wrappers.DelayObservation(env, 2),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_around_the_targets_env_is_refused_by_its_name(tmp_path, name):
    source = load_policy(saved(tmp_path, PPO)[1], env=ENV)
    target = model(PPO, DummyVecEnv([lambda: WRAPPERS[name](gym.make(ID))]))
    before = {key: value.clone() for key, value in target.policy.state_dict().items()}
    with pytest.raises(InputError, match=rf"wrapped in gymnasium\.wrappers\.\w+\.{name}"):
        trl_suite.transplant(source, into=target)
    assert all(torch.equal(value, before[key]) for key, value in target.policy.state_dict().items())


def test_a_zip_of_other_bounds_than_its_envs_is_refused(tmp_path):
    _, path = saved(tmp_path, PPO, DummyVecEnv([lambda: WRAPPERS["RescaleAction"](gym.make(ID))]))
    with pytest.raises(InputError, match=r"its actions go from -1 to 1, those of inverted-pendulum from -3 to 3"):
        load_policy(path, env=ENV)


def test_bounds_are_read_from_the_text_where_the_pickle_is_of_somebody_elses(tmp_path):
    _, path = saved(tmp_path, PPO)
    with zipfile.ZipFile(path) as file:
        space = json.loads(file.read("data"))["action_space"]
    assert load_policy(with_fields(path, {"action_space": space | {":serialized:": "gASVAA=="}}), env=ENV)
    lying = space | {":serialized:": "gASVAA==", "high": "[1.]"}
    with pytest.raises(InputError, match="its actions go from -3 to 1"):
        load_policy(with_fields(path, {"action_space": lying}), env=ENV)


def test_wrappers_that_change_nothing_are_taken(tmp_path):
    source = load_policy(saved(tmp_path, PPO)[1], env=ENV)
    target = model(PPO, DummyVecEnv([lambda: gym.wrappers.RecordEpisodeStatistics(gym.make(ID, max_episode_steps=9))]))
    trl_suite.transplant(source, into=target)
    states = np.random.default_rng(0).normal(size=(1000, 4))
    assert np.array_equal(target.predict(states, deterministic=True)[0], source.predict(states)[0])


def test_a_features_extractor_of_the_targets_is_refused_by_its_name(tmp_path):
    source = load_policy(saved(tmp_path, PPO)[1], env=ENV)
    target = model(PPO, policy_kwargs={"net_arch": [4, 3], "features_extractor_class": Scale})
    with pytest.raises(InputError, match=r"features extractor is .*Scale"):
        trl_suite.transplant(source, into=target)
    target.save(tmp_path / "scaled.zip")
    with pytest.raises(InputError, match=r"features extractor is .*Scale"):
        load_policy(tmp_path / "scaled.zip", env=ENV)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ({"clip_obs": 5.0}, {}, r"clips normalised observations at 5 with epsilon 1e-08, the model at 10"),
        ({"epsilon": 1e-4}, {}, "with epsilon 0.0001, the model"),
        (None, {}, "the model normalises its observations and the source does not"),
        ({}, None, "the source normalises its observations and the model does not"),
    ],
)
def test_two_ways_to_normalise_are_refused(tmp_path, ours, theirs, message):
    def env(keywords):
        plain = DummyVecEnv([lambda: gym.make(ID)])
        return plain if keywords is None else VecNormalize(plain, **keywords)

    made, path = saved(tmp_path, PPO, env(ours))
    if ours is not None:
        made.get_vec_normalize_env().save(str(tmp_path / "statistics.pkl"))
    source = load_policy(path, env=ENV, statistics=tmp_path / "statistics.pkl" if ours is not None else None)
    with pytest.raises(InputError, match=message):
        trl_suite.transplant(source, into=model(PPO, env(theirs)))


# --- what the card knows of its training ---


def test_an_export_has_the_hyperparameters_of_the_card(tmp_path):
    keywords = {"gamma": 0.97, "target_kl": 0.03, "clip_range_vf": 0.4, "normalize_advantage": False}
    _, path = saved(tmp_path, PPO, learning_rate=lambda left: 1e-3 * left, clip_range=0.3, **keywords)
    policy = load_policy(path, env=ENV)
    again = PPO.load(policy.to_sb3(tmp_path / "again.zip")[0], device="cpu")
    assert {name: getattr(again, name) for name in ("gamma", "target_kl", "normalize_advantage")} == {
        name: keywords[name] for name in ("gamma", "target_kl", "normalize_advantage")
    }
    assert (again.n_steps, again.batch_size, again.n_epochs) == (8, 8, 1)
    assert (again.clip_range(1.0), again.clip_range_vf(1.0)) == (0.3, 0.4)
    assert left_to_sb3(policy.card) == ("learning_rate",)
    assert isinstance(policy.card.training.hyperparameters["learning_rate"], str)


@pytest.mark.parametrize("kind", [SAC, TD3])
def test_an_off_policy_export_has_them_too(tmp_path, kind):
    _, path = saved(tmp_path, kind, learning_starts=7, tau=0.01, train_freq=3, gradient_steps=2, batch_size=16)
    policy = load_policy(path, env=ENV)
    again = kind.load(policy.to_sb3(tmp_path / "again.zip")[0], device="cpu")
    assert (again.learning_starts, again.tau, again.gradient_steps, again.batch_size) == (7, 0.01, 2, 16)
    assert (again.train_freq.frequency, again.buffer_size) == (3, 20)


# --- names around a zip ---


def test_names_around_a_zip_are_believed(tmp_path):
    folder = tmp_path / "logs" / "ppo" / "HalfCheetah-v3_1"
    (folder / "HalfCheetah-v3").mkdir(parents=True)
    shutil.copy(saved(tmp_path, PPO)[1], folder / "HalfCheetah-v3.zip")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "HalfCheetah-v3.zip", other)
    with pytest.raises(InputError, match="trained in HalfCheetah-v3, by the names .*, and not in walker2d"):
        load_policy(folder, env="walker2d")
    with pytest.raises(InputError, match="HalfCheetah-v3 cannot be made here: give --env half-cheetah"):
        load_policy(folder)
    with pytest.raises(InputError, match=r"there is .*HalfCheetah-v3.zip beside it"):
        load_policy(other / "HalfCheetah-v3", env="half-cheetah")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("env_wrapper: sb3_contrib.common.wrappers.TimeFeatureWrapper\n", "behind sb3_contrib.*TimeFeatureWrapper"),
        ("- - - env_wrapper\n    - - x.Scale:\n          by: 2\n  - - n_envs\n    - 1\n", "behind x.Scale"),
        ("  - - vec_env_wrapper\n    - x.Stack\n", "behind x.Stack"),
        ("frame_stack: 4\n", "saw a stack of 4 frames"),
    ],
)
def test_a_wrapper_in_the_configuration_is_named(tmp_path, text, message):
    _, path = saved(tmp_path, PPO)
    (tmp_path / "config.yml").write_text(text)
    with pytest.raises(InputError, match=message):
        load_policy(path, env=ENV)
    (tmp_path / "config.yml").write_text("env_wrapper: null\nframe_stack: 1\nnormalize: false\npolicy: x.Y\n")
    assert load_policy(path, env=ENV)


def test_one_observation_too_many_is_explained(tmp_path):
    longer = gym.wrappers.TimeAwareObservation
    _, path = saved(tmp_path, PPO, DummyVecEnv([lambda: longer(gym.make(ID))]))
    with pytest.raises(InputError, match="sees 5 numbers .* one more is what a wrapper adds that shows the time"):
        load_policy(path, env=ENV)


def test_a_zip_as_statistics_is_named_by_its_own_name(tmp_path):
    _, path = saved(tmp_path, PPO)
    shutil.copy(path, tmp_path / "statistics.pkl")
    with pytest.raises(InputError, match=r"statistics.pkl: is a zip; statistics are the file"):
        load_policy(path, env=ENV, statistics=tmp_path / "statistics.pkl")
