"""StateAge: how old a state is when it is handled, by its stamp and by its way through DDS."""

import time
from collections import deque
from collections.abc import Mapping

import numpy as np
from rclpy.clock import Clock

from dads_ros.nodes.conversions import MessageError

COMPARABLE_S = 3600.0
"""Two clocks that are further apart do not count from the same moment: a driver's uptime, a
simulation without use_sim_time, a machine without a battery."""
WINDOW_S = 1.0


class StateAge:
    """Never counts from the callback: a process that was stopped finds old states in its queue."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` is the node's, which follows /clock with use_sim_time."""
        self._clock = clock
        self.is_other_clock = False
        """The newest stamp was not of the node's clock, so that only DDS says how old it is."""
        self._speeds: deque[float] = deque(maxlen=2)
        """Seconds of /clock in a second, in the last windows in which it was read."""
        self._begin = -np.inf, 0

    def of(self, stamp_ns: int, info: Mapping[str, int], timeout_s: float) -> float:
        """Age in seconds of wall clock, the longest of those that can be told.

        Args:
            stamp_ns: of the state.
            info: of the message that completed it, as rclpy has it.
            timeout_s: so far in the future a stamp may be.
        Raises: MessageError for a stamp from the future.
        """
        age_s = under_way_s(info)
        stamped_s = (self._clock.now().nanoseconds - stamp_ns) / 1e9
        if self._clock.ros_time_is_active:
            speed = self._simulated_speed()
            stamped_s = stamped_s / speed if speed else min(stamped_s, 0.0)
        self.is_other_clock = abs(stamped_s) > COMPARABLE_S
        if self.is_other_clock:
            return age_s
        if stamped_s < -timeout_s and not self._clock.ros_time_is_active:
            raise MessageError(
                f"the state is stamped {-stamped_s:.2f} s ahead of this node's clock, so that "
                "nobody can tell how old it is; synchronise the clocks"
            )
        return max(age_s, stamped_s)

    def _simulated_speed(self) -> float | None:
        """Seconds of /clock in a second, at least 1; None while it is not known.

        A simulation that was paused does not become a slow one by that.
        """
        now, clock_ns = time.monotonic(), self._clock.now().nanoseconds
        elapsed_s = now - self._begin[0]
        if elapsed_s > WINDOW_S:
            if elapsed_s < 2.0 * WINDOW_S:
                self._speeds.append((clock_ns - self._begin[1]) / 1e9 / elapsed_s)
            self._begin = now, clock_ns
        return max(1.0, *self._speeds) if self._speeds else None


def under_way_s(info: Mapping[str, int]) -> float:
    """How long ago a message was sent or received, by what DDS says of it, s."""
    wall_ns = time.time_ns()
    ages_s = [0.0]
    for name in ("received_timestamp", "source_timestamp"):
        age_s = (wall_ns - info[name]) / 1e9
        if age_s < COMPARABLE_S:  # else another clock, or a DDS that does not say
            ages_s.append(age_s)
    return max(ages_s)
