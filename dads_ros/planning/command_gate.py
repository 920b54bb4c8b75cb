"""CommandGate: the only judge of what leaves for the robots. Letters: R robots, A actuators."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dads_ros.observation import RobotState
from dads_ros.planning.start_ramp import StartRamp
from dads_ros.robot import RobotSpec

Array = NDArray[np.float64]

_ROUNDING = 1e-4  # of an actuator's range: what a float32 policy may be beyond its limit


@dataclass(frozen=True)
class GateResult:
    """What may be sent."""

    command: Array
    """Finite and within limits, or on the way there from what was sent last, or where the joints
    are (``safe_mode: damp``); in the robot file's order and unit. Shape (R, A)."""
    is_safe_stop: NDArray[np.bool_]
    """The safe command stands in for the one that was asked for. Shape (R,)."""
    reason: str
    """Why, of the first robot that gets the safe command; empty when all commands passed."""


class CommandGate:
    """Lets a command pass only if it is finite, within limits, fresh, and wanted.

    What is judged is what the policy or the planner asks for. What passes is led from the start to
    there and filtered as the robot file says, as it was in training; the safe command is not
    filtered. It reads no clock and keeps no state: the age of the state, the last command and the
    ramp are passed in.
    """

    def __init__(self, robot: RobotSpec, num_robots: int = 1) -> None:
        """Guard ``num_robots`` robots of a kind (R)."""
        self._low, self._high = low, high = robot.command_limits
        slack = _ROUNDING * (high - low)
        self._lowest, self._highest = low - slack, high + slack
        self._safe = np.tile(np.array(robot.safe_command), (num_robots, 1))
        self._names, self._robot = robot.actuators, robot

    def check(
        self,
        command: NDArray[np.floating] | None,
        *,
        last_command: Array,
        state_age_s: float,
        state_timeout_s: float,
        is_active: bool,
        ramp: StartRamp | None = None,
        ramp_part: float = math.inf,
        state: RobotState | None = None,
        is_state_finite: NDArray[np.bool_] | bool = True,
        has_fallen: NDArray[np.bool_] | bool = False,
        error: str = "",
    ) -> GateResult:
        """The command, or the safe command and the reason.

        Args:
            command: what is to be sent; None when there is none. Shape (R, A).
            last_command: what was sent last. Shape (R, A).
            state_age_s: of the state that it answers.
            state_timeout_s: an older state is not answered.
            is_active: the robots may be driven.
            ramp: leads robots that are commanded by positions; None leads nobody.
            ramp_part: of ``start_ramp_s`` that one command may go on the way to the safe one.
            state: a fresh one, for the ramp; None where there is none.
            is_state_finite: every number of a robot's state is finite. Shape (R,).
            has_fallen: the robot file counts the state as fallen. Shape (R,).
            error: what else went wrong; empty when nothing did.
        """
        reason = ""
        if not is_active:
            reason = "not active"
        elif error:
            reason = error
        elif not state_age_s <= state_timeout_s:  # NaN objects as well
            reason = f"no state for {state_age_s:.2f} s; at most {state_timeout_s:g} s is allowed"
        elif command is not None and command.shape != self._safe.shape:
            shape, expected = command.shape[1:], self._safe.shape[1:]
            reason = f"the command has shape {shape}; expected {expected}"
        safe = self._safe.copy()
        if ramp is not None:
            safe = ramp.toward_safe(last_command, ramp_part, state)
        if reason or command is None:
            everybody = np.ones(len(self._safe), bool)
            return GateResult(safe, everybody, reason or "no command")
        is_inside = (command >= self._lowest) & (command <= self._highest)  # nor is NaN inside
        stops = np.asarray(~(is_inside.all(axis=1) & is_state_finite) | has_fallen)
        passed = np.minimum(np.maximum(command, self._low), self._high)
        passed = self._robot.filtered(passed if ramp is None else ramp.lead(passed), last_command)
        if not stops.any():
            return GateResult(passed, stops, "")
        first = int(stops.argmax())
        if not np.broadcast_to(is_state_finite, stops.shape)[first]:
            reason = "the state is not finite"
            if state is not None:
                reason = f"{reason}: {state[first].what_is_not_finite(self._robot)}"
        elif np.broadcast_to(has_fallen, stops.shape)[first]:
            reason = "the robot has fallen"
        else:
            reason = self._objection(command[first])
        return GateResult(np.where(stops[:, None], safe, passed), stops, reason)

    def _objection(self, command: NDArray[np.floating]) -> str:
        """What is wrong with the numbers of a command. Shape (A,)."""
        if not np.isfinite(command).all():
            return "the command is not finite"
        outside = (command < self._lowest) | (command > self._highest)
        worst = int(outside.argmax())
        return (
            f"command {float(command[worst]):.3g} of '{self._names[worst]}' is outside "
            f"{self._low[worst]:g} .. {self._high[worst]:g}"
        )
