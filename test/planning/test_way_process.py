"""Maps and ways from a process of their own, and what holds meanwhile."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmark.maps import warehouse
from dads_ros.errors import PlanningError
from dads_ros.planning import way_process
from dads_ros.planning.obstacles import ObstacleMap
from dads_ros.planning.way_process import NoWayError, Surroundings, WayFinder, WayProcess

PATIENCE_S = 120.0
ORIGIN = (-4.0, -4.0, 0.5)
GOAL, OTHER = np.array([2.0, 0.0]), np.array([1.0, 3.0])
HOLD = "worker_jobs:hold_interpreter"


@pytest.fixture
def process() -> Iterator[WayProcess]:
    process = WayProcess([HOLD])
    yield process
    process.close()


def wall(gap: int = 60) -> np.ndarray:
    """An occupancy grid of 8 m x 8 m: free, unknown, and a wall with a gap of 1 m."""
    cells = np.zeros((80, 80), np.int8)
    cells[:, :5], cells[:, 40] = -1, 65
    cells[gap : gap + 10, 40] = 64
    return cells


def measure(process: WayProcess, cells: np.ndarray) -> ObstacleMap:
    return process.measure(cells.tobytes(), *cells.shape, 0.1, ORIGIN).result(PATIENCE_S)


def wait_for(process: WayProcess) -> None:
    """All that was asked for before is done: one job runs after the other."""
    measure(process, np.zeros((2, 2), np.int8))


def finder_with_map(process: WayProcess) -> WayFinder:
    """The wall is measured."""
    finder = WayFinder(process, 0.3)
    finder.use_map(process.measure(wall().tobytes(), 80, 80, 0.1, ORIGIN))
    wait_for(process)
    return finder


def after_update(
    process: WayProcess, finder: WayFinder, goal: np.ndarray | None, margin_m: float = 0.1
) -> Surroundings | None:
    """What holds when what an update began is done."""
    finder.update(goal, margin_m)
    wait_for(process)
    return finder.update(goal, margin_m)


def test_maps_and_ways_are_those_that_this_process_would_have_found(process: WayProcess) -> None:
    here, there = ObstacleMap(wall() >= 65, 0.1, ORIGIN), measure(process, wall())
    np.testing.assert_array_equal(there.is_lethal, here.is_lethal)
    np.testing.assert_array_equal(there.clearance_m, here.clearance_m)
    places = np.random.default_rng(0).uniform(-9.0, 9.0, (400, 2))
    np.testing.assert_array_equal(there.clearance(places), here.clearance(places))
    for goal in ([2.0, 1.0], [50.0, -3.0]):
        way = process.find_way(there, goal, 0.3, 1.2).result(PATIENCE_S)
        expected = here.way_to(goal, 0.3, 1.2)(places)
        np.testing.assert_array_equal(way(places), expected)


def test_what_is_too_large_is_refused_before_any_work(process: WayProcess) -> None:
    cells, obstacles = bytes(16), ObstacleMap(np.zeros((4, 4), bool), 0.1)
    for rows, columns, resolution, what in (
        (4, 5, 0.1, "16 cells; expected 4 rows of 5"),
        (4001, 4000, 0.1, "16000000"),
        (4, 4, -1.0, "resolution"),
    ):
        with pytest.raises(PlanningError, match=what):
            process.measure(cells, rows, columns, resolution, ORIGIN)
    with pytest.raises(PlanningError, match="goal"):
        process.find_way(obstacles, [np.inf, 0.0], 0.3, 1.2)
    assert process.pid is None


def test_without_a_map_there_is_nothing_to_wait_for(process: WayProcess) -> None:
    assert WayFinder(process, 0.3).update(GOAL, 0.1) == Surroundings(None, None)
    assert process.pid is None


def test_for_a_new_goal_the_robot_stands_until_the_way_is_there(process: WayProcess) -> None:
    finder = WayFinder(process, 0.3)
    finder.use_map(process.measure(wall().tobytes(), 80, 80, 0.1, ORIGIN))
    assert finder.update(GOAL, 0.1) is None  # the first map is being measured
    wait_for(process)
    assert finder.update(None, 0.1).ways is None and finder.update(None, 0.1).maps is not None
    assert finder.update(GOAL, 0.1) is None
    found = after_update(process, finder, GOAL)
    assert found.ways[0].goal.tolist() == GOAL.tolist()
    assert found.ways[0].obstacles is found.maps[0]
    assert finder.update(OTHER, 0.1) is None
    assert after_update(process, finder, OTHER).ways[0].goal.tolist() == OTHER.tolist()


def test_new_obstacles_count_at_once_and_the_old_way_until_a_new_one_is_there(
    process: WayProcess,
) -> None:
    finder = finder_with_map(process)
    old = after_update(process, finder, GOAL)
    finder.use_map(process.measure(wall(10).tobytes(), 80, 80, 0.1, ORIGIN))
    assert finder.update(GOAL, 0.1) == old
    wait_for(process)
    both = finder.update(GOAL, 0.1)  # measured; the way on it is being found
    assert both.ways == old.ways and both.maps[0] is not old.maps[0]
    assert both.maps[0].is_lethal[65, 40]
    new = after_update(process, finder, GOAL)
    assert new.maps[0] is not old.maps[0] and new.ways[0].obstacles is new.maps[0]
    assert not new.maps[0].is_lethal[15, 40] and new.maps[0].is_lethal[65, 40]


def test_at_a_changed_margin_the_old_way_holds_until_the_new_one_is_there(
    process: WayProcess,
) -> None:
    finder, start = WayFinder(process, 0.3), np.array([-2.0, 0.0])
    finder.use_map(process.measure(wall().tobytes(), 80, 80, 0.1, ORIGIN))
    wait_for(process)
    old = after_update(process, finder, GOAL, 0.01)
    assert finder.update(GOAL, 3.0) == old
    new = after_update(process, finder, GOAL, 3.0)
    assert new.ways[0](start) > 1.2 * old.ways[0](start)


def test_maps_that_come_faster_than_ways_are_found_leave_a_way(process: WayProcess) -> None:
    finder = finder_with_map(process)
    hanging, jobs = process.submit(HOLD, seconds=600), []
    for gap in (10, 20, 30):
        jobs.append(process.measure(wall(gap).tobytes(), 80, 80, 0.1, ORIGIN))
        finder.use_map(jobs[-1])
    assert jobs[1].cancelled() and not jobs[0].cancelled()
    hanging_too = process.submit(HOLD, seconds=600)
    finder.update(GOAL, 0.1)  # begins the way on the first map, behind all these
    hanging.cancel()
    jobs[2].result(PATIENCE_S)
    assert finder.update(GOAL, 0.1) is None  # there is a newer map, the way goes on being found
    hanging_too.cancel()
    wait_for(process)
    assert finder.update(GOAL, 0.1).ways[0].obstacles.is_lethal[15, 40]  # the first one
    assert not after_update(process, finder, GOAL).maps[0].is_lethal[35, 40]  # the newest


def test_a_new_goal_ends_the_search_for_the_old_one(process: WayProcess) -> None:
    finder = finder_with_map(process)
    hanging = process.submit(HOLD, seconds=600)
    finder.update(GOAL, 0.1)  # waits behind that
    searching = finder._finding
    assert searching is not None
    finder.update(OTHER, 0.1)
    assert searching.cancelled()
    hanging.cancel()
    assert after_update(process, finder, OTHER).ways[0].goal.tolist() == OTHER.tolist()


def test_to_a_goal_nearby_the_old_way_holds_until_the_new_one_is_there(
    process: WayProcess,
) -> None:
    """However often it moves: what is under way is finished."""
    finder = WayFinder(process, 0.3)
    assert not finder.knows(None, 0.5)
    finder.use_map(process.measure(wall().tobytes(), 80, 80, 0.1, ORIGIN))
    wait_for(process)
    assert finder.update(GOAL, 0.1, 0.5) is None and not finder.knows(GOAL, 0.5)
    wait_for(process)
    old = finder.update(GOAL, 0.1, 0.5)
    step = np.array([-0.3, 0.0])
    assert finder.knows(None, 0.5) and finder.knows(GOAL + step, 0.5)
    assert not finder.knows(GOAL + 2 * step, 0.5)
    hanging = process.submit(HOLD, seconds=600)
    assert finder.update(GOAL + step, 0.1, 0.5) == old
    searching = finder._finding
    for number in range(2, 6):
        assert finder.update(GOAL + number * step, 0.1, 0.5) == old
    assert searching is not None and finder._finding is searching
    assert finder.knows(GOAL + 6 * step, 0.5)
    hanging.cancel()
    wait_for(process)  # the way to where it went first
    found = after_update(process, finder, GOAL + 5 * step)
    assert found.ways[0].goal.tolist() == (GOAL + 5 * step).tolist()
    assert finder.update(GOAL + 9 * step, 0.1, 0.5) is None  # that is another one
    assert finder.update(GOAL + 5 * step, 0.1, 0.5) == found


def test_what_fails_is_told_once_and_what_was_there_holds(process: WayProcess) -> None:
    finder = finder_with_map(process)
    old = after_update(process, finder, GOAL)
    with pytest.raises(PlanningError, match=re.escape("costs.margin_m")):
        finder.update(GOAL, 400.0)
    assert finder.update(GOAL, 400.0) == old
    assert after_update(process, finder, GOAL, 0.2).ways[0] is not old.ways[0]


def test_after_a_search_that_failed_the_same_goal_is_sought_again(process: WayProcess) -> None:
    finder = finder_with_map(process)
    hanging = process.submit(HOLD, seconds=600)
    assert finder.update(GOAL, 0.1) is None
    assert finder._finding is not None
    finder._finding.set_exception(PlanningError("the process ended"))
    with pytest.raises(NoWayError, match="ended"):
        finder.update(GOAL, 0.1)
    assert finder.update(GOAL, 0.1) is None
    hanging.cancel()
    wait_for(process)
    assert after_update(process, finder, GOAL).ways[0].goal.tolist() == GOAL.tolist()


def test_where_none_can_be_sought_and_no_way_is_there_the_goal_is_given_up(
    process: WayProcess,
) -> None:
    finder = finder_with_map(process)
    for _ in range(2):
        with pytest.raises(NoWayError, match=re.escape("costs.margin_m")):
            finder.update(GOAL, 400.0)
    assert after_update(process, finder, GOAL).ways[0].goal.tolist() == GOAL.tolist()


def test_of_a_known_map_all_is_prepared_before_there_is_a_goal(process: WayProcess) -> None:
    finder = WayFinder(process, 0.3)
    finder.prepare(0.1)
    assert finder._preparing is None and process.pid is None
    finder.use_map(process.measure(wall().tobytes(), 80, 80, 0.1, ORIGIN))
    wait_for(process)
    hanging = process.submit(HOLD, seconds=600)
    finder.prepare(0.1)
    preparing = finder._preparing
    assert preparing is not None
    for goal in (GOAL, OTHER, GOAL):  # a new goal cancels the search, not what all goals need
        assert finder.update(goal, 0.1) is None
    finder.prepare(0.1)
    assert finder._preparing is preparing and not preparing.cancelled()
    hanging.cancel()
    assert after_update(process, finder, GOAL).ways[0].goal.tolist() == GOAL.tolist()
    assert preparing.done() and finder._preparing is preparing
    finder.prepare(3.0)  # another margin
    assert finder._preparing is not preparing
    finder.prepare(400.0)  # cannot be searched: who asks for a way is told
    with pytest.raises(PlanningError, match="margin"):
        finder.update(GOAL, 400.0)


def test_a_warehouse_of_small_cells_is_searched_in_blocks_made_once_for_all_goals() -> None:
    cells = memoryview(warehouse()).cast("B")
    of_roads = {"rows": 1700, "columns": 1900, "resolution_m": 0.03, "origin": (0.0, 0.0, 0.0)}
    of_roads |= {"radius_m": 0.8, "margin_m": 1.2}
    way_process.prepare(cells, **of_roads)
    ways = [way_process.find_way(cells, goal, **of_roads) for goal in ([7.0, 2.0], [40.0, 49.0])]
    made = way_process._roads.cache_info()
    assert (made.misses, made.hits) == (1, 2)
    for way in ways:
        assert way["side"] == 5 and way["lengths"].size == way["leads"].size < 200_000
    roadmap = way_process._known_roads(cells, **of_roads)._roadmap
    assert roadmap is not None and roadmap.num_nodes < 250_000
    way_process.measure_map(memoryview(bytes(4)), 2, 2, 0.1, ORIGIN)
    assert way_process._roads.cache_info().currsize == 0  # memory for the new one


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_four_thousand_by_four_thousand_cells_in_a_gigabyte(process: WayProcess) -> None:
    """Walls one cell thick every 20 m, each with one doorway 0.1 m wider than the robot."""
    rng, resolution_m, radius_m, num = np.random.default_rng(0), 0.05, 0.3, 4000
    cells = np.zeros((num, num), np.int8)
    walls = np.arange(400, num, 400)
    doors = rng.integers(1500, 2500, len(walls))
    for row, door in zip(walls, doors, strict=True):
        cells[row] = 100
        cells[row, door : door + 14] = 0
    cells[:, [0, -1]] = 100
    job = process.measure(cells.tobytes(), num, num, resolution_m, (0.0, 0.0, 0.0))
    obstacles = job.result(500.0)
    goal = [100.0, 199.0]
    way = process.find_way(obstacles, goal, radius_m, 0.01).result(500.0)
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak_kb = int(re.search(r"VmHWM:\s+(\d+)", status)[1])
    shared_kb = (obstacles.clearance_m.nbytes + way.lengths.nbytes + 2 * cells.nbytes) >> 10
    assert peak_kb + shared_kb < 1e6
    start = np.array([100.0, 1.0])
    points = [start, *np.stack([doors + 7, walls], axis=1) * resolution_m, goal]
    by_hand = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    np.testing.assert_allclose(way(start), by_hand, rtol=0.03)
    closed = cells.copy()
    closed[walls[4]] = 100
    job = process.measure(closed.tobytes(), num, num, resolution_m, (0.0, 0.0, 0.0))
    around = process.find_way(job.result(500.0), goal, radius_m, 0.01).result(500.0)
    np.testing.assert_allclose(around(start), 400.0, rtol=0.02)  # beyond the map's edge
    assert by_hand < 300.0
