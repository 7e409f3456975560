"""SB3 zips: what is exported opens in SB3 and acts the same, what is imported never runs, and bad ones are refused."""

import base64
import io
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC, TD3
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import trl_suite
from trl_suite.errors import InputError
from trl_suite.networks.formats import zip_fields, zip_reader
from trl_suite.networks.store import verify
from trl_suite.training.policy_import import load_policy
from trl_suite.worlds.stepping.env import make

ENV = "inverted-pendulum"
KINDS = {"ppo": PPO, "sac": SAC, "td3": TD3}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A briefly trained policy of every algorithm, with the files that SB3 reads."""
    folder = tmp_path_factory.mktemp("zips")
    policies = {name: trl_suite.train(ENV, algorithm=name, steps=200, seed=1) for name in KINDS}
    return {name: (policy, policy.to_sb3(folder / f"{name}.zip")) for name, policy in policies.items()}


@pytest.fixture
def exported(trained, tmp_path):
    """The PPO policy's zip and statistics, to be damaged."""
    return [shutil.copy(path, tmp_path / path.name) for path in trained["ppo"][1]]


def edited(path, members):
    """Write the zip again with some members replaced, added, or, where None, left out."""
    with zipfile.ZipFile(path) as old:
        kept = {name: old.read(name) for name in old.namelist()} | members
    with zipfile.ZipFile(path, "w") as new:
        for name, content in kept.items():
            if content is not None:
                new.writestr(name, content)
    return path


def torch_bytes(thing):
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


def parameters(path):
    with zipfile.ZipFile(path) as file:
        return torch.load(io.BytesIO(file.read("policy.pth")), weights_only=True)


