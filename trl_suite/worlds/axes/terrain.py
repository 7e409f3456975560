"""Uneven ground in place of a flat floor: its heights from a seed, the edit, and the proof that it lies there.

The floor stays the same geom, with its name, friction and softness; its plane becomes a height field of MuJoCo's.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from trl_suite.errors import InputError
from trl_suite.worlds.axes.idle import refuse_disabled
from trl_suite.worlds.axes.variation import CELLS_PER_HILL, Terrain

Floats = NDArray[np.float64]

_PLANE, _FIELD = int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_HFIELD)
_THICKNESS = 1.0  # m of ground below the lowest point
_RAYS = 64  # points at which the compiled ground is measured
_RAY_FROM = 10.0  # m above the flat start
_HEIGHT_TOLERANCE = 1e-5  # m: heights are stored in single precision
OF_TERRAIN = ("hfield_", "nhfield", "name_", "names_", "nnames", "npaths")  # checked by `ground_breaches`


def as_terrain(change: float | Terrain) -> Terrain:
    """Terrain of an axis' value, whose bare number is a height."""
    return change if isinstance(change, Terrain) else Terrain(height=change)


class Ground(NamedTuple):
    """A height field: the places of its nodes, and the heights there, in m; its middle is flat, at height 0."""

    x: Floats  # (columns,)
    y: Floats  # (rows,)
    heights: Floats  # (rows, columns)


