"""Places that are no folder, a loop of links or read-only: one line, exit code 2, and nothing else happens."""

import errno
import os
from pathlib import Path

import pytest

from trl_suite.cli.main import main

READERS = (
    "report {}", "inspect {}", "run {}", "browse {}", "status {}", "import {} --env hopper", "new mine --from {}",
    "envs --workspace {}", "match {} hopper", "rerun {}", "check {}", "film {}", "reference {}", "probe {} hopper",
    "export {} out.zip", "tune {}", "watch {} -o film.gif", "push {} user/name --dry card",
)  # fmt: skip
WRITERS = (
    "new study --workspace {}", "show hopper -o {}/picture.png", "export half-cheetah-ppo-seed-0 {}/out.zip",
    "push half-cheetah-ppo-seed-0 user/name --dry {}/card", "match half-cheetah-ppo-seed-0 half-cheetah -o {}/m.png",
)  # fmt: skip


def told(words: str, capsys) -> str:
    with pytest.raises(SystemExit) as end:
        main(words.split())
    printed = capsys.readouterr()
    assert end.value.code == 2, printed.err
    assert "Traceback" not in printed.err
    assert printed.err.startswith("trl-suite: ")
    return printed.err


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("back")
    (tmp_path / "back").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize("words", READERS)
def test_what_is_no_folder_is_one_line(words: str, place: Path, capsys):
    before = sorted(place.rglob("*"))
    for name in ("loop", "nowhere", "pipe", "empty"):
        if name == "empty" and words.startswith("envs"):
            continue  # an empty workspace is one
        told(words.format(name), capsys)
    assert sorted(place.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("words", WRITERS)
def test_a_place_that_cannot_be_written_is_one_line(words: str, place: Path, capsys, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    before = sorted(place.rglob("*"))
    for name in ("loop", "pipe"):
        told(words.format(name), capsys)
    monkeypatch.setattr(os, "fsync", refused)  # root may write everywhere but on a read-only disk
    assert "Read-only file system" in told(words.format("empty"), capsys)
    assert sorted(place.rglob("*")) == before
