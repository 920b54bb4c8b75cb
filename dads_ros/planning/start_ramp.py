"""StartRamp: the way of robots that are commanded by positions, to standing and to safety.

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
MOST_TURN = math.pi
"""rad or m. An encoder that says more than half a turn from home is wrong and is not followed. The
limits of commands say nothing here: a robot that lies is far beyond them."""
_ROUNDING = 1e-9


class StartRamp:
    """Once, at the start, to standing; and at any time to what is safe, both without a jump.

    It concerns robots with ``command_scale`` alone: the commands of others do not say where the
    joints are to be. Ways are counted in control steps and not in time, so that no state that
    comes late or with another stamp makes a jump. ``part`` is that of ``start_ramp_s`` that one
    control step is, and infinite where there is to be no ramp.
    """

    def __init__(self, robot: RobotSpec, num_robots: int) -> None:
        """Wait for the first state."""
        self._safe = np.tile(np.array(robot.safe_command), (num_robots, 1))
        self._mode = robot.safe_mode
        self._fastest = robot.max_velocity * robot.control_dt  # of joints, in a control step
        self._low, self._high = robot.command_limits
        self._range = self._longest = self._high - self._low
        self._columns: list[int] | None = None
        if robot.command_scale is not None:
            self._columns = robot.actuated_columns
            self._names = robot.actuated_joints
            self._home = np.array([robot.home[name] for name in self._names])
        self._start: Array | None = None
        self._part = np.ones((num_robots, 1))  # of the way that is behind them

    def begin(self) -> None:
        """From the next state on."""
        self._start, self._part = None, np.ones_like(self._part)

    @property
    def is_waiting(self) -> bool:
        """Where the joints are is not known, and nothing may be sent."""
        return self._columns is not None and self._start is None

    def implausible_joint(self, state: RobotState) -> str:
        """Where no joint can be, by a finite state that is waited for; empty where all can.

        An encoder that was not zeroed yet, or degrees for radians, would send a leg across.
        """
        assert self._columns is not None  # others wait for nothing
        turns = np.abs(state.joint_positions[:, self._columns] - self._home)
        worst = int(turns.max(axis=0).argmax())
        if turns[:, worst].max() <= MOST_TURN:
            return ""
        position = state.joint_positions[turns[:, worst].argmax(), self._columns[worst]]
        return (
            f"joint '{self._names[worst]}' is said to be at {position:.3g}, more than "
            f"{MOST_TURN:.3g} from home: check the encoder's zero and unit (rad, m)"
        )

    @property
    def leads(self) -> NDArray[np.bool_]:
        """Robots that are on their way to standing. Shape (R,)."""
        return self._part[:, 0] < 1.0 - _ROUNDING

    def step(
        self,
        state: RobotState,
        last: Array,
        part: float,
        stopped: NDArray[np.bool_],
        were_down: NDArray[np.bool_] | bool = False,
    ) -> Array:
        """A control step on.

        A robot that was stopped on its way, that is beyond its limits, that may have sunk, or that
        was stood up, begins anew, from what was sent last.

        Args:
            state: of all robots; at the first step finite.
            last: what was sent last, and before the first step by whoever drove before. (R, A).
            part: of ``start_ramp_s``.
            stopped: robots whose last command was the safe one. Shape (R,).
            were_down: robots that had been down for long at the step before. Shape (R,).
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
        beyond = (last < self._low - _ROUNDING) | (last > self._high + _ROUNDING)
        is_away = self.leads | beyond.any(axis=1) | (self._mode == "damp")
        if math.isfinite(part):
            is_away |= were_down
        anew = (stopped & is_away)[:, None]
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

    def toward_safe(self, last: Array, part: float, state: RobotState | None = None) -> Array:
        """By ``safe_mode`` the safe command, the last one, or where the joints are. Shape (R, A).

        Or as far on the way there as one command may go: in ``start_ramp_s`` the longest way that
        there can be, across the limits or from the first state.

        Args:
            last: what was sent last. Shape (R, A).
            part: of ``start_ramp_s`` that one command may go.
            state: a fresh one; damping holds without it, and where it is not finite or says that
                a joint is where none can be.
        """
        if self._start is None:
            return self._safe.copy()
        goal, most = self._safe if self._mode == "pose" else last, part * self._longest
        if self._mode == "damp" and state is not None:
            # The ramp bounds how fast the command follows the joints, and so how fast the load is
            # let down; without a ramp, it is no faster than joints can be. The limits of commands
            # do not apply: they would hold the robot up half-way.
            joints = state.joint_positions[:, self._columns]
            is_near = (np.abs(joints - self._home) <= MOST_TURN).all(axis=1)
            goal = np.where((is_near & state.is_finite())[:, None], joints, last)
            most = np.minimum(most, self._fastest)
        return np.clip(goal, last - most, last + most)

    def blind_rates(self, part: float) -> Array:
        """How fast commands go ``toward_safe`` without a state, per second. Shape (R, A).

        Infinite where they are there at once, as those of robots that no ramp concerns.

        Args:
            part: of ``start_ramp_s`` that a second is.
        """
        rates = np.full_like(self._safe, math.inf)
        if self._start is not None:
            rates[:] = part * self._longest if self._mode == "pose" else 0.0
        return rates
