"""What is frozen stays frozen through SB3's own save and load, to the bit; and what `transplant` takes."""

import pickle

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import trl_suite
from trl_suite.errors import InputError
from trl_suite.training.policy_import import load_policy
from trl_suite.training.sb3.models import sb3_model

ID, ENV = "InvertedPendulum-v5", "inverted-pendulum"
SIZES = {
    PPO: {"n_steps": 16, "batch_size": 16, "n_epochs": 2},
    SAC: {"buffer_size": 64, "learning_starts": 4, "batch_size": 8},
    TD3: {"buffer_size": 64, "learning_starts": 4, "batch_size": 8},
}


def env(normalised=True):
    plain = DummyVecEnv([lambda: gym.make(ID)])
    return VecNormalize(plain) if normalised else plain


def model(kind, normalised=False, seed=0, **keywords):
    keywords = {"policy_kwargs": {"net_arch": [4, 3]}} | SIZES[kind] | keywords
    return kind("MlpPolicy", env(normalised), device="cpu", seed=seed, **keywords)


def numbers(learner, names):
    components = sb3_model.components_of(learner)
    return {name: {key: value.detach().clone() for key, value in components[name].items()} for name in names}


def same(before, after):
    return all(torch.equal(value, after[name][key]) for name, part in before.items() for key, value in part.items())


@pytest.mark.parametrize("kind", SIZES)
def test_frozen_layers_stay_frozen_in_a_model_that_sb3_has_loaded(tmp_path, kind):
    learner = model(kind)
    record = trl_suite.transplant(model(kind, seed=1), into=learner, method="feature-extraction")
    frozen = [name for name in record.frozen if not name.startswith("normaliser")]
    learner.learn(32)
    learner.save(tmp_path / "model.zip")
    loaded = kind.load(tmp_path / "model.zip", env=env(False), device="cpu")
    before, heads = numbers(loaded, frozen), numbers(loaded, ["actor.head", "critic.head"])
    loaded.learn(32)
    assert frozen
    assert same(before, numbers(loaded, frozen))
    assert not same(heads, numbers(loaded, heads))
    assert set(frozen) <= set(trl_suite.hold(loaded))
    assert not loaded.policy.state_dict(keep_vars=True)[first_layer(kind)].requires_grad
    loaded.learn(32)
    assert same(before, numbers(loaded, frozen))
    assert trl_suite.hold(loaded, ()) == ()
    loaded.learn(64)
    assert not same(before, numbers(loaded, frozen)), "what is released learns"


def first_layer(kind):
    return {PPO: "mlp_extractor.policy_net.0.weight", SAC: "actor.latent_pi.0.weight", TD3: "actor.mu.0.weight"}[kind]


def test_frozen_statistics_are_a_plain_pickle_and_stay_as_they_are(tmp_path):
    learner = model(PPO, normalised=True)
    source = model(PPO, normalised=True, seed=1)
    source.learn(16)
    trl_suite.transplant(source, into=learner, method="feature-extraction")
    learner.save(tmp_path / "model.zip")
    learner.get_vec_normalize_env().save(str(tmp_path / "statistics.pkl"))
    assert b"trl_suite" not in (tmp_path / "statistics.pkl").read_bytes()
    wrapped = VecNormalize.load(str(tmp_path / "statistics.pkl"), DummyVecEnv([lambda: gym.make(ID)]))
    mean, var = wrapped.obs_rms.mean.copy(), wrapped.obs_rms.var.copy()
    loaded = PPO.load(tmp_path / "model.zip", env=wrapped, device="cpu")
    loaded.learn(64)
    assert np.array_equal(wrapped.obs_rms.mean, mean)
    assert np.array_equal(wrapped.obs_rms.var, var)
    policy = load_policy(tmp_path / "model.zip", statistics=tmp_path / "statistics.pkl", env=ENV)
    count = float(source.get_vec_normalize_env().obs_rms.count)
    assert float(policy.components["normaliser.observation"]["count"]) == pytest.approx(count)
    trl_suite.hold(loaded, ())
    assert float(wrapped.obs_rms.count) == pytest.approx(count)
    assert type(pickle.loads(pickle.dumps(wrapped.obs_rms))).__module__.startswith("stable_baselines3")


