"""How a run is asked to stop: once politely, twice in a hurry, three times to leave."""

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
    """A request to stop that can be made from any thread, and made again.

    Args:
        on_request: called with how often it has been asked, from a thread of its own, so that a
            signal handler stays short.
    """

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._count = 0
        self.on_request: Callable[[int], None] = lambda _: None

    @property
    def requested(self) -> bool:
        """Say if the run is to stop."""
        return self._requested.is_set()

    @property
    def hurried(self) -> bool:
        """Say if it has been asked more than once."""
        return self._count > 1

    @property
    def abandoned(self) -> bool:
        """Say if it has been asked so often that nobody wants to wait for the teardown."""
        return self._count > 2  # noqa: PLR2004 - politely, in a hurry, out

    def request(self) -> None:
        """Ask the run to stop; the second time, to hurry; the third time, to leave at once."""
        self._count += 1
        self._requested.set()
        threading.Thread(
            target=self.on_request, args=(self._count,), name="stop", daemon=True
        ).start()

    def end(self) -> None:
        """Stop the run for a reason of its own: nobody has asked yet."""
        self._requested.set()
        threading.Thread(target=self.on_request, args=(0,), name="stop", daemon=True).start()

    def sleep(self, seconds: float) -> bool:
        """Wait for so many seconds or until asked to stop; say if asked."""
        return self._requested.wait(seconds)


@contextmanager
def on_signals(stop: Stop) -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into requests to stop, while in the main thread.

    A library must not leave Ctrl-C to chance: a KeyboardInterrupt in the middle of a teardown
    is exactly how machines are left running.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.request()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
