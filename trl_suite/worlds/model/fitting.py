"""Additions of an env's table to a model before it is compiled: motors with gains, and the sensors that are read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec
import mujoco
import numpy as np

from trl_suite.errors import InputError, located, unknown
from trl_suite.worlds.env_spec import EnvSpec, Motor
from trl_suite.worlds.terms.model_sensors import (
    CONTACTS,
    GRAVITY_KIND,
    OBJECTS,
    SENSOR_KINDS,
    SINGLE,
    SensorKind,
    align_with_gravity,
    element_word,
    measured,
    sensor_name,
)
from trl_suite.worlds.terms.rewards import REWARD_TERMS

_CONTACT = int(mujoco.mjtSensor.mjSENS_CONTACT)
_FOUND = (1, 0, 1)  # of a contact sensor: how many there are, in no order, one number


class SensorRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Quantity of several elements that a table reads through sensors."""

    kind: str
    of: tuple[str, ...]
    relative_to: str = ""


class Fitting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Numbers that a family's model is built from, and all that is added to a model."""

    shape: dict[str, int] = {}
    motors: tuple[Motor, ...] = ()
    keyframe: str = ""  # that servos stand at
    pose: dict[str, float] = {}  # in its place
    sensors: tuple[SensorRequest, ...] = ()
    floor: bool = False


def fitting_of(spec: EnvSpec, shape: Mapping[str, int]) -> Fitting:
    """Fitting of an env whose model has these numbers."""
    return Fitting(
        shape=dict(sorted(shape.items())),
        motors=spec.motors,
        floor=spec.floor,
        keyframe=spec.reset.keyframe if spec.motors else "",
        pose=spec.reset.pose if spec.motors else {},
        sensors=tuple(dict.fromkeys(request for request in _requests(spec) if request.kind in SENSOR_KINDS)),
    )


def _requests(spec: EnvSpec) -> Iterator[SensorRequest]:
    """Yield all that a table reads, hidden parts of the observation too: `observe` may show them."""
    for block in spec.observation:
        yield SensorRequest(kind=block.kind, of=block.of, relative_to=block.relative_to)
    for bound in spec.healthy:
        yield SensorRequest(kind=bound.kind, of=bound.of)
    for condition in spec.success.conditions if spec.success else ():
        yield SensorRequest(kind=condition.kind, of=condition.of, relative_to=condition.relative_to)
    for term in spec.reward:
        for kind in REWARD_TERMS[term.term].senses if term.term in REWARD_TERMS else ():
            framed = not kind or kind == CONTACTS
            relative_to = term.relative_to if framed else ""
            yield SensorRequest(kind=kind or term.kind, of=term.elements, relative_to=relative_to)


def fit(model: mujoco.MjSpec, fitting: Fitting, compiled: Callable[[mujoco.MjSpec], mujoco.MjModel]) -> None:
    """Add a floor, motors and sensors to a model that is not yet compiled.

    Raises:
        InputError: the model has a geom `floor`, or a motor is of a joint that it lacks or that another drives.
    """
    if fitting.floor:
        if any(geom.name == "floor" for geom in model.geoms):
            raise InputError("floor does not apply: the model has a geom 'floor'")
        model.worldbody.add_geom(name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(40, 40, 40))
    if fitting.motors:
        _replace_motors(model, fitting, compiled(model.copy()))
    if fitting.sensors:
        _add_sensors(model, fitting.sensors)


def _replace_motors(model: mujoco.MjSpec, fitting: Fitting, plain: mujoco.MjModel) -> None:
    single = [joint.name for joint in model.joints if int(joint.type) in SINGLE]
    centre = _centre(plain, fitting)
    for sensor in [sensor for sensor in model.sensors if sensor.objtype == mujoco.mjtObj.mjOBJ_ACTUATOR]:
        model.delete(sensor)
    for actuator in list(model.actuators):
        model.delete(actuator)
    for key in model.keys:
        key.ctrl = np.zeros(0)
        key.act = np.zeros(0)
    driven: set[str] = set()
    for index, motor in enumerate(fitting.motors):
        with located(f"motors[{index}].of"):
            for joint in _joints(motor, single):
                if joint in driven:
                    raise InputError(f"joint '{joint}' has a motor already")
                driven.add(joint)
                _add_motor(model, joint, motor, centre[joint])


