"""A thread that calls functions after a delay, in order of their due time."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """Calls functions after a delay. Each must be quick: they share one thread.

    Attributes:
        errors: tracebacks of functions that raised.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="cloud-clock", daemon=True)
        self._thread.start()

    def after(self, seconds: float, function: Callable[[], None]) -> None:
        """Call a function after a delay in seconds."""
        with self._change:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._count), function))
            self._change.notify()

    def close(self) -> None:
        """Discard pending calls and wait for the running one."""
        with self._change:
            self._closed = True
            self._due.clear()
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while (function := self._next()) is not None:
            try:
                function()
            except Exception:  # noqa: BLE001 - the thread must go on; Cloud raises it on exit
                self.errors.append(traceback.format_exc())

    def _next(self) -> Callable[[], None] | None:
        with self._change:
            while not self._closed:
                delay = self._due[0][0] - time.monotonic() if self._due else None
                if delay is not None and delay <= 0:
                    return heapq.heappop(self._due)[2]
                self._change.wait(delay)
        return None
