"""Maps and ways from a process of their own, and what holds until they are there."""

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dads_ros.errors import PlanningError
from dads_ros.planning.obstacles import (
    LETHAL,
    ObstacleMap,
    Roads,
    WayField,
    check_goal,
    check_map,
)
from dads_ros.planning.worker import Result, Worker

_MEASURE = f"{__name__}:measure_map"
_PREPARE = f"{__name__}:prepare"
_FIND_WAY = f"{__name__}:find_way"


class WayProcess(Worker):
    """Measures maps and finds ways in a process of its own; its futures are never waited for."""

    def __init__(self, functions: Sequence[str] = (), *, limit_s: float = 120.0) -> None:
        """Start nothing yet.

        Args:
            functions: ``package.module:function`` of others that may be run there.
            limit_s: on the time of a job.
        """
        super().__init__((_MEASURE, _PREPARE, _FIND_WAY, *functions), limit_s=limit_s)

    def measure(
        self,
        cells: Any,  # noqa: ANN401, a buffer
        rows: int,
        columns: int,
        resolution_m: float,
        origin: tuple[float, float, float],
    ) -> "Future[ObstacleMap]":
        """The map in the cells of an occupancy grid, int8, row after row.

        Raises: PlanningError, before any work, for one that is none or too large.
        """
        check_map((rows, columns), resolution_m, origin)
        if memoryview(cells).nbytes != rows * columns:
            raise PlanningError(
                f"the map has {memoryview(cells).nbytes} cells; expected {rows} rows of {columns}"
            )
        grid = {"rows": rows, "columns": columns, "resolution_m": resolution_m, "origin": origin}
        return self.submit(_MEASURE, cells, measured_map, **grid)

    def prepare(
        self, obstacles: ObstacleMap, radius_m: float, margin_m: float
    ) -> "Future[Mapping[str, Any]]":
        """Have all done that ways on a map need before there is a goal; it is kept over there.

        Raises: PlanningError, before any work, for no legal request.
        """
        return self._submit(_PREPARE, dict, obstacles, radius_m, margin_m)

    def find_way(
        self, obstacles: ObstacleMap, goal: ArrayLike, radius_m: float, margin_m: float
    ) -> "Future[WayField]":
        """``ObstacleMap.way_to``. Raises: PlanningError, before any work, for no legal request."""
        check_goal(goal)
        place = np.asarray(goal, float)

        def field(result: Result) -> WayField:
            parts = (result[name] for name in ("around", "side", "lengths", "leads"))
            return WayField(obstacles, place, *parts)

        return self._submit(_FIND_WAY, field, obstacles, radius_m, margin_m, goal=place.tolist())

    def _submit(
        self,
        function: str,
        convert: Callable[[Result], Any],
        obstacles: ObstacleMap,
        radius_m: float,
        margin_m: float,
        **arguments: Any,  # noqa: ANN401
    ) -> "Future[Any]":
        obstacles.border(radius_m, margin_m)
        rows, columns = obstacles.is_lethal.shape
        return self.submit(
            function,
            np.ascontiguousarray(obstacles.is_lethal, bool),
            convert,
            rows=rows,
            columns=columns,
            resolution_m=obstacles.resolution_m,
            origin=obstacles.origin,
            radius_m=radius_m,
            margin_m=margin_m,
            **arguments,
        )


class NoWayError(PlanningError):
    """No way to the goal can be found on the newest map."""


class Surroundings(NamedTuple):
    """What a task takes of a map; one of each for its one robot."""

    maps: list[ObstacleMap] | None
    ways: list[WayField] | None


