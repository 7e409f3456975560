"""From an env and a variation to a compiled MuJoCo model in which everything has a name."""

import copy
import functools
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import gymnasium
import msgspec
import mujoco

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes import model_axes, play_promises, promises, shape_promises
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import EnvSpec
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.model.families import build
from trl_suite.worlds.model.fitting import Fitting, fit, fitting_of
from trl_suite.worlds.model.outside_models import FILE_PREFIX, MENAGERIE_PREFIX, PACKAGE_PREFIX, resolved


class BrokenPromiseError(InputError):
    """A model that is not what an axis promises: the compiler undid the edit, or it moved something else."""


FAMILY = "family:"  # opens the name of a model that `families` builds
GYMNASIUM_PREFIX = "gymnasium:"  # opens the name of a model that Gymnasium's package holds
MODELS_IN_MEMORY = 128  # compiled models that are remembered: more than any robot has variants
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
# MuJoCo takes a mesh for unchanged whose file was written twice in a second: read again, it is what it is
mujoco.mj_setCacheCapacity(mujoco.mj_getCache(), 0)


def compiled(spec: EnvSpec, variation: Variation) -> mujoco.MjModel:
    """Return the model of the env under the variation: a copy of its own for every caller.

    Raises:
        InputError: the model cannot be read or compiled, or an axis does not apply to it.
    """
    axes_only = model_axes.changes_model(variation)
    return copy.copy(
        _compiled(resolved(spec.model), _fitting(spec, variation), msgspec.json.encode(axes_only), _content(spec))
    )


def _content(spec: EnvSpec) -> str:
    """Return the digest of a user's model, "" of one whose name alone says what it is."""
    model = resolved(spec.model)
    return mjcf.digest(Path(model.removeprefix(FILE_PREFIX))) if model.startswith(FILE_PREFIX) else ""


class ShiftedFile(NamedTuple):
    """A model that another package loads from a file, as it stands and under a variation."""

    nominal: mujoco.MjModel
    edited: mujoco.MjModel
    written: mujoco.MjSpec  # the edited model before it was compiled


def shifted_file(path: Path, variation: Variation) -> ShiftedFile:
    """Return the model of a package's file under axes of the model: compiled anew, and what the axes promise.

    Raises:
        InputError: it cannot be read or compiled, or an axis does not apply to it.
    """
    compile_it = functools.partial(_compile, model=str(path))
    nominal_spec, written = opened(path), opened(path)
    nominal = compile_it(nominal_spec)
    model_axes.edit_model(written, nominal, variation, compile_it)
    edited = compile_it(written)
    shaped = variation.size is not None or variation.length is not None
    shares = shape_promises.shares(nominal_spec, nominal) if shaped else None
    for breach in promises.breaches(nominal, edited, variation, shares):
        names = ", ".join(axis for axis, _ in variation.axes())
        raise BrokenPromiseError(f"{names} does not apply: {breach}")
    return ShiftedFile(nominal, edited, written)


def recompiled(spec: EnvSpec, variation: Variation) -> mujoco.MjModel:
    """Return the model that the XML of the edited one compiles to.

    Raises:
        InputError: the model cannot be read, or an axis does not apply to it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _EXPECTED)
        edited = _edited(
            resolved(spec.model), _fitting(spec, variation), model_axes.changes_model(variation), _content(spec)
        )
        return mujoco.MjModel.from_xml_string(edited.to_xml(), _assets(resolved(spec.model)))


def _assets(model: str) -> dict[str, bytes]:
    """Return the files that a user's model needs, by their path below its folder."""
    if not model.startswith(FILE_PREFIX):
        return {}
    path = Path(model.removeprefix(FILE_PREFIX))
    folder = path.parent.resolve()
    return {str(file.relative_to(folder)): file.read_bytes() for file in mjcf.sources(path).assets}


