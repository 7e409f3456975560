"""Edits of a robot's shape: the size of its geoms and the length of its limbs, masses following at constant density."""

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from trl_suite.errors import InputError, unknown
from trl_suite.worlds.axes.explicit import index_of
from trl_suite.worlds.axes.meshes import scale_meshes
from trl_suite.worlds.axes.solids import LONG, MESH, ROUND, SOLID, volume
from trl_suite.worlds.axes.variation import Length, Size

VOLUME = 3  # a solid's mass grows with this power of a scale
_ALIKE = 0.999  # two geoms whose masses are this near are equally heavy
# the slides and hinges that stand for a free joint in Gymnasium's planar robots: they stay where the world is
ROOT = {"rootx", "rootz", "rooty", "root", "slider1", "slider2", "free_body_rot"}


def size(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Size | tuple[Size, ...]) -> None:
    """Scale geoms in place: all of a body, one, or all of all bodies that move; `put_back` is to follow.

    Raises:
        InputError: a body or geom does not exist, is changed twice, has no size to scale, or the file fixes the mass.
    """
    free_total_mass(model, nominal)
    changes: dict[str, Size] = {}
    for part in change if isinstance(change, tuple) else (change,):
        for geom in _geoms(model, part):
            if geom.name in changes:
                raise InputError(f"geom '{geom.name}' is changed twice")
            changes[geom.name] = part
            _refuse_unless_sized(geom, nominal, part.only)
            _grow_fixed_mass(model, nominal, geom, part)
            _grow_given_mass(model, geom, nominal, factors(part))
            if not geom.meshname:
                _resize(geom, nominal, factors(part))
    scale_meshes(model, {name: part.scale for name, part in changes.items()})


def put_back(model: mujoco.MjSpec, nominal: mujoco.MjModel, edited: mujoco.MjModel) -> bool:
    """Move meshes to where they were: the compiler adds a mesh's centre, which has grown; return whether any moved."""
    moved = False
    for geom in model.geoms:
        before, after = (index_of(compiled, mujoco.mjtObj.mjOBJ_GEOM, geom.name) for compiled in (nominal, edited))
        if geom.meshname and before >= 0 and np.any(way := nominal.geom_pos[before] - edited.geom_pos[after]):
            _move(geom, way)
            moved = True
    return moved


def factors(change: Size) -> Any:
    """Return by how much a geom's three sizes grow (3,)."""
    radius = 1.0 if change.only == "length" else change.scale
    rest = 1.0 if change.only == "radius" else change.scale
    return np.array([radius, rest, rest])


def length(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Length | tuple[Length, ...]) -> None:
    """Stretch bodies along their main geom; other geoms, child bodies and sites move along and keep their size.

    Raises:
        InputError: a body does not exist, has no long geom or several, is changed twice, or the file fixes its mass.
    """
    free_total_mass(model, nominal)
    stretched: set[str] = set()
    for part in change if isinstance(change, tuple) else (change,):
        if part.body in stretched:
            raise InputError(f"body '{part.body}' is changed twice")
        stretched.add(part.body)
        _stretch(model, nominal, part)


def _stretch(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: Length) -> None:
    body = _body(model, change.body)
    if has_fixed_mass(model, body):
        raise InputError(f"the file fixes the mass of body '{body.name}' in <inertial>: it cannot follow a length")
    main = _main(body, change, nominal)
    if main.typeinertia == mujoco.mjtGeomInertia.mjINERTIA_SHELL:
        raise InputError(f"geom '{main.name}' is a shell, whose mass cannot follow a length")
    for geom in body.geoms:
        _written_out(geom, nominal)
    index = index_of(nominal, mujoco.mjtObj.mjOBJ_GEOM, main.name)
    axis = turned(nominal.geom_quat[index], np.array((0.0, 0.0, 1.0)))
    joints = [joint for joint in body.joints if joint.name not in ROOT]
    fixed = np.array(change.about) if change.about else _place(joints[0], nominal) if joints else np.zeros(3)
    for element in (*body.geoms, *body.sites, *joints, *body.bodies):
        distance = np.dot(_place(element, nominal) - fixed, axis)
        _move(element, (change.scale - 1.0) * distance * axis)
    growth = np.array([1.0, change.scale, 1.0])
    _grow_given_mass(model, main, nominal, growth)
    _resize(main, nominal, growth)


def _place(element: Any, nominal: mujoco.MjModel) -> Any:
    """Return the place of an element in its body's frame, of a child body that of its joint: it hangs on it."""
    kind = _ELEMENT_TYPES[type(element).__name__]
    index = index_of(nominal, kind, element.name)
    if index < 0:
        raise InputError(f"'{element.name}' is merged into another element by the compiler")
    if kind == mujoco.mjtObj.mjOBJ_GEOM:
        return nominal.geom_pos[index].copy()
    if kind == mujoco.mjtObj.mjOBJ_SITE:
        return nominal.site_pos[index].copy()
    if kind == mujoco.mjtObj.mjOBJ_JOINT:
        return nominal.jnt_pos[index].copy()
    joint = nominal.jnt_pos[nominal.body_jntadr[index]] if nominal.body_jntnum[index] else np.zeros(3)
    return nominal.body_pos[index] + turned(nominal.body_quat[index], joint)


