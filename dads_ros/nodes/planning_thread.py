"""PlanningThread: plans beside the control tick; the newest request replaces one that waits."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

RequestT = TypeVar("RequestT")


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
        """Wait for the work in progress and end the thread."""
        with self._condition:
            self._is_open, self._request = False, None
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._request is not None or not self._is_open)
                if not self._is_open:
                    return
                request, self._request = self._request, None
            assert request is not None
            self._work(request)
