"""A run's clock and its voice: spans are measured and events are sent through here."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudburst.models import Event, EventKind, Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Timeline:
    """Measures seconds since the run began and tells whoever watches what happens.

    Args:
        on_event: called with one event at a time, from any thread. When it raises, it is not
            called again and the run is asked to end; `failure` keeps the exception.
        on_failure: called once when `on_event` has raised.
    """

    def __init__(self, on_event: Callable[[Event], None], on_failure: Callable[[], None]) -> None:
        self._began = time.monotonic()
        self._on_event = on_event
        self._on_failure = on_failure
        self._lock = threading.Lock()
        self.failure: Exception | None = None

    def now(self) -> float:
        """Give the seconds since the run began."""
        return time.monotonic() - self._began

    @contextmanager
    def span(self, phase: str, into: list[Span]) -> Iterator[None]:
        """Measure a block, whether it succeeds or not."""
        start = self.now()
        try:
            yield
        finally:
            into.append(Span(phase, start, self.now()))

    def tell(
        self,
        kind: EventKind,
        text: str = "",
        *,
        batch: str | None = None,
        scene: str | None = None,
        **data: object,
    ) -> None:
        """Send an event."""
        with self._lock:
            if self.failure is not None:
                return
            try:
                self._on_event(Event(kind, self.now(), batch, scene, text, data))
            except Exception as error:  # noqa: BLE001 - a watcher's error must not stop a teardown
                self.failure = error
        if self.failure is not None:
            self._on_failure()
