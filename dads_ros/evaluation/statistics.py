"""95 % intervals of what an evaluation reports. Shapes: N independent robots."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Interval = tuple[float, float]
Values = Mapping[str, NDArray[np.bool_] | NDArray[np.float64] | float | None]
"""What figures are the means of, shape (N,) each; a plain number is a figure by itself, and None
one that could not be measured."""
_Z95 = 1.959964
_NUM_RESAMPLES, _MIN_RESAMPLED = 2000, 5
"""Of fewer numbers the bootstrap says nothing."""


def means(values: Values) -> dict[str, float | None]:
    """Each figure."""
    return {name: None if v is None else float(np.mean(v)) for name, v in values.items()}


def intervals(values: Values) -> dict[str, Interval | None]:
    """The interval of each figure that is a mean."""
    return {name: _interval(v) for name, v in values.items() if not isinstance(v, float)}


def _interval(values: NDArray[np.bool_] | NDArray[np.float64] | None) -> Interval | None:
    if values is None or (values.dtype != bool and len(values) < _MIN_RESAMPLED):
        return None
    if values.dtype == bool:
        return fraction_interval(values.astype(bool))
    return ratio_interval(values.astype(float))


def fraction_interval(hits: NDArray[np.bool_]) -> Interval:
    """Wilson's interval of a fraction; sound at 0 and 1 as well. Shape (N,)."""
    num, share = len(hits), float(np.mean(hits))
    z2 = _Z95**2 / num
    middle = (share + z2 / 2.0) / (1.0 + z2)
    half = _Z95 * np.sqrt(share * (1.0 - share) / num + z2 / (4.0 * num)) / (1.0 + z2)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def ratio_interval(
    numerator: NDArray[np.floating], denominator: NDArray[np.floating] | None = None
) -> Interval:
    """Bootstrap interval of mean(numerator) / mean(denominator), or of a plain mean.

    Both arrays have shape (N,) and are resampled together. The same numbers at every call.
    """
    num = len(numerator)
    rows = np.random.default_rng(0).integers(0, num, (_NUM_RESAMPLES, num))
    values = numerator[rows].mean(axis=1)
    if denominator is not None:
        values = values / np.maximum(denominator[rows].mean(axis=1), 1e-9)
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
