"""PlanningThread: plans beside the control tick; the newest request replaces one that waits."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

RequestT = TypeVar("RequestT")
CLOSE_TIMEOUT_S = 0.5


class PlanningThread(Generic[RequestT]):
    """One worker thread with room for one waiting request."""

    def __init__(self, work: Callable[[RequestT], None]) -> None:
        """``work`` runs in the thread; it must catch its own errors."""
        self._work = work
        self._condition = threading.Condition()
        self._request: RequestT | None = None
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="planning", daemon=True)
        self._thread.start()

    def submit(self, request: RequestT) -> bool:
        """Hand over a request without waiting; False when it replaced one that still waited."""
        with self._condition:
            was_free = self._request is None
            self._request = request
            self._condition.notify()
        return was_free

    def close(self) -> None:
        """End the thread after the work in progress, which is not waited for long.

        Whoever closes must no longer want the result: it may still come.
        """
        with self._condition:
            self._is_open, self._request = False, None
            self._condition.notify()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._request is not None or not self._is_open)
                if not self._is_open:
                    return
                request, self._request = self._request, None
            assert request is not None
            self._work(request)
