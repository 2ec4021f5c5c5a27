"""Limit how many requests render at once, and queue the others first in, first out."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_POLL = 0.5
# An encoder on the CPU keeps about so many cores busy.
_CORES = 2
# Encodings at once on NVENC: what consumer cards allow, see NVIDIA's video encode and decode GPU
# support matrix (developer.nvidia.com). Data-centre cards, which EC2 has, allow any number, but one
# or two engines a card are kept busy by fewer: drawing a frame takes one core about 3 ms
# (docs/performance.md), and an engine is made for 8 videos of 1080p at 30 fps in real time.
_SESSIONS = 8


def slots(cores: int, *, nvenc: bool = False) -> int:
    """Return how many scenes are rendered at once.

    Moving pictures are drawn by the CPU, whatever encodes them, and stills are encoded by it, too:
    so NVENC makes room for a scene on each core, and never for fewer scenes than there would be
    without it.

    Args:
        cores: of the machine.
        nvenc: whether its GPU encodes.
    """
    usual = max(1, cores // _CORES)
    return max(usual, min(cores, _SESSIONS)) if nvenc else usual


class AdmissionFullError(Exception):
    """The queue is full."""


class ClientDisconnectedError(Exception):
    """The client disconnected while its request was queued."""


class Admission:
    """Admit a limited number of requests at once; the others wait in order of arrival.

    Args:
        slots: requests admitted at once.
        waiting: requests that may be queued.
    """

    def __init__(self, slots: int, waiting: int) -> None:
        self.slots = slots
        self._max_queued = waiting
        self._admitted = 0
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @property
    def in_flight(self) -> int:
        """Number of admitted requests."""
        return self._admitted

    @property
    def queued(self) -> int:
        """Number of queued requests."""
        return len(self._queue)

    @contextmanager
    def turn(self, gone: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Wait for a slot and hold it for the block.

        Args:
            gone: whether the client has disconnected; polled while the request is queued.

        Raises:
            AdmissionFullError: the queue is full.
            ClientDisconnectedError: the client disconnected.
        """
        ticket = threading.Event()
        with self._lock:
            if self._admitted < self.slots and not self._queue:
                self._admitted += 1
                ticket.set()
            elif len(self._queue) >= self._max_queued:
                raise AdmissionFullError
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
                        raise ClientDisconnectedError
                # The slot was granted at this very moment: pass it on to the next request.
                self._next()
                raise ClientDisconnectedError

    def _next(self) -> None:
        with self._lock:
            if self._queue:
                self._queue.popleft().set()  # the slot is handed over, not freed
            else:
                self._admitted -= 1
