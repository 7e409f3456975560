"""`trl-suite watch`: a film without a display, and bad input in one line."""

import pytest
from PIL import Image

from trl_suite.cli.main import main
from trl_suite.errors import NotInstalledError
from trl_suite.training.acting import filming, viewer
from trl_suite.worlds.variant_picture import picture

pytestmark = pytest.mark.xdist_group("graphics")
POLICY = "half-cheetah-ppo-seed-0"


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


def code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["watch", *words])
    return end.value.code


def drawing(monkeypatch):
    try:
        picture("inverted-pendulum", 32, 32)
    except NotInstalledError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(filming, "FRAME_PIXELS", (64, 48))


def test_without_a_display_it_is_a_film_with_a_name_of_its_own(tmp_path, monkeypatch, capsys):
    drawing(monkeypatch)
    assert code_of(POLICY, "--variant", "gravity-1.5", "--seconds", "0.3") == 0
    assert "film: half-cheetah-ppo-seed-0-on-half-cheetah.gravity-1.5.gif" in capsys.readouterr().out
    with Image.open(tmp_path / f"{POLICY}-on-half-cheetah.gravity-1.5.gif") as image:
        assert image.size[0] == 64


def test_side_by_side_shows_home_and_target(tmp_path, monkeypatch):
    drawing(monkeypatch)
    target = ("--env", "half-cheetah.gravity-1.5", "--side-by-side")
    assert code_of(POLICY, *target, "--seconds", "0.3", "-o", "a.webp") == 0
    with Image.open(tmp_path / "a.webp") as image:
        assert image.size[0] == 2 * 64 + filming.GAP


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([POLICY, "--variant", "gravity-1.7"], "gravity-1.7"),
        ([POLICY, "--env", "half-cheetah.gravity-1.5", "--variant", "gravity-1.5"], "names its variant already"),
        ([POLICY, "--env", "hopper"], "9 slots of the target have no counterpart in the source"),
        ([POLICY, "--seconds", "0"], "--seconds 0: more than 0"),
        ([POLICY, "--seconds", "nan"], "more than 0"),
        ([POLICY, "-o", "film.avi"], "a film ends with one of"),
        (["half-chetah-ppo-seed-0"], "half-cheetah-ppo-seed-0"),
        ([POLICY, "--alias", "a"], "TARGET=SOURCE"),
    ],
)
def test_bad_input_is_one_line(words, message, capsys):
    assert code_of(*words) == 2
    assert message in capsys.readouterr().err


def test_a_display_that_is_broken_is_none(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":9999")
    assert not viewer.has_display()
