"""Costs of candidate plans: lower is better, infinite is forbidden, and weighted they add up.

A cost of your own is a function of this signature, or an object with such a ``__call__``; see
docs/costs.md. Shapes: R robots, K candidates, H skills of a plan, D skill dimensions, T points of
a plan, P predicted columns, M points of a path.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dads_ros.errors import PlanningError
from dads_ros.prediction import FALLS

Float32 = NDArray[np.float32]
Array = NDArray[np.floating]


@dataclass(frozen=True)
class Candidates:
    """Plans of every robot and what the skill dynamics predicts of them."""

    skills: Float32
    """Shape (R, K, H, D)."""
    predictions: Float32
    """Before the first and after each skill; poses in the world frame. Shape (R, K, H + 1, P)."""
    points: Float32
    """The same at points spread evenly in time over the plan, the start left out. (R, K, T, P)."""
    fields: tuple[str, ...]
    """What the first columns are: x, y (m) and perhaps yaw (rad), or falls (how many are to be
    expected until then)."""
    duration_s: float
    """Of the whole plan."""

    @property
    def positions(self) -> Float32:
        """x, y of ``points``, world frame, m. Shape (R, K, T, 2)."""
        return self.points[..., :2]

    @property
    def yaws(self) -> Float32:
        """Yaw of ``points``, rad. Shape (R, K, T). Raises: PlanningError when not predicted."""
        if "yaw" not in self.fields:
            raise PlanningError(
                f"this bundle predicts {', '.join(self.fields)} and no yaw; take one that was "
                "trained with 'yaw' in 'prediction.fields'"
            )
        return self.points[..., self.fields.index("yaw")]

    @property
    def times_s(self) -> Float32:
        """Times of ``points`` after the start, s. Shape (T,)."""
        num = self.points.shape[2]
        return np.arange(1, num + 1, dtype=np.float32) * np.float32(self.duration_s / num)


class Cost(Protocol):
    """A function of candidate plans."""

    def __call__(self, plans: Candidates) -> Array:
        """Cost of each candidate; inf where it must not be driven. Shape (R, K)."""
        ...


class WeightedCosts:
    """The sum of weighted costs."""

    def __init__(self, terms: Mapping[str, tuple[float, Cost]]) -> None:
        """Take weight and cost by name; a weight of 0 leaves its cost out."""
        self._terms = {name: term for name, term in terms.items() if term[0] > 0.0}
        self._forbidding: set[str] = set()
        self._forbidding_alone: set[str] = set()

    @property
    def forbidding(self) -> list[str]:
        """Names of the costs without which some plan would be allowed, in their order.

        Where no plan was forbidden by one cost alone, all that have forbidden any.
        """
        names = self._forbidding_alone or self._forbidding
        return [name for name in self._terms if name in names]

    def __call__(self, plans: Candidates) -> Array:
        """The sum. Shape (R, K)."""
        total = np.zeros(plans.skills.shape[:2], np.float32)
        costs = {}
        for name in self._terms:
            costs[name] = self._term(name, plans)
            total += costs[name]
        if not np.isfinite(total).all():
            if np.isnan(total).any():
                self.by_term(plans)  # names the one
            self._take_forbidden({name: np.isposinf(own) for name, own in costs.items()})
        return total

    def _take_forbidden(self, forbids: dict[str, NDArray[np.bool_]]) -> None:
        """Which plans each cost forbids. Shape (R, K) each."""
        is_by_one = sum(own.astype(np.int8) for own in forbids.values()) == 1
        self._forbidding |= {name for name, own in forbids.items() if own.any()}
        self._forbidding_alone |= {
            name for name, own in forbids.items() if (own & is_by_one).any()
        }

    def by_term(self, plans: Candidates) -> dict[str, Array]:
        """Each weighted cost, shape (R, K). Raises: PlanningError that names a cost gone wrong."""
        costs = {name: self._term(name, plans) for name in self._terms}
        for name, values in costs.items():
            if np.isnan(values).any():
                raise PlanningError(f"cost '{name}' is not a number for some plan; fix it")
        return costs

    def _term(self, name: str, plans: Candidates) -> Array:
        """One weighted cost. Shape (R, K)."""
        weight, cost = self._terms[name]
        values, shape = np.asarray(cost(plans)), plans.skills.shape[:2]
        if values.shape != shape:
            raise PlanningError(
                f"cost '{name}' gives numbers of shape {values.shape}; expected {shape}, one for "
                "each robot and candidate"
            )
        return np.float32(weight) * values


class GoalCost:
    """Mean distance from a circle around the goal, m; nothing inside it."""

    def __init__(self, goals: ArrayLike, radius_m: float = 0.0) -> None:
        """Take goals and their radius.

        Args:
            goals: world frame, m. Shape (R, 2).
            radius_m: nearer to the goal than this, all places are equally good.
        Raises: PlanningError when not finite.
        """
        self.goals = _finite_points(goals, num_axes=2)
        self.radius_m = radius_m

    def __call__(self, plans: Candidates) -> Array:
        """Mean distance. Shape (R, K)."""
        return mean_beyond(distance_from(self.goals, plans.positions), self.radius_m)


class HeadingCost:
    """Mean angle between the robot's yaw and the wanted one, rad, once it is near the goal.

    That counts from where the robot is now, not from where plans lead: else staying just outside
    would be the cheapest way never to turn.
    """

    def __init__(self, goals: ArrayLike, yaws: ArrayLike, near_m: float) -> None:
        """Take goals (R, 2), world frame, m, and yaws (R,), rad.

        Farther from its goal than ``near_m`` a robot turns as it likes.

        Raises: PlanningError when not finite.
        """
        self.goals, self.near_m = _finite_points(goals, num_axes=2), near_m
        self.yaws = np.asarray(yaws, np.float32)

    def __call__(self, plans: Candidates) -> Array:
        """Mean angle. Shape (R, K)."""
        angle = angle_of(plans.yaws - self.yaws[:, None, None])
        start = plans.predictions[:, :, :1, :2]
        return angle.mean(axis=-1) * (distance_from(self.goals, start)[..., 0] < self.near_m)


class VelocityCost:
    """Mean distance from where a robot with the wanted velocity would be at the time, m."""

    def __init__(self, velocities: ArrayLike, yaw_rates: ArrayLike | None = None) -> None:
        """Take what is wanted.

        Args:
            velocities: at the start of the plan, world frame, m/s. Shape (R, 2).
            yaw_rates: at which they turn with the robot, rad/s. Shape (R,).
        Raises: PlanningError when not finite.
        """
        self.velocities = _finite_points(velocities, num_axes=2)
        num = len(self.velocities)
        self.yaw_rates = np.zeros(num, np.float32) if yaw_rates is None else yaw_rates

    def __call__(self, plans: Candidates) -> Array:
        """Mean distance. Shape (R, K)."""
        times = plans.times_s
        angle = np.asarray(self.yaw_rates, np.float32)[:, None] * times  # (R, T)
        ahead = times * np.sinc(angle / np.pi)
        aside = times * np.sinc(angle / (2.0 * np.pi)) * np.sin(angle / 2.0)
        x, y = self.velocities[:, None].transpose(2, 0, 1)
        wanted = np.stack([ahead * x - aside * y, aside * x + ahead * y], axis=-1)[:, None]
        moved = plans.positions - plans.predictions[:, :, :1, :2]
        return length(moved - wanted).mean(axis=-1)


class TurnCost:
    """Mean angle between the robot's yaw and that of one which turns at the wanted rate, rad."""

    def __init__(self, yaw_rates: ArrayLike) -> None:
        """Take yaw rates, rad/s. Shape (R,)."""
        self.yaw_rates = np.asarray(yaw_rates, np.float32)

    def __call__(self, plans: Candidates) -> Array:
        """Mean angle. Shape (R, K)."""
        start = plans.predictions[:, :, :1, plans.fields.index("yaw")]
        return angle_of(
            plans.yaws - start - (self.yaw_rates[:, None] * plans.times_s)[:, None]
        ).mean(axis=-1)


