"""Obstacles against distances worked by hand or measured point by point."""

import numpy as np
import pytest

from dads_ros.errors import PlanningError
from dads_ros.planning.costs import Candidates
from dads_ros.planning.obstacles import ObstacleCost, ObstacleMap, Roads, WayCost
from skill_models import candidates


def wall_with_a_gap() -> ObstacleMap:
    """8 m x 8 m from (-4, -4), cells of 0.1 m; a wall at x 0 with a gap at y from 2 to 3 m."""
    cells = np.zeros((80, 80), bool)
    cells[:, 40] = True
    cells[60:70, 40] = False
    return ObstacleMap(cells, 0.1, (-4.0, -4.0, 0.0))


def test_clearance_is_the_distance_to_the_nearest_obstacle() -> None:
    obstacles = wall_with_a_gap()
    places = np.array([[-1.95, 0.05], [1.05, 0.05], [0.05, 0.05], [0.05, 2.5], [50.0, 0.0]])
    expected = [1.95, 0.95, -0.05, 0.5, 49.9]  # the last one beyond the map: not more than this
    clearance = obstacles.clearance(places)
    np.testing.assert_allclose(clearance[:4], expected[:4], atol=0.06)
    assert 46.0 < clearance[4] <= expected[4]


def test_beyond_the_map_clearance_is_never_more_than_the_distance() -> None:
    obstacles = wall_with_a_gap()
    rows, columns = np.nonzero(obstacles.is_lethal)
    centres = np.stack([columns, rows], axis=1) * 0.1 + 0.05 - 4.0
    places = np.random.default_rng(0).uniform(-9.0, 9.0, (500, 2))
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).min(axis=1)
    clearance = obstacles.clearance(places)
    assert (clearance <= nearest).all()
    beyond = np.abs(places).max(axis=1) - 4.0
    assert (clearance >= beyond - 0.1).all()  # near a map one may stand, whatever is in it


@pytest.mark.parametrize("thickness", [1, 30, 80])
def test_thick_walls_at_the_edge_leave_what_is_beyond_free(thickness: int) -> None:
    cells = np.zeros((80, 80), bool)
    cells[:, -thickness:] = True
    obstacles = ObstacleMap(cells, 0.1, (-4.0, -4.0, 0.0))
    beyond = obstacles.clearance(np.array([[4.5, 0.0], [6.0, 0.0]]))
    np.testing.assert_allclose(beyond, [0.5, 2.0], atol=0.1)
    assert obstacles.clearance(np.array([3.95, 0.0])) < 0.0


def test_around_the_map_there_is_room_for_the_margin() -> None:
    cells = np.zeros((80, 80), bool)
    cells[:, 40] = True
    obstacles = ObstacleMap(cells, 0.1, (-4.0, -4.0, 0.0))
    way = obstacles.way_to([2.0, 0.0], 0.5, 1.0)(np.array([-2.0, 0.0]))
    assert way < 1.3 * 2.0 * np.hypot(2.0, 5.5)  # at the margin from the wall's end


def test_ways_go_on_beyond_the_map() -> None:
    field = wall_with_a_gap().way_to([3.0, 0.0], 0.3, 0.1)
    lengths = field(np.array([[3.0, -20.0], [3.0, -10.0], [3.0, -3.0]]))
    np.testing.assert_allclose(lengths, [20.0, 10.0, 3.0], atol=0.5)


def test_of_two_ways_the_wider_one_is_taken() -> None:
    cells = np.zeros((80, 80), bool)
    cells[:, 40] = True
    cells[36:44, 40] = cells[60:76, 40] = False  # straight ahead 0.8 m, to the left 1.6 m wide
    obstacles = ObstacleMap(cells, 0.1, (-4.0, -4.0, 0.0))
    start, in_narrow, in_wide = np.array([[-2.0, 0.0], [0.05, 0.0], [0.05, 2.8]])
    for margin_m, is_narrow in ((0.01, True), (0.6, False)):
        way = obstacles.way_to([2.0, 0.0], 0.3, margin_m)
        back = obstacles.way_to(start, 0.3, margin_m)
        through = [way(gap) + back(gap) for gap in (in_narrow, in_wide)]
        assert (through[0] < through[1]) == is_narrow


def test_a_map_may_be_turned_and_moved() -> None:
    cells = np.zeros((1, 20), bool)
    cells[0, 19] = True
    obstacles = ObstacleMap(cells, 0.5, (3.0, 1.0, np.pi / 2))  # columns run along +y from y 1
    np.testing.assert_allclose(obstacles.clearance(np.array([2.75, 10.75])), -0.25, atol=1e-5)
    np.testing.assert_allclose(obstacles.clearance(np.array([2.75, 1.25])), 9.25, atol=1e-5)


