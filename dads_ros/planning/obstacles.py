"""ObstacleMap: where a robot must not go, and how far it is to a goal around that.

Between the centres of cells, values are interpolated. Beyond the map everything is free.
Shapes: R robots, K candidates, T points, rows along y, columns along x.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from dads_ros.errors import PlanningError
from dads_ros.planning.costs import Array, Candidates, Float32, distance_from, length, mean_beyond

LETHAL = 65
"""Cells of an occupancy grid from this on are obstacles, as map_server writes them; unknown (-1)
is free."""
MAX_CELLS = 4_000_000
NARROW = 12.0
"""Factor on the length of a way that touches obstacles; 1 at a margin from them."""
FREE_M = 1e6
"""Clearance where there is no obstacle at all."""
_STEPS = {
    (0, 1): (),
    (1, 0): (),
    (1, 1): ((0, 1), (1, 0)),
    (1, -1): ((0, -1), (1, 0)),
    (1, 2): ((0, 1), (1, 1)),
    (1, -2): ((0, -1), (1, -1)),
    (2, 1): ((1, 0), (1, 1)),
    (2, -1): ((1, 0), (1, -1)),
}
"""To the neighbours (rows, columns) that a way may go to directly, and back: the cells that it
passes over, which must be free as well."""


@dataclass(frozen=True)
class ObstacleMap:
    """A grid of obstacles in the world frame."""

    is_lethal: NDArray[np.bool_]
    """Shape (rows, columns)."""
    resolution_m: float
    """Side of a cell."""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """x, y (m) and yaw (rad) of the outer corner of cell (0, 0), world frame."""

    def __post_init__(self) -> None:
        """Raises: PlanningError for a map that is none."""
        cells = np.asarray(self.is_lethal, bool)
        if cells.ndim != 2 or not 0 < cells.size <= MAX_CELLS:
            raise PlanningError(
                f"the map has shape {cells.shape}; expected rows and columns, at most "
                f"{MAX_CELLS} cells"
            )
        if not (np.isfinite(self.origin).all() and 0.0 < self.resolution_m < np.inf):
            raise PlanningError(
                f"the map has resolution {self.resolution_m} m and origin {self.origin}; both "
                "must be finite, the resolution above 0"
            )

    @functools.cached_property
    def clearance_m(self) -> Float32:
        """Distance from each cell's centre to the nearest obstacle's edge; negative inside.

        Measured when first asked for. Shape (rows, columns).
        """
        return self._clearance_of(self.is_lethal)

    def clearance(self, positions: Array) -> Float32:
        """Distance from places to the nearest obstacle, m, to half a cell. (..., 2) -> (...).

        Beyond the map at least this: a place there and an obstacle within are on opposite sides of
        the nearest place of the map, so that the distances from that to both are the sides of a
        right or obtuse angle.
        """
        clearance, beyond = _interpolated(self.clearance_m, self._coordinates(positions))
        if beyond is None:
            return clearance
        beyond *= np.float32(self.resolution_m)
        return np.where(clearance > 0.0, np.hypot(clearance, beyond), clearance + beyond)

    def way_to(
        self, goal: ArrayLike, radius_m: float, margin_m: float, reach: ArrayLike
    ) -> "WayField":
        """Lengths of the shortest ways to a goal for a robot of this radius.

        Args:
            goal: x, y, world frame, m. Shape (2,).
            radius_m: of the robot; ways keep so far away from obstacles.
            margin_m: nearer to the robot's edge than this, a way counts as longer, up to
                ``NARROW`` times: of two ways the wider one is taken, unless it is much longer.
            reach: places that must be covered as well, such as the robot's. Shape (N, 2).
        """
        places = np.concatenate([np.atleast_2d(reach), np.atleast_2d(goal)]).astype(float)
        rows, columns = self.is_lethal.shape
        at = np.stack(self._coordinates(places), axis=-1)
        size = np.array([columns, rows])
        low = np.minimum(np.floor(at.min(0)).astype(int), 0)
        high = np.maximum(np.ceil(at.max(0)).astype(int) + 1, size)
        # Room to go around the map.
        around = int(np.ceil((radius_m + margin_m) / self.resolution_m)) + 2
        low, high = low - around, high + around
        (columns, rows), before = high - low, -low
        if rows * columns > MAX_CELLS:
            raise PlanningError(
                f"robot, goal and map span {rows * columns} cells of {self.resolution_m} m; at "
                f"most {MAX_CELLS} are searched: send a coarser map, or a nearer goal"
            )
        pad = [(before[1], high[1] - size[1]), (before[0], high[0] - size[0])]
        clearance = self._clearance_of(np.pad(self.is_lethal, pad))
        narrowness = np.clip(1.0 - (clearance - radius_m) / margin_m, 0.0, 1.0)
        weights = 1.0 + (NARROW - 1.0) * narrowness
        ways = _ways(clearance > radius_m, weights, at[-1] - low)
        return WayField(self, low, ways * self.resolution_m)

    def _coordinates(self, positions: Array) -> tuple[Float32, Float32]:
        """Columns and rows of places (..., 2), counted from the centre of cell (0, 0)."""
        x_0, y_0, yaw = self.origin
        cos, sin = np.cos(yaw) / self.resolution_m, np.sin(yaw) / self.resolution_m
        x, y = positions[..., 0].astype(np.float32), positions[..., 1].astype(np.float32)
        column = np.float32(cos) * x + np.float32(sin) * y
        row = np.float32(cos) * y - np.float32(sin) * x
        column -= np.float32(cos * x_0 + sin * y_0 + 0.5)
        row -= np.float32(cos * y_0 - sin * x_0 + 0.5)
        return column, row

    def _clearance_of(self, cells: NDArray[np.bool_]) -> Float32:
        if not cells.any():
            return np.full(cells.shape, FREE_M, np.float32)
        around = np.pad(cells, 1)  # beyond the edge all is free
        distance = distance_transform_edt(~around) + distance_transform_edt(around) - 0.5
        signed = np.where(around, -distance, distance)[1:-1, 1:-1]
        return (signed * self.resolution_m).astype(np.float32)


class WayField:
    """Length of the shortest way to a goal from everywhere in a padded map."""

    def __init__(self, obstacles: ObstacleMap, low: NDArray[np.int64], lengths: Array) -> None:
        """Take lengths (rows, columns), m, of cells from ``low`` (column, row) on."""
        self._map, self._low = obstacles, low
        self._lengths = lengths.astype(np.float32)

    def __call__(self, positions: Array) -> Float32:
        """Length from places, bilinear between cells, m. (..., 2) -> (...).

        Beyond the edge longer by the distance from there.
        """
        column, row = self._map._coordinates(positions)
        at = column - np.float32(self._low[0]), row - np.float32(self._low[1])
        lengths, beyond = _interpolated(self._lengths, at)
        return lengths if beyond is None else lengths + beyond * np.float32(self._map.resolution_m)


class WayCost:
    """Mean length of the way left to the goal around obstacles, m; nothing near the goal."""

    def __init__(self, ways: list[WayField], goals: ArrayLike, radius_m: float) -> None:
        """Take one field for each robot; within ``radius_m`` of its goal (R, 2) nothing costs."""
        self._ways, self._radius_m = ways, radius_m
        self.goals = np.asarray(goals, np.float32)

    def __call__(self, plans: Candidates) -> Array:
        """Mean length. Shape (R, K)."""
        positions = plans.positions
        lengths = np.stack([way(p) for way, p in zip(self._ways, positions, strict=True)])
        straight = distance_from(self.goals, positions)
        # Near the goal the straight distance is exact, the field only to a cell.
        lengths = np.where(straight < 2.0 * self._radius_m, straight, lengths)
        return mean_beyond(lengths, self._radius_m)


class ObstacleCost:
    """Forbids plans that touch an obstacle; near ones cost by how near, 0 to 1 on average.

    Whole pieces of a plan are checked: places along them so close together that nothing can be
    passed over between two. A robot that already touches may only move out of there.
    """

    def __init__(self, maps: list[ObstacleMap], radius_m: float, margin_m: float) -> None:
        """Take one map for each robot.

        Args:
            maps: one for each robot (R).
            radius_m: of the robot.
            margin_m: nearer to the robot's edge than this, obstacles cost.
        """
        self._maps, self._radius_m, self._margin_m = maps, radius_m, margin_m

    def __call__(self, plans: Candidates) -> Array:
        """Shape (R, K)."""
        return np.stack(
            [
                self._cost(obstacles, predictions[..., :2])
                for obstacles, predictions in zip(self._maps, plans.predictions, strict=True)
            ]
        )

    def _cost(self, obstacles: ObstacleMap, ends: Float32) -> Float32:
        """Of one robot's candidates, whose pieces end at (K, H + 1, 2). Shape (K,)."""
        pieces = np.diff(ends, axis=1)
        longest = float(length(pieces).max())
        num = max(1, int(np.ceil(longest / obstacles.resolution_m)))
        parts = np.arange(1, num + 1, dtype=np.float32) / np.float32(num)
        places = ends[:, :-1, None] + pieces[:, :, None] * parts[:, None]
        clear = obstacles.clearance(places).reshape(len(ends), -1) - np.float32(self._radius_m)
        # From a place to halfway to the next, an interpolated clearance changes by at most this.
        slack = np.float32(0.5**0.5 * longest / num)
        start = obstacles.clearance(ends[:, 0]) - np.float32(self._radius_m)
        allowed = np.minimum(slack, start - np.float32(1e-4))
        is_forbidden = clear.min(axis=1) < allowed
        is_forbidden |= (start < 0.0) & (clear[:, -1] <= start)
        near = np.clip(1.0 - clear / np.float32(self._margin_m), 0.0, 1.0).mean(axis=1)
        return np.where(is_forbidden, np.float32(np.inf), near)


