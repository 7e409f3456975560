"""Policies in motion, side by side, as a short loop."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt
from imageio import v3
from PIL import Image, ImageDraw, ImageFont

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.files import whole
from trl_suite.training.acting.evaluation import Act
from trl_suite.training.reproducibility import seed_for
from trl_suite.worlds.address import FOREIGN
from trl_suite.worlds.stepping.env import make
from trl_suite.worlds.variant_picture import draw_without_a_screen, rendered

FILM_SUFFIXES = (".gif", ".png", ".webp", ".mp4")
FRAME_PIXELS = (256, 192)  # of one picture, in pixels
HEAD, FOOT, GAP = 34, 18, 4  # heights of the words above and below, and the space between pictures, in pixels
MAX_FRAMES_PER_SECOND = 12.5  # pictures a second, at most
FONT_SIZES = (12, 11, 10, 9)  # in pixels, of the words around a picture: the largest that fits
GIF_COLOURS = 64  # of a GIF, which has one palette for all pictures
INK, SOFT, GROUND = (26, 26, 26), (90, 90, 90), (255, 255, 255)
Frame = npt.NDArray[np.uint8]
Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


class Scene(NamedTuple):
    """One policy in one world."""

    title: str
    address: str
    act: Act


class Take(NamedTuple):
    """A scene as it was shot."""

    frames: list[Frame]  # (height, width, 3)
    earned: list[float]  # return up to each frame
    rate: float  # frames a second, so that it plays as fast as it happened


def shoot(scene: Scene, seconds: float, size: tuple[int, int] = FRAME_PIXELS) -> Take:
    """Return the first seconds of the first episode of an evaluation; one that ends early stands still from there on.

    Raises:
        InputError: there is no such env, or it cannot be drawn.
        NotInstalledError: nothing to draw with is installed.
    """
    draw_without_a_screen()
    world = _world(scene.address, size)
    try:
        pause = float(getattr(world.unwrapped, "dt", 1 / world.metadata.get("render_fps", 30)))
        every = max(1, round(1 / (MAX_FRAMES_PER_SECOND * pause)))
        frames, earned = _frames(world, scene, round(seconds / (pause * every)), every)
    finally:
        world.close()
    return Take([_fitted(frame, size) for frame in frames], earned, 1 / (pause * every))


def _world(address: str, size: tuple[int, int]) -> gymnasium.Env[Any, Any]:
    if address.startswith(FOREIGN):
        return make(address, render_mode="rgb_array")
    return make(address, render_mode="rgb_array", width=size[0], height=size[1])


def _frames(world: gymnasium.Env[Any, Any], scene: Scene, count: int, every: int) -> tuple[list[Frame], list[float]]:
    observation, _ = world.reset(seed=seed_for(0, "evaluation"))
    frames, earned, value, ended = [rendered(world, scene.address)], [0.0], 0.0, False
    while len(frames) < count:
        for _ in range(0 if ended else every):
            observation, reward, terminated, truncated, _ = world.step(scene.act(observation[None])[0])
            value, ended = value + float(reward), terminated or truncated
            if ended:
                break
        frames.append(frames[-1] if ended else rendered(world, scene.address))
        earned.append(value)
    return frames, earned


def _fitted(frame: Frame, size: tuple[int, int]) -> Frame:
    """Return the picture in the wanted size; worlds of others come in their own."""
    if frame.shape[1::-1] == size:
        return frame
    return np.asarray(Image.fromarray(frame).resize(size), np.uint8)


def side_by_side(scenes: Sequence[Scene], seconds: float) -> tuple[list[Image.Image], float]:
    """Return pictures of all scenes at once, each below its title and above its return so far, and their rate.

    Raises:
        InputError: an env does not exist, or cannot be drawn.
        NotInstalledError: nothing to draw with is installed.
    """
    takes = [shoot(scene, seconds) for scene in scenes]
    rate, count = takes[0].rate, max(len(take.frames) for take in takes)
    return [_picture(scenes, takes, place) for place in range(count)], rate


def _picture(scenes: Sequence[Scene], takes: Sequence[Take], place: int) -> Image.Image:
    width, height = FRAME_PIXELS
    image = Image.new("RGB", (len(scenes) * (width + GAP) - GAP, HEAD + height + FOOT), GROUND)
    pen = ImageDraw.Draw(image)
    for column, (scene, take) in enumerate(zip(scenes, takes, strict=True)):
        left, at = column * (width + GAP), min(place, len(take.frames) - 1)
        image.paste(Image.fromarray(take.frames[at]), (left, HEAD))
        lines = (1, scene.title, INK), (17, scene.address, SOFT)
        for top, text, colour in (*lines, (HEAD + height + 2, f"return so far {round(take.earned[at]):,}", SOFT)):
            fitting, font = _caption(text, width - 4)
            pen.text((left + 2, top), fitting, fill=colour, font=font)
    return image


def _caption(text: str, width: int) -> tuple[str, Font]:
    """Return a text that fits into a width in pixels, and its font: a smaller one, then a text that is cut."""
    fonts = [ImageFont.load_default(size) for size in FONT_SIZES]
    for font in fonts:
        if font.getlength(text) <= width:
            return text, font
    while text and fonts[-1].getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…", fonts[-1]


def write(path: Path, pictures: Sequence[Image.Image], rate: float) -> Path:
    """Write the pictures as a loop and return its path; the ending says how: .gif, .png (animated), .webp, .mp4.

    Raises:
        InputError: another ending.
        StorageError: it cannot be written.
        NotInstalledError: .mp4 without imageio-ffmpeg.
    """
    check(path)
    if path.suffix == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise NotInstalledError(f"{path}: no encoder; pip install 'trl-suite[video]', or take .gif")
    with whole(path) as unfinished:
        if path.suffix == ".mp4":
            _movie(unfinished, pictures, rate)
        else:
            frames = _flat(pictures) if path.suffix == ".gif" else list(pictures)
            options: dict[str, Any] = {"format": path.suffix[1:], "duration": round(1000 / rate), "loop": 0}
            frames[0].save(unfinished, save_all=True, append_images=frames[1:], optimize=True, **options)
    return path


def check(path: Path) -> None:
    """Refuse a path that no film can be written to.

    Raises:
        InputError: its ending is none of `FILM_SUFFIXES`, or its folder does not exist.
    """
    if path.suffix not in FILM_SUFFIXES:
        raise InputError(f"{path}: a film ends with one of {', '.join(FILM_SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: no folder {path.parent}")


def _flat(pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """Return the pictures in the few colours of one palette, without dither: what stands still costs nothing."""
    tall = np.concatenate([np.asarray(picture) for picture in pictures[:: max(1, len(pictures) // 4)]])
    palette = Image.fromarray(tall).quantize(GIF_COLOURS, method=Image.Quantize.FASTOCTREE)
    return [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]


def _movie(path: Path, pictures: Sequence[Image.Image], rate: float) -> None:
    even = [np.asarray(picture)[: picture.height // 2 * 2, : picture.width // 2 * 2] for picture in pictures]
    encoder: dict[str, Any] = {"plugin": "FFMPEG", "output_params": ["-f", "mp4"]}  # the name says nothing
    v3.imwrite(path, np.stack(even), extension=".mp4", fps=rate, macro_block_size=2, **encoder)
