"""StatePairs: joint_states and odom of one stamp make a state."""

from typing import Generic, TypeVar

LeftT = TypeVar("LeftT")
RightT = TypeVar("RightT")
MAX_UNPAIRED = 8


class StatePairs(Generic[LeftT, RightT]):
    """Keeps what still waits for its other half, a few at most, and gives out pairs."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._left: dict[int, LeftT] = {}
        self._right: dict[int, RightT] = {}

    def add_left(self, stamp_ns: int, left: LeftT) -> tuple[LeftT, RightT] | None:
        """The pair that this completes, if any; everything that came before it is dropped."""
        _put(self._left, stamp_ns, left)
        return self._pair(stamp_ns)

    def add_right(self, stamp_ns: int, right: RightT) -> tuple[LeftT, RightT] | None:
        """The pair that this completes, if any; everything that came before it is dropped."""
        _put(self._right, stamp_ns, right)
        return self._pair(stamp_ns)

    def complaint(self) -> str:
        """What is missing, for people; empty when nothing waits."""
        if self._left and self._right:
            return "joint_states and odom come, but never with the same stamp"
        if self._left:
            return "joint_states comes without odom"
        return "odom comes without joint_states" if self._right else ""

    def _pair(self, stamp_ns: int) -> tuple[LeftT, RightT] | None:
        if stamp_ns not in self._left or stamp_ns not in self._right:
            return None
        return _take(self._left, stamp_ns), _take(self._right, stamp_ns)


def _put(halves: dict[int, LeftT], stamp_ns: int, half: LeftT) -> None:
    halves.pop(stamp_ns, None)  # one that comes again counts as new
    halves[stamp_ns] = half
    if len(halves) > MAX_UNPAIRED:
        del halves[next(iter(halves))]


def _take(halves: dict[int, LeftT], stamp_ns: int) -> LeftT:
    """Out with one and with all that came before it; by arrival, as stamps may start anew."""
    for other in list(halves):
        half = halves.pop(other)
        if other == stamp_ns:
            break
    return half