class PathCost:
    """Mean of the way left along a path, plus ``cross_track`` times the distance from it, m.

    Only the piece of the path near the progress made counts, so that where a path crosses itself a
    robot goes on along the branch that it is on.
    """

    def __init__(self, paths: ArrayLike, cross_track: float, spacing_m: float = 0.1) -> None:
        """Start at the beginning of each path.

        Args:
            paths: polylines, world frame, m. Shape (R, M, 2), or one polyline (M, 2).
            cross_track: metres of way that one metre of distance from the path is worth.
            spacing_m: between the points that stand for the path.
        Raises: PlanningError when not finite.
        """
        paths = np.asarray(paths, np.float32)
        points = _finite_points(paths[None] if paths.ndim == 2 else paths, num_axes=3)
        self.cross_track, self._spacing_m = cross_track, spacing_m
        lines = [_resampled(path, spacing_m) for path in points]
        longest = max(map(len, lines))
        ends = [np.repeat(line[-1:], longest - len(line), axis=0) for line in lines]
        self._points = np.stack([np.concatenate(pair) for pair in zip(lines, ends, strict=True)])
        self._last = np.array([len(line) - 1 for line in lines])
        self._position: Array | None = None
        self.index = np.zeros(len(lines), int)
        """Point of each path that its robot has come to. Shape (R,)."""

    @property
    def left_m(self) -> Array:
        """Way left of each robot, m. Shape (R,)."""
        return (self._last - self.index) * self._spacing_m

    def go_on_from(self, other: "PathCost") -> None:
        """Keep the progress made along a path that is nearly the same."""
        self.index = np.rint(other.index * (self._last / np.maximum(other._last, 1))).astype(int)
        self._position = other._position

    @property
    def ends(self) -> Float32:
        """Last point of each path, world frame, m. Shape (R, 2)."""
        return self._points[:, -1]

    def __call__(self, plans: Candidates) -> Array:
        """Mean way left and distance. Shape (R, K)."""
        reach = length(plans.predictions[..., -1, :2] - plans.predictions[..., 0, :2]).max()
        window, index = self._window(float(reach))
        num, count, times, _ = plans.positions.shape
        positions = plans.positions.reshape(num, count * times, 2)
        square = np.square(positions).sum(2)[:, :, None] + np.square(window).sum(2)[:, None]
        square -= 2.0 * positions @ window.transpose(0, 2, 1)  # (R, K * T, W)
        nearest = square.argmin(axis=2)
        distance = np.sqrt(
            np.maximum(np.take_along_axis(square, nearest[..., None], 2)[..., 0], 0)
        )
        left = (self._last[:, None] - np.take_along_axis(index, nearest, axis=1)) * self._spacing_m
        cost = left.astype(np.float32) + np.float32(self.cross_track) * distance
        return cost.reshape(num, count, times).mean(axis=-1)

    def advance(self, position: Array) -> None:
        """Take in positions x, y, world frame, m. Shape (R, 2).

        Along the path at most as far as a robot moved since the last ones, or 1 m.
        """
        last = position if self._position is None else self._position
        self._position = np.array(position)
        window, index = self._window(max(1.0, float(length(position - last).max())))
        nearest = length(window - position[:, None]).argmin(axis=1)
        self.index = index[np.arange(len(index)), nearest]

    def distance(self, position: Array) -> Array:
        """From the point that each robot has come to, m. Position x, y: shape (R, 2)."""
        return length(position - self._points[np.arange(len(self.index)), self.index])

    def _window(self, reach_m: float) -> tuple[Float32, NDArray[np.int64]]:
        """Points of each path from the progress made on, (R, W, 2), and their indices (R, W)."""
        ahead = np.arange(int(np.ceil(reach_m / self._spacing_m)) + 2)
        index = np.minimum(self.index[:, None] + ahead, self._last[:, None])
        return np.take_along_axis(self._points, index[..., None], axis=1), index


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
        legs = length(np.diff(self.waypoints, axis=1))
        self._rest = np.zeros(self.waypoints.shape[:2], np.float32)
        self._rest[:, :-1] = np.cumsum(legs[:, ::-1], axis=1)[:, ::-1]

    def __call__(self, plans: Candidates) -> Array:
        """Mean length of the way left. Shape (R, K)."""
        rows = np.arange(len(self.waypoints))[:, None]
        index = np.broadcast_to(self.index[:, None], plans.points.shape[:2])
        total = np.zeros(index.shape, np.float32)
        for points in np.moveaxis(plans.positions, 2, 0):
            distance = length(points - self.waypoints[rows, index])
            index = self._next(index, distance)
            total += length(points - self.waypoints[rows, index]) + self._rest[rows, index]
        return total / plans.points.shape[2]

    def advance(self, position: Array) -> None:
        """Move on to the next waypoint where one is reached. Position x, y: shape (R, 2)."""
        rows = np.arange(len(self.waypoints))
        self.index = self._next(self.index, length(position - self.waypoints[rows, self.index]))

    def _next(self, index: NDArray[np.int64], distance: Array) -> NDArray[np.int64]:
        last = self.waypoints.shape[1] - 1
        return np.minimum(index + (distance < self.reached_radius_m), last)


