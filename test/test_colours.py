"""Colours of directions, and what becomes of them for eyes that tell fewer colours apart."""

import numpy as np
import pytest

from dads_ros import colours

NUM = 72
ANGLE = np.linspace(0.0, 2.0 * np.pi, NUM, endpoint=False)
RGB = colours.of_directions(np.stack([np.cos(ANGLE), np.sin(ANGLE)], axis=1))
SEEN = {
    "all colours": np.eye(3),
    # Machado, Oliveira, Fernandes 2009, doi:10.1109/TVCG.2009.113: severity 1, on linear RGB.
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


def oklab(rgb: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """As somebody sees it. Shape (..., 3)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.asarray(seen).T, 0.0, 1.0)
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.cbrt(linear @ np.transpose(to_lms)) @ np.transpose(to_lab)


def difference(rgb: np.ndarray, seen: np.ndarray, turn: int) -> np.ndarray:
    """From each direction to the one so many steps on. Shape (NUM,)."""
    lab = oklab(rgb, seen)
    return np.linalg.norm(lab - np.roll(lab, turn, axis=0), axis=1)


def test_equal_turns_look_equally_far_apart() -> None:
    step = difference(RGB, SEEN["all colours"], 1)
    assert step.max() < 1.02 * step.min()


@pytest.mark.parametrize("eyes", SEEN)
def test_who_tells_fewer_colours_apart_still_tells_directions_apart(eyes: str) -> None:
    """0.02 is just noticeable; a circle of one lightness has none for some opposite pairs."""
    for turn in (NUM // 4, NUM // 2, 3 * NUM // 4):
        assert difference(RGB, SEEN[eyes], turn).min() > 0.15


def test_they_stand_out_on_white_and_on_the_dark_of_rviz() -> None:
    lightness = oklab(RGB, SEEN["all colours"])[:, 0]
    rviz = oklab(np.full(3, 48 / 255), SEEN["all colours"])[0]
    assert lightness.max() < 0.75
    assert lightness.min() > rviz + 0.15


def test_only_the_direction_counts_and_any_shape_goes() -> None:
    vectors = np.array([[[2.0, 0.0], [0.0, 3.0]], [[-1.0, 0.0], [-1.0, -0.0]]])
    found = colours.of_directions(vectors)
    np.testing.assert_allclose(found[0], RGB[[0, NUM // 4]], atol=1e-12)
    np.testing.assert_allclose(found[1], RGB[[NUM // 2, NUM // 2]], atol=1e-12)
    assert np.isfinite(colours.of_directions(np.zeros((1, 2)))).all()
