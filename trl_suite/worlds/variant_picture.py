"""Pictures of worlds: base and variant side by side, so that a change of shape can be seen.

Without a screen MuJoCo draws through EGL (`MUJOCO_GL=egl`, packages libegl1 and libegl-mesa0) or OSMesa
(`MUJOCO_GL=osmesa`, package libosmesa6).
"""

import os
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.files import whole
from trl_suite.worlds.address import Address
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.stepping.env import RobotEnv

_GAP = 4  # pixels between two pictures


def picture(address: str, width: int = 480, height: int = 480, steps: int = 0) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) of a world: at its first state, or after some steps without control.

    Raises:
        InputError: there is no such env, variant or axis.
        NotInstalledError: nothing to draw with is installed.
    """
    draw_without_a_screen()
    parsed = Address.parse(address)
    axes = dict(parsed.axes.axes())
    world = RobotEnv(parsed.env, parsed.variant or None, render_mode="rgb_array", width=width, height=height, **axes)
    try:
        world.reset(seed=0)
        for _ in range(steps):
            world.step(np.zeros(len(world.interface.action), np.float32))
        return rendered(world, address)
    finally:
        world.close()


def rendered(world: gymnasium.Env[Any, Any], address: str) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) of a world as it is; it was made with `render_mode="rgb_array"`.

    Raises:
        NotInstalledError: nothing to draw with is installed.
    """
    try:
        return np.asarray(world.render(), np.uint8)
    except Exception as error:  # whatever the graphics library raises: its errors have no class in common
        raise NotInstalledError(f"no picture of {address}: {error}; install libegl1 and set MUJOCO_GL=egl") from error


def beside(address: str, width: int = 480, height: int = 480, steps: int = 0) -> NDArray[np.uint8]:
    """Return base and variant side by side (height, 2 width + 4, 3); a world without a variation alone.

    Raises:
        InputError: there is no such env, variant or axis.
        NotInstalledError: nothing to draw with is installed.
    """
    parsed = Address.parse(address)
    varied = picture(address, width, height, steps)
    if not parsed.variant and parsed.axes == Variation():
        return varied
    base = picture(parsed.env, width, height, steps)
    return np.concatenate((base, np.full((height, _GAP, 3), 255, np.uint8), varied), axis=1)


def show(address: str, file: Path, width: int = 480, height: int = 480, steps: int = 0) -> Path:
    """Write base and variant side by side as a PNG; return the file.

    Raises:
        InputError: there is no such env, variant or axis, or the file is no PNG.
        StorageError: the file cannot be written.
        NotInstalledError: nothing to draw with is installed.
    """
    if file.suffix.lower() != ".png":
        raise InputError(f"{file}: a picture is written as .png")
    image = Image.fromarray(beside(address, width, height, steps))
    with whole(file) as unfinished:
        image.save(unfinished, format="PNG")
    return file


def draw_without_a_screen() -> None:
    """Let MuJoCo draw through EGL where there is no screen and nobody has chosen otherwise."""
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
