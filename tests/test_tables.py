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
        ("[reward.forward]\nwieght = 1.0", "unknown key 'wieght' in [reward.*] (did you mean 'weight'?)"),
        ("physics = 'wrap'", "physics: there is no 'wrap' (did you mean 'warp'?); known: mujoco, warp"),
        ("frame_skip = '4'", "frame_skip: Expected `int`, got `str`"),
        ("frame_skip = true", "frame_skip: Expected `int`, got `bool`"),
        ("reward = {forward = {weight = nan}}", "reward.forward.weight: nan is not a value"),
        ("frame_skip = 1\nframe_skip = 2", "Cannot overwrite"),
        ("x" + ".x" * 200_000 + " = 1", "a table may have"),
        ("x = " + "[" * 5_000, "env.toml"),
    ],
)
def test_a_bad_table_names_file_and_key(tmp_path: Path, text: str, message: str):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        tables.read(path, Outer)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        tables.read(tmp_path / "env.toml", Outer)


def test_a_good_table_is_read(tmp_path: Path):
    path = write(tmp_path, "frame_skip = 4\n[reward.forward]\nweight = 2")
    assert tables.read(path, Outer) == Outer(frame_skip=4, reward={"forward": Inner(weight=2.0)})
