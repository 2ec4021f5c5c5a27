"""The scenes that one worker has taken: each is rendered, downloaded, and settled exactly once.

Whoever monitors the worker may find that it is gone while requests to it still wait. Its scenes
are then given back at once, and what such a request answers later no longer counts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.models import Scene


@dataclass(slots=True, eq=False)
class Flight:
    """A scene in flight on a worker.

    Args:
        scene: which.
        began: seconds since the run began.
        fingerprint: of what its video is made from.
        row: of its attempt in the journal.
        sent: bytes that were sent for it, once they are known.
        downloading: it is rendered; its video is being downloaded.
        settled: its attempt was settled by whoever renders it, and not yet noted.
    """

    scene: Scene
    began: float
    fingerprint: str
    row: int = 0
    sent: int = 0
    downloading: bool = False
    settled: bool = False


class InFlight:
    """The flights of one worker. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._settling = 0
        self._abandoned = False
        self._lock = threading.Lock()

    def start(self, flight: Flight, note: Callable[[], int]) -> bool:
        """Start a flight, unless all were abandoned since its scene was taken.

        Args:
            flight: to start.
            note: writes it down first, and returns its row; what it raises is raised.
        """
        with self._lock:
            if self._abandoned:
                return False
            flight.row = note()
            self._flights[flight.scene.name] = flight
            return True

    def start_download(self, flight: Flight, *, allowed: bool) -> bool:
        """Mark a rendered flight as downloading if that is allowed; return whether it is."""
        with self._lock:
            flight.downloading = allowed
        return allowed

    def settle(self, flight: Flight) -> bool:
        """Return whether a flight's outcome counts: not when it was abandoned meanwhile.

        The first call decides; `finish` is called once its outcome is noted.
        """
        with self._lock:
            if not flight.settled and self._flights.get(flight.scene.name) is flight:
                del self._flights[flight.scene.name]
                flight.settled = True
                self._settling += 1
            return flight.settled

    def finish(self, flight: Flight) -> None:
        """Note that a flight's outcome, if it counts, has been noted."""
        with self._lock:
            if flight.settled:
                self._settling -= 1
                flight.settled = False

    def abandon(self) -> list[Flight]:
        """Let no flight count any more that is not settled; return those.

        `finish_abandoned` is called once their scenes are queued again.
        """
        with self._lock:
            self._abandoned = True
            flights, self._flights = list(self._flights.values()), {}
            self._settling += len(flights)
        return flights

    def finish_abandoned(self, flights: list[Flight]) -> None:
        """Note that the scenes of abandoned flights have been queued again, or given up."""
        with self._lock:
            self._settling -= len(flights)

    def has(self, name: str) -> bool:
        """Whether a scene is in flight, so that its video is wanted."""
        with self._lock:
            return name in self._flights

    @property
    def downloading(self) -> bool:
        """Whether a video is being downloaded."""
        with self._lock:
            return any(flight.downloading for flight in self._flights.values())

    @property
    def settling(self) -> bool:
        """Whether a video is here and being verified, or an outcome being noted."""
        with self._lock:
            return self._settling > 0
