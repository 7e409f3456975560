"""Films, where something to draw with is installed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.training.acting import filming
from trl_suite.training.acting.filming import Scene
from trl_suite.worlds.variant_picture import picture

pytestmark = pytest.mark.xdist_group("graphics")


def still(seen: np.ndarray) -> np.ndarray:
    return np.zeros((len(seen), 1), np.float32)


def push(seen: np.ndarray) -> np.ndarray:
    return np.full((len(seen), 1), 3.0, np.float32)


@pytest.fixture
def graphics() -> None:
    try:
        picture("inverted-pendulum", 32, 32)
    except NotInstalledError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("graphics")
def test_a_scene_is_as_long_as_it_was_and_stands_still_when_it_has_ended():
    take = filming.shoot(Scene("", "inverted-pendulum", push), seconds=1.0, size=(64, 48))
    assert take.rate == pytest.approx(12.5)
    assert len(take.frames) == len(take.earned) == 12
    assert take.frames[0].shape == (48, 64, 3)
    moved = [bool((one != other).any()) for one, other in zip(take.frames, take.frames[1:], strict=False)]
    assert moved == sorted(moved, reverse=True)
    assert moved[0]
    assert not moved[-1]
    assert take.earned[-1] == take.earned[-2] > 0


@pytest.mark.usefixtures("graphics")
@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_a_film_is_a_loop_of_its_scenes_side_by_side(tmp_path: Path, monkeypatch, suffix: str):
    monkeypatch.setattr(filming, "FRAME_PIXELS", (64, 48))
    scenes = [Scene("still", "inverted-pendulum", still), Scene("push", "inverted-pendulum.gravity-2.0", push)]
    pictures, rate = filming.side_by_side(scenes, seconds=0.4)
    path = filming.write(tmp_path / f"film{suffix}", pictures, rate)
    with Image.open(path) as image:
        assert image.size == (2 * 64 + filming.GAP, 48 + filming.HEAD + filming.FOOT)
        assert image.info["loop"] == 0
        assert image.n_frames == len(pictures) == 5


def test_a_film_that_cannot_be_written_is_refused_before_it_is_shot(tmp_path: Path):
    for path, message in ((tmp_path / "film.avi", "ends with one of"), (tmp_path / "none" / "film.gif", "no folder")):
        with pytest.raises(InputError, match=message):
            filming.check(path)
