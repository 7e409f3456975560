"""Volume, mass and inertia of the shapes that have a size of their own, by their textbook formulas."""

from typing import Any

import mujoco
import numpy as np

SPHERE, CAPSULE = int(mujoco.mjtGeom.mjGEOM_SPHERE), int(mujoco.mjtGeom.mjGEOM_CAPSULE)
CYLINDER, BOX = int(mujoco.mjtGeom.mjGEOM_CYLINDER), int(mujoco.mjtGeom.mjGEOM_BOX)
ELLIPSOID = int(mujoco.mjtGeom.mjGEOM_ELLIPSOID)
MESH = int(mujoco.mjtGeom.mjGEOM_MESH)
SOLID = (SPHERE, CAPSULE, CYLINDER, BOX, ELLIPSOID)
LONG = (CAPSULE, CYLINDER)  # have a length
ROUND = (SPHERE, CAPSULE, CYLINDER)  # have a radius


def volume(kind: int, size: Any) -> float:
    """Return the volume (m³) of a shape of MuJoCo's half sizes (3,)."""
    a, b, c = (float(number) for number in size)
    if kind == SPHERE:
        return 4 / 3 * np.pi * a**3
    if kind == CAPSULE:
        return 4 / 3 * np.pi * a**3 + 2 * np.pi * a**2 * b
    if kind == CYLINDER:
        return 2 * np.pi * a**2 * b
    return 8 * a * b * c if kind == BOX else 4 / 3 * np.pi * a * b * c


def inertia(kind: int, size: Any) -> Any:
    """Return the principal moments per mass (m², (3,)) of a homogeneous shape about its own centre and axes."""
    a, b, c = (float(number) for number in size)
    if kind == SPHERE:
        return np.full(3, 2 / 5 * a**2)
    if kind == CAPSULE:
        return _capsule(a, 2 * b)
    if kind == CYLINDER:
        across = (3 * a**2 + 4 * b**2) / 12
        return np.array([across, across, a**2 / 2])
    share = 1 / 3 if kind == BOX else 1 / 5
    return share * np.array([b**2 + c**2, a**2 + c**2, a**2 + b**2])


def _capsule(radius: float, height: float) -> Any:
    """Return the moments of a cylinder between two half spheres."""
    ends = 4 * radius / (4 * radius + 3 * height)  # the half spheres' share of the mass
    middle = 1.0 - ends
    across = middle * (3 * radius**2 + height**2) / 12
    across += ends * (2 / 5 * radius**2 + height * (3 * radius + 2 * height) / 8)
    return np.array([across, across, middle * radius**2 / 2 + ends * 2 / 5 * radius**2])


def reach(kind: int, size: Any) -> Any:
    """Return the half extents of a shape along its own axes (3,)."""
    a, b, c = (float(number) for number in size)
    if kind == SPHERE:
        return np.full(3, a)
    if kind == CAPSULE:
        return np.array([a, a, a + b])
    return np.array([a, a, b]) if kind == CYLINDER else np.array([a, b, c])
