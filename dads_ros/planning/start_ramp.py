"""StartRamp: the way of robots that are commanded by positions, to standing and to the safe pose.

Shapes: R robots, A actuators.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dads_ros.observation import RobotState
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]

SAG = 0.3
"""rad or m. A servo under load is at most so far from where it was sent: a robot that is so near
to a pose is taken to be held there. Sent to where its joints are, it would lose its torque."""
_ROUNDING = 1e-9


class StartRamp:
    """Once, at the start, to standing; and at any time to the safe command, both without a jump.

    It concerns robots with ``command_scale`` alone: the commands of others do not say where the
    joints are to be. Ways are counted in control steps and not in time, so that no state that
    comes late or with another stamp makes a jump. ``part`` is that of ``start_ramp_s`` that one
    control step is, and infinite where there is to be no ramp.
    """

    def __init__(self, robot: RobotSpec, num_robots: int) -> None:
        """Wait for the first state."""
        self._safe = np.tile(np.array(robot.safe_command), (num_robots, 1))
        low, high = robot.command_limits
        self._range = self._longest = high - low
        self._columns: list[int] | None = None
        if robot.command_scale is not None:
            self._columns = robot.actuated_columns
            self._home = np.array([robot.home[name] for name in robot.actuated_joints])
        self._start: Array | None = None
        self._part = np.ones((num_robots, 1))  # of the way that is behind them

    def begin(self) -> None:
        """From the next state on."""
        self._start, self._part = None, np.ones_like(self._part)

    @property
    def is_waiting(self) -> bool:
        """Where the joints are is not known, and nothing may be sent."""
        return self._columns is not None and self._start is None

    @property
    def leads(self) -> NDArray[np.bool_]:
        """Robots that are on their way to standing. Shape (R,)."""
        return self._part[:, 0] < 1.0 - _ROUNDING

    def step(
        self, state: RobotState, last: Array, part: float, stopped: NDArray[np.bool_]
    ) -> Array:
        """A control step on.

        A robot that was stopped on its way begins anew, from what was sent last.

        Args:
            state: of all robots; at the first step finite.
            last: what was sent last, and before the first step by whoever drove before. (R, A).
            part: of ``start_ramp_s``.
            stopped: robots whose last command was the safe one. Shape (R,).
        Returns: what counts as sent last from now on. Shape (R, A).
        """
        if self._columns is None:
            return last
        if self._start is None:
            joints = start = state.joint_positions[:, self._columns]
            for pose in (self._home, last):
                is_held = (np.abs(joints - pose) <= SAG).all(axis=1, keepdims=True)
                start = np.where(is_held, pose, start)
            self._start = start.copy()
            self._longest = np.maximum(self._range, np.abs(self._safe - start))
            self._part = np.full_like(self._part, 1.0 if math.isinf(part) else 0.0)
            return self._start
        anew = (stopped & self.leads)[:, None]
        self._start = np.where(anew, last, self._start)
        self._part = np.where(anew, 0.0, np.minimum(1.0, self._part + part))
        return last

    def lead(self, command: Array) -> Array:
        """The command on the way from the start to this one. Shape (R, A)."""
        if self._start is None:
            return command
        return np.where(
            self.leads[:, None], self._start + self._part * (command - self._start), command
        )

    def toward_safe(self, last: Array, part: float) -> Array:
        """The safe command, or as far on the way there as one command may go. Shape (R, A).

        In ``start_ramp_s`` the longest way there can be: across the limits, or from the first
        state.
        """
        if self._start is None:
            return self._safe.copy()
        most = part * self._longest
        return np.clip(self._safe, last - most, last + most)
