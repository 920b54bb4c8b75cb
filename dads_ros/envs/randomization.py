"""DomainRandomization: bodies, grounds and sensors that differ from robot to robot.

What a policy must do with all of them, it does with the real one, which is one of them or near.
Shapes: N robots, B bodies.
"""

import copy
import dataclasses
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from dads_ros.config import Config, setting
from dads_ros.envs.model import GROUND, RobotModel
from dads_ros.errors import ConfigError
from dads_ros.observation import RobotState

Range = tuple[float, float]
NOISE = {
    "linear_velocity": 0.1,
    "angular_velocity": 0.2,
    "joint_positions": 0.01,
    "joint_velocities": 1.5,
}
"""Half widths of the noise of usual sensors, m/s, rad/s, rad, rad/s (as in D3's training)."""
PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)
TILT_NOISE = 0.05
"""Of the orientation, about each axis of the body, rad."""


@dataclass(frozen=True, kw_only=True)
class DomainRandomization(Config):
    """Ranges, each uniform; every robot keeps what it draws. Nothing varies by default."""

    friction: Range | None = setting(
        None, min=0.0, max=10.0, help="Sliding friction of the ground; null: that of the MJCF."
    )
    mass: Range = setting((1.0, 1.0), min=0.1, max=10.0, help="Factor on all masses and inertias.")
    gain: Range = setting(
        (1.0, 1.0),
        min=0.1,
        max=10.0,
        help="Factor on the strength of actuators: of servos on their gains, else on the force.",
    )
    sensor_noise: float = setting(
        0.0, min=0.0, max=10.0, help="Noise of the state; 1 is that of usual sensors."
    )
    ground_m: float = setting(
        0.0, min=0.0, max=1.0, help="Uneven ground: bumps of up to plus and minus this."
    )

    def __post_init__(self) -> None:
        """Check the ranges. Raises: ConfigError."""
        super().__post_init__()
        for name in ("friction", "mass", "gain"):
            values = getattr(self, name)
            if values is not None and values[0] > values[1]:
                raise ConfigError(f"'{name}' is {list(values)}; expected the smaller one first")

    @property
    def of_bodies(self) -> "DomainRandomization":
        """Without the noise of sensors."""
        return dataclasses.replace(self, sensor_noise=0.0)

    def models(
        self, model: RobotModel, num: int, rng: np.random.Generator
    ) -> list[mujoco.MjModel]:
        """A model for each robot; all the same one where no body or ground varies. Length N."""
        if self.of_bodies == DomainRandomization():
            return [model.mj_model] * num
        base = model
        if self.ground_m > 0.0:
            if model.spec.base.kind != "free":
                raise ConfigError(
                    f"uneven ground needs 'base.kind: free'; robot '{model.spec.name}' is "
                    f"{model.spec.base.kind}"
                )
            base = RobotModel(model.spec, uneven_ground=True)
        return [self._varied(base, rng) for _ in range(num)]

    def _varied(self, model: RobotModel, rng: np.random.Generator) -> mujoco.MjModel:
        own = copy.copy(model.mj_model)
        factor = rng.uniform(*self.mass)
        own.body_mass[:] *= factor
        own.body_inertia[:] *= factor
        gain = rng.uniform(*self.gain)
        own.actuator_gainprm[:, 0] *= gain
        own.actuator_biasprm[:, 1:3] *= gain
        is_ground = own.body_weldid[own.geom_bodyid] == 0
        if self.friction is not None:
            friction = rng.uniform(*self.friction)
            own.geom_friction[is_ground, 0] = friction
            own.geom_priority[is_ground] = own.geom_priority.max() + 1  # the ground's counts
        if self.ground_m > 0.0:
            field = own.geom(GROUND)
            own.hfield_size[field.dataid[0], 2] = 2.0 * self.ground_m
            field.pos[2] = -self.ground_m
            # Beyond the field, robots stand on the plane, as low as the deepest place.
            own.geom_pos[is_ground & (own.geom_type == PLANE), 2] -= self.ground_m
            own.hfield_data[:] = _bumps(own, rng)
        mujoco.mj_setConst(own, mujoco.MjData(own))
        return own


def with_noise(state: RobotState, scale: float, rng: np.random.Generator) -> RobotState:
    """The state as sensors with noise report it; the position is left as it is."""
    noisy = {
        name: getattr(state, name) + scale * half * rng.uniform(-1, 1, getattr(state, name).shape)
        for name, half in NOISE.items()
    }
    turn = 0.5 * scale * TILT_NOISE * rng.uniform(-1.0, 1.0, (*state.orientation.shape[:-1], 3))
    w, x, y, z = np.moveaxis(state.orientation, -1, 0)
    a, b, c = np.moveaxis(turn, -1, 0)  # of a small turn (1, a, b, c) about axes of the body
    orientation = np.stack(
        [
            w - x * a - y * b - z * c,
            x + w * a + y * c - z * b,
            y + w * b + z * a - x * c,
            z + w * c + x * b - y * a,
        ],
        axis=-1,
    )
    orientation /= np.linalg.norm(orientation, axis=-1, keepdims=True)
    return dataclasses.replace(state, orientation=orientation, **noisy)


def _bumps(model: mujoco.MjModel, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth random heights of a height field, 0 to 1. Shape (rows * columns,)."""
    rows, columns = int(model.hfield_nrow[-1]), int(model.hfield_ncol[-1])
    heights = rng.uniform(0.0, 1.0, (rows, columns))
    for axis in (0, 1):  # of two grid cells each, so that bumps are as wide as a foot's step
        heights = (
            0.25 * np.roll(heights, 1, axis) + 0.5 * heights + 0.25 * np.roll(heights, -1, axis)
        )
    heights = (heights - heights.min()) / (heights.max() - heights.min())
    return heights.astype(np.float32).ravel()