class BoundsCost:
    """Forbids plans that leave a rectangle; one that starts outside may not go farther out."""

    def __init__(self, bounds_m: ArrayLike) -> None:
        """Take x_min, y_min, x_max, y_max, world frame, m. Shape (4,)."""
        self._bounds_m = np.asarray(bounds_m, np.float32)

    def __call__(self, plans: Candidates) -> Array:
        """0 or inf. Shape (R, K)."""
        # A rectangle is convex: ends of pieces do. One axis after the other, as in length.
        x, y = plans.predictions[..., 0], plans.predictions[..., 1]
        x_min, y_min, x_max, y_max = self._bounds_m
        outside = np.maximum(np.maximum(x_min - x, x - x_max), np.maximum(y_min - y, y - y_max))
        allowed = np.maximum(outside[..., :1], 0.0) + np.float32(1e-4)
        return np.where((outside > allowed).any(-1), np.float32(np.inf), np.float32(0.0))


class FallCost:
    """Probability of a fall that the plan leads to, of bundles that predict it."""

    def __call__(self, plans: Candidates) -> Array:
        """0 to 1. Shape (R, K)."""
        return -np.expm1(-plans.predictions[:, :, -1, plans.fields.index(FALLS)])


class SkillChangeCost:
    """Mean length of the changes of skill, the one from the skill that is held now included."""

    def __init__(self, held: ArrayLike) -> None:
        """Take the skill of each robot now. Shape (R, D)."""
        self.held = np.asarray(held, np.float32)

    def __call__(self, plans: Candidates) -> Array:
        """Mean length. Shape (R, K)."""
        first = distance_from(self.held, plans.skills[:, :, 0])
        later = length(plans.skills[:, :, 1:] - plans.skills[:, :, :-1])
        return (first + later.sum(axis=-1)) / np.float32(plans.skills.shape[2])


