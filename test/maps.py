"""Maps that more than one test needs."""

import numpy as np


def warehouse() -> np.ndarray:
    """1700 x 1900 cells with 13 rows of three shelves, and walls around."""
    cells = np.zeros((1700, 1900), bool)
    for row in range(100, 1650, 120):
        for begin, end in ((120, 420), (580, 900), (1060, 1780)):
            cells[row : row + 30, begin:end] = True
    cells[:4] = cells[-4:] = cells[:, :4] = cells[:, -4:] = True
    return cells