@functools.lru_cache(maxsize=MODELS_IN_MEMORY)
def _compiled(model: str, fitting: bytes, written: bytes, content: str) -> mujoco.MjModel:
    variation = msgspec.json.decode(written, type=Variation)
    compiled_model = _compile(_edited(model, fitting, variation, content), model)
    for breach in _breaches(model, fitting, variation, compiled_model, content):
        names = ", ".join(axis for axis, _ in variation.axes() if axis != "shape")
        raise BrokenPromiseError(f"{names} does not apply: {breach}")
    return compiled_model


@functools.lru_cache(maxsize=8)
def _nominal(model: str, fitting: bytes, content: str) -> tuple[mujoco.MjSpec, mujoco.MjModel]:
    """Return the model as it stands, before and after it is compiled; nobody writes into either."""
    spec = read(model, msgspec.json.decode(fitting, type=Fitting))
    return spec, _compile(spec, model)


def _edited(model: str, fitting: bytes, variation: Variation, content: str) -> mujoco.MjSpec:
    editable = read(model, msgspec.json.decode(fitting, type=Fitting))
    if _is_edit(variation):
        _, nominal = _nominal(model, fitting, content)
        model_axes.edit_model(editable, nominal, variation, functools.partial(_compile, model=model))
    return editable


def _is_edit(variation: Variation) -> bool:
    return any(axis != "shape" for axis, _ in variation.axes())


def _breaches(model: str, fitting: bytes, variation: Variation, edited: mujoco.MjModel, content: str) -> list[str]:
    """Return the breaches of an edited model; of a model without an edit, whether it can be used."""
    if not _is_edit(variation):
        _refuse_unfit(edited, model)
        return []
    spec, nominal = _nominal(model, fitting, content)
    _refuse_unfit(nominal, model)
    rigid = msgspec.structs.replace(variation, backlash=None)
    without = edited if variation.backlash is None else _compile(_edited(model, fitting, rigid, content), model)
    broken: list[str] = []
    if _is_edit(rigid):
        shaped = rigid.size is not None or rigid.length is not None
        broken += promises.breaches(nominal, without, rigid, shape_promises.shares(spec, nominal) if shaped else None)
    if variation.backlash is not None:
        broken += play_promises.play_breaches(without, edited, variation.backlash)
    return broken


def breaches(spec: EnvSpec, variation: Variation) -> tuple[str, ...]:
    """Return in which ways the compiled model is not what the variation's axes promise; none where it can be used.

    Raises:
        InputError: the model cannot be read or compiled, or an axis does not apply to it.
    """
    axes_only, fitting = model_axes.changes_model(variation), _fitting(spec, variation)
    edited = _compile(_edited(resolved(spec.model), fitting, axes_only, _content(spec)), spec.model)
    return tuple(_breaches(resolved(spec.model), fitting, axes_only, edited, _content(spec)))


def edited_model(spec: EnvSpec, variation: Variation) -> mujoco.MjModel:
    """Return the model that the edits make, whether or not it is what they promise.

    Raises:
        InputError: the model cannot be read or compiled, or an axis does not apply to it.
    """
    axes_only = model_axes.changes_model(variation)
    return _compile(_edited(resolved(spec.model), _fitting(spec, variation), axes_only, _content(spec)), spec.model)


def _refuse_unfit(model: mujoco.MjModel, name: str) -> None:
    """Refuse a model that no policy can be trained on here."""
    if model.nu == 0:
        raise InputError(f"{_readable(name)}: it has no actuator: nothing can be learned on it")
    for actuator, count in enumerate(model.actuator_ctrlnum):
        if count != 1:
            called = mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_ACTUATOR, actuator)
            raise InputError(f"{_readable(name)}: actuator '{called}' has {count} controls; an actuator has one here")
    for flag, bit in (("sleep", mujoco.mjtEnableBit.mjENBL_SLEEP), ("ipc", mujoco.mjtEnableBit.mjENBL_IPC)):
        if model.opt.enableflags & int(bit):
            raise InputError(f"{_readable(name)}: <flag {flag}='enable'/> is refused: no batch can keep its state")
    if problem := mjcf.wrong(model):
        raise InputError(f"{_readable(name)}: {problem}")


