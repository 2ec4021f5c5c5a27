"""The events of a run, in a file in its folder: for who looks on from elsewhere, or afterwards.

One JSON object a line, as ``--json`` prints them, each with the time at which it was written. What
a run does never depends on it: a log that cannot be written is not written.
"""

from __future__ import annotations

import contextlib
import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from cloudburst import clock
from cloudburst.files import Tail
from cloudburst.models import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "events.jsonl"
BEGINNINGS = (EventKind.RUN_STARTED, EventKind.RUN_RESUMED)
_KEYS = {"at", "event", "seconds", "batch", "scene", "text"}


class Logged(NamedTuple):
    """An event, and when it was written.

    Args:
        at: seconds since 1970.
        event: what happened.
    """

    at: float
    event: Event


class EventLog:
    """Writes events, from the moment at which it is known where; those before are kept until then.

    Every method may be called from any thread, and none raises.
    """

    def __init__(self) -> None:
        self._pending: list[str] = []
        self._file: TextIO | None = None
        self._lock = threading.Lock()

    def open(self, folder: Path) -> None:
        """Write into a run's folder, after what earlier sessions have written."""
        with self._lock, contextlib.suppress(OSError):
            self._file = (folder / NAME).open("a", encoding="utf-8", buffering=1)
            self._file.writelines(self._pending)
            self._pending.clear()

    def before(self, watch: Callable[[Event], None]) -> Callable[[Event], None]:
        """Return what writes each event, then shows it to who watches."""

        def take(event: Event) -> None:
            self(event)
            watch(event)

        return take

    def close(self) -> None:
        """Write nothing more."""
        with self._lock, contextlib.suppress(OSError):
            if self._file is not None:
                self._file.close()

    def __call__(self, event: Event) -> None:
        """Write an event."""
        line = _line(event, clock.now())
        with self._lock, contextlib.suppress(OSError, ValueError):
            if self._file is None:
                self._pending.append(line)
            else:
                self._file.write(line)


def document(event: Event) -> dict[str, Any]:
    """Return an event for machines."""
    own = {
        "event": str(event.kind),
        "seconds": round(event.seconds, 3),
        "batch": event.batch,
        "scene": event.scene,
        "text": event.text,
    }
    # What an event brings with it cannot take the place of when and where it was.
    return {**own, **event.data, **own}


def _line(event: Event, at: float) -> str:
    values = document(event)
    values.pop("report", None)  # it is in report.json
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    # Escaped: a worker's text may hold what no file can.
    return json.dumps({"at": time, **values}) + "\n"


class Reader:
    """Reads a run's event log, again and again, as it grows.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self._tail = Tail(folder / NAME)

    def more(self) -> list[Logged]:
        """Return what has been written since the last time; nothing if there is no log."""
        lines = (_logged(line) for line in self._tail.more().splitlines())
        return [line for line in lines if line is not None]


def read(folder: Path) -> list[Logged]:
    """Return the events of a run, of all its sessions; none if there is no log."""
    return Reader(folder).more()


def last_session(events: list[Logged]) -> list[Logged]:
    """Return the events since a run began, or was resumed last."""
    begun = [index for index, one in enumerate(events) if one.event.kind in BEGINNINGS]
    return events[begun[-1] :] if begun else events


def _logged(line: bytes) -> Logged | None:
    """Return the event in a line, None for one that a power cut, or a later release, has left."""
    try:
        values = json.loads(line)
        event = Event(
            kind=EventKind(values["event"]),
            seconds=float(values["seconds"]),
            batch=values["batch"],
            scene=values["scene"],
            text=str(values["text"]),
            data={key: value for key, value in values.items() if key not in _KEYS},
        )
        return Logged(datetime.fromisoformat(values["at"]).timestamp(), event)
    except (ValueError, TypeError, KeyError):
        return None
