"""When the videos of a run are likely to be there, as its events tell more and more. Pure.

Nothing is said before a scene is done: until then nobody knows how fast this run's workers are.
From then on, the seconds that a second of narration has taken are known, of the scenes so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudburst.models import EventKind

if TYPE_CHECKING:
    from cloudburst.models import Event

_ENDED = {EventKind.SCENE_DONE, EventKind.SCENE_RETRY, EventKind.SCENE_FAILED}


@dataclass
class Outlook:
    """What is left to do, and what a run costs.

    Attributes:
        usd: so far; None where nothing is rented.
        usd_per_hour: now.
    """

    usd: float | None = None
    usd_per_hour: float = 0.0
    _remaining: float = 0.0
    _in_flight: dict[str, tuple[float, float]] = field(default_factory=dict)
    _took: float = 0.0
    _done: float = 0.0

    def take(self, event: Event) -> None:
        """Learn from an event."""
        if event.kind in (EventKind.RUN_STARTED, EventKind.RUN_RESUMED):
            self._remaining = _number(event, "narration")
        elif event.kind is EventKind.COST:
            self.usd = _number(event, "usd")
            self.usd_per_hour = _number(event, "usd_per_hour")
        elif event.kind is EventKind.SCENE_STARTED and event.scene:
            self._in_flight[event.scene] = event.seconds, _number(event, "narration")
        elif event.kind in _ENDED and event.scene:
            self._end(event, event.scene)

    def _end(self, event: Event, scene: str) -> None:
        began, narration = self._in_flight.pop(scene, (event.seconds, _number(event, "narration")))
        if event.kind is EventKind.SCENE_DONE:
            self._took += event.seconds - began
            self._done += narration
        if event.kind is not EventKind.SCENE_RETRY:
            self._remaining = max(0.0, self._remaining - narration)

    def seconds(self, now: float) -> float | None:
        """Return the seconds until the last video is likely to be there.

        As many scenes are rendered at once as now; the longest one ends last. None while that is
        not known: no scene is done, none is being rendered, or all take longer than expected.

        Args:
            now: seconds since the run began.
        """
        if not self._done or not self._in_flight:
            return None
        rate = self._took / self._done
        flights = self._in_flight.values()
        left = [max(0.0, rate * length - (now - began)) for began, length in flights]
        waiting = max(0.0, self._remaining - sum(length for _, length in flights)) * rate
        likely = max(*left, (sum(left) + waiting) / len(left))
        return likely or None

    def usd_in_all(self, now: float) -> float | None:
        """Return what the run will likely cost until its last video, in USD; None if unknown."""
        seconds = self.seconds(now)
        if self.usd is None or seconds is None:
            return None
        return self.usd + self.usd_per_hour * seconds / 3600


def _number(event: Event, key: str) -> float:
    value = event.data.get(key)
    return float(value) if isinstance(value, int | float) else 0.0