def test_an_empty_map_is_free_everywhere() -> None:
    obstacles = ObstacleMap(np.zeros((3, 4), bool), 1.0)
    assert (obstacles.clearance(np.zeros((5, 2))) > 1e5).all()
    field = obstacles.way_to([2.0, 2.0], 0.5, 0.1)
    np.testing.assert_allclose(field(np.array([2.5, 2.5])), 0.5**0.5, atol=1.0)


def test_the_way_leads_around_obstacles_and_through_gaps_that_are_wide_enough() -> None:
    obstacles, goal = wall_with_a_gap(), [2.0, 1.0]
    start = np.array([-2.0, 1.0])
    by_hand = 2.0 * np.hypot(2.0, 1.35)  # through the gap, at its lower edge
    narrow = obstacles.way_to(goal, 0.3, 0.01)
    assert by_hand * 0.97 < narrow(start) < by_hand * 1.06
    around = obstacles.way_to(goal, 0.6, 0.01)(start)  # the gap is 1 m wide
    # Straight to the wall's end, around it at a distance of 0.6 m, and on: 7.1 + 1.5 m.
    np.testing.assert_allclose(around, 8.6, rtol=0.05)
    places = np.random.default_rng(0).uniform(0.5, 3.9, (200, 2))
    straight = np.linalg.norm(places - goal, axis=1)
    np.testing.assert_allclose(narrow(places), straight, rtol=0.03, atol=0.11)


def test_no_way_leads_through_a_corner_that_two_obstacles_touch() -> None:
    cells = np.zeros((9, 9), bool)
    cells[4, :4], cells[3, 4:] = True, True  # a wall with a step, closed but for its corner
    obstacles = ObstacleMap(cells, 1.0)
    field = obstacles.way_to([4.5, 7.5], 0.0, 0.01)
    assert field(np.array([4.5, 0.5])) > 1.2 * 9.0  # around, beyond the map's edge


def test_the_cost_of_the_way_is_straight_near_the_goal() -> None:
    obstacles = wall_with_a_gap()
    field = obstacles.way_to([2.0, -1.0], 0.3, 0.1)
    cost = WayCost([field], [[2.0, -1.0]], radius_m=0.4)
    plans = candidates([[[[2.0, -1.3]], [[2.0, -1.0 - 0.75]], [[2.0, 2.0]]]])
    np.testing.assert_allclose(cost(plans), [[0.0, 0.35, 2.6]], atol=0.1)


def test_behind_a_thin_wall_the_goal_is_not_near() -> None:
    """Else a small robot would stand before the wall for good."""
    field = wall_with_a_gap().way_to([0.3, -1.0], 0.1, 0.1)
    plans = candidates([[[[-0.2, -1.0]], [[0.3, -1.4]]]])
    behind, beside = WayCost([field], [[0.3, -1.0]], radius_m=0.3)(plans)[0]
    assert behind > 6.0
    assert beside == pytest.approx(0.1)


def test_from_within_walls_no_way_leads() -> None:
    cells = np.zeros((80, 80), bool)
    cells[20:60, 20:60] = True
    cells[30:50, 30:50] = False
    field = ObstacleMap(cells, 0.1, (-4.0, -4.0, 0.0)).way_to([3.5, 0.0], 0.3, 0.1)
    places = ([0.0, 0.0], [0.6, 0.0], [-3.0, 0.0], [2.4, 0.0], [9.0, 9.0])
    leads = [field.leads_from(np.array(place)) for place in places]
    assert leads == [False, False, True, True, True]


@pytest.mark.parametrize("offset", range(5))
@pytest.mark.parametrize("is_turned", [False, True])
def test_in_blocks_doors_stay_open_and_gaps_that_are_too_narrow_do_not_look_open(
    offset: int, is_turned: bool
) -> None:
    """In a wall one cell thick, wherever the door lies in a block; the robot is 1 m wide."""
    goal, there = np.array([20.0, 1.0]), np.array([20.0, 7.0])
    for width, is_open in ((11, True), (10, False), (9, False)):
        cells = np.zeros((80, 400), bool)
        cells[40 + offset] = True
        cells[40 + offset, 195 : 195 + width] = False
        order = -1 if is_turned else 1
        obstacles = ObstacleMap(cells.T if is_turned else cells, 0.1)
        exact, found = (Roads(obstacles, 0.5, 0.5, side=side) for side in (1, 5))
        lengths = found.way_to(goal[::order])
        rows, columns = np.nonzero(obstacles.clearance_m > 0.5)
        places = np.stack([columns, rows], axis=1) * 0.1 + 0.05
        if is_open:
            assert 6.0 < lengths(there[::order]) < 25.0
        else:
            behind = places[places[:, ::order][:, 1] > 4.0 + 0.1 * offset]
            by_cells = exact.way_to(goal[::order])(behind)
            assert (lengths(behind) > 0.85 * by_cells).all()
            assert lengths(there[::order]) > 38.0


