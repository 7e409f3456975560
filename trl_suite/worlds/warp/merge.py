"""Several compiled models as one on the device, whose numbers are per world.

Every number is taken from a model that MuJoCo has compiled, what MuJoCo derives from others included: nothing is edited
on the device. What is no number per world there (shapes, flags, kinds) must be the same in all models.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.worlds.address import Address
from trl_suite.worlds.stepping.domain_pool import refuse_pool, size
from trl_suite.worlds.stepping.env import built
from trl_suite.worlds.warp import warp_library

NEWTON_ITERATIONS = 100  # MuJoCo's default
# whether any world's numbers ask for a computation; worlds whose numbers do not get nothing from it
_FEATURE_FLAGS = ("has_fluid", "has_tendon_stiffness", "has_tendon_damping", "has_efm_actuator")
_UNUSED = ("dof_length", "stat")  # by sleeping worlds, and by the camera


class ModelField(NamedTuple):
    """One field of a device model."""

    owner: str  # "" or "opt"
    name: str
    kind: Any

    @property
    def label(self) -> str:
        """The field's name, with its owner's."""
        return f"{self.owner}.{self.name}" if self.owner else self.name

    def of(self, model: Any) -> Any:
        """Return the field's value in a device model."""
        return getattr(self.holder(model), self.name)

    def holder(self, model: Any) -> Any:
        """Return the struct that has the field."""
        return getattr(model, self.owner) if self.owner else model


def solvable(model: mujoco.MjModel) -> mujoco.MjModel:
    """Return the model with a solver that Warp has: Newton's in place of PGS, in a copy.

    Both find the same minimum. Gymnasium's Humanoids ask for 50 iterations of PGS, which the CPU engines keep.
    """
    if model.opt.solver != mujoco.mjtSolver.mjSOL_PGS:
        return model
    changed = mujoco.MjModel.__copy__(model)
    changed.opt.solver, changed.opt.iterations = mujoco.mjtSolver.mjSOL_NEWTON, NEWTON_ITERATIONS
    return changed


def device_model(model: mujoco.MjModel) -> Any:
    """Return one model on the device.

    Raises:
        InputError: Warp cannot run it; the message says what it lacks.
    """
    _refuse_height_fields(model)
    try:
        return warp_library.library().mujoco_warp.put_model(model)
    except NotImplementedError as error:
        raise InputError(f"physics on Warp: {error}; physics = 'mujoco' simulates on the CPU's cores") from None


def _refuse_height_fields(model: mujoco.MjModel) -> None:
    """Refuse a model with a height field: at its cells' edges, contacts of mujoco-warp 4.0.0 are not MuJoCo's.

    Raises:
        InputError: it has one.
    """
    fields = np.flatnonzero(model.geom_type == int(mujoco.mjtGeom.mjGEOM_HFIELD))
    if len(fields):
        raise InputError(
            f"physics on Warp: contacts with the height field '{model.geom(int(fields[0])).name}' are not MuJoCo's; "
            "physics = 'mujoco' simulates on the CPU's cores"
        )


def merged(models: Sequence[mujoco.MjModel], model_indices: NDArray[np.int64], names: Sequence[str]) -> Any:
    """Return one model on the device for many worlds.

    Args:
        models: the different ones, with solvers that Warp has.
        model_indices: which of them each env has (envs,).
        names: of the different ones, for messages.

    Raises:
        InputError: two differ in what cannot differ between worlds; the message names the field.
    """
    device_models = [device_model(model) for model in models]
    first = device_models[0]
    for entry in _entries():
        values = [entry.of(item) for item in device_models]
        if warp_library.per_world(entry.kind):
            _spread(entry, first, values, model_indices)
        elif entry.name in _FEATURE_FLAGS:
            setattr(entry.holder(first), entry.name, any(values))
        else:
            _refuse_unless_equal(entry, values, names)
    return first


def structure(model: mujoco.MjModel) -> str:
    """Return a digest that models share exactly when their worlds can be of one batch."""
    device, digest = device_model(solvable(model)), hashlib.sha256()
    for entry in _entries():
        if not warp_library.per_world(entry.kind) and entry.name not in _FEATURE_FLAGS:
            digest.update(repr((entry.label, _plain(entry.of(device)))).encode())
    return digest.hexdigest()[:16]


def shared(address: str) -> str:
    """Return a digest that worlds share exactly when they can be of one batch: that of the model, and of the steps.

    Raises:
        InputError: there is no such env, variant or axis, or Warp cannot run it.
        NotInstalledError: Warp is missing.
    """
    refuse_pool(address, size(address))
    table, model, *_ = built(Address.parse(address))
    return f"{structure(model)}-{table.frame_skip}"


def _entries() -> Iterator[ModelField]:
    types: Any = warp_library.library().mujoco_warp
    for name, kind in warp_library.annotations(types.Model).items():
        if name not in ("opt", *_UNUSED):
            yield ModelField("", name, kind)
    for name, kind in warp_library.annotations(types.Option).items():
        yield ModelField("opt", name, kind)


def _spread(entry: ModelField, first: Any, values: Sequence[Any], model_indices: NDArray[np.int64]) -> None:
    """Give the first model a row per world where the models differ."""
    rows = [value.numpy() for value in values]
    if all(np.array_equal(row, rows[0]) for row in rows):
        return
    warp = warp_library.library().warp
    rows_per_env = warp.array(np.concatenate(rows)[model_indices], dtype=values[0].dtype)
    setattr(entry.holder(first), entry.name, warp_library.own_rows(rows_per_env))


def _refuse_unless_equal(entry: ModelField, values: Sequence[Any], names: Sequence[str]) -> None:
    expected = _plain(values[0])
    for value, name in zip(values, names, strict=True):
        if _plain(value) != expected:
            raise InputError(
                f"{name} differs from {names[0]} in {entry.label}, which all worlds of a batch on Warp share: "
                "put it into a batch of its own"
            )


def _plain(value: Any) -> Any:
    """Return a value as what Python compares and prints: arrays with their shape and bytes."""
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, hashlib.sha256(value.tobytes()).hexdigest()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return [(name, _plain(getattr(value, name))) for name in value.__dataclass_fields__]
    return value
