"""StampOrder: which states are new, which came late, and where the stamps really jumped back."""

from typing import Literal

COMPARABLE_S = 3600.0
"""Two clocks that are further apart do not count from the same moment: a driver's uptime, a
simulation without use_sim_time, a machine without a battery."""


class StampOrder:
    """A late or swapped state is alone; after a real jump back the states go on from there."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.newest_ns: int | None = None
        self._late_ns, self._num_late = 0, 0

    def judge(self, stamp_ns: int, patience: int) -> Literal["new", "same", "late", "jump"]:
        """Take in the stamp of a state.

        Args:
            stamp_ns: of the state.
            patience: so many states in a row that are older than the newest, each of them newer
                than the one before, are a jump back.
        """
        if self.newest_ns is None or stamp_ns > self.newest_ns:
            self.newest_ns, self._num_late = stamp_ns, 0
            return "new"
        if stamp_ns == self.newest_ns:
            return "same"
        goes_on = self._num_late > 0 and stamp_ns > self._late_ns
        self._late_ns, self._num_late = stamp_ns, self._num_late + 1 if goes_on else 1
        if self._num_late < patience:
            return "late"
        self.newest_ns, self._num_late = stamp_ns, 0
        return "jump"