def test_in_blocks_no_place_looks_more_than_a_third_nearer_to_the_goal_than_it_is() -> None:
    """Where gaps in thin walls are wide enough or not; against the field on the cells.

    A way leads from the same places, but for those in a block that both sides of a gap share.
    """
    rng = np.random.default_rng(0)
    for _ in range(3):
        cells = np.zeros((230, 260), bool)
        for at in range(20, 220, 40):
            cells[at] = cells[:, at] = True
        for at in range(20, 220, 40):  # gaps, of which those of less than 11 cells are too narrow
            for first in range(0, 200, 40):
                begin, width = first + rng.integers(2, 12), rng.integers(6, 18)
                cells[at, begin : begin + width] = False
                begin, width = first + rng.integers(2, 12), rng.integers(6, 18)
                cells[begin : begin + width, at] = False
        obstacles, goal = ObstacleMap(cells, 0.1), [12.0, 12.0]
        exact, found = (Roads(obstacles, 0.5, 1.0, side=side).way_to(goal) for side in (1, 5))
        places = np.argwhere(obstacles.clearance_m > 0.5)[:, ::-1] * 0.1 + 0.05
        leads = [
            np.array([way.leads_from(place) for place in places[::20]]) for way in (exact, found)
        ]
        assert not (leads[0] & ~leads[1]).any() and (leads[0] != leads[1]).mean() < 0.005
        places = places[::20][leads[0]]
        by_cells, by_blocks = exact(places), found(places)
        assert (by_blocks + 1.0 > 2.0 / 3.0 * (by_cells + 1.0)).all()
        assert np.quantile(by_blocks / (by_cells + 1.0), 0.99) < 1.3


def plans_between(starts: np.ndarray, ends: np.ndarray) -> Candidates:
    predictions = np.stack([starts, ends], axis=1)[None].astype(np.float32)
    skills = np.zeros((1, len(starts), 1, 2), np.float32)
    return Candidates(skills, predictions, predictions[:, :, 1:], ("x", "y"), 1.0)


def test_no_piece_of_an_allowed_plan_touches_an_obstacle() -> None:
    """Thousands of pieces, also such as jump over an obstacle, in a random field."""
    rng = np.random.default_rng(3)
    obstacles = ObstacleMap(rng.uniform(size=(60, 60)) < 0.02, 0.1)
    starts = rng.uniform(0.0, 6.0, (4000, 2))
    starts = starts[obstacles.clearance(starts) > 0.25]
    ends = starts + rng.uniform(-1.5, 1.5, starts.shape)
    cost = ObstacleCost([obstacles], radius_m=0.2, margin_m=0.3)(plans_between(starts, ends))[0]
    parts = np.linspace(0.0, 1.0, 400)[:, None, None]
    least = obstacles.clearance(starts + parts * (ends - starts)).min(axis=0)
    allowed = np.isfinite(cost)
    assert 100 < allowed.sum() < len(starts) - 100
    assert least[allowed].min() >= 0.2
    assert (least[~allowed] < 0.2 + 0.15).all()  # and what is clearly free is allowed
    assert (cost[allowed & (least > 0.51)] == 0.0).all() and cost[allowed].max() <= 1.0


def test_a_robot_that_touches_may_move_away_but_not_deeper() -> None:
    obstacles = wall_with_a_gap()
    starts = np.full((3, 2), [-0.15, 0.05])
    plans = plans_between(starts, starts + np.array([[-0.5, 0.0], [0.1, 0.0], [0.0, 0.0]]))
    cost = ObstacleCost([obstacles], radius_m=0.3, margin_m=0.3)(plans)
    assert np.isfinite(cost).tolist() == [[True, False, False]]