def _interpolated(values: Array, at: tuple[Array, Array]) -> tuple[Array, Array | None]:
    """Bilinear between cells (rows, columns) at columns and rows, from the edge on constant.

    Returns: the values, and how far beyond the edge they were asked for, in cells; None where that
        is nowhere. Shape of the columns.
    """
    num_rows, num_columns = values.shape
    right, up = min(1, num_columns - 1), min(1, num_rows - 1) * num_columns
    inside, cells, parts = [], [], []
    for place, last in zip(at, (num_columns - 1, num_rows - 1), strict=True):
        inside.append(np.clip(place, 0, last))
        cell = np.minimum(np.floor(inside[-1]), max(last - 1, 0))
        cells.append(cell.astype(np.int32))
        parts.append(inside[-1] - cell)
    index = cells[1] * num_columns + cells[0]
    flat, (u, v) = values.ravel(), parts

    def along_row(index: NDArray[np.int32]) -> Array:
        left = flat.take(index)
        return left + (flat.take(index + right) - left) * u

    below, above = along_row(index), along_row(index + up)
    result = below + (above - below) * v
    if all(np.array_equal(a, b) for a, b in zip(at, inside, strict=True)):
        return result, None
    return result, np.hypot(at[0] - inside[0], at[1] - inside[1])


