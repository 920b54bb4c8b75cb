"""Pace: which states are due for a control step, and whether they come often enough to drive on.

All of it by stamps: a simulation that is fast, slow or waits is judged like a robot.
"""

from collections import deque

MAX_ERROR = 0.1
"""Part of a control step by which steps may be longer or shorter without a word."""
MAX_STEPS = 2.5
"""Of states further apart, in control steps, none can be driven on: at 2.4 steps 42 of 48 of the
shipped Ants and all of 16 Humanoids fell within 20 s, at 1.6 steps 8 and 5."""
NUM_INTERVALS, NUM_JUDGED = 11, 5
"""Between the newest states, of which the median counts; and so many are enough to judge by."""


class Pace:
    """Faster states are thinned to one each control step, without drift; slower ones are named."""

    def __init__(self, control_dt: float) -> None:
        """Begin with the next state. ``control_dt`` is the policy's control step, s."""
        self._step_ns = round(control_dt * 1e9)
        self._intervals: deque[int] = deque(maxlen=NUM_INTERVALS)
        self._newest_ns: int | None = None
        self._due_ns = 0

    def take(self, stamp_ns: int) -> bool:
        """Take in the stamp of a state, later than the one before.

        Returns: whether it is due for a control step. Of faster states that is the one nearest to
            its time; of those that come about once in a step it is every one.
        """
        step_ns, newest_ns, self._newest_ns = self._step_ns, self._newest_ns, stamp_ns
        if newest_ns is None:
            self._due_ns = stamp_ns + step_ns
            return True
        self._intervals.append(stamp_ns - newest_ns)
        interval_ns = self._interval_ns
        if stamp_ns < self._due_ns - interval_ns / 2:
            return False
        self._due_ns += step_ns
        if interval_ns > (1.0 - MAX_ERROR) * step_ns or self._due_ns <= stamp_ns:
            self._due_ns = stamp_ns + step_ns
        return True

    @property
    def rate_hz(self) -> float:
        """Of the newest states; NaN before there are two."""
        return 1e9 / self._interval_ns if self._intervals else float("nan")

    @property
    def complaint(self) -> str:
        """Both rates, where states come less often than in training; else empty."""
        if not self._is_slower_than(1.0 + MAX_ERROR):
            return ""
        wanted_hz = 1e9 / self._step_ns
        cure = "publish joint_states and odom faster, or lighten the load"
        return f"states come at {self.rate_hz:.3g} Hz, the policy needs {wanted_hz:.3g} Hz: {cure}"

    @property
    def is_too_slow(self) -> bool:
        """Nobody can drive on these states."""
        return self._is_slower_than(MAX_STEPS)

    @property
    def _interval_ns(self) -> int:
        """Median of the newest."""
        return sorted(self._intervals)[len(self._intervals) // 2]

    def _is_slower_than(self, steps: float) -> bool:
        is_known = len(self._intervals) >= NUM_JUDGED
        return is_known and self._interval_ns > steps * self._step_ns
