"""RobotBodies: the surfaces that a robot is drawn with in 3-D, and where they are.

Shapes: B bodies, V vertices, F triangles.
"""

from typing import NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from dads_ros.envs.model import RobotModel
from dads_ros.envs.shapes import Solid, solids_of

Array = NDArray[np.float64]
Triangles = NDArray[np.int64]
WORLD = 0
_MESH = int(mujoco.mjtGeom.mjGEOM_MESH)
_NUM_SHOWN_GROUPS = 3
"""Of geoms, those of the others are for collisions by custom, and MuJoCo hides them as well."""
_SEGMENTS = 20
"""Around what is round."""


class Surface(NamedTuple):
    """All of a body that has one colour."""

    body: int
    vertices: Array
    """In the frame of the body, metres. Shape (V, 3)."""
    triangles: Triangles
    """Rows of ``vertices``, anticlockwise from outside. Shape (F, 3)."""
    rgba: tuple[float, float, float, float]


class RobotBodies:
    """The visible solids and meshes of every body, and of what stands in its world."""

    def __init__(self, model: RobotModel) -> None:
        """Collect them from the MJCF; its ground is left out."""
        self._model, self._data = model.mj_model, mujoco.MjData(model.mj_model)
        self.surfaces = _surfaces_of(model.mj_model)
        self.bodies = sorted({surface.body for surface in self.surfaces} - {WORLD})
        """Those that have surfaces and may move. Length B."""
        self.mass_kg = model.mass_kg

    def poses(self, qpos: Array) -> tuple[Array, Array]:
        """Where the bodies are.

        Args:
            qpos: from ``RobotModel.qpos``. Shape (nq,).
        Returns: positions (B, 3), metres, and quaternions (B, 4), (w, x, y, z), world frame.
        """
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        return self._data.xpos[self.bodies], self._data.xquat[self.bodies]


def _surfaces_of(model: mujoco.MjModel) -> list[Surface]:
    solids = dict(solids_of(model, with_world=True))
    geoms = [g for g in range(model.ngeom) if g in solids or model.geom_type[g] == _MESH]
    shown = [geom for geom in geoms if model.geom_group[geom] < _NUM_SHOWN_GROUPS]
    parts: dict[tuple[int, tuple[float, ...]], list[tuple[Array, Triangles]]] = {}
    for geom in shown or geoms:
        rgba = _rgba(model, geom)
        if rgba[3] > 0.0:
            vertices, triangles = _of_solid(solids[geom]) if geom in solids else _mesh(model, geom)
            turn = np.empty(9)
            mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
            placed = vertices @ turn.reshape(3, 3).T + model.geom_pos[geom]
            key = int(model.geom_bodyid[geom]), rgba
            parts.setdefault(key, []).append((placed, triangles))
    return [Surface(body, *_joined(found), rgba) for (body, rgba), found in parts.items()]  # type: ignore[arg-type]


def _rgba(model: mujoco.MjModel, geom: int) -> tuple[float, ...]:
    material = int(model.geom_matid[geom])
    rgba = model.geom_rgba[geom] if material < 0 else model.mat_rgba[material]
    return tuple(map(float, rgba))


def _mesh(model: mujoco.MjModel, geom: int) -> tuple[Array, Triangles]:
    mesh = int(model.geom_dataid[geom])
    vertex, face = int(model.mesh_vertadr[mesh]), int(model.mesh_faceadr[mesh])
    return (
        model.mesh_vert[vertex : vertex + int(model.mesh_vertnum[mesh])].astype(float),
        model.mesh_face[face : face + int(model.mesh_facenum[mesh])].astype(int),
    )


def _of_solid(solid: Solid) -> tuple[Array, Triangles]:
    """Its surface, around its own centre. Shapes (V, 3), (F, 3)."""
    width, depth, length = solid.size
    if solid.kind == "box":
        return _box(np.array(solid.size))
    angles = np.linspace(-0.5 * np.pi, 0.5 * np.pi, _SEGMENTS // 2 + 1)
    radii, heights = np.cos(angles), np.sin(angles)
    if solid.kind == "cylinder":  # its rims twice, as they are edges
        radii, heights = np.array([0.0, 1, 1, 1, 1, 0]), np.array([-1.0, -1, -1, 1, 1, 1])
        heights *= length / width
    elif solid.kind == "capsule":
        middle = len(angles) // 2
        radii, heights = np.insert(radii, middle, 1.0), np.insert(heights, middle, 0.0)
        heights += np.where(np.arange(len(heights)) > middle, length, -length) / width
    vertices, triangles = _turned(radii, heights)
    z = length if solid.kind == "sphere" else width
    return vertices * (0.5 * np.array([width, depth, z])), triangles


def _turned(radii: Array, heights: Array) -> tuple[Array, Triangles]:
    """A profile from the lowest point to the highest one, turned about z."""
    angles = np.linspace(0.0, 2.0 * np.pi, _SEGMENTS, endpoint=False)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    rings = np.empty((len(radii), _SEGMENTS, 3))
    rings[:, :, :2], rings[:, :, 2] = radii[:, None, None] * around, heights[:, None]
    rows, columns = np.meshgrid(np.arange(len(radii) - 1), np.arange(_SEGMENTS), indexing="ij")
    a, b = rows * _SEGMENTS + columns, rows * _SEGMENTS + (columns + 1) % _SEGMENTS
    c, d = a + _SEGMENTS, b + _SEGMENTS
    return rings.reshape(-1, 3), np.stack([a, b, d, a, d, c], axis=-1).reshape(-1, 3)


def _box(size: Array) -> tuple[Array, Triangles]:
    """Each side has corners of its own, as its edges are sharp."""
    corners, triangles = [], []
    for axis in range(3):
        for side in (-0.5, 0.5):
            u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
            square = [-u - v, u - v, u + v, v - u][:: 1 if side > 0 else -1]
            triangles += [
                np.array(t) + 4 * (2 * axis + (side > 0)) for t in ((0, 1, 2), (0, 2, 3))
            ]
            corners += [side * np.eye(3)[axis] + 0.5 * corner for corner in square]
    return np.array(corners) * size, np.array(triangles)


def _joined(parts: list[tuple[Array, Triangles]]) -> tuple[Array, Triangles]:
    first = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    triangles = [t + row for (_, t), row in zip(parts, first, strict=False)]
    return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(triangles)
