"""The promises of `size` and `length` about a compiled model: places and sizes, and masses at constant density."""

from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.worlds.axes.explicit import index_of
from trl_suite.worlds.axes.shapes import ROOT, factors, turned
from trl_suite.worlds.axes.solids import LONG, SOLID, inertia, volume
from trl_suite.worlds.axes.variation import Length, Size

_OBJECT = mujoco.mjtObj
_SHAPE_TOLERANCE = 1e-5


class Shares(NamedTuple):
    """How the bodies' masses are shared among their geoms, and which geom a file calls massless or fits to a mesh."""

    mass: NDArray[np.float64]  # kg, per geom; NaN where a shape has no formula


class _Inertial(NamedTuple):
    mass: float
    moment: Any  # mass times centre (3,)
    tensor: Any  # about the body's origin (3, 3)


def shares(spec: mujoco.MjSpec, model: mujoco.MjModel) -> Shares:
    """Return the mass of each geom, as the file's masses and densities give them.

    Args:
        spec: the model before it was compiled.
        model: the same model, compiled.
    """
    mass = np.full(model.ngeom, np.nan)
    for geom in spec.geoms:
        index = index_of(model, _OBJECT.mjOBJ_GEOM, geom.name)
        if index >= 0 and int(geom.type) in SOLID and not geom.meshname:
            solid = volume(int(geom.type), model.geom_size[index])
            mass[index] = geom.density * solid if np.isnan(geom.mass) else geom.mass
    total = spec.compiler.settotalmass
    if total > 0:
        fixed = sum(body.mass for body in spec.bodies if body.explicitinertial)
        mass *= total / (np.nansum(mass) + fixed)
    return Shares(mass)


def promise_size(model: mujoco.MjModel, nominal: mujoco.MjModel, change: Any, masses: Shares) -> None:
    """Write into a copy of the nominal model what a change of sizes makes of it."""
    growth = np.ones((nominal.ngeom, 3))
    for part in change if isinstance(change, tuple) else (change,):
        growth[_geoms(nominal, part)] = factors(part)
    _grow(model, nominal, growth, np.zeros((nominal.ngeom, 3)), masses)


def _geoms(nominal: mujoco.MjModel, change: Size) -> Any:
    if change.geom:
        return [index_of(nominal, _OBJECT.mjOBJ_GEOM, change.geom)]
    if change.body:
        return nominal.geom_bodyid == index_of(nominal, _OBJECT.mjOBJ_BODY, change.body)
    return nominal.geom_bodyid > 0


def promise_length(model: mujoco.MjModel, nominal: mujoco.MjModel, change: Any, masses: Shares) -> None:
    """Write into a copy of the nominal model what a stretch of bodies makes of it."""
    growth, ways = np.ones((nominal.ngeom, 3)), np.zeros((nominal.ngeom, 3))
    for part in change if isinstance(change, tuple) else (change,):
        body = index_of(nominal, _OBJECT.mjOBJ_BODY, part.body)
        main = _main(nominal, body, part, masses)
        axis = turned(nominal.geom_quat[main], np.array((0.0, 0.0, 1.0)))
        joints = [
            int(row) for row in np.flatnonzero(nominal.jnt_bodyid == body) if nominal.joint(int(row)).name not in ROOT
        ]
        fixed = np.array(part.about) if part.about else nominal.jnt_pos[joints[0]] if joints else np.zeros(3)
        project = (part.scale - 1.0) * np.outer(axis, axis)
        growth[main, 1] = part.scale
        own_geoms = nominal.geom_bodyid == body
        ways[own_geoms] = (nominal.geom_pos[own_geoms] - fixed) @ project
        for field, rows in (("jnt_pos", joints), ("site_pos", np.flatnonzero(nominal.site_bodyid == body))):
            getattr(model, field)[rows] += (getattr(nominal, field)[rows] - fixed) @ project
        for child in np.flatnonzero(nominal.body_parentid == body):
            if child != body:
                model.body_pos[child] += project @ (_hinge(nominal, int(child)) - fixed)
    _grow(model, nominal, growth, ways, masses)


def _main(nominal: mujoco.MjModel, body: int, change: Length, masses: Shares) -> int:
    if change.geom:
        return index_of(nominal, _OBJECT.mjOBJ_GEOM, change.geom)
    long = (nominal.geom_bodyid == body) & np.isin(nominal.geom_type, LONG) & (masses.mass > 0)
    return int(np.argmax(np.where(long, masses.mass, -1.0)))


