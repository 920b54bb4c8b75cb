"""RobotState and the one place where policy_obs is built from it.

Environment, exporter and nodes call the same ``build_policy_obs``. Shapes: ... any batch,
J joints, A actuators. Frames: ``world`` is the fixed frame (z up), ``body`` is base_link.
Quaternions are (w, x, y, z), from body to world.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]
MAX_QUATERNION_ERROR = 0.01
"""By which the length of an orientation may differ from 1."""
BEYOND_REASON = 10.0
"""So many times a robot file's ``max_velocity`` is no velocity but a fault."""


@dataclass(frozen=True)
class RobotState:
    """What joint_states and odom carry, for one robot or many."""

    position: Array
    """Base position, world frame, metres. Shape (..., 3)."""
    orientation: Array
    """Base orientation, unit quaternion (w, x, y, z). Shape (..., 4)."""
    linear_velocity: Array
    """Of the base, body frame, m/s. Shape (..., 3)."""
    angular_velocity: Array
    """Of the base, body frame, rad/s. Shape (..., 3)."""
    joint_positions: Array
    """In the robot file's order, rad or m. Shape (..., J)."""
    joint_velocities: Array
    """In the robot file's order, rad/s or m/s. Shape (..., J)."""

    def __getitem__(self, index: object) -> Self:
        """The same state for some of the robots."""
        return type(self)(*(getattr(self, name)[index] for name in self.__dataclass_fields__))

    def is_finite(self) -> NDArray[np.bool_]:
        """Whether every number of a robot is finite. Shape (...)."""
        numbers = [getattr(self, name) for name in self.__dataclass_fields__]
        finite: NDArray[np.bool_] = np.isfinite(np.concatenate(numbers, axis=-1)).all(axis=-1)
        return finite

    def what_is_not_finite(self, spec: RobotSpec) -> str:
        """Names of such numbers of one robot, for people."""
        found = []
        for name in self.__dataclass_fields__:
            wrong = np.flatnonzero(~np.isfinite(getattr(self, name)))
            if len(wrong):
                joints = [spec.joints[index] for index in wrong] if "joint" in name else []
                found.append(f"{name}{' of ' if joints else ''}{', '.join(joints)}")
        return "; ".join(found)

    def up_z(self) -> Array:
        """World z of the body z-axis: 1 upright, -1 on its back. Shape (...)."""
        x, y = self.orientation[..., 1], self.orientation[..., 2]
        return 1.0 - 2.0 * (x * x + y * y)

    def yaw(self) -> Array:
        """Heading: angle of the body x-axis seen from above, world frame, rad. Shape (...)."""
        return yaw_of(self.orientation)

    def ground_velocity(self, spec: RobotSpec) -> Array:
        """Of the base along the world's x and y, m/s, clipped as in policy_obs. Shape (..., 2)."""
        rotation = quaternion_to_matrix(self.orientation)[..., :2, :]
        velocity = np.clip(self.linear_velocity, -spec.max_velocity, spec.max_velocity)
        return np.einsum("...ij,...j->...i", rotation, velocity)

    def yaw_rate(self, spec: RobotSpec) -> Array:
        """Angular velocity of the base about the world's z, clipped likewise, rad/s. (...)."""
        up = quaternion_to_matrix(self.orientation)[..., 2, :]
        rate = np.clip(self.angular_velocity, -spec.max_velocity, spec.max_velocity)
        return (up * rate).sum(axis=-1)

    def has_fallen(self, spec: RobotSpec) -> NDArray[np.bool_]:
        """Whether the robot file counts this as fallen. Shape (...)."""
        low = self.position[..., 2] < spec.fallen.min_height_m
        return (self.up_z() < spec.fallen.min_up_z) | low


def observation_slices(spec: RobotSpec) -> dict[str, slice]:
    """Where each field of policy_obs stands."""
    sizes = {
        "height": 1,
        "orientation": 4,
        "projected_gravity": 3,
        "linear_velocity": 3,
        "angular_velocity": 3,
        "joint_positions": len(spec.joints),
        "joint_velocities": len(spec.joints),
        "last_command": spec.command_dim,
    }
    slices: dict[str, slice] = {}
    start = 0
    for field in spec.observation:
        slices[field] = slice(start, start + sizes[field])
        start += sizes[field]
    return slices


def policy_obs_dim(spec: RobotSpec) -> int:
    """O: length of policy_obs."""
    return max(part.stop for part in observation_slices(spec).values())


def build_policy_obs(
    spec: RobotSpec, state: RobotState, last_command: Array
) -> NDArray[np.float32]:
    """policy_obs of one robot or many.

    Args:
        spec: the robot file; its ``observation`` gives fields and order.
        state: measured state.
        last_command: command sent at the step before, in the actuator's unit. Shape (..., A).
    Returns: fields of ``spec.observation`` one after the other. Shape (..., O).
    """
    columns: dict[str, Array] = {
        "height": state.position[..., 2:3],
        "orientation": state.orientation,
        "linear_velocity": state.linear_velocity,
        "angular_velocity": state.angular_velocity,
        "joint_positions": _within_one_turn(spec, state.joint_positions),
        "joint_velocities": state.joint_velocities,
        "last_command": last_command,
    }
    if "projected_gravity" in spec.observation:
        columns["projected_gravity"] = projected_gravity(state.orientation)
    parts = []
    for field in spec.observation:
        values = columns[field]
        if field.endswith("velocity") or field.endswith("velocities"):
            values = np.minimum(np.maximum(values, -spec.max_velocity), spec.max_velocity)
        parts.append(values)
    return np.concatenate(parts, axis=-1, dtype=np.float32)


def _within_one_turn(spec: RobotSpec, positions: Array) -> Array:
    """Joint positions, those of wheels within -pi .. pi. Shape (..., J)."""
    if not spec.wheels:
        return positions
    columns = [spec.joints.index(name) for name in spec.wheels]
    positions = positions.copy()
    positions[..., columns] -= 2.0 * np.pi * np.round(positions[..., columns] / (2.0 * np.pi))
    return positions


def projected_gravity(quaternion: Array) -> Array:
    """Direction of gravity in the body frame, as an IMU feels it; (0, 0, -1) upright. (..., 3)."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    down = [2.0 * (w * y - x * z), -2.0 * (w * x + y * z), 2.0 * (x * x + y * y) - 1.0]
    return np.stack(down, axis=-1)


def yaw_of(quaternion: Array) -> Array:
    """Heading of a unit quaternion (w, x, y, z), rad. Shape (...)."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    return np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def turned(vectors: NDArray[np.floating], angle: NDArray[np.floating] | float) -> Array:
    """Turned to the left, rad, each by its own angle or all by one. Shapes (..., 2), (...)."""
    cos, sin, x, y = np.cos(angle), np.sin(angle), vectors[..., 0], vectors[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def quaternion_to_matrix(quaternion: Array) -> Array:
    """Rotation matrix from body to world of a unit quaternion (w, x, y, z). Shape (..., 3, 3)."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def wrapped(angles: Array) -> Array:
    """Into [-pi, pi), rad. Shape (...)."""
    return np.remainder(angles + np.pi, 2.0 * np.pi) - np.pi
