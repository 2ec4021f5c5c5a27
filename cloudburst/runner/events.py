"""A run's clock and its events: spans are measured and events are sent here."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudburst.models import Event, EventKind, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Timeline:
    """Measures seconds since the run began, and sends events to whoever watches it.

    A thread of its own delivers events: a slow watcher, or a paused pager, must not hold up a
    teardown.

    Args:
        on_event: called with one event at a time. When it raises, it is not called again and the
            run is asked to end.
        on_failure: called once when `on_event` has raised.
    """

    def __init__(self, on_event: Callable[[Event], None], on_failure: Callable[[], None]) -> None:
        self._began = time.monotonic()
        self._on_event = on_event
        self._on_failure = on_failure
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        self._noted: set[str] = set()
        self._thread = threading.Thread(target=self._deliver, name="events", daemon=True)
        self._thread.start()

    def restart(self, seconds: float = 0.0) -> None:
        """Set the clock to zero, or to the seconds that earlier sessions of the run took."""
        self._began = time.monotonic() - seconds

    def close(self, hurried: Callable[[], bool] = lambda: False) -> Exception | None:
        """Wait until every event is delivered; return what the watcher raised.

        Args:
            hurried: whether to stop waiting for a slow watcher.
        """
        self._queue.put(None)
        while self._thread.is_alive() and not hurried():
            self._thread.join(0.1)
        return self._failure

    def now(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self._began

    @contextmanager
    def span(self, phase: str, into: list[Span]) -> Iterator[None]:
        """Measure a block, whether it succeeds or not."""
        start = self.now()
        try:
            yield
        finally:
            into.append(Span(phase, start, self.now()))

    def emit(
        self,
        kind: EventKind,
        text: str = "",
        *,
        batch: str | None = None,
        scene: str | None = None,
        **data: object,
    ) -> None:
        """Send an event; never waits for the watcher."""
        self._queue.put(Event(kind, self.now(), batch, scene, text, data))

    def note_once(self, text: str) -> None:
        """Send a note, unless the same one was sent before."""
        if text not in self._noted:
            self._noted.add(text)
            self.emit(EventKind.NOTE, text)

    def _deliver(self) -> None:
        while (event := self._queue.get()) is not None:
            if self._failure is not None:
                continue
            try:
                self._on_event(event)
            except Exception as error:  # noqa: BLE001 - kept for `close`, after the teardown
                self._failure = error
                self._on_failure()