@pytest.mark.parametrize(
    ("shape", "resolution", "origin", "what"),
    [
        ((4,), 0.1, (0.0, 0.0, 0.0), "shape"),
        ((0, 4), 0.1, (0.0, 0.0, 0.0), "shape"),
        ((4000, 4001), 0.1, (0.0, 0.0, 0.0), "at most 16000000 cells"),
        ((4, 4), 0.0, (0.0, 0.0, 0.0), "resolution"),
        ((4, 4), 1e-4, (0.0, 0.0, 0.0), "resolution"),
        ((4, 4), 1e3, (0.0, 0.0, 0.0), "resolution"),
        ((4, 4), np.nan, (0.0, 0.0, 0.0), "resolution"),
        ((4, 4), 0.1, (np.nan, 0.0, 0.0), "finite"),
        ((4, 4), 0.1, (2e5, 0.0, 0.0), "origin"),
        ((4, 4000), 100.0, (0.0, 0.0, 0.0), "sides of 400 and 400000 m"),
    ],
)
def test_maps_that_are_none_or_too_large_are_refused(
    shape: tuple[int, ...], resolution: float, origin: tuple[float, float, float], what: str
) -> None:
    cells = np.broadcast_to(np.zeros(1, bool), shape)
    with pytest.raises(PlanningError, match=what):
        ObstacleMap(cells, resolution, origin)


@pytest.mark.parametrize(
    ("goal", "radius_m", "margin_m", "what"),
    [
        ([1e6, 0.0], 0.3, 0.1, "goal"),
        ([np.nan, 0.0], 0.3, 0.1, "goal"),
        ([0.0], 0.3, 0.1, "goal"),
        ([0.0, 0.0], np.inf, 0.1, "radius"),
        ([0.0, 0.0], 0.3, 0.0, "margin"),
        ([0.0, 0.0], 0.3, 300.0, "costs.margin_m.*cells of 0.1 m"),
    ],
)
def test_ways_that_cannot_be_searched_are_refused(
    goal: list[float], radius_m: float, margin_m: float, what: str
) -> None:
    with pytest.raises(PlanningError, match=what):
        wall_with_a_gap().way_to(goal, radius_m, margin_m)


def test_how_far_away_the_goal_is_makes_no_work() -> None:
    near, far = (wall_with_a_gap().way_to([x, 0.0], 0.3, 0.1) for x in (3.0, 9e4))
    assert near.lengths.shape == far.lengths.shape
    np.testing.assert_allclose(far(np.array([3.0, 0.0])), 9e4 - 3.0, rtol=1e-6)


def test_from_and_to_places_beyond_the_map_the_way_is_straight_where_the_map_allows_it() -> None:
    cells = np.zeros((80, 80), bool)
    cells[:, 40] = True  # at x 0
    cells[60:70, 40] = False
    obstacles = ObstacleMap(cells, 0.1, (-4.0, -4.0, 0.0))
    way = obstacles.way_to([40.0, 1.0], 0.3, 0.1)
    straight = np.array([[44.0, 7.0], [30.0, -30.0], [-20.0, 40.0], [3.0, 2.0], [0.0, 20.0]])
    expected = np.linalg.norm(straight - [40.0, 1.0], axis=1)
    np.testing.assert_allclose(way(straight), expected, rtol=0.005)
    # From the other side of the wall through its gap, at its lower edge.
    for x in (-2.0, -30.0):
        through = np.hypot(-x, 1.4) + np.hypot(40.0, 1.4)
        np.testing.assert_allclose(way(np.array([[x, 1.0]])), through, rtol=0.03)
    # And no step of a walk over the edge of the grid is longer than it is.
    walk = np.stack([np.linspace(-30.0, 30.0, 6001), np.full(6001, -3.0)], axis=1)
    beyond = np.abs(walk[:, 0]) > 4.0
    assert np.abs(np.diff(way(walk)))[beyond[1:]].max() < 0.03


def test_a_goal_beyond_the_map_is_not_reached_through_a_wall() -> None:
    cells = np.zeros((80, 80), bool)
    cells[[10, -11], 10:-10] = cells[10:-10, [10, -11]] = True  # a room
    cells[30:50, 10] = False  # with a door at x -3
    way = ObstacleMap(cells, 0.1, (-4.0, -4.0, 0.0)).way_to([40.0, 0.0], 0.3, 0.1)
    before_the_door = np.hypot(1.2, 3.3) + 6.6 + np.hypot(36.7, 3.3)  # around two corners
    np.testing.assert_allclose(way(np.array([-4.5, 0.0])), before_the_door, rtol=0.02)
    assert way(np.array([-2.0, 0.0])) < way(np.array([2.0, 0.0])) - 2.0
