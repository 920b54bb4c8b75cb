"""ObstacleMap: where a robot must not go, and how far it is to a goal around that.

Between the centres of cells, values are interpolated. Beyond the map everything is free.
Shapes: R robots, K candidates, T points, rows along y, columns along x.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dads_ros.errors import PlanningError
from dads_ros.planning.costs import Array, Candidates, Float32, distance_from, length, mean_beyond
from dads_ros.planning.way_search import (
    MAX_NODES,
    Roadmap,
    block_side,
    lengths_on_cells,
    to_nearest,
)

LETHAL = 65
"""Cells of an occupancy grid from this on are obstacles, as map_server writes them; unknown (-1)
is free."""
MAX_CELLS = 16_000_000
"""Of a map."""
MAX_WINDOW_CELLS = 25_000_000
"""Of a map with the border around it that a robot needs to go around it."""
RESOLUTION_M = (1e-3, 1e2)
"""Least and largest side of a cell."""
MAX_DISTANCE_M = 1e5
"""Of a map's sides, its origin and goals: farther off, float32 no longer tells centimetres."""
NARROW = 12.0
"""Factor on the length of a way that touches obstacles; 1 at a margin from them."""
SIGHT_CELLS = 64
"""Farther from its goal than this, a robot goes by the field of ways alone."""
FREE_M = 1e6
"""Clearance where there is no obstacle at all."""


@dataclass(frozen=True, eq=False)
class ObstacleMap:
    """A grid of obstacles in the world frame; equal only to itself."""

    is_lethal: NDArray[np.bool_]
    """Shape (rows, columns)."""
    resolution_m: float
    """Side of a cell."""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """x, y (m) and yaw (rad) of the outer corner of cell (0, 0), world frame."""

    def __post_init__(self) -> None:
        """Raises: PlanningError for a map that is none."""
        check_map(self.is_lethal.shape, self.resolution_m, self.origin)

    @classmethod
    def measured(
        cls,
        is_lethal: NDArray[np.bool_],
        clearance_m: Float32,
        resolution_m: float,
        origin: tuple[float, float, float],
    ) -> "ObstacleMap":
        """A map whose ``clearance_m`` is known."""
        obstacles = cls(is_lethal, resolution_m, origin)
        vars(obstacles)["clearance_m"] = clearance_m
        return obstacles

    @functools.cached_property
    def clearance_m(self) -> Float32:
        """Distance from each cell's centre to the nearest obstacle's edge; negative inside.

        Measured when first asked for. Shape (rows, columns).
        """
        if not self.is_lethal.any():
            return np.full(self.is_lethal.shape, FREE_M, np.float32)
        around = np.pad(self.is_lethal, 1)  # beyond the edge all is free
        distance = to_nearest(around)[1]
        distance -= to_nearest(~around)[1]
        distance += np.where(around, np.float32(0.5), np.float32(-0.5))
        return distance[1:-1, 1:-1] * np.float32(self.resolution_m)

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

    def way_to(self, goal: ArrayLike, radius_m: float, margin_m: float) -> "WayField":
        """``Roads.way_to`` for a single goal. Raises: PlanningError."""
        check_goal(goal)
        return Roads(self, radius_m, margin_m).way_to(goal)

    def border(self, radius_m: float, margin_m: float) -> int:
        """Cells around the map in which a robot can go around it.

        Raises: PlanningError when there is no searching for ways of such a robot.
        """
        if not (0.0 <= radius_m <= MAX_DISTANCE_M and 0.0 < margin_m <= MAX_DISTANCE_M):
            raise PlanningError(
                f"the robot's radius is {radius_m} m and the margin {margin_m} m; expected "
                f"finite numbers, the margin above 0, both at most {MAX_DISTANCE_M:g} m"
            )
        around = int(np.ceil((radius_m + margin_m) / self.resolution_m)) + 2
        rows, columns = (size + 2 * around for size in self.is_lethal.shape)
        if rows * columns > MAX_WINDOW_CELLS:
            raise PlanningError(
                f"the map and {radius_m + margin_m:g} m around it, the robot's radius and "
                f"'costs.margin_m', are {rows * columns} cells of {self.resolution_m:g} m; at "
                f"most {MAX_WINDOW_CELLS} are searched: send a coarser map, or lower the margin"
            )
        return around

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


