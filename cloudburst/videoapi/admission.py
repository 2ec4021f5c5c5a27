"""The line in front of the renderer: first come, first served, and not endless."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_POLL = 0.5


class LineFullError(Exception):
    """As many wait as may."""


class LeftError(Exception):
    """Whoever waited has gone."""


class Line:
    """Lets so many in at once; the others wait in the order in which they came.

    Args:
        slots: how many are in at once.
        waiting: how many may wait.
    """

    def __init__(self, slots: int, waiting: int) -> None:
        self.slots = slots
        self._most = waiting
        self._in = 0
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """How many are in."""
        return self._in

    @property
    def queued(self) -> int:
        """How many wait."""
        return len(self._queue)

    @contextmanager
    def turn(self, gone: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Wait for a turn and take it.

        Args:
            gone: is asked now and then whether waiting is still wanted.

        Raises:
            LineFullError: as many wait as may.
            LeftError: waiting is not wanted any more.
        """
        ticket = threading.Event()
        with self._lock:
            if self._in < self.slots and not self._queue:
                self._in += 1
                ticket.set()
            elif len(self._queue) >= self._most:
                raise LineFullError
            else:
                self._queue.append(ticket)
        self._wait(ticket, gone)
        try:
            yield
        finally:
            self._next()

    def _wait(self, ticket: threading.Event, gone: Callable[[], bool]) -> None:
        while not ticket.wait(_POLL):
            if gone():
                with self._lock:
                    if not ticket.is_set():
                        self._queue.remove(ticket)
                        raise LeftError
                # Its turn came at this very moment: give it to the next one.
                self._next()
                raise LeftError

    def _next(self) -> None:
        with self._lock:
            if self._queue:
                self._queue.popleft().set()  # the place goes from hand to hand
            else:
                self._in -= 1
