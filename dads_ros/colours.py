"""Colours that mean something, the same in RViz, on the page and in pictures. RGB from 0 to 1."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rgb = tuple[float, float, float]
PLAN, PATH, TRAIL, GOAL = (0.1, 0.45, 1.0), (0.6, 0.3, 0.8), (0.35, 0.35, 0.4), (0.0, 0.7, 0.3)
_GOOD, _BAD = np.array(PLAN), np.array([0.95, 0.6, 0.0])
_CENTRE, _X, _Y = (
    np.array(lab) for lab in ((0.61, 0.0, -0.034), (-0.117, 0.103, 0.0), (0.0, 0.0, 0.156))
)
_LAB_TO_LMS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_LMS_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def of_directions(vectors: NDArray[np.floating]) -> Array:
    """One for each direction in the world: +x purple, +y ochre, -x turquoise, -y blue.

    Equal turns look equally far apart: it is a circle in OKLab
    (https://bottosson.github.io/posts/oklab). It is tilted so that red is dark and green is light,
    which keeps directions apart for those who do not tell red from green.

    Args:
        vectors: x, y; their length does not matter. Shape (..., 2).
    Returns: shape (..., 3).
    """
    angle = np.arctan2(vectors[..., 1], vectors[..., 0])[..., None]
    lab = _CENTRE + np.cos(angle) * _X + np.sin(angle) * _Y
    linear = np.clip((lab @ _LAB_TO_LMS.T) ** 3 @ _LMS_TO_RGB.T, 0.0, 1.0)
    gamma = 1.055 * linear ** (1.0 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, gamma)


def of_ranks(num: int) -> Array:
    """From the best to the worst, blue to orange, which no colour-blindness confuses. (num, 3)."""
    return _GOOD + np.linspace(0.0, 1.0, num)[:, None] * (_BAD - _GOOD)
