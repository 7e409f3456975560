"""Readers of policies against hostile files: an InputError or a policy, and never anything else."""

import contextlib
import hashlib
import os
import pickle
import re
import shutil
import struct
import zipfile

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from tests.conftest import card, interface, random_components
from trl_suite.errors import InputError, NotInstalledError, StorageError, printable
from trl_suite.networks import store
from trl_suite.networks.formats import vecnormalize, zip_import
from trl_suite.networks.policy import Policy
from trl_suite.training.policy_import import load_policy, spaces_of

FUZZ = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
EDITS = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def target():
    return spaces_of("inverted-pendulum")


@pytest.fixture(scope="module")
def policy(target):
    plain = card(target.interface, (4, 3))
    network = msgspec.structs.replace(plain.network, action_low=target.action_low, action_high=target.action_high)
    components = random_components(4, 1, (4, 3), torch.Generator().manual_seed(0))
    return Policy(card=msgspec.structs.replace(plain, network=network), components=components)


@pytest.fixture(scope="module")
def files(policy, tmp_path_factory):
    return policy.to_sb3(tmp_path_factory.mktemp("hostile") / "policy.zip")


def damaged(content: bytes, edits, cut: float = 1.0) -> bytes:
    changed = bytearray(content)
    for place, value in edits:
        changed[int(place * len(changed))] = value
    return bytes(changed[: int(cut * len(changed))])


# --- fuzz: bytes of every file that is read ---


@FUZZ
@given(edits=EDITS, cut=st.sampled_from([1.0, 1.0, 0.999, 0.5]))
def test_a_damaged_zip_is_a_policy_or_an_input_error(files, target, tmp_path, edits, cut):
    path = tmp_path / "damaged.zip"
    path.write_bytes(damaged(files[0].read_bytes(), edits, cut))
    with contextlib.suppress(InputError):
        zip_import.load(path, target, statistics=files[1])


@FUZZ
@given(edits=EDITS, name=st.sampled_from(["data", "policy.pth", "pytorch_variables.pth", "_stable_baselines3_version"]))
def test_a_damaged_member_is_a_policy_or_an_input_error(files, target, tmp_path, edits, name):
    with zipfile.ZipFile(files[0]) as old:
        members = {member: old.read(member) for member in old.namelist()}
    members[name] = damaged(members[name], edits)
    with zipfile.ZipFile(tmp_path / "damaged.zip", "w") as new:
        for member, content in members.items():
            new.writestr(member, content)
    with contextlib.suppress(InputError):
        zip_import.load(tmp_path / "damaged.zip", target, statistics=files[1])


@FUZZ
@given(edits=EDITS, cut=st.sampled_from([1.0, 0.9]))
def test_damaged_statistics_are_statistics_or_an_input_error(files, tmp_path, edits, cut):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(damaged(files[1].read_bytes(), edits, cut))
    with contextlib.suppress(InputError):
        vecnormalize.read(path)


@FUZZ
@given(edits=EDITS, cut=st.sampled_from([1.0, 0.9]))
def test_damaged_tensors_are_tensors_or_an_input_error(policy, tmp_path, edits, cut):
    content = safetensors.torch.save({"a.weight": torch.zeros(3, 2), "b.bias": torch.ones(4)})
    with contextlib.suppress(InputError):
        store.tensors(damaged(content[:120], edits, cut) + content[120:], tmp_path / "weights.safetensors")


@FUZZ
@given(edits=EDITS)
def test_a_damaged_card_is_a_card_or_an_input_error(policy, tmp_path, edits):
    folder = tmp_path / "policy"
    if not folder.exists():
        policy.save(folder)
        shutil.copy(folder / store.CARD, tmp_path / "whole.toml")
    (folder / store.CARD).write_bytes(damaged((tmp_path / "whole.toml").read_bytes(), edits))
    with contextlib.suppress(InputError):
        load_policy(folder)


# --- the smallest inputs of each kind ---


def test_what_zipfile_does_not_know_is_an_input_error(files, target, tmp_path):
    content = files[0].read_bytes()
    directory = content.rindex(b"PK\x01\x02")
    versions, methods = bytearray(content), bytearray(content)
    versions[directory + 6 : directory + 8] = struct.pack("<H", 230)
    for place in (index for index in range(len(content)) if content[index : index + 4] == b"PK\x01\x02"):
        methods[place + 10 : place + 12] = struct.pack("<H", 14)  # lzma
    for changed in (versions, methods):
        (tmp_path / "odd.zip").write_bytes(changed)
        with pytest.raises(InputError, match=r"odd.zip: "):
            zip_import.load(tmp_path / "odd.zip", target)


