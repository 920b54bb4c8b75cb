"""JointVelocities: of joints whose driver sends positions alone."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class JointVelocities:
    """Differences of positions by their stamps; from the second message on. J joints."""

    def __init__(self, num: int, max_gap_ns: int) -> None:
        """For J joints; over more than ``max_gap_ns`` a mean velocity says nothing about now."""
        self._max_gap_ns = max_gap_ns
        self._positions, self._stamps_ns = np.zeros(num), np.full(num, -(2**62))

    def of(self, rows: NDArray[np.int64], positions: Array, stamp_ns: int) -> Array | None:
        """Since the message before, rad/s or m/s.

        Args:
            rows: of the joints that were measured, K of J.
            positions: of these, rad or m. Shape (K,).
            stamp_ns: when that was.
        Returns: shape (K,); None where one of them has no other position of nearly this time.
        """
        gaps_ns = stamp_ns - self._stamps_ns[rows]
        if (gaps_ns == 0).any():
            return None
        moved = positions - self._positions[rows]
        self._positions[rows], self._stamps_ns[rows] = positions, stamp_ns
        return moved / (gaps_ns / 1e9) if np.abs(gaps_ns).max() <= self._max_gap_ns else None
