"""Transform: where a frame is in another one, and what that makes of places."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dads_ros.observation import quaternion_to_matrix

Array = NDArray[np.float64]


class Transform(NamedTuple):
    """A frame's origin (m) and orientation (unit quaternion) in another frame; default: the same.

    Seven numbers, in the order of a ROS message.
    """

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    qx: float = 0.0
    qy: float = 0.0
    qz: float = 0.0
    qw: float = 1.0

    @classmethod
    def on_ground(cls, x: float, y: float, yaw: float) -> "Transform":
        """Of an upright frame at height 0. m, rad."""
        return cls(x, y, qz=float(np.sin(yaw / 2)), qw=float(np.cos(yaw / 2)))

    def apply(self, places: Array) -> Array:
        """Positions and quaternions (x, y, z, w) of its frame, in the other one. Shape (N, 7)."""
        if self == Transform():
            return places
        w, v = self.qw, np.array([self.qx, self.qy, self.qz])
        matrix = quaternion_to_matrix(np.array([w, *v]))
        turned, scalar = places[:, 3:6], places[:, 6:]
        return np.hstack(
            [
                places[:, :3] @ matrix.T + self[:3],
                w * turned + scalar * v + np.cross(v, turned),
                w * scalar - (turned @ v)[:, None],
            ]
        )

    def moved_m(self, other: "Transform", reach_m: float) -> float:
        """How far two transforms put a point of its frame apart, at most, within reach_m. m."""
        turned = 2.0 * np.arccos(min(1.0, abs(float(np.dot(self[3:], other[3:])))))
        return float(np.linalg.norm(np.subtract(self[:3], other[:3])) + turned * reach_m)
