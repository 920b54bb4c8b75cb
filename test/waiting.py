"""Waiting for what no event tells of: files, processes of others."""

import time
from collections.abc import Callable

PERIOD_S = 0.001


def wait_until(
    claim: Callable[[], object], timeout_s: float, said: Callable[[], object] = lambda: ""
) -> None:
    """Until it holds, and leave the processor to others meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < deadline, f"it did not happen in {timeout_s:g} s; {said()}"
        time.sleep(PERIOD_S)
