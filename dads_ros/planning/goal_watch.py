"""GoalWatch: whether a robot has come to its goal and stayed there, or gets no farther."""

import math

import numpy as np
from numpy.typing import NDArray

STALL_M, STALL_S = 0.5, 10.0
"""A robot that is driven and has moved no farther in so long is stalled. Both are the defaults of
Nav2's SimpleProgressChecker."""
STALL_RAD = 0.5
"""At its goal a robot that turns by so much gets on as well."""
GAP_S = 1.0
"""Where no position came for longer, nobody knows what was meanwhile."""


class GoalWatch:
    """For one goal of one robot."""

    def __init__(self, goal: NDArray[np.floating]) -> None:
        """Watch a goal x, y, world frame, m. Shape (2,)."""
        self.goal = goal
        self.distance_m = np.nan
        self.faces_it, self.has_reached = True, False
        self.stalled_s = 0.0
        """How long it has been driven without moving ``STALL_M``, away from the goal."""
        self._moved_from: NDArray[np.floating] = np.full(2, np.nan)
        self._moved_yaw, self._moved_ns, self._newest_ns = 0.0, 0, 0
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
        yaw: float = 0.0,
        left_m: float = 0.0,
        is_driven: bool = True,
    ) -> bool:
        """Take in a position.

        Args:
            position: x, y, world frame, m. Shape (2,).
            stamp_ns: of the position, the robot's time.
            tolerance_m: nearer than this is at the goal.
            hold_s: the goal is reached after this long at it without a break.
            faces_it: the robot has the goal's heading, if it has one; else it is not at it.
            yaw: of the robot, rad.
            left_m: of a path, which may pass its end before it is followed to there.
            is_driven: else nobody expects it to move.
        Returns: whether the goal is reached with this position; True only once.
        """
        self._position, self.faces_it = position, faces_it
        self.distance_m = max(left_m, float(np.linalg.norm(position - self.goal)))
        is_near = self.distance_m <= tolerance_m
        is_at_goal = is_near and faces_it
        if not 0 <= stamp_ns - self._newest_ns <= GAP_S * 1e9:
            self._moved_from, self._inside_since_ns = np.full(2, np.nan), None
        self._newest_ns = stamp_ns
        has_turned = is_near and math.cos(yaw - self._moved_yaw) < math.cos(STALL_RAD)
        has_moved = not np.linalg.norm(position - self._moved_from) < STALL_M  # at first it has
        if has_moved or has_turned or is_at_goal or not is_driven:
            self._moved_from, self._moved_yaw, self._moved_ns = position, yaw, stamp_ns
        self.stalled_s = (stamp_ns - self._moved_ns) / 1e9
        if not is_at_goal:
            self._inside_since_ns = None
            return False
        if self._inside_since_ns is None:
            self._inside_since_ns = stamp_ns
        is_new = not self.has_reached and (stamp_ns - self._inside_since_ns) / 1e9 >= hold_s
        self.has_reached |= is_new
        return is_new

    def go_on_from(self, other: "GoalWatch") -> None:
        """How long another goal's, nearby, saw the robot stall counts, if it was not reached."""
        if other.has_reached:
            return
        self._moved_from, self._moved_yaw = other._moved_from, other._moved_yaw
        self._moved_ns, self._newest_ns = other._moved_ns, other._newest_ns
        self._position = other._position
        self.distance_m, self.stalled_s = other.distance_m, other.stalled_s

    @property
    def is_stalled(self) -> bool:
        """It gets no farther, and should."""
        return self.stalled_s >= STALL_S and not self.has_reached

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
