"""Ways over blocks of cells against ways over the cells."""

import numpy as np
import pytest
from scipy.ndimage import label

from dads_ros.planning.way_search import to_nearest, way_lengths

Array = np.ndarray
GOAL_CELLS = np.zeros(1, np.float32)


def lengths(is_free: Array, start: int, side: int, weights: Array | None = None) -> Array:
    """Searched in blocks of this side."""
    weights = np.ones(is_free.shape, np.float32) if weights is None else weights
    max_nodes = -(-is_free.size // side**2)
    return way_lengths(is_free, weights, np.array([start]), GOAL_CELLS, max_nodes)[0]


def room_for_a_robot(obstacles: Array, radius: float) -> tuple[Array, Array]:
    """Free cells and weights as a map has them, around it a border. Shape (rows + 60, ...)."""
    clearance = to_nearest(np.pad(obstacles, 30))[1] - np.float32(0.5)
    narrowness = np.clip(1.0 - (clearance - radius) / (2.0 * radius), 0.0, 1.0)
    return clearance > radius, (1.0 + 11.0 * narrowness).astype(np.float32)


@pytest.mark.parametrize("side", [2, 3, 5])
@pytest.mark.parametrize("free_fraction", [0.55, 0.62, 0.75])
def test_a_way_is_there_just_where_one_leads_over_the_cells(
    side: int, free_fraction: float
) -> None:
    """In mazes of ways one cell wide, where blocks have several parts."""
    rng = np.random.default_rng(side)
    for _ in range(20):
        is_free = rng.uniform(size=(41, 47)) < free_fraction
        start = int(rng.choice(np.flatnonzero(is_free)))
        parts, _ = label(is_free)
        is_reached = parts == parts.flat[start]
        # Where no way leads, the nearest cell's length and twice the distance to that.
        nearest, distance = to_nearest(is_reached)
        found = lengths(is_free, start, side)
        expected = np.where(is_reached, found, found[tuple(nearest)] + 2.0 * distance)
        np.testing.assert_array_equal(found, expected)
        exact = lengths(is_free, start, 1)[is_reached]
        assert (found[is_reached] <= 1.3 * exact + 2 * side).all()
        assert (found[is_reached] >= 0.7 * exact - side).all()


@pytest.mark.parametrize("side", [2, 3, 4, 6])
def test_lengths_over_blocks_are_those_over_cells(side: int) -> None:
    rng = np.random.default_rng(side)
    obstacles = np.zeros((260, 240), bool)
    for _ in range(25):
        (row, column), (height, width) = rng.integers(0, 240, 2), rng.integers(3, 30, 2)
        obstacles[row : row + height, column : column + width] = True
    is_free, weights = room_for_a_robot(obstacles, 4.0)
    start = int(rng.choice(np.flatnonzero(is_free)))
    exact, found = (lengths(is_free, start, n, weights) for n in (1, side))
    ratio = (found[is_free] + 20.0) / (exact[is_free] + 20.0)
    assert abs(ratio.mean() - 1.0) < 0.02 and ratio.min() > 0.9 and ratio.max() < 1.1


@pytest.mark.parametrize("side", [2, 4, 7])
def test_whoever_goes_downhill_comes_to_the_goal(side: int) -> None:
    rng = np.random.default_rng(side)
    obstacles = rng.uniform(size=(200, 200)) < 0.004
    is_free, weights = room_for_a_robot(obstacles, 3.0)
    start = int(rng.choice(np.flatnonzero(is_free)))
    found = lengths(is_free, start, side, weights)
    parts, _ = label(is_free)
    walls = np.pad(np.where(is_free, found, np.inf), 1, constant_values=np.inf)
    beside = [walls[1:-1, 2:], walls[1:-1, :-2], walls[2:, 1:-1], walls[:-2, 1:-1]]
    beside += [walls[2:, 2:], walls[2:, :-2], walls[:-2, 2:], walls[:-2, :-2]]
    is_lowest = (np.min(beside, axis=0) >= found) & (parts == parts.flat[start])
    assert np.flatnonzero(is_lowest).tolist() == [start]


@pytest.mark.parametrize("offset", range(4))
@pytest.mark.parametrize("is_turned", [False, True])
def test_doorways_a_little_wider_than_the_robot_stay_open_and_narrower_ones_closed(
    offset: int, is_turned: bool
) -> None:
    """In walls one cell thick, wherever the doorway lies in a block."""
    radius, wall = 5.0, 100 + offset
    for width, is_open in ((12, True), (10, False)):
        obstacles = np.zeros((200, 240), bool)
        obstacles[wall] = True
        obstacles[wall, 120 + offset : 120 + offset + width] = False
        if is_turned:
            obstacles = obstacles.T
        is_free, _ = room_for_a_robot(obstacles, radius)
        here, there = ((30 + row, 30 + 126) for row in (60, 140))  # before the doorway, and behind
        if is_turned:
            here, there = here[::-1], there[::-1]
        start = int(np.ravel_multi_index(here, is_free.shape))
        found = lengths(is_free, start, 4)[there]
        assert (80.0 <= found < 84.0) if is_open else (found > 200.0)


def test_several_starts_at_distances_of_their_own() -> None:
    is_free = np.ones((60, 60), bool)
    is_free[30] = False
    starts = np.array([0, 59 * 60 + 59])  # a corner on each side of the wall
    for max_nodes in (10_000, 400):
        found, leads = way_lengths(
            is_free,
            np.ones(is_free.shape, np.float32),
            starts,
            np.array([100.0, 7.0], np.float32),
            max_nodes,
        )
        np.testing.assert_allclose(found[[0, 0, 59, 59], [0, 20, 59, 40]], [100, 120, 7, 26])
        np.testing.assert_array_equal(leads, is_free)