def test_a_fixed_temperature_stays_as_it_is(tmp_path):
    learner = model(SAC)
    source = model(SAC, seed=1)
    with torch.no_grad():
        source.log_ent_coef.fill_(-2.0)
    trl_suite.transplant(source, into=learner, method={"copy": ["actor", "temperature"], "freeze": ["temperature"]})
    learner.save(tmp_path / "model.zip")
    loaded = SAC.load(tmp_path / "model.zip", env=env(False), device="cpu")
    loaded.learn(32)
    assert float(loaded.ent_coef_tensor) == pytest.approx(np.exp(-2.0))


def test_a_model_of_which_nothing_says_what_was_frozen_is_refused():
    with pytest.raises(InputError, match="nothing in this model says what was frozen in it: give frozen="):
        trl_suite.hold(model(PPO))
    with pytest.raises(TypeError, match="model is an SB3 model \\(PPO, SAC, TD3, ...\\), not a int"):
        trl_suite.hold(3)
    with pytest.raises(InputError, match="every component is frozen"):
        trl_suite.hold(model(PPO), ("actor", "critic", "log_std"))


# --- what transplant takes ---


def test_a_transplant_takes_what_is_at_hand(tmp_path):
    source = model(PPO, seed=1)
    source.save(tmp_path / "model.zip")
    policy = load_policy(tmp_path / "model.zip", env=ENV)
    folder = policy.save(tmp_path / "folder")
    records = [trl_suite.transplant(given, into=model(PPO)) for given in (source, policy, folder, str(folder))]
    records.append(trl_suite.transplant(tmp_path / "model.zip", into=model(PPO), env=ENV))
    for method in ({"copy": ["actor", "critic"]}, trl_suite.Method(copy=("actor", "critic"))):
        records.append(trl_suite.transplant(source, into=model(PPO), method=method))
    assert len({record.copied for record in records[:5]}) == 1
    assert len({record.copied for record in records[5:]}) == 1
    assert len({record.source for record in records}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"source": 3},
            "source is a trl_suite.Policy, an SB3 model, or the name, folder or zip of a policy",
        ),
        ({"into": "x.zip"}, "into is an SB3 model \\(PPO, SAC, TD3, ...\\), not a str"),
        ({"method": 3}, "method is the name of one of the suite's methods, a table of a method's keys, or a trl_suite"),
    ],
)
def test_anything_else_is_a_type_error_that_says_what_is_taken(arguments, message):
    arguments = {"source": model(PPO), "into": model(PPO)} | arguments
    with pytest.raises(TypeError, match=message):
        trl_suite.transplant(**arguments)


def test_a_model_of_another_algorithm_is_named():
    with pytest.raises(InputError, match="DQN cannot be transplanted|they must agree"):
        trl_suite.transplant(model(PPO), into=A2C("MlpPolicy", env(False), device="cpu"))
    with pytest.raises(InputError, match="did you mean 'freeze'"):
        trl_suite.transplant(model(PPO), into=model(PPO), method={"copy": ["actor"], "frieze": []})


def test_a_record_prints_as_a_short_table():
    text = str(trl_suite.transplant(model(SAC, seed=1), into=model(SAC), method="feature-extraction"))
    assert text.startswith("transplant 'feature-extraction' from ")
    rows = {line[2:11].strip(): line for line in text.splitlines()[1:] if line[2:3].strip()}
    assert {"copied", "fresh", "frozen", "unmatched", "notes"} <= set(rows)
    assert "actor.trunk.0" in rows["frozen"]
    assert "set learning_starts = 0" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 100
