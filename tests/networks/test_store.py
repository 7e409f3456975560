"""A policy folder that was damaged, edited or made up is refused, and the message says what is wrong with it."""

import hashlib
import shutil

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch

from trl_suite import tables
from trl_suite.errors import InputError
from trl_suite.networks.policy import load
from trl_suite.networks.store import CARD, WEIGHTS


@pytest.fixture
def folder(tmp_path, make_policy):
    return make_policy(["a", "b", "c"], ["u", "v"]).save(tmp_path / "policy")


def rewrite(folder, change):
    """Edit the tensors and make the card agree with the new file, as a careful forger would."""
    path = folder / WEIGHTS
    tensors = safetensors.torch.load(path.read_bytes())
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    change(tensors)
    path.write_bytes(safetensors.torch.save(tensors))
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / CARD).write_text((folder / CARD).read_text().replace(old, new))


def test_what_is_saved_is_what_is_loaded(folder, make_policy):
    policy, again = make_policy(["a", "b", "c"], ["u", "v"]), load(folder)
    seen = np.random.default_rng(0).normal(size=(16, 3))
    assert np.array_equal(policy.predict(seen)[0], again.predict(seen)[0])
    assert again.digest == policy.digest == again.card.sha256
    assert msgspec.structs.replace(again.card, sha256="") == policy.card


def test_a_single_observation_gives_a_single_action(folder):
    policy = load(folder)
    assert policy.predict(np.zeros(3))[0].shape == (2,)
    assert policy.predict(np.zeros((5, 3)))[0].shape == (5, 2)
    with pytest.raises(InputError, match=r"observation of shape \(4,\): \(3,\) or \(batch, 3\) expected"):
        policy.predict(np.zeros(4))


def test_draws_come_from_the_given_generator(folder):
    policy, seen = load(folder), np.zeros((4, 3))
    one = policy.predict(seen, deterministic=False, generator=torch.Generator().manual_seed(1))[0]
    two = policy.predict(seen, deterministic=False, generator=torch.Generator().manual_seed(1))[0]
    assert np.array_equal(one, two)
    assert not np.array_equal(one, policy.predict(seen)[0])
    with pytest.raises(InputError, match="Generator"):
        policy.predict(seen, deterministic=False)


def test_a_flipped_bit_is_noticed(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(InputError, match=r"weights.safetensors: its sha256 is not the one in card.toml"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("actor.head.bias"), "lacks actor.head.bias"),
        (lambda t: t.update(extra=torch.zeros(2)), "has surplus extra"),
        (
            lambda t: t.update({"log_std.value": torch.zeros(3)}),
            r"log_std.value is torch.float32 \(3,\); its card says",
        ),
        (lambda t: t.update({"log_std.value": torch.zeros(2).double()}), "log_std.value is torch.float64"),
        (lambda t: t["actor.head.bias"].fill_(float("nan")), "actor.head.bias holds numbers that are not finite"),
    ],
)
def test_a_wrong_tensor_is_named(folder, change, message):
    rewrite(folder, change)
    with pytest.raises(InputError, match=message):
        load(folder)


def test_a_truncated_file_is_refused_even_when_its_card_agrees(folder):
    path = folder / WEIGHTS
    content = path.read_bytes()
    card = (folder / CARD).read_text()
    path.write_bytes(content[: len(content) // 2])
    (folder / CARD).write_text(
        card.replace(hashlib.sha256(content).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest())
    )
    with pytest.raises(InputError, match="weights.safetensors"):
        load(folder)


def test_a_missing_file_is_named(folder):
    (folder / WEIGHTS).unlink()
    with pytest.raises(InputError, match="weights.safetensors: no such file"):
        load(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    with pytest.raises(InputError, match="card.toml: no such file"):
        load(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", "schema 2 is newer"),
        ('algorithm = "ppo"', 'algorithm = "qdn"', "algorithm: there is no 'qdn'"),
        (
            "clip_reward",
            "clip_rewards",
            r"unknown key 'clip_rewards' in \[normaliser\] \(did you mean 'clip_reward'\?\)",
        ),
        ("action_low = [\n    -1.0,", "action_low = [", "need 2 numbers, one per action slot"),
    ],
)
def test_a_wrong_card_is_named(folder, old, new, message):
    path = folder / CARD
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        load(folder)


def test_a_card_that_lies_about_its_shapes_is_refused(folder):
    path = folder / CARD
    table = tables.load(path)
    assert table["network"]["actor"] == [4, 4]
    path.write_text(path.read_text().replace("actor = [\n    4,", "actor = [\n    60000,", 1))
    with pytest.raises(InputError, match=r"actor.trunk.0.bias is torch.float32 \(4,\)|actor.trunk.0.weight is"):
        load(folder)


def test_a_link_is_not_followed(folder, tmp_path):
    moved = shutil.move(folder / WEIGHTS, tmp_path / "elsewhere")
    (folder / WEIGHTS).symlink_to(moved)
    with pytest.raises(InputError, match="is a link"):
        load(folder)


def agree(folder, content):
    """Put other weights in their place, and make the card agree with their digest."""
    old = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    (folder / WEIGHTS).write_bytes(content)
    (folder / CARD).write_text((folder / CARD).read_text().replace(old, hashlib.sha256(content).hexdigest()))


@pytest.mark.parametrize(
    "content",
    [
        (2**60).to_bytes(8, "little") + b"{}",  # a header larger than any file
        (200_000).to_bytes(8, "little") + b"[" * 200_000,  # one that nests
        (2).to_bytes(8, "little") + b"{}" + b"surplus",
        b'\x60\x00\x00\x00\x00\x00\x00\x00{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}'.ljust(
            104
        )
        + bytes(4),
        b'\x70\x00\x00\x00\x00\x00\x00\x00{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(
            120
        )
        + bytes(4),  # two tensors that share their bytes
        b"",
    ],
)
def test_a_crafted_header_is_refused_even_when_its_card_agrees(folder, content):
    agree(folder, content)
    with pytest.raises(InputError, match="weights.safetensors: "):
        load(folder)


def test_a_file_larger_than_its_card_allows_is_refused_before_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(type(folder), "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(50_000_000_000)  # a sparse file takes no room
    with pytest.raises(InputError, match="50000000000 bytes; it may have"):
        load(folder)


def test_a_negative_variance_is_refused(folder):
    rewrite(folder, lambda tensors: tensors["normaliser.observation.var"].fill_(-1.0))
    with pytest.raises(InputError, match=r"normaliser.observation.var holds a variance below 0"):
        load(folder)


def test_components_come_in_the_order_of_the_network(folder, make_policy):
    assert list(load(folder).components)[:3] == ["actor.trunk.0", "actor.trunk.1", "actor.head"]


def test_a_card_that_would_write_to_the_terminal_is_refused(folder):
    path = folder / CARD
    path.write_text(path.read_text().replace('env = "test"', 'env = "\\u001b]0;owned\\u0007"'))
    with pytest.raises(InputError, match="holds control or invisible characters"):
        load(folder)


@pytest.mark.parametrize("name", ["source.zip", "source.pkl", "source.pth"])
def test_what_is_not_a_folder_is_sent_to_the_import(name):
    with pytest.raises(InputError, match=r"not a policy folder; .* trl-suite import"):
        load(name)