def check_map(
    shape: tuple[int, ...], resolution_m: float, origin: tuple[float, float, float]
) -> None:
    """Before any work on a map. Raises: PlanningError for one that is none, or too large."""
    if len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] > MAX_CELLS:
        raise PlanningError(
            f"the map has shape {shape}; expected rows and columns, at most {MAX_CELLS} cells"
        )
    least, most = RESOLUTION_M
    if not least <= resolution_m <= most:
        raise PlanningError(
            f"the map has resolution {resolution_m} m; expected {least:g} to {most:g} m"
        )
    numbers = [*origin, max(shape) * resolution_m]
    if len(origin) != 3 or not np.abs(numbers).max() <= MAX_DISTANCE_M:
        raise PlanningError(
            f"the map has origin {tuple(origin)} and sides of {shape[0] * resolution_m:g} and "
            f"{shape[1] * resolution_m:g} m; expected x, y and yaw, finite, and nothing beyond "
            f"{MAX_DISTANCE_M:g} m"
        )


def check_goal(goal: ArrayLike) -> None:
    """Raises: PlanningError for one that is none, or too far away."""
    place = np.asarray(goal, float)
    if place.shape != (2,) or not np.abs(place).max() <= MAX_DISTANCE_M:
        raise PlanningError(
            f"the goal is {place.tolist()}; expected x and y, at most {MAX_DISTANCE_M:g} m "
            "from the origin"
        )


class Roads:
    """All that does not depend on the goal of the ways of a robot on a map.

    Large maps are searched in blocks of cells, so small that no obstacle, grown by the robot's
    radius on both sides, fits between two places of neighbouring blocks. A way is found just where
    one leads over the cells, but for places in a block that both sides of a gap share: no gap
    closes or opens by that.
    """

    def __init__(
        self,
        obstacles: ObstacleMap,
        radius_m: float,
        margin_m: float,
        side: int | None = None,
    ) -> None:
        """Grow the obstacles and make the graph of ways around them.

        The work is bounded by the map's size and the border that ``radius_m`` and ``margin_m``
        need around it.

        Args:
            obstacles: the map.
            radius_m: of the robot; ways keep so far away from obstacles.
            margin_m: nearer to the robot's edge than this, a way counts as longer, up to
                ``NARROW`` times: of two ways the wider one is taken, unless it is much longer.
            side: of a block, cells; None chooses it by the map's size and the radius.
        Raises: PlanningError when that is beyond what can be searched.
        """
        self._obstacles, self._radius_m, self._margin_m = obstacles, radius_m, margin_m
        self._around = obstacles.border(radius_m, margin_m)
        rows, columns = (size + 2 * self._around for size in obstacles.is_lethal.shape)
        # Two places that values are interpolated between are up to 1.5 diagonals of a block apart.
        thinnest = 2.0 * radius_m / obstacles.resolution_m + 1.0
        largest = int(thinnest / (1.5 * 2.0**0.5))
        self.side = block_side(rows * columns, largest) if side is None else side
        # Of a huge map for a tiny robot nothing is kept: that would take too much memory.
        self._is_kept = rows * columns <= MAX_NODES * self.side**2
        self._roadmap = Roadmap(*self._room(), self.side) if self._is_kept else None

    def way_to(self, goal: ArrayLike) -> "WayField":
        """Lengths of the shortest ways to a goal; how far away it is does not matter.

        Args:
            goal: x, y, world frame, m. Shape (2,).
        Raises: PlanningError for a goal that is none.
        """
        check_goal(goal)
        place, around = np.asarray(goal, float), self._around
        column, row = (float(at) + around for at in self._obstacles._coordinates(place))
        if self._roadmap is not None:
            roadmap = self._roadmap
            lengths, leads = roadmap.lengths(*_starts(roadmap.is_free, column, row))
        else:
            is_free, weights = self._room()
            side = int(np.ceil(np.sqrt(is_free.size / MAX_NODES)))
            starts = _starts(is_free, column, row)
            lengths, leads = lengths_on_cells(is_free, weights, side, *starts)
        lengths *= np.float32(self._obstacles.resolution_m)
        return WayField(self._obstacles, place, around, self.side, lengths, leads)

    def _room(self) -> tuple[NDArray[np.bool_], Float32]:
        """Cells that the robot may be on, and how much a way counts there.

        On the map and a border, of which the far ends make the blocks complete.
        """
        around, side = self._around, self.side
        ends = [around + -(size + 2 * around) % side for size in self._obstacles.is_lethal.shape]
        cells = np.pad(self._obstacles.is_lethal, [(around, end) for end in ends])
        clearance = np.full(cells.shape, FREE_M, np.float32)
        if cells.any():
            clearance = to_nearest(cells)[1] - np.float32(0.5)
            clearance *= np.float32(self._obstacles.resolution_m)
        is_free = clearance > self._radius_m
        weights = np.clip(
            1.0 - (clearance - self._radius_m) / self._margin_m, 0.0, 1.0, dtype=np.float32
        )
        weights *= np.float32(NARROW - 1.0)
        weights += np.float32(1.0)
        return is_free, weights


