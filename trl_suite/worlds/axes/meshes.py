"""Edits of the geoms whose shape is a mesh's: the mesh is scaled, the geom stays where it is."""

from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

_COPIED = (
    *("content_type", "file", "inertia", "material", "maxhullvert", "needsdf", "octree_maxdepth", "refpos"),
    *("refquat", "scale", "smoothnormal", "userface", "userfacenormal", "userfacetexcoord", "usernormal"),
    *("usertexcoord", "uservert"),
)


def scale_meshes(model: mujoco.MjSpec, growth: Mapping[str, float]) -> None:
    """Scale the meshes of some geoms; other geoms of the same mesh keep it as it is.

    Args:
        model: the model, not yet compiled.
        growth: the scale of each geom that grows, by its name.
    """
    meshes = {mesh.name: mesh for mesh in model.meshes}
    for name, mesh in meshes.items():
        users = [geom for geom in model.geoms if geom.meshname == name]
        scales = {geom.name: growth.get(geom.name, 1.0) for geom in users}
        if len(set(scales.values())) == 1:
            mesh.scale = mesh.scale * next(iter(scales.values()))
            continue
        for scale in sorted(set(scales.values()) - {1.0}):
            scaled = _copied(model, mesh, _free_name(f"{name}_{scale:g}", meshes))
            scaled.scale = scaled.scale * scale
            for geom in users:
                if scales[geom.name] == scale:
                    geom.meshname = scaled.name


def _copied(model: mujoco.MjSpec, mesh: Any, name: str) -> Any:
    copy = model.add_mesh(name=name)
    for field in _COPIED:
        setattr(copy, field, getattr(mesh, field))
    return copy


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name += "_"
    return name


def vertices(model: mujoco.MjModel, geom: int) -> Any:
    """Return the corners of a geom's mesh, in its body's frame from the geom's own place (vertices, 3)."""
    mesh = int(model.geom_dataid[geom])
    first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
    return model.mesh_vert[first : first + count] @ turn.reshape(3, 3).T