def _readable(model: str) -> str:
    return model.removeprefix(FILE_PREFIX)


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _fitting(spec: EnvSpec, variation: Variation) -> bytes:
    """Return the numbers that the model is built from, those of the variation first, and all that is added to it."""
    if variation.shape and not spec.model.startswith(FAMILY):
        raise InputError(f"shape does not apply: {spec.model} is not built from numbers")
    return msgspec.json.encode(fitting_of(spec, {**spec.shape, **(variation.shape or {})}))


def read(model: str, fitting: Fitting) -> mujoco.MjSpec:
    """Return the model, not yet compiled, with all that its env's table adds.

    Raises:
        InputError: as `as_written`, or a motor of the table is of a joint that the model lacks.
    """
    spec = as_written(model, fitting.shape)
    fit(spec, fitting, functools.partial(_compile, model=model))
    return spec


def as_written(model: str, shape: Mapping[str, int]) -> mujoco.MjSpec:
    """Return the model, not yet compiled, with names given to what its file leaves unnamed.

    Raises:
        InputError: there is no such model, its file is not one, or a family has no member of that shape.
    """
    if model.startswith(FILE_PREFIX):
        mjcf.vet(Path(model.removeprefix(FILE_PREFIX)))
    if model.startswith(FAMILY):
        return build(model.removeprefix(FAMILY), shape)
    return opened(_path(model))


def opened(path: Path) -> mujoco.MjSpec:
    """Return the model of a trusted file, not yet compiled, with names given to what it leaves unnamed.

    Raises:
        InputError: MuJoCo cannot read it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _EXPECTED)
        try:
            spec = mujoco.MjSpec.from_file(str(path))
        except ValueError as error:
            raise InputError(f"{path}: {_in_one_line(error)}") from None
    if spec.compiler.fusestatic:  # at once, so that the edits meet the bodies that are compiled
        spec.fuse_static()
        spec.compiler.fusestatic = False
    if spec.compiler.discardvisual:
        spec.discard_visual()
        spec.compiler.discardvisual = False
    _name(spec)
    return spec


def _path(model: str) -> Path:
    if model.startswith(FILE_PREFIX):
        return Path(model.removeprefix(FILE_PREFIX))
    if not model.startswith(GYMNASIUM_PREFIX):
        raise InputError(
            f"model '{model}': a model's name opens with '{GYMNASIUM_PREFIX}', '{FAMILY}', "
            f"'{PACKAGE_PREFIX}' or '{MENAGERIE_PREFIX}', or it is a file beside env.toml"
        )
    models = {path.name: path for path in _ASSETS.glob("*.xml")}
    name = model.removeprefix(GYMNASIUM_PREFIX)
    if name not in models:
        raise unknown("model", name, models)
    return models[name]


def _compile(spec: mujoco.MjSpec, model: str) -> mujoco.MjModel:
    """Return the compiled model; a warning of the compiler is an error: the model is not as its author meant it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", _EXPECTED)
        try:
            return spec.compile()
        except (ValueError, UserWarning) as error:
            raise InputError(f"{_readable(model)}: {_in_one_line(error)}") from None


def _name(spec: mujoco.MjSpec) -> None:
    """Name what the file leaves unnamed: bodies and actuators after their joint, a body's only geom after it."""
    bodies = {body.name for body in spec.bodies}
    for body in spec.bodies:
        if not body.name and body.joints and body.joints[0].name and body.joints[0].name not in bodies:
            body.name = body.joints[0].name
            bodies.add(body.name)
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
    _number(spec.tendons, "tendon")
    _number(spec.sites, "site")


def _number(elements: Iterable[mujoco.MjsElement], kind: str) -> None:
    """Name the unnamed after their kind and place; an `a` follows where the file has the name already."""
    listed = list(elements)
    taken = {element.name for element in listed}
    for index, element in enumerate(listed):
        if not element.name:
            name = f"{kind}_{index}"
            while name in taken:
                name += "a"
            element.name = name
            taken.add(name)
