"""Requests to stop a run: the first stops it, the second hurries, the third abandons teardown."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """A request to stop that any thread can make, repeatedly.

    Attributes:
        on_request: called with the number of requests (0: the run ended itself), in a new thread,
            so that a signal handler stays short.
    """

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._count = 0
        self.on_request: Callable[[int], None] = lambda _: None

    @property
    def requested(self) -> bool:
        """Whether the run is to stop."""
        return self._requested.is_set()

    @property
    def hurried(self) -> bool:
        """Whether a stop was requested more than once."""
        return self._count > 1

    @property
    def abandoned(self) -> bool:
        """Whether a stop was requested more than twice, so that nobody waits for the teardown."""
        return self._count > 2  # noqa: PLR2004 - stop, hurry, abandon

    def request(self) -> None:
        """Request a stop; the second request hurries, the third abandons the teardown."""
        self._count += 1
        self._requested.set()
        threading.Thread(
            target=self.on_request, args=(self._count,), name="stop", daemon=True
        ).start()

    def end(self) -> None:
        """Stop the run for an internal reason, without counting a request."""
        self._requested.set()
        threading.Thread(target=self.on_request, args=(0,), name="stop", daemon=True).start()

    def sleep(self, seconds: float) -> bool:
        """Wait for some seconds or until a stop; return whether the run is to stop."""
        return self._requested.wait(seconds)


@contextmanager
def on_signals(stop: Stop, after: Callable[[int], None] = lambda _: None) -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into requests to stop, while in the main thread.

    Without it, a KeyboardInterrupt in the middle of a teardown would leave machines running.

    Args:
        stop: is requested.
        after: called in the main thread with the signal's number, after the request.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        stop.request()
        after(number)

    previous = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
