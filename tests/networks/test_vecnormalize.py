"""VecNormalize's file is read as data: the numbers are those that pickle would give, and nothing is executed."""

import contextlib
import os
import pickle
import struct

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from trl_suite.errors import InputError
from trl_suite.networks.components import OBSERVATION_STATISTICS, RETURN_STATISTICS
from trl_suite.networks.formats import pickled
from trl_suite.networks.formats.vecnormalize import read
from trl_suite.worlds.stepping.env import make


@pytest.fixture
def wrapper():
    worlds = VecNormalize(DummyVecEnv([lambda: make("inverted-pendulum")]), clip_obs=7.0, gamma=0.98)
    worlds.seed(0)
    worlds.reset()
    for _ in range(20):
        worlds.step(np.zeros((1, 1), dtype=np.float32))
    return worlds


@pytest.fixture
def file(wrapper, tmp_path):
    wrapper.save(str(tmp_path / "vecnormalize.pkl"))
    return tmp_path / "vecnormalize.pkl"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_numbers_are_those_that_pickle_gives(wrapper, tmp_path, protocol):
    path = tmp_path / "statistics.pkl"
    path.write_bytes(pickle.dumps(wrapper, protocol=protocol))
    if protocol == 2:  # bytes are spelt as a call of a codec there; SB3 never writes it
        with pytest.raises(InputError, match="asks for '_codecs.encode'"):
            read(path)
        return
    how, found = read(path)
    assert (how.observation, how.reward, how.clip_observation, how.gamma) == (True, True, 7.0, 0.98)
    for name, running in ((OBSERVATION_STATISTICS, wrapper.obs_rms), (RETURN_STATISTICS, wrapper.ret_rms)):
        for tensor in ("mean", "var", "count"):
            assert np.array_equal(found[name][tensor].numpy(), np.asarray(getattr(running, tensor)))


def test_statistics_that_are_switched_off_are_not_taken(wrapper, file):
    wrapper.norm_reward = False
    wrapper.action_space.seed(0)  # the space's generator is in the file too
    wrapper.save(str(file))
    how, found = read(file)
    assert not how.reward
    assert set(found) == {OBSERVATION_STATISTICS}


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_call_hidden_in_the_statistics_is_refused_by_its_name_and_not_made(wrapper, file, tmp_path):
    canary = tmp_path / "canary"
    wrapper.epsilon = Canary(canary)
    wrapper.save(str(file))
    with pytest.raises(InputError, match=r"refused: it asks for 'posix.mkdir'.*nothing of it was executed"):
        read(file)
    assert not canary.exists()
    pickle.loads(file.read_bytes())
    assert canary.exists(), "the canary sings where pickle is used"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "asks for 'builtins.eval'"),
        (b"cnumpy\nload\n.", "asks for 'numpy.load'"),
        (b"cnumpy.f2py.crackfortran\nmyeval\n.", "asks for 'numpy.f2py.crackfortran.myeval'"),
        (b"cgymnasium.spaces.box\nBox.__init__.__globals__\n.", "asks for 'gymnasium.spaces.box.Box.__init__"),
        (b"(S'os'\nios\nsystem\n.", "holds the instruction"),
        (b"\x80\x04]]\x93.", "asks for what has no name"),
        (b"\x80\x04K\x01)R.", "calls what is not a name"),
        (b"\x80\x04K\x01K\x02b.", "changes what is not an instance"),
        (b"\x80\x04}))s.", "a key is not a text"),
        (b"\x80\x04K\x01K\x02a.", "appends to what is not a list"),
        (b"\x80\x04e.", "not a readable pickle"),
        (b"\x80\x04R.", "not a readable pickle"),
        (b"\x80\x04K\x01K\x02.", "ends with 2 values"),
        (b"\x80\x04j\xff\xff\xff\xff.", "not a readable pickle"),
        (b"\x80\x04K\x01r\xff\xff\xff\xff.", "not a file that VecNormalize.save wrote"),  # pickle takes 64 GB for it
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", "not a readable pickle"),
        (b"\x80\x04" + b"]" * 300_000 + b".", "more than 200000 instructions"),
        (b"", "not a readable pickle"),
        (b"\x80\x04K\x01.", "not a file that VecNormalize.save wrote"),
    ],
)
def test_a_crafted_pickle_is_refused(tmp_path, content, message):
    path = tmp_path / "crafted.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_an_array_that_claims_more_than_it_holds_is_refused(wrapper, file):
    content = file.read_bytes()
    place = content.find(wrapper.obs_rms.mean.tobytes())
    length = content[place - 1]
    assert length == 32
    shorter = content[: place - 1] + bytes([24]) + content[place : place + 24] + content[place + 32 :]
    file.write_bytes(unframed(shorter))
    with pytest.raises(InputError, match="an array of 4 numbers whose bytes are not as many"):
        read(file)


def unframed(content):
    """Take the frame's length out, which no longer fits."""
    return content[:2] + content[11:] if content[2:3] == b"\x95" else content


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("obs_rms.mean", np.array([0, np.nan, 0, 0]), "to be finite"),
        ("obs_rms.var", np.array([1.0, -1.0, 1.0, 1.0]), "var and count not below 0"),
        ("obs_rms.var", np.ones(3), "do not have the shapes"),
        ("obs_rms.mean", np.array([None] * 4, dtype=object), "not the statistics of a VecNormalize"),
        ("obs_rms.mean", np.zeros(4, dtype=complex), "an array of type 'c16'"),
        ("obs_rms.count", np.zeros(3), "do not have the shapes"),
        ("epsilon", float("inf"), "a finite number above 0"),
        ("norm_obs", "yes", "neither True nor False"),
    ],
)
def test_wrong_numbers_are_refused(wrapper, file, attribute, value, message):
    owner, _, name = attribute.rpartition(".")
    setattr(getattr(wrapper, owner) if owner else wrapper, name, value)
    wrapper.save(str(file))
    with pytest.raises(InputError, match=message):
        read(file)


def test_statistics_of_a_dictionary_are_refused(wrapper, file):
    wrapper.obs_rms = {"a": wrapper.obs_rms}
    wrapper.observation_space = spaces.Dict({"a": wrapper.observation_space})
    wrapper.save(str(file))
    with pytest.raises(InputError, match="only a flat vector"):
        read(file)


def test_a_file_that_is_too_large_or_missing_is_named(file, tmp_path, monkeypatch):
    monkeypatch.setattr("trl_suite.networks.formats.vecnormalize.STATISTICS_MAX_BYTES", 10)
    with pytest.raises(InputError, match="it may have 10 at most"):
        read(file)
    with pytest.raises(InputError, match="nowhere.pkl: no such file"):
        read(tmp_path / "nowhere.pkl")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_never_do_anything_but_raise(content):
    with contextlib.suppress(InputError):
        pickled.read(b"\x80\x04" + content, lambda _: True, "fuzz")


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    )
)
def test_plain_values_come_back(value):
    assert pickled.read(pickle.dumps(value, protocol=4), lambda _: False, "value") == value