def _joints(motor: Motor, joints: list[str]) -> Iterator[str]:
    for pattern in motor.of:
        matching = [name for name in joints if fnmatchcase(name, pattern)] if "*" in pattern else [pattern]
        if "*" not in pattern and pattern not in joints:
            raise unknown("hinge or slide joint", pattern, joints)
        yield from matching


def _centre(plain: mujoco.MjModel, fitting: Fitting) -> dict[str, float]:
    """Position that each joint has at the start: where a servo stands under an action of 0."""
    keys = [plain.key(index).name for index in range(plain.nkey)]
    qpos = plain.key_qpos[keys.index(fitting.keyframe)] if fitting.keyframe in keys else plain.qpos0
    names = [plain.joint(index).name for index in range(plain.njnt)]
    centre = {name: float(qpos[plain.jnt_qposadr[index]]) for index, name in enumerate(names)}
    for pattern, value in fitting.pose.items():
        centre |= dict.fromkeys((name for name in names if fnmatchcase(name, pattern)), value)
    return centre


def _add_motor(model: mujoco.MjSpec, joint: str, motor: Motor, centre: float) -> None:
    """Add one actuator.

    A servo's set point is pose + s·a, so that its force is f = kp (pose + s·a - q) - kv q̇: MuJoCo's affine actuator
    with gain kp·s and bias (kp·pose, -kp, -kv). Nothing is computed between the action and MuJoCo.
    """
    fields: dict[str, Any] = {"name": joint, "target": joint, "trntype": mujoco.mjtTrn.mjTRN_JOINT}
    fields |= {"ctrllimited": 1, "ctrlrange": motor.range}
    if motor.kp is None:
        model.add_actuator(gear=(motor.force, 0, 0, 0, 0, 0), **fields)
        return
    gain, bias = np.zeros(10), np.zeros(10)
    gain[0], bias[:3] = motor.kp * motor.scale, (motor.kp * centre, -motor.kp, -motor.kv)
    model.add_actuator(
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        gainprm=gain,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        biasprm=bias,
        forcelimited=1,
        forcerange=(-motor.force, motor.force),
        **fields,
    )


def _add_sensors(model: mujoco.MjSpec, requests: tuple[SensorRequest, ...]) -> None:
    """Add a sensor per element that a table reads; a name that the model lacks is refused where it is read."""
    taken = {sensor.name for sensor in model.sensors}
    if any(request.kind == GRAVITY_KIND for request in requests):
        magnetometer = mujoco.mjtSensor.mjSENS_MAGNETOMETER
        if any(sensor.type == magnetometer for sensor in model.sensors):
            raise InputError(f"{GRAVITY_KIND} does not apply: the model has magnetometers of its own")
    names = {
        "site": [site.name for site in model.sites],
        "body": [body.name for body in model.bodies],
        "geom": [geom.name for geom in model.geoms],
        "joint": [joint.name for joint in model.joints if int(joint.type) in SINGLE],
    }
    for request in requests:
        for pattern in request.of:
            for element in measured(request.kind, pattern, names):
                name = sensor_name(request.kind, element, request.relative_to)
                if name not in taken and _add_sensor(model, request, element, names):
                    taken.add(name)
    align_with_gravity(model.option, taken)


def _add_sensor(model: mujoco.MjSpec, request: SensorRequest, element: str, names: Mapping[str, Sequence[str]]) -> bool:
    """Add one sensor; False where the frame that it is measured in does not exist."""
    kind = SENSOR_KINDS[request.kind]
    word = element_word(request.kind, element, names)
    if word == "body" and kind.mounted:
        if not any(site.name == element for site in model.sites):  # another sensor's already
            model.body(element).add_site(name=element, size=(0.001, 0.001, 0.001))
        word = "site"
    fields: dict[str, Any] = {"type": kind.sensor, "objtype": _object(kind, word), "objname": element}
    if request.relative_to:
        frame = element_word(request.kind, request.relative_to, names)
        if not frame or not kind.framed:
            return False
        fields |= {"reftype": _object(kind, frame), "refname": request.relative_to}
    if kind.sensor == _CONTACT:
        fields["intprm"] = _FOUND
    model.add_sensor(name=sensor_name(request.kind, element, request.relative_to), **fields)
    return True


def _object(kind: SensorKind, word: str) -> int:
    """MuJoCo's type of the element; to a contact sensor XBODY would mean all that hangs on the body too."""
    return int(mujoco.mjtObj.mjOBJ_BODY) if word == "body" and kind.sensor == _CONTACT else OBJECTS[word]
