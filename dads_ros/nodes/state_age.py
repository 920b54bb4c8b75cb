"""StateAge: how old a state is when it is handled, by its stamp and by its way through DDS."""

import time
from collections import deque
from collections.abc import Mapping

import numpy as np
from rclpy.clock import Clock

from dads_ros.nodes.conversions import MessageError
from dads_ros.planning.stamp_order import COMPARABLE_S

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

    def of(self, stamp_ns: int, sent_s: float, timeout_s: float) -> float:
        """Age in seconds of wall clock, the longest of those that can be told.

        Args:
            stamp_ns: of the state.
            sent_s: ``under_way_s`` of the message that completed it.
            timeout_s: so far in the future a stamp may be.
        Raises: MessageError for a stamp from the future.
        """
        clock_ns, is_simulated = self._clock.now().nanoseconds, self._clock.ros_time_is_active
        stamped_s = (clock_ns - stamp_ns) / 1e9
        if is_simulated:
            speed = self._simulated_speed(clock_ns)
            stamped_s = stamped_s / speed if speed else min(stamped_s, 0.0)
        self.is_other_clock = abs(stamped_s) > COMPARABLE_S
        if self.is_other_clock:
            return sent_s
        if stamped_s < -timeout_s and not is_simulated:
            raise MessageError(
                f"the state is stamped {-stamped_s:.2f} s ahead of this node's clock, so that "
                "nobody can tell how old it is; synchronise the clocks"
            )
        return max(sent_s, stamped_s)

    def _simulated_speed(self, clock_ns: int) -> float | None:
        """Seconds of /clock in a second, at least 1; None while it is not known.

        A simulation that was paused does not become a slow one by that.
        """
        now = time.monotonic()
        elapsed_s = now - self._begin[0]
        if elapsed_s > WINDOW_S:
            if elapsed_s < 2.0 * WINDOW_S:
                self._speeds.append((clock_ns - self._begin[1]) / 1e9 / elapsed_s)
            self._begin = now, clock_ns
        return max(1.0, *self._speeds) if self._speeds else None


def under_way_s(info: Mapping[str, int]) -> float:
    """How long ago a message was sent or received, by what DDS says of it, s."""
    wall_ns = time.time_ns()
    received_s = (wall_ns - info["received_timestamp"]) / 1e9
    sent_s = (wall_ns - info["source_timestamp"]) / 1e9
    # What is over an hour is another clock, or a DDS that does not say.
    return max(0.0, *(age_s for age_s in (received_s, sent_s) if age_s < COMPARABLE_S))
