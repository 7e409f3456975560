"""The kinds of quantity that MuJoCo's sensors measure, and where a compiled model has them; adds none to a model.

A sensor that a table reads is added to the model before it is compiled (`model.fitting`), under the name that this
module gives it. Its numbers are a physics step old, as those of bodies and contacts are.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.worlds.terms.play_joints import seen_joints

_SENSOR, _OBJECT = mujoco.mjtSensor, mujoco.mjtObj
OBJECTS = {  # what a sensor can be attached to, by the word of a table
    "site": int(_OBJECT.mjOBJ_SITE),
    "body": int(_OBJECT.mjOBJ_XBODY),
    "geom": int(_OBJECT.mjOBJ_GEOM),
    "joint": int(_OBJECT.mjOBJ_JOINT),
}

SINGLE = (int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE))  # joints of one number


class NamedScalar(NamedTuple):
    """One number of a model's state: its name, its index in a flat array of MjData, and its unit."""

    name: str
    address: int
    unit: str


class SensorKind(NamedTuple):
    """A kind of MuJoCo sensor, as a table names it."""

    sensor: int  # MuJoCo's type
    elements: tuple[str, ...]  # what it can be attached to; the first that has the name
    parts: tuple[tuple[str, str], ...]  # names and units of its numbers; "" for the only one
    about: str
    framed: bool = False  # whether `relative_to` is the frame that it is measured in

    @property
    def mounted(self) -> bool:
        """Whether a body's name stands for a site at the origin of its frame."""
        return self.elements == _MOUNTED


_MOUNTED = ("site", "body")
_FRAMES = ("site", "body", "geom")


def _vector(unit: str, prefix: str = "") -> tuple[tuple[str, str], ...]:
    return tuple((prefix + axis, unit) for axis in "xyz")


SENSOR_KINDS: dict[str, SensorKind] = {
    "gyro": SensorKind(
        int(_SENSOR.mjSENS_GYRO), _MOUNTED, _vector("rad/s", "r"), "turning about the axes of its frame, as of an IMU"
    ),
    "accelerometer": SensorKind(
        int(_SENSOR.mjSENS_ACCELEROMETER), _MOUNTED, _vector("m/s²"), "acceleration with gravity, as of an IMU"
    ),
    "body_velocity": SensorKind(
        int(_SENSOR.mjSENS_VELOCIMETER), _MOUNTED, _vector("m/s"), "velocity along the axes of its frame (velocimeter)"
    ),
    "projected_gravity": SensorKind(
        int(_SENSOR.mjSENS_MAGNETOMETER), _MOUNTED, _vector("1"), "direction of gravity along the axes of its frame"
    ),
    "touch": SensorKind(int(_SENSOR.mjSENS_TOUCH), ("site",), (("", "N"),), "normal contact force inside a site"),
    "force": SensorKind(
        int(_SENSOR.mjSENS_FORCE), _MOUNTED, _vector("N"), "force between a body and its parent, in the site's frame"
    ),
    "torque": SensorKind(
        int(_SENSOR.mjSENS_TORQUE),
        _MOUNTED,
        _vector("N m"),
        "torque between a body and its parent, in the site's frame",
    ),
    "joint_torque": SensorKind(
        int(_SENSOR.mjSENS_JOINTACTFRC), ("joint",), (("", "N m"),), "torque of all motors on a hinge, force on a slide"
    ),
    "frame_place": SensorKind(
        int(_SENSOR.mjSENS_FRAMEPOS), _FRAMES, _vector("m"), "place of a frame, in the frame of `relative_to`", True
    ),
    "frame_orientation": SensorKind(
        int(_SENSOR.mjSENS_FRAMEQUAT),
        _FRAMES,
        tuple((f"q{part}", "1") for part in "wxyz"),
        "unit quaternion of a frame, in the frame of `relative_to`",
        True,
    ),
    "frame_velocity": SensorKind(
        int(_SENSOR.mjSENS_FRAMELINVEL),
        _FRAMES,
        _vector("m/s"),
        "velocity of a frame, in the world or as seen from `relative_to`",
        True,
    ),
    "frame_turning": SensorKind(
        int(_SENSOR.mjSENS_FRAMEANGVEL),
        _FRAMES,
        _vector("rad/s", "r"),
        "turning of a frame, in the world or as seen from `relative_to`",
        True,
    ),
    "contacts": SensorKind(
        int(_SENSOR.mjSENS_CONTACT), ("geom", "body"), (("", "1"),), "number of contacts of a geom or body", True
    ),
}
GRAVITY_KIND, CONTACTS = "projected_gravity", "contacts"