def _hinge(nominal: mujoco.MjModel, child: int) -> Any:
    """Return where a body's first joint is in its parent's frame, or the body where it has none."""
    joint = nominal.jnt_pos[nominal.body_jntadr[child]] if nominal.body_jntnum[child] else np.zeros(3)
    return nominal.body_pos[child] + turned(nominal.body_quat[child], joint)


def _grow(model: mujoco.MjModel, nominal: mujoco.MjModel, growth: Any, ways: Any, masses: Shares) -> None:
    """Write grown (ngeom, 3) and moved (ngeom, 3) geoms, and their bodies' inertials, into a copy of a model."""
    model.geom_size[:] = nominal.geom_size * growth
    model.geom_pos[:] = nominal.geom_pos + ways
    changed = (growth != 1.0).any(axis=1) | (ways != 0.0).any(axis=1)
    for body in np.unique(nominal.geom_bodyid[changed]):
        rest = _rest(nominal, int(body), masses, ways)
        _write_inertial(model, int(body), _total(model, nominal, int(body), masses), rest)


def _rest(nominal: mujoco.MjModel, body: int, masses: Shares, ways: Any) -> _Inertial:
    """Return the meshes' part of a body's inertial, moved; refuse a body that is not the sum of its geoms."""
    solids, whole = _total(nominal, nominal, body, masses), _of_body(nominal, body)
    rest = _Inertial(whole.mass - solids.mass, whole.moment - solids.moment, whole.tensor - solids.tensor)
    unknown = np.isnan(masses.mass) & (nominal.geom_bodyid == body)
    off = abs(rest.mass) > _SHAPE_TOLERANCE * whole.mass
    off |= bool(np.abs(rest.tensor).max() > _SHAPE_TOLERANCE * np.abs(whole.tensor).max())
    if off and not unknown.any():
        name = nominal.body(body).name
        raise InputError(f"the mass of body '{name}' is not that of its geoms: it cannot follow a shape")
    if not off:
        return _Inertial(0.0, np.zeros(3), np.zeros((3, 3)))
    way = ways[unknown][0]
    if np.abs(ways[unknown] - way).max() > 0.0:
        raise InputError(f"body '{nominal.body(body).name}' has several meshes, whose masses cannot be told apart")
    centre = rest.moment / rest.mass
    moved = rest.tensor + rest.mass * (_steiner(centre + way) - _steiner(centre))
    return _Inertial(rest.mass, rest.moment + rest.mass * way, moved)


def _of_body(model: mujoco.MjModel, body: int) -> _Inertial:
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.body_iquat[body])
    matrix, mass, centre = turn.reshape(3, 3), float(model.body_mass[body]), model.body_ipos[body]
    central = matrix * model.body_inertia[body] @ matrix.T
    return _Inertial(mass, mass * centre, central + mass * _steiner(centre))


def _steiner(place: Any) -> Any:
    return np.dot(place, place) * np.eye(3) - np.outer(place, place)


def _total(model: mujoco.MjModel, nominal: mujoco.MjModel, body: int, masses: Shares) -> _Inertial:
    """Return the inertial of a body's solids about its origin, masses growing with their volumes."""
    mass, moment, tensor = 0.0, np.zeros(3), np.zeros((3, 3))
    for geom in np.flatnonzero((nominal.geom_bodyid == body) & (masses.mass > 0)):
        kind, place = int(model.geom_type[geom]), model.geom_pos[geom]
        part = masses.mass[geom] * volume(kind, model.geom_size[geom]) / volume(kind, nominal.geom_size[geom])
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
        matrix = turn.reshape(3, 3)
        mass, moment = mass + part, moment + part * place
        tensor = tensor + part * (matrix * inertia(kind, model.geom_size[geom]) @ matrix.T + _steiner(place))
    return _Inertial(mass, moment, tensor)


def _write_inertial(model: mujoco.MjModel, body: int, solids: _Inertial, rest: _Inertial) -> None:
    mass = solids.mass + rest.mass
    if mass <= 0:
        return
    centre = (solids.moment + rest.moment) / mass
    central = solids.tensor + rest.tensor - mass * _steiner(centre)
    moments, axes = np.linalg.eigh(central)
    axes = axes * np.linalg.det(axes)  # a turn, no mirror
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(axes).reshape(-1))
    model.body_mass[body], model.body_inertia[body] = mass, moments
    model.body_ipos[body], model.body_iquat[body] = centre, quaternion
