"""From an env and a variation to a compiled MuJoCo model in which everything has a name."""

import copy
import functools
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import gymnasium
import msgspec
import mujoco

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes import model_axes
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import EnvSpec
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.model.families import build

FAMILY = "family:"  # opens the name of a model that `families` builds
FILE = "file:"  # opens the path of a user's own model: see `EnvSpec.read`
SHIPPED = "gymnasium:"  # opens the name of a model that Gymnasium's package holds
_ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
_EXPECTED = ".*'settotalmass' is deprecated.*"  # half_cheetah.xml; MuJoCo 4 compiles it all the same


def _quiet() -> None:
    """Keep MuJoCo from writing MUJOCO_LOG.TXT into the working directory and warnings past Python.

    What it warns about is not lost: compilation raises (below), and `RobotEnv` watches `MjData.warning`.
    """
    config = mujoco.MjLogConfig.get()
    config.logto_file = config.logto_console = False
    mujoco.MjLogConfig.set(config)


_quiet()


def compiled(spec: EnvSpec, variation: Variation) -> mujoco.MjModel:
    """Return the model of the env under the variation: a copy of its own for every caller.

    Raises:
        InputError: the model cannot be read or compiled, or an axis does not apply to it.
    """
    axes_only = model_axes.changes_model(variation)
    content = mjcf.digest(Path(spec.model.removeprefix(FILE))) if spec.model.startswith(FILE) else ""
    return copy.copy(_compiled(spec.model, _shape(spec, variation), msgspec.json.encode(axes_only), content))


def recompiled(spec: EnvSpec, variation: Variation) -> mujoco.MjModel:
    """Return what the XML of the edited model compiles to.

    Raises:
        InputError: the model cannot be read, or an axis does not apply to it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _EXPECTED)
        xml = _edited(spec.model, _shape(spec, variation), model_axes.changes_model(variation)).to_xml()
        return mujoco.MjModel.from_xml_string(xml)


@functools.lru_cache(maxsize=64)
def _compiled(model: str, shape: bytes, written: bytes, content: str) -> mujoco.MjModel:
    return _compile(_edited(model, shape, msgspec.json.decode(written, type=Variation)), model)


def _edited(model: str, shape: bytes, variation: Variation) -> mujoco.MjSpec:
    numbers = msgspec.json.decode(shape, type=dict[str, int])
    editable = read(model, numbers)
    if variation != Variation():
        nominal = _compile(read(model, numbers), model)
        model_axes.edit_model(editable, nominal, variation, functools.partial(_compile, model=model))
    return editable


def _shape(spec: EnvSpec, variation: Variation) -> bytes:
    """Return the numbers that the model is built from, those of the variation first."""
    if variation.shape and not spec.model.startswith(FAMILY):
        raise InputError(f"shape does not apply: {spec.model} is not built from numbers")
    return msgspec.json.encode({**spec.shape, **(variation.shape or {})}, order="sorted")


def read(model: str, shape: Mapping[str, int]) -> mujoco.MjSpec:
    """Return the model, not yet compiled, with names given to what its file leaves unnamed.

    Raises:
        InputError: there is no such model, its file is not one, or a family has no member of that shape.
    """
    if model.startswith(FILE):
        mjcf.vet(Path(model.removeprefix(FILE)))
    if model.startswith(FAMILY):
        return build(model.removeprefix(FAMILY), shape)
    path = _path(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _EXPECTED)
        try:
            spec = mujoco.MjSpec.from_file(str(path))
        except ValueError as error:
            raise InputError(f"{model}: {error}") from None
    _name(spec)
    return spec


def _path(model: str) -> Path:
    if model.startswith(FILE):
        return Path(model.removeprefix(FILE))
    if not model.startswith(SHIPPED):
        raise InputError(
            f"model '{model}': a model's name opens with '{SHIPPED}' or '{FAMILY}', or it is a file beside env.toml"
        )
    known = {path.name: path for path in _ASSETS.glob("*.xml")}
    name = model.removeprefix(SHIPPED)
    if name not in known:
        raise unknown("model", name, known)
    return known[name]


def _compile(spec: mujoco.MjSpec, model: str) -> mujoco.MjModel:
    """Return the compiled model; a warning of the compiler is an error: the model is not as its author meant it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", _EXPECTED)
        try:
            return spec.compile()
        except (ValueError, UserWarning) as error:
            raise InputError(f"{model}: {error}") from None


def _name(spec: mujoco.MjSpec) -> None:
    """Name what the file leaves unnamed: bodies and actuators after their joint, a body's only geom after it."""
    for body in spec.bodies:
        if not body.name and body.joints and body.joints[0].name:
            body.name = body.joints[0].name
    _number(spec.bodies, "body")
    _number(spec.joints, "joint")
    taken = {geom.name for geom in spec.geoms}
    for body in spec.bodies:
        if len(body.geoms) == 1 and not body.geoms[0].name and f"{body.name}_geom" not in taken:
            body.geoms[0].name = f"{body.name}_geom"
    _number(spec.geoms, "geom")
    driving = {actuator.name for actuator in spec.actuators}
    for actuator in spec.actuators:
        if not actuator.name and actuator.target not in driving:
            actuator.name = actuator.target
            driving.add(actuator.name)
    _number(spec.actuators, "actuator")


def _number(elements: Iterable[mujoco.MjsElement], kind: str) -> None:
    for index, element in enumerate(elements):
        if not element.name:
            element.name = f"{kind}_{index}"