class WayFinder:
    """The newest map and the way to the goal on it, for one robot.

    Asked at every control step, it begins what is missing, cancels what a new goal made useless,
    and never waits. What ways on a map need before there is a goal is done as soon as the map is
    measured. Until the way to a new goal is there the robot stands. A new map's obstacles
    count as soon as they are measured; until the way on it is there, and while one at another
    margin is sought, or one to a goal that moves in small steps, the old way holds. What is under
    way for an older map or such a goal is finished first: else maps and goals that come faster
    than they can be searched would leave no way at all.
    """

    def __init__(self, process: WayProcess, radius_m: float) -> None:
        """Take where to run, and the robot's radius."""
        self._process, self._radius_m = process, radius_m
        self._map: ObstacleMap | None = None
        self._measuring: list[Future[ObstacleMap]] = []  # measured, under way, newest
        self._way: WayField | None = None
        self._goal: NDArray[np.floating] | None = None  # asked for last
        self._holds = False  # the way leads to that, or to where it was some small steps ago
        self._finding: Future[WayField] | None = None
        self._wanted: tuple[ObstacleMap, tuple[float, ...], float] | None = None
        self._preparing: Future[Any] | None = None
        self._prepared: tuple[ObstacleMap, float] | None = None  # at that margin

    def use_map(self, measuring: "Future[ObstacleMap]") -> None:
        """Take this map as soon as it is measured."""
        measured = [job for job in self._measuring if job.done() and not job.cancelled()]
        waiting = [job for job in self._measuring if not job.done()]
        for outdated in waiting[1:]:
            outdated.cancel()
        self._measuring = [*measured[-1:], *waiting[:1], measuring]

    @property
    def has_map(self) -> bool:
        """A map has been measured."""
        return self._map is not None

    def knows(self, goal: NDArray[np.floating] | None, near_m: float) -> bool:
        """A task can be planned at once; arguments as in ``update``."""
        if goal is None:
            return self.has_map
        if self._holds and self._goal is not None and _is_near(self._goal, goal, near_m):
            return True
        return self._way is not None and _is_near(self._way.goal, goal, near_m)

    def prepare(self, margin_m: float) -> None:
        """Instead of ``update`` while there is no task. Raises: PlanningError, as there."""
        self._take_map()
        if self._preparing is None or self._preparing.done():
            self._prepare(margin_m)

    def update(
        self, goal: NDArray[np.floating] | None, margin_m: float, near_m: float = 0.0
    ) -> Surroundings | None:
        """What to plan with now.

        Args:
            goal: x, y, world frame, m, shape (2,); None for a task without one.
            margin_m: as it is set now.
            near_m: a goal no further than this from the one before is the same one, moved.
        Returns: None while the robot has to stand, for what this goal needs is not there yet.
        Raises: PlanningError, once, when a map cannot be measured, or no way be sought at this
            margin: the one before still holds. NoWayError when no way to this goal can be found
            on the newest map; asked again, it is sought again.
        """
        self._take_map()
        found = self._finding
        if found is not None and found.done():
            self._finding = None
            try:
                self._way, self._holds = found.result(), True
            except PlanningError as error:
                assert self._wanted is not None
                is_same = goal is not None and self._wanted[1] == tuple(np.asarray(goal, float))
                if is_same and self._wanted[0] is self._map:
                    self._give_up(error)
        before, self._goal = self._goal, goal
        if goal is None:
            self._want(None)
            return Surroundings(None if self._map is None else [self._map], None)
        if self._map is None:
            return None if self._measuring else Surroundings(None, None)
        is_moved = before is not None and _is_near(before, goal, near_m)
        try:
            self._want((self._map, tuple(np.asarray(goal, float).tolist()), margin_m), is_moved)
        except PlanningError as error:
            if self._holds and is_moved:
                raise
            self._give_up(error)
        if self._way is None:
            return None
        self._holds = (self._holds and is_moved) or _is_near(self._way.goal, goal, near_m)
        return Surroundings([self._map], [self._way]) if self._holds else None

    def _give_up(self, error: PlanningError) -> None:
        """No way to the goal. Raises: NoWayError."""
        self._way, self._holds, self._wanted = None, False, None
        raise NoWayError(str(error)) from error

    def _take_map(self) -> None:
        """The newest one that is measured. Raises: PlanningError."""
        while self._measuring and self._measuring[0].done():
            self._map = self._measuring.pop(0).result()

    def _prepare(self, margin_m: float) -> None:
        """Of the newest map, once. It is never cancelled: the next goal needs it as well."""
        if self._map is None or self._prepared == (self._map, margin_m):
            return
        self._prepared = self._map, margin_m
        with contextlib.suppress(PlanningError):  # who asks for a way is told
            self._preparing = self._process.prepare(self._map, self._radius_m, margin_m)

    def _want(
        self, wanted: tuple[ObstacleMap, tuple[float, ...], float] | None, is_moved: bool = False
    ) -> None:
        """Have a way on this map to this goal at this margin found, if it is not that already."""
        before = self._wanted
        if wanted == before:
            return
        if self._finding is not None:
            if wanted is not None and is_moved:
                return
            self._finding.cancel()
        self._finding, self._wanted = None, wanted
        if wanted is None:
            self._way, self._holds = None, False
        else:
            obstacles, goal, margin_m = wanted
            self._prepare(margin_m)
            self._finding = self._process.find_way(obstacles, goal, self._radius_m, margin_m)


def _is_near(one: ArrayLike, other: ArrayLike, near_m: float) -> bool:
    return bool(np.linalg.norm(np.subtract(one, other)) <= near_m)


def measured_map(result: Result) -> ObstacleMap:
    """The map that ``measure_map`` measured, its arrays in memory of that process."""
    return ObstacleMap.measured(
        result["is_lethal"],
        result["clearance_m"],
        result["resolution_m"],
        tuple(result["origin"]),
    )


def measure_map(
    data: memoryview,
    rows: int,
    columns: int,
    resolution_m: float,
    origin: tuple[float, float, float],
) -> Mapping[str, Any]:
    """Runs in the worker: which of an occupancy grid's cells (int8) are obstacles, and clearance.

    Raises: PlanningError for a map that is none or too large.
    """
    check_map((rows, columns), resolution_m, origin)
    _roads.cache_clear()  # there is a new map, and memory is scarce
    cells = np.frombuffer(data, np.int8).reshape(rows, columns) >= LETHAL
    obstacles = ObstacleMap(cells, resolution_m, origin)
    return {
        "is_lethal": cells,
        "clearance_m": obstacles.clearance_m,
        "resolution_m": resolution_m,
        "origin": origin,
    }


def prepare(data: memoryview, **of_roads: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Runs in the worker: ``Roads`` on cells (bool), for ``find_way``. Raises: PlanningError."""
    _roads.cache_clear()
    _known_roads(data, **of_roads)
    return {}


def find_way(
    data: memoryview,
    goal: ArrayLike,
    **of_roads: Any,  # noqa: ANN401
) -> Mapping[str, Any]:
    """Runs in the worker: ``Roads.way_to`` on cells (bool). Raises: PlanningError."""
    way = _known_roads(data, **of_roads).way_to(goal)
    return {"around": way.around, "side": way.side, "lengths": way.lengths, "leads": way.leads}


def _known_roads(data: memoryview, *, origin: Sequence[float], **of_roads: Any) -> Roads:  # noqa: ANN401
    return _roads(bytes(data), origin=tuple(origin), **of_roads)


@functools.lru_cache(maxsize=1)
def _roads(
    data: bytes,
    *,
    rows: int,
    columns: int,
    resolution_m: float,
    origin: tuple[float, float, float],
    radius_m: float,
    margin_m: float,
) -> Roads:
    cells = np.frombuffer(data, bool).reshape(rows, columns)
    return Roads(ObstacleMap(cells, resolution_m, origin), radius_m, margin_m)
