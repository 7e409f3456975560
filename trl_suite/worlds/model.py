"""From an env and a variation to a compiled MuJoCo model in which everything has a name."""

import copy
import functools
import warnings
from collections.abc import Iterable
from pathlib import Path

import gymnasium
import msgspec
import mujoco

from trl_suite.errors import InputError, unknown
from trl_suite.worlds import axes
from trl_suite.worlds.spec import EnvSpec
from trl_suite.worlds.variation import Variation

SHIPPED = "gymnasium:"  # opens the name of a model that Gymnasium's package holds
_ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
_EXPECTED = ".*'settotalmass' is deprecated.*"  # half_cheetah.xml; MuJoCo 4 compiles it all the same


def _quiet() -> None:
    """Keep MuJoCo from writing MUJOCO_LOG.TXT into the working directory and warnings past Python.

    What it warns about is not lost: compilation raises (below), and `World` watches `MjData.warning`.
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
    axes_only = axes.changes_model(variation)
    return copy.copy(_compiled(spec.model, msgspec.json.encode(spec.shape), msgspec.json.encode(axes_only)))


@functools.lru_cache(maxsize=64)
def _compiled(model: str, shape: bytes, written: bytes) -> mujoco.MjModel:
    editable = read(model)
    variation = msgspec.json.decode(written, type=Variation)
    if variation == Variation():
        return _compile(editable, model)
    nominal = _compiled(model, shape, msgspec.json.encode(Variation()))
    axes.edit_model(editable, nominal, variation, functools.partial(_compile, model=model))
    return _compile(editable, model)


def read(model: str) -> mujoco.MjSpec:
    """Return the model, not yet compiled, with names given to what its file leaves unnamed.

    Raises:
        InputError: there is no such model, or its file is not one.
    """
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
    if not model.startswith(SHIPPED):
        raise InputError(f"model '{model}': a model's name opens with '{SHIPPED}'")
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
    """Name unnamed actuators after their joint, other elements after their place in the file."""
    _number(spec.bodies, "body")
    _number(spec.joints, "joint")
    _number(spec.geoms, "geom")
    taken = {actuator.name for actuator in spec.actuators}
    for actuator in spec.actuators:
        if not actuator.name and actuator.target not in taken:
            actuator.name = actuator.target
            taken.add(actuator.name)
    _number(spec.actuators, "actuator")


def _number(elements: Iterable[mujoco.MjsElement], kind: str) -> None:
    for index, element in enumerate(elements):
        if not element.name:
            element.name = f"{kind}_{index}"
