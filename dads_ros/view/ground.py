"""What lies on the ground: clicks, maps as pictures, lines. Shapes: N points, H, W cells."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
MAX_PICTURE_CELLS = 512
"""A side; a larger map is shown by the fullest of several cells."""
MAX_CLICK_M = 1000.0
_UNKNOWN, _FREE, _FULL = (150, 150, 150, 60), (255, 255, 255, 0), (60, 60, 70, 230)


def ground_point(origin: Array, direction: Array) -> Array | None:
    """Where a ray meets the ground, x, y in metres, shape (2,); None where it does not.

    Args:
        origin: of the ray, m. Shape (3,).
        direction: of any length. Shape (3,).
    """
    origin, direction = np.asarray(origin, float), np.asarray(direction, float)
    if not (np.isfinite(origin).all() and np.isfinite(direction).all()) or direction[2] >= 0.0:
        return None
    hit = origin + max(origin[2], 0.0) / -direction[2] * direction
    is_near = np.linalg.norm(hit - origin) <= MAX_CLICK_M
    return hit[:2] if is_near else None


def thinned(points: Array, num: int) -> Array:
    """At most ``num`` of the points, first and last among them. Shape (N, P)."""
    if len(points) <= num:
        return points
    return points[np.linspace(0, len(points) - 1, num).astype(int)]


def laid(points: Array, height_m: float) -> Array:
    """The points at that height. Shape (N, 3)."""
    return points * np.array([1.0, 1.0, 0.0]) + np.array([0.0, 0.0, height_m])


def segments(points: Array) -> Array:
    """The pieces of a polyline. Shapes (N, 3) -> (N - 1, 2, 3)."""
    return np.stack([points[:-1], points[1:]], axis=1)


def map_picture(cells: NDArray[np.int8]) -> NDArray[np.uint8]:
    """A map as seen from above, row by row.

    Args:
        cells: 0 free to 100 full, -1 unknown. Shape (H, W).
    Returns: red, green, blue, opacity; at most MAX_PICTURE_CELLS a side. Shape (h, w, 4).
    """
    step = -(-max(cells.shape) // MAX_PICTURE_CELLS)
    if step > 1:
        height, width = (-(-side // step) for side in cells.shape)
        whole = np.full((height * step, width * step), -1, np.int8)
        whole[: cells.shape[0], : cells.shape[1]] = cells
        cells = whole.reshape(height, step, width, step).max(axis=(1, 3))
    full = np.clip(cells, 0, 100)[..., None] / 100.0
    colours = (1.0 - full) * np.array(_FREE) + full * np.array(_FULL)
    colours[cells < 0] = _UNKNOWN
    return colours.astype(np.uint8)