_ELEMENT_TYPES = {
    "MjsGeom": mujoco.mjtObj.mjOBJ_GEOM,
    "MjsSite": mujoco.mjtObj.mjOBJ_SITE,
    "MjsJoint": mujoco.mjtObj.mjOBJ_JOINT,
    "MjsBody": mujoco.mjtObj.mjOBJ_BODY,
}


def _move(element: Any, way: Any) -> None:
    """Move an element by a way in its body's frame (3,); what the file gives in a <frame> is turned into it."""
    way = _into_frame(element.frame, way)
    ends = getattr(element, "fromto", None)
    if ends is not None and not np.isnan(ends[0]):
        element.fromto = ends + np.concatenate((way, way))
    else:
        element.pos = element.pos + way


def _into_frame(frame: Any, way: Any) -> Any:
    """Return a way of a body's frame in the coordinates of a <frame> inside it, which may stand in another."""
    chain: list[Any] = []
    while frame is not None:
        chain.append(frame)
        frame = frame.frame
    for outer in reversed(chain):
        quaternion = outer.quat
        if outer.alt.type != mujoco.mjtOrientation.mjORIENTATION_QUAT:
            quaternion = mujoco.MjSpec.resolve_orientation(
                degree=bool(outer.compiler.degree), sequence=outer.compiler.eulerseq, orientation=outer.alt
            )
        turn = np.array(quaternion, float)
        way = turned(turn * np.array([1.0, -1.0, -1.0, -1.0]), way)
    return way


def _resize(geom: Any, nominal: mujoco.MjModel, growth: Any) -> None:
    """Scale a geom's sizes (3,)."""
    _written_out(geom, nominal)
    if np.isnan(geom.fromto[0]):
        geom.size = geom.size * growth
    else:  # in a <frame>: its ends are given, from which MuJoCo takes the half length
        middle, half = (geom.fromto[:3] + geom.fromto[3:]) / 2, (geom.fromto[3:] - geom.fromto[:3]) / 2
        geom.fromto = np.concatenate((middle - half * growth[1], middle + half * growth[1]))
        geom.size = geom.size * np.array([growth[0], 1.0, 1.0])


def _grow_given_mass(model: mujoco.MjSpec, geom: Any, nominal: mujoco.MjModel, growth: Any) -> None:
    """Let a mass that the file gives grow with the geom's volume, or with its surface where it is a shell."""
    if np.isnan(geom.mass):
        return
    if np.ptp(growth) == 0:
        geom.mass *= float(growth[0]) ** mass_exponent(model, geom)
        return
    size, kind = nominal.geom_size[index_of(nominal, mujoco.mjtObj.mjOBJ_GEOM, geom.name)], int(geom.type)
    geom.mass *= volume(kind, size * growth) / volume(kind, size)


def _grow_fixed_mass(model: mujoco.MjSpec, nominal: mujoco.MjModel, geom: Any, change: Size) -> None:
    """Let a body's <inertial> grow with its only geom, about whose centre all of the body's mass then grows.

    Raises:
        InputError: the body has several geoms with mass, or the geom grows along some of its axes alone.
    """
    body = geom.parent
    if not has_fixed_mass(model, body) or not has_mass(geom):
        return
    where = f"the file fixes the mass of body '{body.name}' in <inertial>"
    massive = [other.name for other in body.geoms if has_mass(other)]
    if len(massive) > 1:
        raise InputError(f"{where}, and not which share of it each of {', '.join(massive)} has")
    if change.only is not None or mass_exponent(model, geom) != VOLUME:
        raise InputError(f"{where}: it can follow a solid geom that grows as a whole, not its {change.only or 'shell'}")
    index = index_of(nominal, mujoco.mjtObj.mjOBJ_BODY, body.name)
    centre, scale = nominal.geom_pos[index_of(nominal, mujoco.mjtObj.mjOBJ_GEOM, geom.name)], change.scale
    body.ipos = centre + scale * (nominal.body_ipos[index] - centre)
    body.mass *= scale**VOLUME
    body.inertia, body.fullinertia = body.inertia * scale ** (VOLUME + 2), body.fullinertia * scale ** (VOLUME + 2)


def mass_exponent(model: mujoco.MjSpec, geom: Any) -> int:
    """Return with which power of a scale a geom's mass grows: VOLUME, or one less where it is a shell."""
    if int(geom.type) == int(mujoco.mjtGeom.mjGEOM_MESH):
        shells = {mesh.name for mesh in model.meshes if mesh.inertia == mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL}
        return VOLUME - (geom.meshname in shells)
    return VOLUME - (geom.typeinertia == mujoco.mjtGeomInertia.mjINERTIA_SHELL)


def has_mass(geom: Any) -> bool:
    """Return whether a geom counts towards the mass of its body, where that is not given."""
    low, high = geom.compiler.inertiagrouprange
    return bool(low <= geom.group <= high and (geom.density > 0 if np.isnan(geom.mass) else geom.mass > 0))


