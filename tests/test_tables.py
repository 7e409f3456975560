import contextlib
import math
import os
import time
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from trl_suite import tables
from trl_suite.errors import InputError


class Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    weight: float = 1.0


class Outer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    frame_skip: int = 1
    reward: dict[str, Inner] = {}
    physics: Literal["mujoco", "warp"] = "mujoco"


def write(folder: Path, text: str) -> Path:
    path = folder / "env.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frameskip = 4", "unknown key 'frameskip' (did you mean 'frame_skip'?)"),
        ("[reward.forward]\nwieght = 1.0", "unknown key 'wieght' in [reward.forward] (did you mean 'weight'?)"),
        ("physics = 'wrap'", "physics: there is no 'wrap' (did you mean 'warp'?); known: mujoco, warp"),
        ("frame_skip = '4'", "frame_skip: Expected `int`, got `str`"),
        ("frame_skip = true", "frame_skip: Expected `int`, got `bool`"),
        ("reward = {forward = {weight = nan}}", "reward.forward.weight: nan is not a value"),
        ("[reward.a]\nweight = 1\n[reward.b]\nweight = 'x'", "reward.b.weight: Expected `float`, got `str`"),
        ("reward = {forward = {weight = inf}}", "reward.forward.weight: must be finite"),
        ("reward = {forward = {weight = -inf}}", "reward.forward.weight: must be finite"),
        ("frame_skip = 100000000000000000000", "frame_skip: integers lie within ±2^53"),
        ("x" + ".x" * 20 + " = 1", "line 1: a key of more than 16 dotted parts"),
        ("a = {x" + " . 'x'" * 20 + " = 1}", "line 1: a key of more than 16 dotted parts"),
        ("frame_skip = 1\n[" + '"x".' * 20 + "x]", "line 2: a key of more than 16 dotted parts"),
        ("k" * 300 + " = 1", "a key of 300 characters; 256 at most"),
        ("frame_skip = 1\nframe_skip = 2", "Cannot overwrite"),
        ("x" + ".x" * 200_000 + " = 1", "it may have"),
        ("x = " + "[" * 5_000, "env.toml"),
        ("a . 'b' .\t" * 20_000 + "a = 1", "a key of more than 16 dotted parts"),
        ("'" + "x" * 200_000, "env.toml"),
    ],
)
def test_a_bad_table_names_file_and_key(tmp_path: Path, text: str, message: str):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        tables.read(path, Outer)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_dots_in_texts_and_numbers_are_no_parts_of_a_key(tmp_path: Path):
    words = ". ".join(["two words"] * 60)
    numbers = ", ".join(["0.5"] * 60)
    path = write(tmp_path, f"a.b = '{words}'  # {words}\nc = [{numbers}]\nd = '{'.' * 60}'")
    assert tables.load(path)["c"] == [0.5] * 60


def test_what_is_not_a_regular_file_is_not_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(InputError, match="is not a regular file"):
            tables.load(path)
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(InputError, match="name too long|null byte"):
            tables.load(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        tables.read(tmp_path / "env.toml", Outer)


def test_a_good_table_is_read(tmp_path: Path):
    path = write(tmp_path, "frame_skip = 4\n[reward.forward]\nweight = 2")
    assert tables.read(path, Outer) == Outer(frame_skip=4, reward={"forward": Inner(weight=2.0)})


class Interval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    ends: tuple[tables.Unbounded, tables.Unbounded]
    width: float = 0.0


def test_only_what_is_marked_may_be_infinite(tmp_path: Path):
    assert tables.read(write(tmp_path, "ends = [-inf, inf]"), Interval).ends == (-math.inf, math.inf)
    with pytest.raises(InputError, match=r"width: must be finite"):
        tables.read(write(tmp_path, "ends = [0, 1]\nwidth = inf"), Interval)


@pytest.mark.parametrize(
    "text",
    [
        ".".join(["a"] * 100_000) + " = 1",
        "[" + ".".join(["a"] * 100_000) + "]",
        "\n".join(".".join(["a"] * 15 + [f"k{i}"]) + " = 1" for i in range(7_000)),
        "x = " + "{a = " * 10_000,
        "a" * 250_000,
        '"' * 250_000,
        "." * 250_000,
        "a. " * 80_000,
    ],
)
def test_no_text_keeps_the_reader_busy(text: str):
    start = time.process_time()
    with contextlib.suppress(InputError):
        tables.parse(text, "env.toml")
    assert time.process_time() - start < 3.0


def test_what_is_no_regular_file_is_not_read(tmp_path: Path):
    os.mkfifo(tmp_path / "env.toml")
    with pytest.raises(InputError, match="not a regular file"):
        tables.load(tmp_path / "env.toml")
