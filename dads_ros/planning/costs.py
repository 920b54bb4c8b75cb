"""Costs of predicted states: lower is better. Write your own as a function of this signature.

Shapes: R robots, K candidates, T points, P predicted columns (x, y and
whatever else the skill dynamics predicts), M waypoints.
"""

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dads_ros.errors import PlanningError

Float32 = NDArray[np.float32]


class Cost(Protocol):
    """A function of predicted states."""

    def __call__(self, predictions: Float32) -> NDArray[np.floating]:
        """Cost of each candidate.

        Args:
            predictions: ``prediction.fields`` at points spread evenly in time over the plan, the
                start left out; x, y and yaw in the world frame, metres and radians. Shape
                (R, K, T, P).
        Returns: mean cost over the points; metres in the costs here. Shape (R, K).
        """
        ...


class GoalCost:
    """Mean distance from a circle around the goal; nothing inside it."""

    def __init__(self, goals: ArrayLike, radius_m: float = 0.0) -> None:
        """Take goals and their radius.

        Args:
            goals: world frame, m. Shape (R, 2).
            radius_m: nearer to the goal than this, all places are equally good.
        Raises: PlanningError when not finite.
        """
        self.goals = _finite_points(goals, num_axes=2)
        self.radius_m = radius_m

    def __call__(self, predictions: Float32) -> NDArray[np.floating]:
        """Mean distance. Shape (R, K)."""
        distance = _length(predictions[..., :2] - self.goals[:, None, None])
        return np.maximum(distance - np.float32(self.radius_m), 0.0).mean(axis=-1)


class WaypointsCost:
    """Mean length of the way that is left: to the next waypoint, and from there to the last.

    A candidate that comes within the radius of a waypoint goes on to the one after it, so that
    plans cut corners instead of stopping at them.
    """

    def __init__(self, waypoints: ArrayLike, reached_radius_m: float = 0.5) -> None:
        """Start at the first waypoint.

        Args:
            waypoints: world frame, m. Shape (R, M, 2).
            reached_radius_m: a waypoint nearer than this is reached.
        Raises: PlanningError when not finite.
        """
        self.waypoints = _finite_points(waypoints, num_axes=3)
        self.reached_radius_m = reached_radius_m
        self.index = np.zeros(len(self.waypoints), int)
        """Waypoint that each robot is on its way to. Shape (R,)."""
        legs = _length(np.diff(self.waypoints, axis=1))
        self._rest = np.zeros(self.waypoints.shape[:2], np.float32)
        self._rest[:, :-1] = np.cumsum(legs[:, ::-1], axis=1)[:, ::-1]

    def __call__(self, predictions: Float32) -> NDArray[np.floating]:
        """Mean length of the way left. Shape (R, K)."""
        rows = np.arange(len(self.waypoints))[:, None]
        index = np.broadcast_to(self.index[:, None], predictions.shape[:2])
        total = np.zeros(predictions.shape[:2], np.float32)
        for points in np.moveaxis(predictions[..., :2], 2, 0):
            distance = _length(points - self.waypoints[rows, index])
            index = self._next(index, distance)
            total += _length(points - self.waypoints[rows, index]) + self._rest[rows, index]
        return total / predictions.shape[2]

    def advance(self, position: NDArray[np.floating]) -> None:
        """Move on to the next waypoint where one is reached. Position x, y: shape (R, 2)."""
        rows = np.arange(len(self.waypoints))
        self.index = self._next(self.index, _length(position - self.waypoints[rows, self.index]))

    def _next(self, index: NDArray[np.int64], distance: NDArray[np.floating]) -> NDArray[np.int64]:
        last = self.waypoints.shape[1] - 1
        return np.minimum(index + (distance < self.reached_radius_m), last)


def _length(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.sqrt(np.einsum("...i,...i->...", vectors, vectors))


def _finite_points(points: ArrayLike, num_axes: int) -> Float32:
    array = np.asarray(points, np.float32)
    if array.ndim != num_axes or array.shape[-1] != 2 or array.size == 0:
        expected = "(R, 2)" if num_axes == 2 else "(R, M, 2)"
        raise PlanningError(
            f"points have shape {array.shape}; expected {expected}: x, y in metres"
        )
    if not np.isfinite(array).all():
        raise PlanningError("a goal or waypoint is not finite; give x and y in metres")
    return array
