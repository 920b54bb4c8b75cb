"""Maps that benchmarks and tests are run on."""

import numpy as np
from numpy.typing import NDArray


def warehouse() -> NDArray[np.bool_]:
    """13 rows of three shelves with aisles of 2.7 m, and walls around. Shape (1700, 1900)."""
    cells = np.zeros((1700, 1900), bool)
    for row in range(100, 1650, 120):
        for begin, end in ((120, 420), (580, 900), (1060, 1780)):
            cells[row : row + 30, begin:end] = True
    cells[:4] = cells[-4:] = cells[:, :4] = cells[:, -4:] = True
    return cells