def wrapper(**changes):
    """A VecNormalize as it is saved, without an env."""
    made = VecNormalize.__new__(VecNormalize)
    statistics = RunningMeanStd(shape=(2,))
    made.__dict__ = {
        "norm_obs": True, "norm_reward": False, "clip_obs": 10.0, "clip_reward": 10.0, "epsilon": 1e-8, "gamma": 0.99,
        "obs_rms": statistics, "ret_rms": RunningMeanStd(shape=()), "observation_space": spaces.Box(-1, 1, (2,)),
        "training": True, "returns": np.zeros(1), "venv": None, "class_attributes": {},
    } | changes  # fmt: skip
    return made


def of_statistics(**changes):
    made = RunningMeanStd(shape=(2,))
    made.__dict__.update(changes)
    return wrapper(obs_rms=made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (wrapper(clip_obs=2**2000), "too large to convert to float"),
        (wrapper(gamma=7.0), "gamma is 7.0; a number from 0.0 to 1.0 expected"),
        (wrapper(gamma=True), "a switch where a number is expected"),
        (wrapper(epsilon=0.0), "epsilon is 0.0; a finite number above 0 expected"),
        (wrapper(clip_obs=-1.0), "clip_obs is -1.0"),
        (wrapper(clip_reward=float("nan")), "clip_reward is nan"),
        (of_statistics(mean=True), "a switch where a number is expected"),
        (of_statistics(count=float("inf")), "to be finite"),
        (of_statistics(count=-5.0), "not below 0"),
    ],
)
def test_impossible_statistics_are_refused(tmp_path, content, message):
    (tmp_path / "statistics.pkl").write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(InputError, match=message):
        vecnormalize.read(tmp_path / "statistics.pkl")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("gamma = 0.99", "gamma = 5.0"),
        ("epsilon = 1e-08", "epsilon = -1.0"),
        ("clip_observation = 10.0", "clip_observation = -inf"),
        ("clip_reward = 10.0", "clip_reward = inf"),
        ("    -3.0,", "    4.0,"),
        ("    3.0,", "    -inf,"),
        ('name = "slider.velocity"', 'name = "slider.position"'),
        ('env = "test"', 'env = "a\\u202Eb"'),
        ('env = "test"', 'env = "a\\u009Bb"'),
        ('env = "test"', 'env = "a\\u200Bb"'),
    ],
)
def test_an_impossible_card_is_refused(policy, tmp_path, old, new):
    folder = policy.save(tmp_path / "policy")
    text = (folder / store.CARD).read_text()
    assert old in text
    (folder / store.CARD).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=r"card.toml: "):
        load_policy(folder)


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".zip", "a\0b", "a\0b.zip"])
def test_a_name_that_no_file_can_have_is_an_input_error(name):
    with pytest.raises(InputError):
        load_policy(name, env="hopper")


def test_what_is_no_regular_file_is_not_opened(files, policy, tmp_path):
    pipe = tmp_path / "pipe.zip"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="is not a regular file"):
        load_policy(pipe, env="inverted-pendulum")
    with pytest.raises(InputError, match="is not a regular file"):
        load_policy(files[0], env="inverted-pendulum", statistics=pipe)
    folder = policy.save(tmp_path / "policy")
    for file in (store.WEIGHTS, store.CARD):
        (folder / file).unlink()
        os.mkfifo(folder / file)
        with pytest.raises(InputError, match="is not a regular file"):
            load_policy(folder)


# --- nothing of a file acts on a terminal ---

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=40)


@given(ANY_TEXT)
def test_what_is_printed_is_printable(text):
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    printable(text).encode("utf-8")


@given(ANY_TEXT)
def test_no_message_moves_the_cursor(text):
    for error in (InputError(text), NotInstalledError(text), StorageError(text)):
        assert all(line.isprintable() for line in str(error).split("\n  "))


def test_a_surplus_tensors_name_is_spelt_out(policy, tmp_path):
    folder = policy.save(tmp_path / "policy")
    names = {f"{name}.{key}": value for name, part in policy.components.items() for key, value in part.items()}
    content = safetensors.torch.save(names | {"\x1b[31mred\u202e": torch.zeros(1)})
    (folder / store.WEIGHTS).write_bytes(content)
    text = (folder / store.CARD).read_text()

    (folder / store.CARD).write_text(
        re.sub(r'sha256 = "\w+"', f'sha256 = "{hashlib.sha256(content).hexdigest()}"', text)
    )
    with pytest.raises(InputError, match=r"has surplus \\x1b\[31mred\\u202e"):
        load_policy(folder)


def test_two_slots_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two slots are named a"):
        card(interface(["a", "b", "a"], ["u"]), (4,))
