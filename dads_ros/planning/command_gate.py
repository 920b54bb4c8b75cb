"""CommandGate: the only judge of what leaves for the robot. Letters: A actuators."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]

_ROUNDING = 1e-4  # of an actuator's range: what a float32 policy may be beyond its limit


@dataclass(frozen=True)
class GateResult:
    """What may be sent."""

    command: Array
    """Finite and within limits, in the robot file's order and unit. Shape (A,)."""
    is_safe_stop: bool
    """The safe command stands in for the one that was asked for."""
    reason: str
    """Why; empty when the command passed."""


class CommandGate:
    """Lets a command pass only if it is finite, within limits, fresh, and wanted.

    It reads no clock and keeps no state: the age of the state, by a steady clock and from receipt,
    is passed in.
    """

    def __init__(self, robot: RobotSpec, state_timeout_s: float) -> None:
        """Guard a robot whose states may be at most ``state_timeout_s`` old."""
        self._low, self._high = low, high = robot.command_limits
        slack = _ROUNDING * (high - low)
        self._lowest, self._highest = low - slack, high + slack
        self._safe = np.array(robot.safe_command)
        self._names = robot.actuators
        self.state_timeout_s = state_timeout_s

    def check(
        self,
        command: NDArray[np.floating] | None,
        *,
        state_age_s: float,
        is_active: bool,
        is_state_finite: bool = True,
        has_fallen: bool = False,
        error: str = "",
    ) -> GateResult:
        """The command, or the safe command and the reason.

        Args:
            command: what is to be sent; None when there is none. Shape (A,).
            state_age_s: time since the state that it answers was received.
            is_active: the node may drive the robot.
            is_state_finite: every number of the state is finite.
            has_fallen: the robot file counts the state as fallen.
            error: what else went wrong; empty when nothing did.
        """
        reason = self._objection(
            command, state_age_s, is_active, is_state_finite, has_fallen, error
        )
        if reason or command is None:
            return GateResult(self._safe.copy(), True, reason)
        return GateResult(np.clip(command, self._low, self._high, dtype=np.float64), False, "")

    def _objection(
        self,
        command: NDArray[np.floating] | None,
        state_age_s: float,
        is_active: bool,
        is_state_finite: bool,
        has_fallen: bool,
        error: str,
    ) -> str:
        """Why the command must not leave; empty when it may."""
        if not is_active:
            return "not active"
        if error:
            return error
        if not state_age_s <= self.state_timeout_s:  # NaN objects as well
            return (
                f"no state for {state_age_s:.2f} s; at most {self.state_timeout_s:g} s is allowed"
            )
        if not is_state_finite:
            return "the state is not finite"
        if has_fallen:
            return "the robot has fallen"
        if command is None:
            return "no command"
        if np.shape(command) != self._safe.shape:
            return f"the command has shape {np.shape(command)}; expected {self._safe.shape}"
        if not np.isfinite(command).all():
            return "the command is not finite"
        outside = (command < self._lowest) | (command > self._highest)
        if outside.any():
            worst = int(np.flatnonzero(outside)[0])
            return (
                f"command {float(command[worst]):.3g} of '{self._names[worst]}' is outside "
                f"{self._low[worst]:g} .. {self._high[worst]:g}"
            )
        return ""