def _ways(is_free: NDArray[np.bool_], weights: Array, goal: Array) -> Array:
    """Shortest ways to a goal (column, row) over free cells, in cells. Shape of ``is_free``.

    A piece of a way counts as many times as the mean of the weights of its ends says.

    Where no way leads, those of the nearest cell from which one does, and the distance to that on
    top: so a robot that stands too near to a wall is drawn away from it.
    """
    rows, columns = is_free.shape
    index = np.arange(is_free.size).reshape(is_free.shape)
    starts, ends, lengths = [], [], []
    for (row, column), passed in _STEPS.items():
        a = index[: rows - row, max(0, -column) : columns - max(0, column)]
        b = index[row:, max(0, column) : columns - max(0, -column)]
        free = is_free.flat[a] & is_free.flat[b]
        for i, j in passed:
            free &= is_free.flat[a + i * columns + j]
        starts.append(a[free])
        ends.append(b[free])
        mean = 0.5 * (weights.flat[a[free]] + weights.flat[b[free]])
        lengths.append(np.hypot(row, column) * mean)
    graph = csr_array(
        (np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends))),
        shape=(is_free.size, is_free.size),
    )
    nearest_free = distance_transform_edt(~is_free, return_distances=False, return_indices=True)
    column, row = np.rint(goal).astype(int)
    source = index[tuple(nearest_free[:, row, column])] if is_free.any() else 0
    ways = dijkstra(graph, directed=False, indices=source).reshape(is_free.shape)
    is_open = np.isfinite(ways)
    off, nearest = distance_transform_edt(~is_open, return_indices=True)
    return ways[tuple(nearest)] + 2.0 * off