def sensor_name(kind: str, element: str, relative_to: str = "") -> str:
    """Name of the sensor that measures an element's quantity: `imu.gyro`, `hand.frame_place_from_cube`."""
    return f"{element}.{suffix(kind, relative_to)}"


def suffix(kind: str, relative_to: str = "") -> str:
    """Last part of a slot's name: the kind, and the frame that it is measured in."""
    return f"{kind}_from_{relative_to}" if relative_to else kind


def element_word(kind: str, name: str, names: Mapping[str, Sequence[str]]) -> str:
    """Kind of element (site, body, ...) that `name` is for a sensor of this kind; "" where it is none."""
    return next((word for word in SENSOR_KINDS[kind].elements if name in names[word]), "")


def measured(kind: str, pattern: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """Elements that a table's `of` means: by name, by one of their numbers, by a pattern, or all but one (`!`)."""
    parts = [part for part, _ in SENSOR_KINDS[kind].parts]
    known_names = [name for word in SENSOR_KINDS[kind].elements for name in names[word] if name != "world"]
    if "*" in pattern or pattern.startswith("!"):
        first = SENSOR_KINDS[kind].elements[0]  # a pattern is of sites where a name may be of a body too
        known_names = [name for name in names[first] if name != "world"]
        if pattern.startswith("!"):
            return [name for name in known_names if name != pattern[1:]]
        return [
            name
            for name in known_names
            if fnmatchcase(name, pattern) or any(fnmatchcase(f"{name}.{part}", pattern) for part in parts)
        ]
    whole = pattern if pattern in known_names else pattern.rpartition(".")[0]
    return [whole] if whole in known_names else []


def element_names(model: mujoco.MjModel) -> dict[str, Sequence[str]]:
    """Names of all elements of a compiled model that a sensor can be attached to."""
    return {
        "site": [model.site(index).name for index in range(model.nsite)],
        "body": [model.body(index).name for index in range(model.nbody)],
        "geom": [model.geom(index).name for index in range(model.ngeom)],
        "joint": [model.joint(index).name for index in seen_joints(model) if int(model.jnt_type[index]) in SINGLE],
    }


def sensor_numbers(model: mujoco.MjModel, kind: str, relative_to: str = "") -> list[NamedScalar]:
    """Numbers of all sensors of a kind in a compiled model, in MuJoCo's order."""
    ending = f".{suffix(kind, relative_to)}"
    numbers: list[NamedScalar] = []
    for index in range(model.nsensor):
        name, address = model.sensor(index).name, int(model.sensor_adr[index])
        if name.endswith(ending) and model.sensor_type[index] == SENSOR_KINDS[kind].sensor:
            element = name.removesuffix(ending)
            numbers += [
                NamedScalar(f"{element}.{part}" if part else element, address + offset, unit)
                for offset, (part, unit) in enumerate(SENSOR_KINDS[kind].parts)
            ]
    return numbers


_UNITS = {entry.sensor: entry.parts[0][1] for entry in SENSOR_KINDS.values()}
_PARTS = {1: ("",), 3: ("x", "y", "z"), 4: ("qw", "qx", "qy", "qz")}


def model_sensor_numbers(model: mujoco.MjModel) -> list[NamedScalar]:
    """Numbers of the sensors that the model's own file has, by their names there."""
    numbers: list[NamedScalar] = []
    for index in range(model.nsensor):
        name, width = model.sensor(index).name, int(model.sensor_dim[index])
        unit = _UNITS.get(int(model.sensor_type[index]), "1")
        parts = _PARTS.get(width) or tuple(str(number) for number in range(width))
        numbers += [
            NamedScalar(f"{name}.{part}" if part else name, int(model.sensor_adr[index]) + offset, unit)
            for offset, part in enumerate(parts)
        ]
    return numbers


def align_with_gravity(option: Any, sensor_names: Iterable[str]) -> None:
    """Point the field that magnetometers measure along gravity where a sensor of the table reads it as that.

    With m = g / |g| in the world, the sensor of a frame with rotation R reads Rᵀ m: the projected gravity.
    """
    if any(name.endswith(f".{GRAVITY_KIND}") for name in sensor_names):
        option.magnetic = unit_gravity(np.array(option.gravity))


def unit_gravity(gravity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction of gravity (3,); zeros where there is none."""
    size = float(np.linalg.norm(gravity))
    return gravity / size if size else np.zeros(3)
