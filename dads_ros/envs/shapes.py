"""RobotShapes: the solids that a robot is drawn with, and where they are. Shapes: G solids."""

from typing import Literal, NamedTuple

import mujoco
import numpy as np
from numpy.typing import NDArray

from dads_ros.envs.model import RobotModel

Array = NDArray[np.float64]
Kind = Literal["sphere", "capsule", "cylinder", "box"]

_KINDS: dict[int, Kind] = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE): "sphere",
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): "sphere",
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): "cylinder",
    int(mujoco.mjtGeom.mjGEOM_BOX): "box",
}


class Solid(NamedTuple):
    """One solid, its long axis along its own z-axis."""

    kind: Kind
    size: tuple[float, float, float]
    """Full widths along x, y, z, metres; a capsule's z is without its round ends."""
    rgba: tuple[float, float, float, float]


class RobotShapes:
    """The visible solids of every body that moves."""

    def __init__(self, model: RobotModel) -> None:
        """Collect them from the MJCF; meshes and what stands in the world are left out."""
        mj_model = model.mj_model
        self._model, self._data = mj_model, mujoco.MjData(mj_model)
        found = solids_of(mj_model)
        self._ids, self.solids = [geom for geom, _ in found], [solid for _, solid in found]

    def poses(self, state: Array) -> tuple[Array, Array]:
        """Where the solids are in a full-physics state.

        Args:
            state: a row of ``Physics.states``.
        Returns: positions (G, 3), metres, and quaternions (G, 4), (w, x, y, z), world frame.
        """
        self._data.qpos[:] = state[1 : 1 + self._model.nq]
        mujoco.mj_kinematics(self._model, self._data)
        quaternions = np.empty((len(self._ids), 4))
        for row, geom in enumerate(self._ids):
            mujoco.mju_mat2Quat(quaternions[row], self._data.geom_xmat[geom])
        return self._data.geom_xpos[self._ids], quaternions


def solids_of(model: mujoco.MjModel, *, with_world: bool = False) -> list[tuple[int, Solid]]:
    """Every geom that is a solid, and of a body, or of the world as well; meshes are none."""
    return [
        (geom, _solid(model, geom))
        for geom in range(model.ngeom)
        if int(model.geom_type[geom]) in _KINDS and (with_world or model.geom_bodyid[geom] != 0)
    ]


def _solid(model: mujoco.MjModel, geom: int) -> Solid:
    kind = _KINDS[int(model.geom_type[geom])]
    a, b, c = (2.0 * float(value) for value in model.geom_size[geom])
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_SPHERE:
        b = c = a  # what else stands there does not count
    size = {
        "sphere": (a, b, c),
        "capsule": (a, a, b),
        "cylinder": (a, a, b),
        "box": (a, b, c),
    }[kind]
    red, green, blue, alpha = map(float, model.geom_rgba[geom])
    return Solid(kind, size, (red, green, blue, alpha))
