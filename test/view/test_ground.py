"""Clicks and maps become what lies on the ground."""

import time

import numpy as np
import pytest

from dads_ros.view.ground import (
    MAX_PICTURE_CELLS,
    ground_point,
    laid,
    map_picture,
    segments,
    thinned,
)


def test_a_click_hits_the_ground_where_the_ray_does() -> None:
    hit = ground_point(np.array([1.0, 2.0, 4.0]), np.array([0.5, -0.25, -1.0]))
    np.testing.assert_allclose(hit, [3.0, 1.0])


@pytest.mark.parametrize(
    "direction", [(0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, -1e-6), (np.nan, 0.0, -1.0)]
)
def test_a_click_into_the_sky_hits_nothing(direction: tuple[float, float, float]) -> None:
    assert ground_point(np.array([0.0, 0.0, 4.0]), np.array(direction)) is None


def test_a_thinned_line_keeps_its_ends() -> None:
    points = np.arange(30.0).reshape(10, 3)
    assert thinned(points, 10) is points
    few = thinned(points, 4)
    assert len(few) == 4
    np.testing.assert_array_equal(few[[0, -1]], points[[0, -1]])
    np.testing.assert_array_equal(segments(few)[:, 1], few[1:])


def test_a_line_is_laid_on_the_ground() -> None:
    np.testing.assert_array_equal(laid(np.array([[1.0, 2.0, 7.0]]), 0.1), [[1.0, 2.0, 0.1]])


def test_a_map_keeps_its_rows_and_tells_free_full_and_unknown_apart() -> None:
    picture = map_picture(np.array([[0, 100, 50], [-1, 0, 0]], np.int8))
    assert picture.shape == (2, 3, 4)
    opacity = picture[..., 3].astype(int)
    assert opacity[0, 0] == 0 and opacity[0, 1] > opacity[0, 2] > 0
    assert 0 < opacity[1, 0] < opacity[0, 1]


def test_a_huge_map_is_small_in_bounded_time_and_loses_no_wall() -> None:
    cells = np.zeros((4000, 3001), np.int8)
    cells[2000, 1500] = 100
    begin = time.process_time()
    picture = map_picture(cells)
    assert time.process_time() - begin < 1.0
    assert max(picture.shape[:2]) <= MAX_PICTURE_CELLS
    full = np.argwhere(picture[..., 3] == picture[..., 3].max())
    np.testing.assert_array_equal(full, [[2000 // 8, 1500 // 8]])
