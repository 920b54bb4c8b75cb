"""BodyLimits: by how much robots exceed how their body may move.

Shapes: N robots, S simulation steps, J joints, A actuators, G geoms that may touch the ground, L
limits.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dads_ros.envs.model import RobotModel
from dads_ros.observation import RobotState

Array = NDArray[np.float64]
LEAST = 1e-3
"""The smallest limit that others are measured by."""


class Moved(NamedTuple):
    """What robots did in one control step."""

    commands: Array
    """Sent at this control step and at the one before. Shape (2, N, A)."""
    applied: Array
    """In force in each simulation step. Shape (N, S, A)."""
    positions: Array
    """Of the joints, rad or m. Shape (N, S, J)."""
    velocities: Array
    """Of the joints, rad/s or m/s. Shape (N, S, J)."""
    touching: NDArray[np.bool_]
    """Which geoms touched the ground. Shape (N, S, G)."""
    state: RobotState
    """Afterwards."""


class BodyLimits:
    """The robot file's ``body_limits``: how much each was exceeded, in parts of the limit."""

    def __init__(self, model: RobotModel, gains: Array | float = 1.0) -> None:
        """Take those that are set; none for a robot without them.

        ``gains``: factor on those of each robot's servos. Shape (N,).
        """
        self._model, self._gains = model, np.reshape(gains, (-1, 1, 1))
        low, high = model.spec.command_limits
        self._range = high - low
        self._lowest, self._highest, _ = model.joint_ranges()
        still = model.robot_state(
            np.zeros((1, model.mj_model.nq)), np.zeros((1, model.mj_model.nv))
        )
        nothing = np.zeros((1, 1, len(model.spec.actuators)))
        joints, geoms = np.zeros((1, 1, len(model.spec.joints))), len(model.contact_columns)
        touching = np.zeros((1, 1, geoms), bool)
        moved = Moved(nothing.repeat(2, axis=0)[:, 0], nothing, joints, joints, touching, still)
        self.names = tuple(name for name, _ in self._parts(moved))
        """Of the L limits."""

    def exceeded(self, moved: Moved) -> NDArray[np.float32]:
        """By which part of each limit: root mean square over simulation steps and joints. (N, L).

        Of contacts: the part of the simulation steps in which something else than feet touched.
        """
        parts = [part.reshape(len(part), -1) for _, part in self._parts(moved)]
        means = [np.sqrt(np.square(part).mean(axis=1)) for part in parts]
        return np.stack(means, axis=1, dtype=np.float32)

    def _parts(self, moved: Moved) -> Iterator[tuple[str, Array]]:
        """Name and parts exceeded, (N, ...), of each limit that is set."""
        limits, spec, state = self._model.spec.body_limits, self._model.spec, moved.state
        if limits is None:
            return
        if limits.command_rate is not None:
            change = np.abs(moved.commands[0] - moved.commands[1]) / self._range
            yield "command_rate", _beyond(change, limits.command_rate)
        if limits.torque is not None:
            torques = self._model.torques(
                moved.applied, moved.positions, moved.velocities, self._gains
            )
            yield "torque", _beyond(np.abs(torques), limits.torque)
        if limits.joint_speed is not None:
            yield "joint_speed", _beyond(np.abs(moved.velocities), np.array(limits.joint_speed))
        if limits.joint_margin is not None:
            inside = np.minimum(moved.positions - self._lowest, self._highest - moved.positions)
            yield "joint_margin", np.maximum(0.0, 1.0 - inside / max(limits.joint_margin, LEAST))
        if limits.height_m is not None:
            lowest, highest = limits.height_m
            height, half = state.position[:, 2], max(0.5 * (highest - lowest), LEAST)
            yield "height", np.maximum(0.0, np.maximum(lowest - height, height - highest)) / half
        if limits.tilt_deg is not None:
            tilt = np.degrees(np.arccos(np.clip(state.up_z(), -1.0, 1.0)))
            yield "tilt", _beyond(tilt, limits.tilt_deg)
        if limits.contacts and spec.feet:
            wrong = (moved.touching & ~self._model.is_foot).any(axis=2)
            yield "contacts", wrong.mean(axis=1, keepdims=True)


def _beyond(values: Array, limit: Array | float) -> Array:
    """Parts of a limit by which it is exceeded."""
    part: Array = np.maximum(0.0, values - limit) / np.maximum(limit, LEAST)
    return part
