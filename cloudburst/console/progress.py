"""How far a run has come, by its events, and when a pipe gets a line about it. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudburst.console.layout import many
from cloudburst.console.text import word
from cloudburst.language import ntr, tr
from cloudburst.models import EventKind, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudburst.models import Event

# A line for every twentieth of the scenes, but no two within some seconds; else whatever changed,
# ever more rarely: a log of ten hours has some 160 lines.
_STEP = 0.05
_SECONDS_BETWEEN = 5.0
_SECONDS_UNTIL = 30.0
_SHARE_UNTIL = 0.05
# Services that run jobs take ten silent minutes for a job that hangs.
_SECONDS_SILENT = 300.0
# What a worker came to that is more than one of a number.
_NOTABLE = {WorkerState.FAILED, WorkerState.KEPT, WorkerState.LEFT_RUNNING}


def counts(event: Event) -> bool:
    """Whether an event is one of many of its kind, and says nothing that a number does not."""
    if event.kind is EventKind.BATCH_STATE:
        return WorkerState(str(event.data["state"])) not in _NOTABLE
    return event.kind is EventKind.SCENE_DONE


@dataclass
class Progress:
    """What the events of a run have come to so far.

    Attributes:
        total: scenes of the run; 0 before it begins.
        done: of them, with a video.
        failed: of them, given up.
        many: whether what goes as it should is to be counted instead of listed.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    many: bool = False
    _states: dict[str, WorkerState] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Count an event."""
        match event.kind:
            case EventKind.RUN_STARTED | EventKind.RUN_RESUMED:
                self.total = int(str(event.data["scenes"]))
                self.done = int(str(event.data["done"]))
                self.many = many(self.total, int(str(event.data.get("batches", 0))))
            case EventKind.SCENE_DONE:
                self.done += 1
            case EventKind.SCENE_FAILED:
                self.failed += 1
            case EventKind.BATCH_STATE:
                self._states[event.batch or ""] = WorkerState(str(event.data["state"]))

    def scenes(self) -> str:
        """Return how many scenes are done, and failed."""
        if self.failed:
            return ntr(
                "{done} of {count} scene, {failed} failed",
                "{done} of {count} scenes, {failed} failed",
                self.total,
                done=self.done,
                failed=self.failed,
            )
        return ntr(
            "{done} of {count} scene", "{done} of {count} scenes", self.total, done=self.done
        )

    def line(self) -> str:
        """Return how far scenes and workers are, in one line."""
        if not self._states:
            return self.scenes()
        workers = ntr("{count} worker", "{count} workers", len(self._states))
        return tr(
            "{scenes}; {workers}: {states}",
            scenes=self.scenes(),
            workers=workers,
            states=tally(self._states.values()),
        )


def tally(states: Iterable[WorkerState]) -> str:
    """Return how many workers are in each state, in the order of a worker's life."""
    count = Counter(states)
    parts = [
        tr("{count} {state}", count=count[state], state=word(state))
        for state in WorkerState
        if count[state]
    ]
    return tr(", ").join(parts)


class Pace:
    """Decides when a line of progress is due."""

    def __init__(self) -> None:
        self._at = 0.0
        self._finished = 0
        self._line = ""

    def begin(self, seconds: float, progress: Progress) -> None:
        """Count from here; the run's first line has been printed."""
        self._at, self._finished, self._line = seconds, progress.done, progress.line()

    def due(self, seconds: float, progress: Progress, *, last: bool = False) -> str:
        """Return the line that is due now; empty if none is.

        Args:
            seconds: since the run began.
            progress: how far it is.
            last: no other line will come.
        """
        line, finished = progress.line(), progress.done + progress.failed
        since = seconds - self._at
        step = finished - self._finished >= _STEP * progress.total and since >= _SECONDS_BETWEEN
        until = max(_SECONDS_UNTIL, _SHARE_UNTIL * seconds)
        changed = line != self._line
        if not ((changed and (step or last or since >= until)) or since >= _SECONDS_SILENT):
            return ""
        self._at, self._finished, self._line = seconds, finished, line
        return line
