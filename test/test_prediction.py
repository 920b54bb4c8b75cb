"""PredictionSpec: how predictions follow one another."""

import numpy as np
import pytest

from dads_ros.errors import ConfigError
from dads_ros.prediction import PredictionSpec


def test_predictions_in_the_world_frame_add_up() -> None:
    deltas = np.array([[[1.0, 0.0], [0.5, 2.0]]], np.float32)
    path = PredictionSpec().chain(np.array([10.0, 20.0, 1.5]), deltas)
    np.testing.assert_allclose(path, [[[10.0, 20.0], [11.0, 20.0], [11.5, 22.0]]])
    assert path.dtype == np.float32


def test_predictions_in_the_heading_frame_turn_with_the_robot() -> None:
    """One metre forward and a quarter turn to the left, four times: a square."""
    spec = PredictionSpec(fields=("x", "y", "yaw"), frame="heading")
    quarter = np.pi / 2.0
    deltas = np.tile([1.0, 0.0, quarter], (1, 4, 1))
    path = spec.chain(np.array([[2.0, 0.0, quarter]]), deltas)[0]
    corners = [[2, 0], [2, 1], [1, 1], [1, 0], [2, 0]]
    np.testing.assert_allclose(path[:, :2], corners, atol=1e-12)
    np.testing.assert_allclose(path[:, 2], quarter * np.arange(1, 6))
    np.testing.assert_array_equal(deltas[0, :, 0], 1.0)


@pytest.mark.parametrize(
    "values", [{"fields": ["x"]}, {"fields": ["y", "x"]}, {"frame": "heading"}]
)
def test_predictions_that_nobody_can_chain_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="fields"):
        PredictionSpec.from_dict(values)
