"""PredictionSpec: what the skill dynamics predicts, and how predictions follow one another.

Shapes: K candidates, H skills of a sequence, P predicted columns.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dads_ros.config import Config, setting
from dads_ros.errors import ConfigError

PredictedField = Literal["x", "y", "yaw"]


@dataclass(frozen=True, kw_only=True)
class PredictionSpec(Config):
    """What the skill dynamics predicts."""

    fields: tuple[PredictedField, ...] = setting(
        ("x", "y"), help="Parts of the base pose whose change is predicted (m, rad)."
    )
    frame: Literal["world", "heading"] = setting(
        "world", help="Axes of the predicted change: the world's, or the robot's heading."
    )
    steps: int = setting(
        10, min=1, max=1000, help="Control steps that one prediction spans (k); 1 is the paper."
    )

    def __post_init__(self) -> None:
        """Check the combination. Raises: ConfigError."""
        super().__post_init__()
        if self.fields not in (("x", "y"), ("x", "y", "yaw")):
            raise ConfigError(f"'fields' is {self.fields}; expected [x, y] or [x, y, yaw]")
        if self.frame == "heading" and "yaw" not in self.fields:
            raise ConfigError(
                "'frame: heading' needs 'yaw' in 'fields': the next skill turns with it"
            )

    def chain(
        self, pose: NDArray[np.floating], deltas: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        """Poses before the first and after each of a sequence of predicted changes.

        Args:
            pose: x, y (m) and yaw (rad) at the start, world frame. Shape (3,) or (K, 3).
            deltas: predicted changes in ``frame``. Shape (K, H, P).
        Returns: x, y and, if predicted, yaw in the world frame. Shape (K, H + 1, P).
        """
        if self.frame == "heading":
            yaw = pose[..., 2:3] + np.cumsum(deltas[..., 2], axis=1) - deltas[..., 2]
            cos, sin = np.cos(yaw), np.sin(yaw)
            x, y = deltas[..., 0], deltas[..., 1]
            turned = [cos * x - sin * y, sin * x + cos * y, deltas[..., 2]]
            deltas = np.stack(turned, axis=-1).astype(deltas.dtype)
        num, horizon, fields = deltas.shape
        predictions = np.empty((num, horizon + 1, fields), deltas.dtype)
        predictions[:, 0] = pose[..., :fields]
        np.cumsum(deltas, axis=1, out=predictions[:, 1:])
        predictions[:, 1:] += predictions[:, :1]
        return predictions