def has_fixed_mass(model: mujoco.MjSpec, body: Any) -> bool:
    """Return whether a body's mass is that of its <inertial>, whatever its geoms are."""
    source = model.compiler.inertiafromgeom
    always = source == mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_TRUE
    never = source == mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_FALSE
    return never or (body.explicitinertial and not always)


def _main(body: Any, change: Length, nominal: mujoco.MjModel) -> Any:
    """Return the geom that is stretched: the named one, or the heaviest long one; decoration has no mass."""
    long = {geom.name: geom for geom in body.geoms if int(geom.type) in LONG and not geom.meshname}
    if change.geom:
        if change.geom not in long:
            raise unknown("long geom", change.geom, long)
        return long[change.geom]
    masses = {name: _mass(geom, nominal) for name, geom in long.items()}
    heavy = [name for name, mass in masses.items() if mass > 0 and mass > _ALIKE * max(masses.values())]
    if not heavy:
        raise InputError(f"body '{body.name}' has no capsule or cylinder to stretch")
    if len(heavy) > 1:
        raise InputError(f"body '{body.name}' has several long geoms, {', '.join(heavy)}: name one as `geom`")
    return long[heavy[0]]


def _mass(geom: Any, nominal: mujoco.MjModel) -> float:
    index = index_of(nominal, mujoco.mjtObj.mjOBJ_GEOM, geom.name)
    if index < 0 or not np.isnan(geom.mass):
        return float(np.nan_to_num(geom.mass))
    return float(geom.density * volume(int(geom.type), nominal.geom_size[index]))


def _body(model: mujoco.MjSpec, name: str) -> Any:
    bodies = {body.name: body for body in model.bodies if body.name != "world"}
    if name not in bodies:
        raise unknown("body", name, bodies)
    return bodies[name]


def _geoms(model: mujoco.MjSpec, change: Size) -> Sequence[Any]:
    moving = [geom for body in model.bodies if body.name != "world" for geom in body.geoms]
    if change.geom:
        named = [geom for geom in moving if geom.name == change.geom]
        if not named:
            raise unknown("geom", change.geom, [geom.name for geom in moving])
        return named
    if not change.body:
        return moving
    geoms = list(_body(model, change.body).geoms)
    if not geoms:
        raise InputError(f"body '{change.body}' has no geom")
    return geoms


def _refuse_unless_sized(geom: Any, nominal: mujoco.MjModel, only: str | None) -> None:
    """Refuse a geom that has no size of its own and no mesh, or not the size that is asked for."""
    kind = int(geom.type)
    name = mujoco.mjtGeom(kind).name.removeprefix("mjGEOM_").lower()
    if kind not in (*SOLID, MESH):
        raise InputError(f"geom '{geom.name}' is a {name}, which has no size to scale")
    if only is not None and geom.meshname:
        raise InputError(f"geom '{geom.name}' has its shape from mesh '{geom.meshname}', which has no {only}")
    if (only == "radius" and kind not in ROUND) or (only == "length" and kind not in LONG):
        raise InputError(f"geom '{geom.name}' is a {name}, which has no {only}")
    if only is not None and geom.typeinertia == mujoco.mjtGeomInertia.mjINERTIA_SHELL:
        raise InputError(f"geom '{geom.name}' is a shell: it can grow as a whole, not its {only}")
    if index_of(nominal, mujoco.mjtObj.mjOBJ_GEOM, geom.name) < 0:
        raise InputError(f"geom '{geom.name}' is left out by the compiler")


def _written_out(geom: Any, nominal: mujoco.MjModel) -> None:
    """Write a geom as place, turn and size: where the file gives its two ends, an edit of its size would be lost."""
    if geom.meshname or geom.frame is not None:
        return  # what a mesh or a <frame> adds would be added twice
    if np.isnan(geom.fromto[0]) and geom.alt.type == mujoco.mjtOrientation.mjORIENTATION_QUAT:
        return
    index = index_of(nominal, mujoco.mjtObj.mjOBJ_GEOM, geom.name)
    geom.fromto = np.full(6, np.nan)
    geom.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT
    geom.pos, geom.quat, geom.size = nominal.geom_pos[index], nominal.geom_quat[index], nominal.geom_size[index]


def free_total_mass(model: mujoco.MjSpec, nominal: mujoco.MjModel) -> None:
    """Write `settotalmass` (HalfCheetah) into the densities: a body's new shape then leaves the other masses alone."""
    if model.compiler.settotalmass <= 0:
        return
    model.compiler.settotalmass = -1
    scale = nominal.body_mass.sum() / model.compile().body_mass.sum()
    for geom in model.geoms:
        if np.isnan(geom.mass):
            geom.density *= scale
        else:
            geom.mass *= scale
    for body in model.bodies:
        if body.explicitinertial:
            body.mass, body.inertia, body.fullinertia = (
                body.mass * scale,
                body.inertia * scale,
                body.fullinertia * scale,
            )


def turned(quaternion: Any, vector: Any) -> Any:
    """Return a vector (3,) turned by a quaternion (w, x, y, z), of any norm."""
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, quaternion / np.linalg.norm(quaternion))
    return matrix.reshape(3, 3) @ vector
