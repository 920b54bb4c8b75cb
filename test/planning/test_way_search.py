"""Ways over blocks of cells against ways over the cells."""

import numpy as np
import pytest
from scipy.ndimage import label, maximum_filter, minimum_filter

from dads_ros.planning.way_search import Roadmap, block_side, lengths_on_cells, to_nearest

Array = np.ndarray
GOAL_CELLS = np.zeros(1, np.float32)


def lengths(is_free: Array, start: int, side: int, weights: Array | None = None) -> Array:
    """Of every cell, searched in blocks of this side."""
    weights = np.ones(is_free.shape, np.float32) if weights is None else weights
    return lengths_on_cells(is_free, weights, side, np.array([start]), GOAL_CELLS)[0]


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
    for _ in range(10):
        is_free = rng.uniform(size=(41, 47)) < free_fraction
        start = int(rng.choice(np.flatnonzero(is_free)))
        parts, _ = label(is_free)
        is_reached = parts == parts.flat[start]
        # Where no way leads, beside the worst one; else that of the nearest cell; and twice the
        # distance to that.
        found = lengths(is_free, start, side)
        reached = np.where(is_reached, found, -np.inf)
        is_beside = maximum_filter(is_reached, 3) & ~is_reached
        expected = np.where(is_beside, maximum_filter(reached, 3) + 2.0, reached)
        nearest, distance = to_nearest(is_reached | is_beside)
        expected = expected[tuple(nearest)] + 2.0 * distance
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        blocks, leads = Roadmap(is_free, np.ones(is_free.shape, np.float32), side).lengths(
            np.array([start]), GOAL_CELLS
        )
        assert np.isfinite(blocks).all()
        reached_blocks = np.pad(is_reached, ((0, -41 % side), (0, -47 % side)))
        reached_blocks = reached_blocks.reshape(len(leads), side, -1, side).any(axis=(1, 3))
        np.testing.assert_array_equal(leads, reached_blocks)
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
    is_lowest = lowest(found, is_free) & (parts == parts.flat[start])
    assert np.flatnonzero(is_lowest).tolist() == [start]


@pytest.mark.parametrize("side", [2, 4, 7])
def test_whoever_goes_downhill_from_block_to_block_comes_to_the_goal(side: int) -> None:
    rng = np.random.default_rng(side)
    obstacles = rng.uniform(size=(280, 280)) < 0.0015
    is_free, weights = room_for_a_robot(obstacles, 8.0)
    start = int(rng.choice(np.flatnonzero(is_free)))
    roadmap = Roadmap(is_free, weights, side)
    found, leads = roadmap.lengths(np.array([start]), GOAL_CELLS)
    row, column = np.argwhere(lowest(found, leads)).T
    goal = np.divmod(start, is_free.shape[1])
    assert (row.tolist(), column.tolist()) == ([goal[0] // side], [goal[1] // side])


def lowest(lengths: Array, is_there: Array) -> Array:
    """Where no place beside, in eight directions, has less."""
    found = np.where(is_there, lengths, np.inf)
    beside = np.ones((3, 3), bool)
    beside[1, 1] = False
    around = minimum_filter(found, footprint=beside, mode="constant", cval=np.inf)
    return is_there & (around >= found)


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
    weights, distances = np.ones(is_free.shape, np.float32), np.array([100.0, 7.0], np.float32)
    for side in (1, 3):
        found, leads = lengths_on_cells(is_free, weights, side, starts, distances)
        np.testing.assert_allclose(found[[0, 0, 59, 59], [0, 20, 59, 40]], [100, 120, 7, 26])
        np.testing.assert_array_equal(leads, is_free)


def test_blocks_are_as_large_as_it_takes_and_no_larger_than_they_may_be() -> None:
    assert [block_side(num, 9) for num in (1, 200_000, 200_001, 3_600_000)] == [1, 1, 2, 5]
    assert block_side(3_600_000, 3) == 3
    assert block_side(3_600_000, 0) == 1  # cells of which there are too many to keep
    assert block_side(25_000_000, 4) == 1
