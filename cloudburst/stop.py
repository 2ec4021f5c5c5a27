"""Requests to stop a run: the first stops it, the second hurries, the third abandons teardown."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from cloudburst.language import later, tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

# As a shell reports a program that SIGINT ended.
INTERRUPTED = 130
NOTHING_STARTED = later("interrupted; nothing was started")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruption(Exception):
    """Ctrl-C, with what it stopped, for people."""


@contextmanager
def interruption(text: str) -> Iterator[None]:
    """Raise `Interruption` for a KeyboardInterrupt in the block, or in the function it decorates.

    Args:
        text: what was stopped, in English; a message of the catalogue.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Interruption(tr(text)) from None


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


@contextmanager
def exit_on_interrupt() -> Iterator[None]:
    """Let SIGINT end the program with one line, while in the main thread and nothing is started.

    Modules are imported in such a block: libraries can swallow a KeyboardInterrupt out of an import
    (`except ImportError` around C modules, callbacks of Cython), or end in a traceback.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return

    def leave(*_: object) -> None:
        with suppress(OSError):
            # Below the terminal's ^C.
            below = "\n" if os.isatty(2) else ""
            os.write(2, f"{below}{tr(NOTHING_STARTED)}\n".encode())
        os._exit(INTERRUPTED)

    previous = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