class Canary:
    """Unpickling one makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


# --- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_sb3_opens_an_export_and_gives_the_same_actions(trained, name):
    policy, files = trained[name]
    worlds = DummyVecEnv([lambda: make(ENV)])
    if len(files) > 1:
        worlds = VecNormalize.load(str(files[1]), worlds)
    model = KINDS[name].load(files[0], env=worlds, device="cpu")
    seen = np.random.default_rng(0).normal(size=(256, 4)) * 3
    fed = worlds.normalize_obs(seen) if len(files) > 1 else seen
    assert np.array_equal(model.predict(fed, deterministic=True)[0], policy.predict(seen)[0])
    assert model.num_timesteps == policy.card.training.steps


@pytest.mark.parametrize("name", KINDS)
def test_an_import_of_an_export_is_the_same_policy(trained, name):
    policy, files = trained[name]
    again = load_policy(files[0], env=ENV)
    assert again.digest == policy.digest
    assert again.card.network == policy.card.network
    assert again.card.interface == policy.card.interface
    assert again.card.normaliser == policy.card.normaliser
    assert again.card.training.steps == policy.card.training.steps
    assert again.card.training.origin == f"{name}.zip"


def test_a_policy_that_normalises_nothing_is_exported_without_statistics(make_policy, tmp_path):
    policy = trl_suite.train(ENV, algorithm="td3", steps=100, seed=0)
    assert policy.to_sb3(tmp_path / "bare") == [tmp_path / "bare.zip"]


def test_an_export_leaves_the_callers_random_numbers_alone(trained, tmp_path):
    state = torch.random.get_rng_state()
    trained["ppo"][0].to_sb3(tmp_path / "again.zip")
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_model_of_sb3s_own_is_imported_and_acts_as_in_sb3(tmp_path):
    worlds = VecNormalize(DummyVecEnv([lambda: make(ENV)]), norm_reward=False, clip_obs=5.0)
    keywords = {"activation_fn": torch.nn.ReLU, "net_arch": {"pi": [8], "vf": [16, 4]}}
    model = PPO("MlpPolicy", worlds, n_steps=64, batch_size=64, seed=3, policy_kwargs=keywords, device="cpu")
    model.learn(64)
    model.save(tmp_path / "own.zip")
    worlds.save(str(tmp_path / "statistics.pkl"))
    policy = load_policy(tmp_path / "own.zip", statistics=tmp_path / "statistics.pkl", env=ENV)
    network, how = policy.card.network, policy.card.normaliser
    assert (network.actor, network.critic, network.activation) == ((8,), (16, 4), "relu")
    assert (how.observation, how.reward, how.clip_observation) == (True, False, 5.0)
    assert policy.card.training.seed == 3
    assert policy.card.training.hyperparameters["n_steps"] == 64
    seen = np.random.default_rng(0).normal(size=(64, 4))
    expected = model.predict(worlds.normalize_obs(seen), deterministic=True)[0]
    assert np.array_equal(policy.predict(seen)[0], expected)
    verify("again", load_policy(policy.save(tmp_path / "folder")).card, policy.components)


def test_a_fixed_temperature_is_imported_as_its_logarithm(tmp_path):
    model = SAC("MlpPolicy", make(ENV), ent_coef=0.2, buffer_size=10, policy_kwargs={"net_arch": [4]}, device="cpu")
    model.save(tmp_path / "fixed.zip")
    policy = load_policy(tmp_path / "fixed.zip", env=ENV)
    assert policy.components["temperature"]["value"].exp().tolist() == pytest.approx([0.2])


# --- nothing runs ---------------------------------------------------------------------------------------------------


def test_a_pickle_in_the_fields_stays_a_text(trained, exported, tmp_path):
    canary, (path, _) = tmp_path / "canary", exported
    with zipfile.ZipFile(path) as file:
        fields = json.loads(file.read("data"))
    attack = base64.b64encode(pickle.dumps(Canary(canary))).decode()
    for key in fields:
        if isinstance(fields[key], dict) and ":serialized:" in fields[key]:
            fields[key][":serialized:"] = attack
    fields["surplus"] = {":type:": "x", ":serialized:": attack}
    edited(path, {"data": json.dumps(fields)})
    assert load_policy(path, env=ENV).digest == trained["ppo"][0].digest
    assert not canary.exists()
    with pytest.raises(FileExistsError):  # what SB3 does with the same zip, so that the canary is known to sing
        PPO.load(path)
    assert canary.exists()


def test_a_pickle_in_the_place_of_parameters_is_refused(exported, tmp_path):
    canary, (path, _) = tmp_path / "canary", exported
    for attack in (torch_bytes({"log_std": Canary(canary)}), pickle.dumps(Canary(canary))):
        edited(path, {"policy.pth": attack})
        with pytest.raises(InputError, match=r"policy.pth"):
            load_policy(path, env=ENV)
    assert not canary.exists()


def test_members_that_nothing_needs_are_not_read(trained, exported, tmp_path):
    canary, (path, _) = tmp_path / "canary", exported
    edited(path, {"policy.optimizer.pth": pickle.dumps(Canary(canary)), "evil.py": b"raise SystemExit"})
    assert load_policy(path, env=ENV).digest == trained["ppo"][0].digest
    assert not canary.exists()


def test_a_pickle_given_as_a_policy_is_refused_by_its_name(tmp_path):
    canary = tmp_path / "canary"
    for suffix, message in ((".pkl", "is a pickle, which could run code"), (".pt", "not a zip"), (".pth", "not a zip")):
        path = tmp_path / f"policy{suffix}"
        path.write_bytes(pickle.dumps(Canary(canary)))
        with pytest.raises(InputError, match=message):
            load_policy(path, env=ENV)
    assert not canary.exists()


# --- what a zip may not be ------------------------------------------------------------------------------------------


def link(path):
    entry = zipfile.ZipInfo("policy.pth.link")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(entry, "/etc/passwd")


def named(name):
    def add(path):
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(name, b"x")

    return add


def bomb(path):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(10_000_000))


def inner_bomb(path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data/0", bytes(10_000_000))
    edited(path, {"policy.pth": buffer.getvalue()})


def crowd(path):
    with zipfile.ZipFile(path, "a") as file:
        for index in range(zip_reader.MAX_MEMBERS):
            file.writestr(f"{index}", b"")


def half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path):
    content = bytearray(path.read_bytes())
    place = content.find(parameters(path)["action_net.weight"].numpy().tobytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (named("../evil"), "'../evil' leads out of the archive"),
        (named("/etc/evil"), "leads out of the archive"),
        (named("a\\..\\..\\evil"), "leads out of the archive"),
        (named("C:evil"), "leads out of the archive"),
        (link, "'policy.pth.link' is a link"),
        (bomb, "'zeros' unpacks from .* to 10000000 bytes, more than 100 times"),
        (inner_bomb, "policy.pth: refused, since its member 'archive/data/0' unpacks"),
        (crowd, "members; 1000 are the most"),
        (half, "not a zip, or one that was cut off|holds no policy.pth"),
        (flipped, "policy.pth is damaged or cannot be unpacked: Bad CRC-32"),
        (lambda path: edited(path, {"policy.pth": None}), "holds no policy.pth, but"),
        (lambda path: edited(path, {"data": b"{" * 100_000}), "data is not JSON"),
        (lambda path: edited(path, {"data": b"[" * 100_000}), "data is not JSON: .*recursion|too deeply nested"),
        (lambda path: edited(path, {"data": b"[]"}), "data is not a table"),
        (lambda path: path.write_bytes(b"not a zip"), "not a zip"),
    ],
)
def test_a_zip_that_is_not_what_it_should_be_is_refused(exported, damage, message):
    damage(exported[0])
    with pytest.raises(InputError, match=message):
        load_policy(exported[0], env=ENV)


def test_a_member_listed_twice_is_refused(exported):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(exported[0], "a") as file:
        file.writestr("policy.pth", b"another")
    with pytest.raises(InputError, match="lists a member twice"):
        load_policy(exported[0], env=ENV)


def test_sizes_are_refused_before_anything_is_read(exported, monkeypatch):
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("a member was read"))
    monkeypatch.setattr(zip_fields, "FIELDS_MAX_BYTES", 100)
    with pytest.raises(InputError, match="data has .* bytes; 100 are the most"):
        load_policy(exported[0], env=ENV)
    monkeypatch.setattr(zip_reader, "ARCHIVE_MAX_BYTES", 1000)
    with pytest.raises(InputError, match="bytes; 1000 are the most"):
        load_policy(exported[0], env=ENV)


def test_a_zip_cut_within_its_inner_zip_says_what_it_holds(exported):
    """SB3 stops there with an assertion of torch's: the inner zip's directory is the last one in the file."""
    path = exported[0]
    with zipfile.ZipFile(path) as file:
        entry = file.getinfo("policy.pth")
        end = entry.header_offset + 30 + len(entry.filename) + entry.file_size
    path.write_bytes(path.read_bytes()[: end + 100])
    with pytest.raises(InputError, match="holds no policy.pth, but .*cut off"):
        load_policy(path, env=ENV, algorithm="ppo")


# --- what its numbers may not be ------------------------------------------------------------------------------------


def changed(name, value):
    return lambda tensors: tensors.update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed("action_net.weight", torch.full((1, 64), float("nan"))),
            "actor.head.weight holds numbers",
        ),
        (changed("value_net.weight", torch.zeros(2, 64)), r"critic.head.weight is torch.float32 \(2, 64\)"),
        (changed("value_net.weight", torch.zeros(1, 64).double()), "critic.head.weight is torch.float64"),
        (changed("features_extractor.cnn.0.weight", torch.zeros(2)), "is not part of an MlpPolicy of PPO"),
        (changed("log_std", "text"), "'log_std' is not a plain tensor"),
        (changed("log_std", torch.zeros(1).to_sparse()), "'log_std' is not a plain tensor"),
        (changed("log_std", torch.zeros(1).expand(10**12)), "claim .* bytes and the file has"),
        (lambda tensors: tensors.pop("log_std"), "lacks log_std.value"),
        (lambda tensors: tensors.pop("action_net.weight"), "lacks actor.head.weight"),
        (lambda tensors: tensors.clear(), "holds no actor"),
    ],
)
def test_wrong_parameters_are_named(exported, change, message):
    path, tensors = exported[0], parameters(exported[0])
    change(tensors)
    edited(path, {"policy.pth": torch_bytes(tensors)})
    with pytest.raises(InputError, match=message):
        load_policy(path, env=ENV)


def test_a_wrong_env_is_refused(exported):
    with pytest.raises(InputError, match="sees 4 numbers and gives 1; hopper has 11 observations and 3 actions"):
        load_policy(exported[0], env="hopper")


# --- what it does not say -------------------------------------------------------------------------------------------


def test_missing_arguments_are_named(exported):
    path = exported[0]
    with pytest.raises(InputError, match=r"give env= \(--env on the command line\)"):
        load_policy(path)
    edited(path, {"data": None})
    with pytest.raises(InputError, match="give algorithm= one of a2c, crossq, ppo, sac, td3, tqc"):
        load_policy(path, env=ENV)
    with pytest.raises(InputError, match="give activation= one of tanh, relu, elu"):
        load_policy(path, env=ENV, algorithm="ppo")
    assert load_policy(path, env=ENV, algorithm="ppo", activation="tanh").card.algorithm == "ppo"


def test_arguments_that_contradict_the_zip_are_refused(exported):
    with pytest.raises(InputError, match="is a policy of PPO by its fields, not of SAC"):
        load_policy(exported[0], env=ENV, algorithm="sac")
    with pytest.raises(InputError, match="its activation is tanh by its fields, not relu"):
        load_policy(exported[0], env=ENV, activation="relu")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy_kwargs": {"activation_fn": "<class 'torch.nn.modules.activation.Mish'>"}}, "its activation is Mish"),
        ({"use_sde": True}, "state-dependent exploration"),
        ({"policy_kwargs": {"squash_output": True}}, "squashed"),
    ],
)
def test_policies_that_a_folder_cannot_hold_are_refused(exported, fields, message):
    path = exported[0]
    with zipfile.ZipFile(path) as file:
        edited_fields = json.loads(file.read("data")) | fields
    edited(path, {"data": json.dumps(edited_fields)})
    with pytest.raises(InputError, match=message):
        load_policy(path, env=ENV)


def test_odd_plain_fields_do_no_harm(exported, tmp_path):
    path = exported[0]
    with zipfile.ZipFile(path) as file:
        fields = json.loads(file.read("data"))
    fields |= {"seed": "x", "num_timesteps": -5, "gamma": float("nan"), "n_steps": 10**30, "ent_coef": "x" * 999}
    edited(path, {"data": json.dumps(fields), "_stable_baselines3_version": b"\x00" * 60})
    policy = load_policy(path, env=ENV)
    assert policy.card.training.seed == -1
    assert policy.card.training.steps == 0
    assert not {"gamma", "n_steps", "ent_coef"} & set(policy.card.training.hyperparameters)
    assert load_policy(policy.save(tmp_path / "folder")).digest == policy.digest


def test_arguments_for_a_zip_are_refused_with_a_folder(trained, tmp_path):
    folder = trained["ppo"][0].save(tmp_path / "folder")
    with pytest.raises(InputError, match="a policy folder's card says all: env cannot be given with it"):
        load_policy(folder, env=ENV)
    with pytest.raises(InputError, match="no such file"):
        load_policy(tmp_path / "nowhere.zip", env=ENV)
    with pytest.raises(InputError, match="unknown policy 'nowhere'"):
        load_policy("nowhere")