def ground_of(change: Terrain) -> Ground:
    """Ground that follows from its numbers and its seed.

    Hills are value noise: random heights at a square lattice, joined by the fade curve s(t) = 6t⁵ - 15t⁴ + 10t³ (Perlin
    2002, "Improving Noise"). Steps are blocks of the lattice's heights. The bits of PCG64 are fixed by its definition
    (O'Neill 2014), so that a seed is the same ground everywhere.

    Raises:
        InputError: the flat middle leaves no hills.
    """
    columns, rows = change.nodes
    x, y = _places(change, columns), _places(change, rows)
    lattice = 2 * _uniform(change.seed, (rows // CELLS_PER_HILL + 2, columns // CELLS_PER_HILL + 2)) - 1
    if change.form == "steps":
        ground = _blocks(lattice, x, y, change.flat)
    else:
        distance = np.hypot(y[:, None], x[None, :])
        ground = _hills(lattice, rows, columns) * _fade(np.clip((distance - change.flat) / change.size, 0.0, 1.0))
    if not (span := float(np.ptp(ground))):
        raise InputError("its flat middle leaves no hills: give a larger extent or a smaller flat")
    return Ground(x, y, ground * (change.height / span))


def _places(change: Terrain, nodes: int) -> Floats:
    """Coordinates of nodes along one side, from the middle, in m."""
    return (np.arange(nodes, dtype=np.float64) - nodes // 2) * (change.size / CELLS_PER_HILL)


def _uniform(seed: int, shape: Sequence[int]) -> Floats:
    """Uniform numbers in [0, 1) from the 53 high bits of PCG64's raw output."""
    raw = np.asarray(np.random.PCG64(seed).random_raw(math.prod(shape)), dtype=np.uint64)
    return (raw >> np.uint64(11)).astype(np.float64).reshape(shape) * 2.0**-53


def _fade(share: Floats) -> Floats:
    return share**3 * (share * (share * 6.0 - 15.0) + 10.0)


def _hills(lattice: Floats, rows: int, columns: int) -> Floats:
    """Lattice of random heights, joined smoothly (rows, columns)."""
    ground = lattice
    for axis, nodes in enumerate((rows, columns)):
        whole, part = np.divmod(np.arange(nodes), CELLS_PER_HILL)
        share = np.expand_dims(_fade(part / CELLS_PER_HILL), 1 - axis)
        ground = (1 - share) * ground.take(whole, axis) + share * ground.take(whole + 1, axis)
    return ground


def _blocks(lattice: Floats, x: Floats, y: Floats, flat: float) -> Floats:
    """Blocks at the lattice's heights, those that reach into the flat middle at 0 (rows, columns)."""
    nearest = [np.minimum.reduceat(np.abs(side), np.arange(0, len(side), CELLS_PER_HILL)) for side in (y, x)]
    reaching = np.hypot(nearest[0][:, None], nearest[1][None, :]) <= flat
    levels = np.where(reaching, 0.0, lattice[: reaching.shape[0], : reaching.shape[1]])
    return levels[np.ix_(*(np.arange(len(side)) // CELLS_PER_HILL for side in (y, x)))]


def terrain(model: mujoco.MjSpec, nominal: mujoco.MjModel, change: float | Terrain) -> None:
    """Let the floor be a height field of the same name, friction and softness.

    Raises:
        InputError: the model has no floor, or several, or the robot would start beside the flat middle.
    """
    refuse_disabled(nominal, "terrain")
    change = as_terrain(change)
    index = floor_of(nominal)
    _refuse_beside_flat(nominal, index, change)
    ground, floor = ground_of(change), model.geom(nominal.geom(index).name)
    model.add_hfield(
        name=f"{floor.name}_heights",
        nrow=len(ground.y),
        ncol=len(ground.x),
        size=(ground.x[-1], ground.y[-1], change.height, _THICKNESS),
        userdata=(ground.heights - ground.heights.min()).astype(np.float32).reshape(-1),
    )
    floor.type, floor.hfieldname = mujoco.mjtGeom.mjGEOM_HFIELD, f"{floor.name}_heights"
    floor.pos = _lowered(nominal, index, ground)
    model.stat.extent, model.stat.center = nominal.stat.extent, nominal.stat.center  # pictures stay as they were


def _lowered(nominal: mujoco.MjModel, index: int, ground: Ground) -> Floats:
    """Place of the height field, whose zero is its lowest point: the flat middle stays at the plane's height."""
    return nominal.geom_pos[index] + _turn(nominal, index)[:, 2] * ground.heights.min()


def _turn(model: mujoco.MjModel, geom: int) -> Floats:
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, model.geom_quat[geom])
    return matrix.reshape(3, 3)


def floor_of(model: mujoco.MjModel) -> int:
    """Index of the only plane of the world that something can touch.

    Raises:
        InputError: there is none, or there are several.
    """
    fixed = model.body_weldid[model.geom_bodyid] == 0
    solid = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    planes = np.flatnonzero(fixed & solid & (model.geom_type == _PLANE))
    if len(planes) != 1:
        names = ", ".join(f"'{model.geom(int(index)).name}'" for index in planes)
        raise InputError(
            f"it has {len(planes)} floors, {names}: leave one plane that can be touched"
            if names
            else "it has no floor: no plane of the world that can be touched"
        )
    return int(planes[0])


def _refuse_beside_flat(nominal: mujoco.MjModel, floor: int, change: Terrain) -> None:
    data = mujoco.MjData(nominal)
    mujoco.mj_forward(nominal, data)
    moving = nominal.body_weldid[nominal.geom_bodyid] > 0
    touching = (nominal.geom_contype[floor] & nominal.geom_conaffinity) | (
        nominal.geom_contype & nominal.geom_conaffinity[floor]
    )
    rows = np.flatnonzero(moving & (touching != 0))
    if not len(rows):
        raise InputError(f"nothing that moves can touch its floor '{nominal.geom(floor).name}'")
    offset = (data.geom_xpos[rows] - data.geom_xpos[floor]) @ _turn(nominal, floor)
    reach = float((np.hypot(offset[:, 0], offset[:, 1]) + nominal.geom_rbound[rows]).max())
    if reach > change.flat:
        least = math.ceil(reach * 10) / 10
        raise InputError(f"it starts up to {reach:.2f} m from the middle of its floor: give a flat of {least:g} m")


def promise_terrain(model: mujoco.MjModel, nominal: mujoco.MjModel, change: float | Terrain) -> None:
    """Write into a compiled model what a height field makes of the floor's own numbers; MuJoCo derives its bounds."""
    change = as_terrain(change)
    index, ground = floor_of(nominal), ground_of(change)
    along, across, top, base = ground.x[-1], ground.y[-1], change.height, _THICKNESS
    model.geom_type[index], model.geom_dataid[index] = _FIELD, nominal.nhfield
    model.geom_pos[index] = _lowered(nominal, index, ground)
    model.geom_size[index] = along, across, top / 4 + base / 2
    model.geom_rbound[index] = math.hypot(along, across, max(top, base))
    model.geom_aabb[index] = 0, 0, (top - base) / 2, along, across, (top + base) / 2


def ground_breaches(nominal: mujoco.MjModel, edited: mujoco.MjModel, change: float | Terrain) -> Iterator[str]:
    """Yield in which ways the compiled ground is not the promised one: its data, and heights that rays measure."""
    change = as_terrain(change)
    index, ground, name = floor_of(nominal), ground_of(change), f"'{nominal.geom(floor_of(nominal)).name}'"
    if edited.nhfield != nominal.nhfield + 1:
        yield f"floor {name} is no height field"
    elif not np.array_equal(edited.hfield_data[: nominal.nhfielddata], nominal.hfield_data):
        yield "another height field than the floor's is changed"
    elif not _stored(edited, int(edited.geom_dataid[index]), ground):
        yield f"the heights of floor {name} are not those of seed {change.seed}"
    else:
        for x, y, expected, measured in _measured(edited, index, ground):
            if not abs(measured - expected) <= _HEIGHT_TOLERANCE:
                yield f"floor {name} is {measured:.6g} m high at ({x:.3g}, {y:.3g}) m instead of {expected:.6g} m"
                return


def _stored(edited: mujoco.MjModel, field: int, ground: Ground) -> bool:
    """Whether a height field holds the heights of a ground."""
    shape = int(edited.hfield_nrow[field]), int(edited.hfield_ncol[field])
    if shape != ground.heights.shape:
        return False
    first = int(edited.hfield_adr[field])
    data = np.asarray(edited.hfield_data[first : first + math.prod(shape)], np.float64).reshape(shape)
    above_lowest = data * edited.hfield_size[field, 2]
    return np.allclose(above_lowest, ground.heights - ground.heights.min(), rtol=0.0, atol=_HEIGHT_TOLERANCE)


def _measured(edited: mujoco.MjModel, floor: int, ground: Ground) -> Iterator[tuple[float, ...]]:
    """Yield points of the ground (x, y), the promised height there, and that which a ray from above meets, in m."""
    data, rng = mujoco.MjData(edited), np.random.default_rng(0)
    mujoco.mj_forward(edited, data)
    turn = _turn(edited, floor)
    middle = data.geom_xpos[floor] - turn[:, 2] * ground.heights.min()
    normal: Any = np.zeros(3)
    for _ in range(_RAYS):
        row, column = (int(rng.integers(1, nodes - 1)) for nodes in ground.heights.shape)
        x, y = float(ground.x[column]), float(ground.y[row])
        above = middle + turn @ np.array([x, y, _RAY_FROM])
        distance = mujoco.mj_rayHfield(edited, data, floor, above, -turn[:, 2], normal)
        yield x, y, float(ground.heights[row, column]), _RAY_FROM - distance if distance >= 0 else math.nan
