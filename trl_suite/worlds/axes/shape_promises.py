"""The promises of `size` and `length` about a compiled model: places and sizes, and masses at constant density."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.worlds.axes.explicit import index_of
from trl_suite.worlds.axes.meshes import vertices
from trl_suite.worlds.axes.shapes import ROOT, VOLUME, factors, has_fixed_mass, has_mass, mass_exponent, turned
from trl_suite.worlds.axes.solids import LONG, MESH, SOLID, inertia, volume
from trl_suite.worlds.axes.variation import Length, Size

Floats = NDArray[np.float64]
_OBJECT = mujoco.mjtObj
_SHAPE_TOLERANCE = 1e-5
_TURN_TOLERANCE = 1e-10  # of the cosine of half an angle: about 1e-5 rad


class Shares(NamedTuple):
    """How the bodies' masses are shared among their geoms, by the file's masses and densities."""

    mass: Floats  # kg, per geom: 0 of what counts towards no mass
    exponent: NDArray[np.int64]  # per geom: its mass grows with this power of its scale
    tensor: Floats  # m², (ngeom, 3, 3): inertia per mass in the geom's frame; NaN where a formula gives it at any size
    fixed: NDArray[np.bool_]  # per body: the file gives its mass, whatever its geoms are


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
    result = Shares(
        mass=np.zeros(model.ngeom),
        exponent=np.full(model.ngeom, VOLUME),
        tensor=np.full((model.ngeom, 3, 3), np.nan),
        fixed=np.zeros(model.nbody, dtype=bool),
    )
    for body in spec.bodies:
        if (index := index_of(model, _OBJECT.mjOBJ_BODY, body.name)) >= 0:
            result.fixed[index] = has_fixed_mass(spec, body)
    indices = [index_of(model, _OBJECT.mjOBJ_GEOM, geom.name) for geom in spec.geoms]
    massive = [(index, geom) for index, geom in zip(indices, spec.geoms, strict=True) if index >= 0 and has_mass(geom)]
    by_formula = [pair for pair in massive if int(pair[1].type) in SOLID and not _is_shell(spec, pair[1])]
    for index, geom in by_formula:
        solid = volume(int(geom.type), model.geom_size[index])
        result.mass[index] = geom.density * solid if np.isnan(geom.mass) else geom.mass
    _probe(spec, model, [pair for pair in massive if pair not in by_formula], result)
    total = spec.compiler.settotalmass
    if total > 0:
        explicit = sum(body.mass for body in spec.bodies if body.explicitinertial)
        result.mass[:] *= total / (result.mass[~result.fixed[model.geom_bodyid]].sum() + explicit)
    return result


def _is_shell(spec: mujoco.MjSpec, geom: Any) -> bool:
    return mass_exponent(spec, geom) != VOLUME


def _probe(spec: mujoco.MjSpec, model: mujoco.MjModel, geoms: list[tuple[int, Any]], result: Shares) -> None:
    """Write mass and inertia of meshes and shells, each compiled as the only geom of a body of its own."""
    geoms = [(index, geom) for index, geom in geoms if int(geom.type) in (*SOLID, MESH)]
    if not geoms:
        return
    probe = spec.copy()
    probe.compiler.settotalmass, probe.compiler.boundmass, probe.compiler.boundinertia = -1, 0.0, 0.0
    probe.compiler.inertiafromgeom = mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_AUTO
    probe.compiler.balanceinertia = False
    names = {body.name for body in spec.bodies} | {geom.name for geom in spec.geoms}
    label = next(f"probe{'_' * count}" for count in range(len(names) + 1) if f"probe{'_' * count}0" not in names)
    for index, geom in geoms:
        alone = probe.worldbody.add_body(name=f"{label}{index}").add_geom(
            type=geom.type, meshname=geom.meshname, typeinertia=geom.typeinertia, group=geom.group, mass=np.nan,
            density=1.0, size=model.geom_size[index], pos=np.zeros(3), quat=[1, 0, 0, 0], fromto=np.full(6, np.nan),
            name=f"{label}{index}",
        )  # fmt: skip
        if int(geom.type) != MESH:
            alone.meshname = ""
    compiled = probe.compile()
    for index, geom in geoms:
        alone = _of_body(compiled, compiled.body(f"{label}{index}").id)
        turn = _matrix(compiled.geom(f"{label}{index}").quat)
        result.mass[index] = geom.density * alone.mass if np.isnan(geom.mass) else geom.mass
        result.exponent[index] = mass_exponent(spec, geom)
        central = alone.tensor - alone.mass * _steiner(alone.moment / alone.mass)
        result.tensor[index] = turn.T @ central @ turn / alone.mass


def promise_size(model: mujoco.MjModel, nominal: mujoco.MjModel, change: Any, masses: Shares) -> Floats:
    """Write into a copy of the nominal model what a change of sizes makes of it; return the growths (ngeom, 3)."""
    growth = np.ones((nominal.ngeom, 3))
    for part in change if isinstance(change, tuple) else (change,):
        growth[_geoms(nominal, part)] = factors(part)
    _grow(model, nominal, growth, np.zeros((nominal.ngeom, 3)), masses)
    return growth


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
    for body in map(int, np.unique(nominal.geom_bodyid[changed])):
        if masses.fixed[body]:
            _grow_as_a_whole(model, nominal, body, growth, masses)
            continue
        _refuse_unless_sum(nominal, body, masses)
        _write_inertial(model, body, _total(model, body, growth, masses))


def _grow_as_a_whole(model: mujoco.MjModel, nominal: mujoco.MjModel, body: int, growth: Floats, masses: Shares) -> None:
    """Write the inertial of a body of fixed mass that grows about the centre of its only geom with mass."""
    for geom in np.flatnonzero((nominal.geom_bodyid == body) & (masses.mass > 0)):
        scale, centre = growth[geom, 0], nominal.geom_pos[geom]
        model.body_mass[body] = nominal.body_mass[body] * scale**3
        model.body_inertia[body] = nominal.body_inertia[body] * scale**5
        model.body_ipos[body] = centre + scale * (nominal.body_ipos[body] - centre)


def _refuse_unless_sum(nominal: mujoco.MjModel, body: int, masses: Shares) -> None:
    """Refuse a body that is not the sum of its geoms."""
    solids, whole = _total(nominal, body, np.ones((nominal.ngeom, 3)), masses), _of_body(nominal, body)
    off = abs(whole.mass - solids.mass) > _SHAPE_TOLERANCE * whole.mass
    off |= bool(np.abs(whole.tensor - solids.tensor).max() > _SHAPE_TOLERANCE * np.abs(whole.tensor).max())
    if off:
        name = nominal.body(body).name
        raise InputError(f"the mass of body '{name}' is not that of its geoms: it cannot follow a shape")


def _of_body(model: mujoco.MjModel, body: int) -> _Inertial:
    matrix, mass, centre = _matrix(model.body_iquat[body]), float(model.body_mass[body]), model.body_ipos[body]
    central = matrix * model.body_inertia[body] @ matrix.T
    return _Inertial(mass, mass * centre, central + mass * _steiner(centre))


def _matrix(quaternion: Any) -> Any:
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, quaternion)
    return turn.reshape(3, 3)


def _steiner(place: Any) -> Any:
    return np.dot(place, place) * np.eye(3) - np.outer(place, place)


def _total(model: mujoco.MjModel, body: int, growth: Floats, masses: Shares) -> _Inertial:
    """Return the inertial of a body's geoms about its origin, masses growing at constant density."""
    mass, moment, tensor = 0.0, np.zeros(3), np.zeros((3, 3))
    for geom in np.flatnonzero((model.geom_bodyid == body) & (masses.mass > 0)):
        kind, place, size = int(model.geom_type[geom]), model.geom_pos[geom], model.geom_size[geom]
        if np.isnan(masses.tensor[geom]).any():
            part = masses.mass[geom] * volume(kind, size) / volume(kind, size / growth[geom])
            central = np.diag(inertia(kind, size))
        else:
            part = masses.mass[geom] * growth[geom, 0] ** masses.exponent[geom]
            central = masses.tensor[geom] * growth[geom, 0] ** 2
        turn = _matrix(model.geom_quat[geom])
        mass, moment = mass + part, moment + part * place
        tensor = tensor + part * (turn @ central @ turn.T + _steiner(place))
    return _Inertial(mass, moment, tensor)


