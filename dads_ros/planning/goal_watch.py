"""GoalWatch: whether a robot has come to its goal and stayed there."""

import numpy as np
from numpy.typing import NDArray


class GoalWatch:
    """For one goal of one robot."""

    def __init__(self, goal: NDArray[np.floating]) -> None:
        """Watch a goal x, y, world frame, m. Shape (2,)."""
        self.goal = goal
        self.distance_m = np.nan
        self.has_reached = False
        self._position: NDArray[np.floating] | None = None
        self._inside_since_ns: int | None = None

    def update(
        self,
        position: NDArray[np.floating],
        stamp_ns: int,
        *,
        tolerance_m: float,
        hold_s: float,
        faces_it: bool = True,
    ) -> bool:
        """Take in a position.

        Args:
            position: x, y, world frame, m. Shape (2,).
            stamp_ns: of the position, the robot's time.
            tolerance_m: nearer than this is at the goal.
            hold_s: the goal is reached after this long at it without a break.
            faces_it: the robot has the goal's heading, if it has one; else it is not at it.
        Returns: whether the goal is reached with this position; True only once.
        """
        self._position = position
        self.distance_m = float(np.linalg.norm(position - self.goal))
        if self.distance_m > tolerance_m or not faces_it:
            self._inside_since_ns = None
            return False
        if self._inside_since_ns is None or stamp_ns < self._inside_since_ns:
            self._inside_since_ns = stamp_ns
        is_new = not self.has_reached and (stamp_ns - self._inside_since_ns) / 1e9 >= hold_s
        self.has_reached |= is_new
        return is_new

    def move(self, goal: NDArray[np.floating], tolerance_m: float) -> bool:
        """Watch a goal nearby from now on; how long the robot has stayed still counts.

        Returns: False, and nothing is done, where it is no longer the same goal: it lies farther
            away than the tolerance, or this one is reached and that one is not.
        """
        if np.linalg.norm(goal - self.goal) > tolerance_m:
            return False
        place = self._position
        if self.has_reached and place is not None and np.linalg.norm(goal - place) > tolerance_m:
            return False
        self.goal = goal
        return True