class WayField:
    """Length of the shortest way to a goal from everywhere."""

    def __init__(
        self,
        obstacles: ObstacleMap,
        goal: NDArray[np.float64],
        around: int,
        side: int,
        lengths: Float32,
        leads: NDArray[np.bool_],
    ) -> None:
        """Take lengths, m, in blocks of ``side`` x ``side`` cells.

        They are on a map's cells and ``around`` cells on each of its sides; and whether a way
        leads from there at all. Shapes: goal (2,), the others (blocks along y, along x).
        """
        self.obstacles, self.goal = obstacles, goal
        self.around, self.side, self.lengths, self.leads = around, side, lengths, leads
        self.block_m = side * obstacles.resolution_m
        """Side of a block."""
        self._in_sight = np.zeros((0, 0), bool)

    def __call__(self, positions: Array) -> Float32:
        """Length from places, bilinear between blocks, m. (..., 2) -> (...)."""
        at = self._coordinates(positions)
        lengths, beyond = _interpolated(self.lengths, at)
        if beyond is None:
            return lengths
        lengths, outside = np.array(lengths), beyond > 0.0
        beyond = beyond[outside] * np.float32(self.block_m)
        column, row = (part[outside] for part in at)
        lengths[outside] = self._from_outside(column, row, lengths[outside] + beyond)
        return lengths

    def leads_from(self, position: Array) -> bool:
        """Whether a way leads to the goal from a place, or from a cell beside it. Shape (2,)."""
        beside = []
        for at, num in zip(
            reversed(self.obstacles._coordinates(position)), self.leads.shape, strict=True
        ):
            cell = int(np.clip(np.rint(at) + self.around, 0, num * self.side - 1))
            beside.append(slice(max(0, cell - 1) // self.side, (cell + 1) // self.side + 1))
        return bool(self.leads[*beside].any())

    def is_in_sight(self, positions: Array, radius_m: float) -> NDArray[np.bool_]:
        """Whether the straight line from a place to the goal keeps a cell away from obstacles.

        Only of places within ``radius_m`` of the goal, and within ``SIGHT_CELLS`` of it.
        Shape (..., 2) -> (...).
        """
        num = min(SIGHT_CELLS, int(np.ceil(radius_m / self.obstacles.resolution_m)))
        if len(self._in_sight) != 2 * num + 1:
            self._in_sight = self._look_around(num)
        goal = self.obstacles._coordinates(self.goal.astype(np.float32))
        column, row = (
            np.rint(at - to).astype(int)
            for at, to in zip(self.obstacles._coordinates(positions), goal, strict=True)
        )
        is_near = np.maximum(np.abs(column), np.abs(row)) <= num
        column, row = np.clip(column, -num, num), np.clip(row, -num, num)
        return is_near & self._in_sight[row + num, column + num]

    def _look_around(self, num: int) -> NDArray[np.bool_]:
        """Of places up to ``num`` cells from the goal. Shape (2 * num + 1, 2 * num + 1)."""
        cells = self.obstacles.clearance_m
        column, row = self.obstacles._coordinates(self.goal.astype(np.float32))
        ahead = np.arange(-num, num + 1, dtype=np.float32)[:, None]
        parts = np.linspace(0.0, 1.0, 2 * num + 1, dtype=np.float32)  # at most a cell apart
        i = np.rint(row + ahead * parts).astype(int)[:, None]
        j = np.rint(column + ahead * parts).astype(int)[None]
        is_inside = (i >= 0) & (i < cells.shape[0]) & (j >= 0) & (j < cells.shape[1])
        i, j = np.clip(i, 0, cells.shape[0] - 1), np.clip(j, 0, cells.shape[1] - 1)
        is_blocked = cells[i, j] <= 0.6 * self.obstacles.resolution_m  # or a cell beside it
        return ~(is_inside & is_blocked).any(axis=2)

    def _from_outside(self, column: Array, row: Array, over_nearest: Array) -> Array:
        """Straight to the goal; where the grid is in between, over it from where it begins."""
        places = (column, row)
        goal = self._coordinates(self.goal.astype(np.float32))
        ahead = [to - at for to, at in zip(goal, places, strict=True)]
        enters, leaves = np.float32(-np.inf), np.float32(np.inf)
        for at, way, num in zip(places, ahead, self.lengths.shape[::-1], strict=True):
            way = np.where(way == 0.0, np.float32(1e-9), way)
            ends = np.stack([-at / way, (num - 1 - at) / way])
            enters = np.maximum(enters, ends.min(axis=0))
            leaves = np.minimum(leaves, ends.max(axis=0))
        straight = np.hypot(*ahead) * np.float32(self.block_m)
        is_between = (enters <= leaves) & (enters < 1.0) & (leaves > 0.0)
        part = np.where(is_between, enters, np.float32(0.0))
        begin = (column + part * ahead[0], row + part * ahead[1])
        over = part * straight + _interpolated(self.lengths, begin)[0]
        return np.where(is_between, np.minimum(over, over_nearest), straight)

    def _coordinates(self, positions: Array) -> tuple[Float32, Float32]:
        """Columns and rows of places (..., 2), in blocks from the centre of the first one."""
        first = np.float32(self.around + 0.5)
        column, row = (
            (at + first) / np.float32(self.side) - np.float32(0.5)
            for at in self.obstacles._coordinates(positions)
        )
        return column, row


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
        # Near the goal the straight distance is exact, the field only to a block.
        for robot, way in enumerate(self._ways):
            near_m = 2.0 * max(self._radius_m, way.block_m)
            near = straight[robot] < near_m
            if near.any():
                near[near] = way.is_in_sight(positions[robot][near], near_m)
                lengths[robot][near] = straight[robot][near]
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


def _starts(
    is_free: NDArray[np.bool_], column: float, row: float
) -> tuple[NDArray[np.integer], Float32]:
    """Flat indices of the cells from which a place is reached directly, and how far it is, cells.

    A place on the grid is reached from the free cell nearest to it; one beyond from the cells on
    the edges that face it, all of which are free.
    """
    num_rows, num_columns = is_free.shape
    rows, columns = np.arange(num_rows)[:, None], np.arange(num_columns)[None]
    place = round(row), round(column)
    if 0 <= place[0] < num_rows and 0 <= place[1] < num_columns:
        if is_free[place]:
            nearest = np.ravel_multi_index(place, is_free.shape)
        else:
            square = np.square(rows - place[0]) + np.square(columns - place[1])
            square[~is_free] = np.iinfo(square.dtype).max  # in place: it may take 200 MB
            nearest = square.argmin()
        return np.array([nearest]), np.zeros(1, np.float32)
    faces = np.zeros(is_free.shape, bool)
    faces[0] |= row < 0
    faces[-1] |= row > num_rows - 1
    faces[:, 0] |= column < 0
    faces[:, -1] |= column > num_columns - 1
    starts = np.flatnonzero(faces)
    i, j = np.divmod(starts, num_columns)
    return starts, np.hypot(i - row, j - column).astype(np.float32)