def angle_of(turns: ArrayLike) -> Array:
    """Size of turns, 0 to pi."""
    return np.abs(np.arctan2(np.sin(turns), np.cos(turns)))


def length(vectors: Array) -> Array:
    """Euclidean, over the last axis: one entry after the other, faster along so short an axis."""
    squares = (np.square(vectors[..., axis]) for axis in range(vectors.shape[-1]))
    return np.sqrt(functools.reduce(np.add, squares))


def distance_from(origins: Array, places: Array) -> Array:
    """Of places (R, ..., D) from one origin for each robot (R, D). Shape (R, ...)."""
    own = origins.reshape(len(origins), *(1,) * (places.ndim - 2), -1)
    total = np.square(places[..., 0] - own[..., 0])  # as in length, in place: the hottest of all
    for axis in range(1, places.shape[-1]):
        leg = places[..., axis] - own[..., axis]
        total += np.square(leg, out=leg)
    return np.sqrt(total, out=total)


def mean_beyond(distances: Array, radius_m: float) -> Array:
    """Mean over the last axis of what distances (R, K, T) exceed a radius by. Shape (R, K)."""
    if radius_m > 0.0:
        distances = np.maximum(distances - np.float32(radius_m), np.float32(0.0))
    return distances.sum(axis=-1) * np.float32(1.0 / distances.shape[-1])


def _resampled(path: Float32, spacing_m: float) -> Float32:
    """Points at even distances along a polyline, its last one included. (M, 2) -> (N, 2)."""
    along = np.concatenate([[0.0], np.cumsum(length(np.diff(path, axis=0)))])
    num = 1 + int(np.ceil(along[-1] / spacing_m - 1e-3))  # no two in one place by rounding
    at = np.append(np.arange(num - 1) * spacing_m, along[-1])
    return np.stack([np.interp(at, along, path[:, i]) for i in (0, 1)], axis=1).astype(np.float32)


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
