"""A disk that is full while a verb writes: exit code 5, one line with the path, and nothing half written."""

import errno
import os
from pathlib import Path

import pytest

from trl_suite.cli.main import main
from trl_suite.errors import NotInstalledError
from trl_suite.training.acting import filming
from trl_suite.worlds.variant_picture import picture

pytestmark = pytest.mark.xdist_group("graphics")
MODEL = (
    '<mujoco><worldbody><body><joint name="j" type="slide" axis="1 0 0"/><geom size=".1"/></body></worldbody>'
    '<actuator><motor joint="j" ctrlrange="-1 1"/></actuator></mujoco>'
)
WRITERS = {  # verb -> what its line names; drawing and training take a while
    "report {runs}": "report.html",
    "browse {runs} --out page.html": "page.html",
    "export {policy} out.zip": "out.zip",
    "export {policy} out.onnx": "out.onnx",
    "push {policy} user/name --dry card": "card",
    "match {policy} inverted-pendulum -o match.png": "match.png",
    "new study": "study",
    "new mine --from robot.xml": "mine",
    "train inverted-pendulum --steps 2048 --out trained": "trained",
    "show inverted-pendulum -o picture.png": "picture.png",
    "watch {policy} -o film.gif --seconds 0.2": "film.gif",
    "watch {policy} -o film.mp4 --seconds 0.2": "film.mp4",
}
SLOW = ("train", "show", "watch")


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def files_below(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "words", [pytest.param(words, marks=[pytest.mark.slow] if words.startswith(SLOW) else []) for words in WRITERS]
)
def test_a_full_disk_ends_a_writer_with_five_and_leaves_nothing(words, copied, tmp_path, monkeypatch, capsys):
    if words.startswith(("show", "watch")):
        try:
            picture("inverted-pendulum", 32, 32)
        except NotInstalledError as error:
            pytest.skip(str(error))
        monkeypatch.setattr(filming, "FRAME_PIXELS", (64, 48))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "robot.xml").write_text(MODEL)
    policy = next(copied.glob("**/source/seed-0*/policy"))
    before = files_below(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as end:
        main(words.format(runs=copied, policy=policy).split())
    error = capsys.readouterr().err
    assert end.value.code == 5, error
    assert WRITERS[words] in error
    assert "No space left on device" in error
    assert "Traceback" not in error
    assert {name for name in files_below(tmp_path) if not name.startswith("envs")} == set(before)
    assert not [name for name, data in files_below(tmp_path).items() if name.startswith("envs") and data is not None]
