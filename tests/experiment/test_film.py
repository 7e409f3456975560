"""`trl-suite film` on a finished experiment."""

import shutil

import pytest

from trl_suite.cli.main import main
from trl_suite.errors import NotInstalledError
from trl_suite.training.acting import filming
from trl_suite.worlds.variant_picture import picture

pytestmark = pytest.mark.xdist_group("graphics")


def test_without_anything_to_draw_with_the_exit_code_says_so(copied, monkeypatch, capsys):
    def broken(*_: object, **__: object) -> None:
        raise NotInstalledError("no picture: install libegl1 and set MUJOCO_GL=egl")

    monkeypatch.setattr(filming, "rendered", broken)
    with pytest.raises(SystemExit) as end:
        main(["film", str(copied)])
    assert end.value.code == 3
    assert "install libegl1" in capsys.readouterr().err
    assert not (copied / "film.gif").exists()


def test_the_command_makes_the_film_and_the_report_shows_it(copied, monkeypatch, capsys):
    try:
        picture("inverted-pendulum", 32, 32)
    except NotInstalledError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(filming, "FRAME_PIXELS", (64, 48))
    with pytest.raises(SystemExit) as end:
        main(["film", str(copied), "--seconds", "0.3"])
    assert end.value.code == 0
    assert "film.gif" in capsys.readouterr().out
    assert "data:image/gif;base64," in (copied / "report.html").read_text()


def test_results_that_were_kept_hold_no_policies(copied, capsys):
    for path in list(copied.rglob("policy")):
        shutil.rmtree(path)
    with pytest.raises(SystemExit) as end:
        main(["film", str(copied)])
    assert end.value.code == 2
    assert "a film needs the policies" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["scratch", "finetune from quadruped?randomise=true at the end", 99 * "long "])
def test_a_caption_stays_within_its_picture(text):
    fitting, font = filming._caption(text, 252)
    assert font.getlength(fitting) <= 252
    assert fitting == text or fitting.endswith("…")
    assert len(text) > 60 or fitting == text