def _write_inertial(model: mujoco.MjModel, body: int, solids: _Inertial) -> None:
    mass = solids.mass
    if mass <= 0:
        return
    centre = solids.moment / mass
    central = solids.tensor - mass * _steiner(centre)
    moments, axes = np.linalg.eigh(central)
    axes = axes * np.linalg.det(axes)  # a turn, no mirror
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(axes).reshape(-1))
    model.body_mass[body], model.body_inertia[body] = mass, moments
    model.body_ipos[body], model.body_iquat[body] = centre, quaternion


def misgrown_meshes(nominal: mujoco.MjModel, edited: mujoco.MjModel, growth: Floats) -> Iterator[str]:
    """Yield in words the geoms whose meshes have not grown as promised (ngeom, 3), or stand in other axes.

    A mesh's own axes are those of its inertia. Where two of its moments are alike, rounding decides which they are:
    a sensor of the geom's frame, or the drag of a fluid, would change with them.
    """
    for geom in map(int, np.flatnonzero(nominal.geom_type == MESH)):
        name = f"geom '{nominal.geom(geom).name}'"
        expected, corners = vertices(nominal, geom) * growth[geom], vertices(edited, geom)
        reach = float(np.abs(expected).max(initial=0.0))
        if expected.shape != corners.shape or not np.allclose(corners, expected, atol=_SHAPE_TOLERANCE * reach):
            yield f"the mesh of {name} is not {growth[geom, 0]:g} times what it was"
        elif abs(np.dot(nominal.geom_quat[geom], edited.geom_quat[geom])) < 1 - _TURN_TOLERANCE:
            yield f"the mesh of {name} has moments that are alike: at that scale MuJoCo turns its axes; at 0.5 or 2 not"
