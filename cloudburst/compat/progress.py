"""Progress as the original prints it: line by line, with emoji and times."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from cloudburst.models import EventKind, WorkerState

if TYPE_CHECKING:
    import logging

    from cloudburst.models import Event

_STATES = {
    WorkerState.CREATING: "🚀",
    WorkerState.STARTING: "⏳",
    WorkerState.WORKING: "🎬",
    WorkerState.DESTROYING: "🛑",
    WorkerState.KEPT: "🔒",
    WorkerState.GONE: "✅",
    WorkerState.FAILED: "❌",
    WorkerState.LEFT_RUNNING: "🚨",
}
_KINDS = {
    EventKind.RUN_STARTED: "📋",
    EventKind.RUN_RESUMED: "📋",
    EventKind.RECOVERY: "🧹",
    EventKind.ENGINE: "🔧",
    EventKind.NOTE: "📝",
    EventKind.SCENE_STARTED: "🎬",
    EventKind.SCENE_DONE: "✅",
    EventKind.SCENE_RETRY: "🔁",
    EventKind.SCENE_FAILED: "❌",
    EventKind.FAILOVER: "🔄",
    EventKind.STOPPING: "⚠️",
    EventKind.COST: "💰",
    EventKind.RUN_FINISHED: "🏁",
}


class Progress:
    """Prints lines, or logs them; keeps those with times as ``timing_log``.

    Args:
        verbose: whether anything is printed.
        logger: takes every line in place of standard output; `verbose` is then not asked.
    """

    def __init__(self, *, verbose: bool = True, logger: logging.Logger | None = None) -> None:
        self.timing_log: list[str] = []
        self._verbose = verbose
        self._logger = logger
        self._began = time.monotonic()

    def restart(self) -> None:
        """Begin a new log, at zero seconds."""
        self.timing_log = []
        self._began = time.monotonic()

    def line(self, text: str) -> None:
        """Show a line without a time."""
        if self._logger is not None:
            self._logger.info("%s", text)
        elif self._verbose:
            print(text, flush=True)  # noqa: T201 - what the original's users watch

    def timed(self, text: str) -> None:
        """Show a line with the time of day and the seconds since the beginning, and keep it."""
        at = datetime.now().astimezone()
        seconds = time.monotonic() - self._began
        stamped = f"[{at:%H:%M:%S}.{at.microsecond // 1000:03}] +{seconds:6.2f}s - {text}"
        self.timing_log.append(stamped)
        self.line(f"⏱️  {stamped}")

    def event(self, event: Event) -> None:
        """Show what happens in a run."""
        text = describe(event)
        if text:
            self.timed(text)


def describe(event: Event) -> str:
    """Return the line for an event; empty for one that says nothing new."""
    text = event.text
    if event.kind is EventKind.BATCH_STATE:
        state = WorkerState(str(event.data["state"]))
        return f"{_STATES.get(state, '•')} {event.batch}: {text or state}"
    if event.kind in (EventKind.SCENE_RETRY, EventKind.SCENE_FAILED):
        text = f"{event.scene}: {text}"
    return f"{_KINDS[event.kind]} {text}" if text else ""
