"""Table of `envs/README.md`: which axis is right on which awkward model of the tests, and which is refused, and why.

`python -m tools.site.axis_table` computes it anew; tests/worlds/test_zoo.py checks every cell by plain MuJoCo.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import mujoco

from trl_suite.errors import InputError
from trl_suite.worlds.axes.variation import Fluid, Length, Size, Terrain, Variation
from trl_suite.worlds.env_spec import EnvSpec, load
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.model.compilation import compiled

ZOO = Path(__file__).parents[2] / "tests" / "worlds" / "zoo"
OUTCOMES = ZOO / "axes.json"
SCALE = 0.5
SOFTNESS = 2.0  # scale of the contacts' time constant
PLAY = 0.05  # rad or m, of every driven joint
WHOLE = "model"  # in place of an axis: the model itself is refused
_HEAD = """## Axes on awkward models

Each model of [tests/worlds/zoo](../tests/worlds/zoo) has one awkward feature. ✓: the axis does what it says, checked by
plain MuJoCo in `tests/worlds/test_zoo.py`. A number: it is refused in one line, for the reason below the table."""

CHANGES: dict[str, Callable[[mujoco.MjModel], Any]] = {
    **dict.fromkeys(
        ("gravity", "mass", "friction", "joint_range", "damping", "stiffness", "armature", "frictionloss", "gear"),
        lambda _: SCALE,
    ),
    "control_range": lambda _: SCALE,
    "cripple": lambda model: tuple(model.actuator(i).name for i in range(model.nu)),
    "fluid": lambda _: Fluid(density=1.2),
    "timestep": lambda _: SCALE,
    "integrator": lambda _: "RK4",
    "solver": lambda _: "CG",
    "cone": lambda _: "elliptic",
    "contact_softness": lambda _: SOFTNESS,
    "terrain": lambda _: Terrain(height=0.05, flat=3.0),
    "backlash": lambda _: PLAY,
    "size": lambda _: Size(scale=SCALE),
    "length": lambda model: Length(body=model.body(1).name, scale=SCALE),
}


def models() -> list[Path]:
    """Return the awkward models, by name."""
    return sorted(ZOO.glob("*.xml"))


def spec_of(path: Path) -> EnvSpec:
    """Return an env of a model file."""
    return msgspec.structs.replace(load("hopper"), model=f"file:{path}")


def outcomes(path: Path) -> dict[str, str]:
    """Return by axis why it is refused on a model, "" where it is not; under `WHOLE` alone why the model is."""
    try:
        nominal = compiled(spec_of(path), Variation())
    except InputError as error:
        return {WHOLE: str(error).partition(f"{path.name}: ")[2]}
    return {axis: _refusal(path, axis, change(nominal)) for axis, change in CHANGES.items()}


def _refusal(path: Path, axis: str, change: Any) -> str:
    try:
        compiled(spec_of(path), Variation(**{axis: change}))
    except InputError as error:
        return str(error).partition("does not apply: ")[2] or str(error)
    return ""


def write() -> Path:
    """Compute every cell and store it; return the file."""
    with mock.patch.object(mjcf, "vet"):  # these files are ours: no child process looks at them first
        cells = {path.stem: outcomes(path) for path in models()}
    OUTCOMES.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
    return OUTCOMES


def stored() -> dict[str, dict[str, str]]:
    """Return the cells as they were computed last, by model and axis."""
    return json.loads(OUTCOMES.read_text(encoding="utf-8"))


def section() -> str:
    """Return the table as Markdown, with its reasons."""
    reasons: dict[str, int] = {}

    def cell(reason: str) -> str:
        return str(reasons.setdefault(re.sub(r"'[^']*'", "`…`", reason), len(reasons) + 1)) if reason else "✓"

    rows = [
        [f"[{name}](../tests/worlds/zoo/{name}.xml)", *(cell(axes.get(axis, axes.get(WHOLE, ""))) for axis in CHANGES)]
        for name, axes in stored().items()
    ]
    lines = [["", *(axis.replace("_", " ") for axis in CHANGES)], ["---"] * (len(CHANGES) + 1), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{_HEAD}\n\n{table}\n\n" + "\n".join(f"{number}. {reason}" for reason, number in reasons.items())


if __name__ == "__main__":
    write()
