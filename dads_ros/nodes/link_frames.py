"""LinkFrames: where a robot's links are, for /tf. Shapes: L links without the root."""

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray

from dads_ros.envs.links import Link

Array = NDArray[np.float64]


class LinkFrames:
    """Transforms from odom to base_link and on to every link, made once; then only their poses."""

    def __init__(self, links: Sequence[Link]) -> None:
        """Make them."""
        self._transforms = [TransformStamped() for _ in range(len(links) + 1)]
        for transform, link in zip(self._transforms[1:], links, strict=True):
            transform.header.frame_id, transform.child_frame_id = link.parent, link.name

    def update(
        self, odometry: Odometry, positions: Array, quaternions: Array
    ) -> list[TransformStamped]:
        """The transforms at the stamp of an odometry; reused.

        Args:
            odometry: the base, whose frames it names.
            positions: of each link in its parent's frame, metres. Shape (L, 3).
            quaternions: the same, (w, x, y, z). Shape (L, 4).
        """
        base, pose = self._transforms[0], odometry.pose.pose
        base.header, base.child_frame_id = odometry.header, odometry.child_frame_id
        place, at = base.transform.translation, pose.position
        place.x, place.y, place.z = at.x, at.y, at.z
        base.transform.rotation = pose.orientation
        rows = np.concatenate([positions, quaternions], axis=1).tolist()
        for transform, (x, y, z, qw, qx, qy, qz) in zip(self._transforms[1:], rows, strict=True):
            transform.header.stamp = odometry.header.stamp
            place, turn = transform.transform.translation, transform.transform.rotation
            place.x, place.y, place.z = x, y, z
            turn.x, turn.y, turn.z, turn.w = qx, qy, qz, qw
        return self._transforms
