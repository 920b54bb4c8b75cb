"""StartRamp: from the pose that a robot happens to be in to what it is to do.

Shapes: R robots, A actuators.
"""

import numpy as np
from numpy.typing import NDArray

from dads_ros.observation import RobotState
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]


class StartRamp:
    """Leads commands from where the joints are, of robots that are commanded by positions.

    Those of others say nothing of where the joints are, and need none.
    """

    def __init__(self, robot: RobotSpec) -> None:
        """Nothing to lead yet."""
        self._columns: list[int] | None = None
        if robot.command_scale is not None:
            self._columns = [robot.joints.index(name) for name in robot.actuated_joints]
        self._is_due, self._began_ns = False, 0
        self.start: Array | None = None
        """Positions that it began from, rad or m, while it leads; else None. Shape (R, A)."""

    def begin(self) -> None:
        """From the next state on."""
        self._is_due, self.start = self._columns is not None, None

    def take(self, state: RobotState, stamp_ns: int, duration_s: float) -> bool:
        """Take in a state. Returns: whether it begins with this one."""
        if self._is_due:
            self.start, self._began_ns = state.joint_positions[:, self._columns].copy(), stamp_ns
        elif self.start is not None and stamp_ns - self._began_ns >= duration_s * 1e9:
            self.start = None
        begins, self._is_due = self._is_due, False
        return begins

    def lead(self, command: Array, stamp_ns: int, duration_s: float) -> Array:
        """The command on the way from the start to this one. Shape (R, A)."""
        if self.start is None:
            return command
        part = min(1.0, (stamp_ns - self._began_ns) / 1e9 / max(duration_s, 1e-9))
        return self.start + part * (command - self.start)
