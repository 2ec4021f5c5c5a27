"""What a run has written while it went on: its events, its workers' and its engine's logs.

In the run's folder ``logs/``: ``<worker>.log`` is a worker's own, ``<worker>.boot.log`` what its
machine said while it booted, ``<stack>.engine.log`` the engine's. Whoever appends to one of these
while the run goes on is followed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cloudburst.errors import JournalFailed, RunUnknown
from cloudburst.files import Tail
from cloudburst.history import reading
from cloudburst.journal import eventlog, lock
from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloudburst.history.values import PastRun
    from cloudburst.models import Event

Kind = Literal["events", "worker", "boot", "engine"]
LOOK_EVERY = 0.3


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a log.

    Args:
        source: whose: ``events``, or the name of a file without its suffix.
        text: as it was written, without its end.
        event: what it says, for an event.
        at: when it was written, seconds since 1970; 0 where nobody knows.
    """

    source: str
    text: str
    event: Event | None = None
    at: float = 0.0


def events(folder: Path, sleep: Callable[[float], None] = time.sleep) -> Iterator[eventlog.Logged]:
    """Yield the events of a run's last session, and those that come, until nobody holds the run."""
    reader = eventlog.Reader(folder)
    yield from eventlog.last_session(reader.more())
    while True:
        going_on = held(folder)
        # What was written before the run was let go is here, too.
        yield from reader.more()
        if not going_on:
            return
        sleep(LOOK_EVERY)


def held(folder: Path) -> bool:
    """Whether a process holds a run."""
    try:
        return lock.holder(folder) is not None
    except JournalFailed:
        return False


class Logs:
    """The logs of a run, those of one scene or worker, or those of some kinds.

    Args:
        run: whose.
        name: of a scene, a worker or a batch; None for the whole run.
        kinds: of logs; none for all that there are of `name`, and for the events of a whole run.

    Raises:
        RunUnknown: the run has nothing of that name; says what it has.
    """

    def __init__(self, run: PastRun, name: str | None, kinds: tuple[Kind, ...] = ()) -> None:
        self._folder = run.record.path
        self._name = name
        self._batch = None
        if name is not None:
            self._batch = _batch_of(run, name)
        given = kinds or (("events",) if name is None or self._batch is None else ())
        self._kinds = given or ("events", "engine", "boot", "worker")
        self._reader = eventlog.Reader(self._folder)
        self._tails: dict[Path, Tail] = {}

    @property
    def is_worker(self) -> bool:
        """Whether they are those of a worker or a batch alone."""
        return self._batch is not None

    def more(self) -> Iterator[Line]:
        """Yield what has been written since the last time."""
        if "events" in self._kinds:
            for at, event in self._reader.more():
                if self._is_meant(event):
                    yield Line("events", event.text, event, at)
        for path in sorted((self._folder / "logs").glob("*.log")):
            if kind_of(path) in self._kinds and self._is_own(path):
                tail = self._tails.setdefault(path, Tail(path))
                lines = tail.more().decode(errors="replace").splitlines()
                yield from (Line(path.stem, text) for text in lines)

    def follow(self, sleep: Callable[[float], None] = time.sleep) -> Iterator[Line]:
        """Yield what has been written, and what is, until nobody holds the run."""
        while True:
            going_on = held(self._folder)
            yield from self.more()
            if not going_on:
                return
            sleep(LOOK_EVERY)

    def _is_meant(self, event: Event) -> bool:
        if self._name is None:
            return True
        if self._batch is None:
            return event.scene == self._name
        return event.batch == self._batch and (
            self._name == self._batch or event.data.get("worker") in (self._name, None)
        )

    def _is_own(self, path: Path) -> bool:
        """Whether a file is of the worker, or of the batch, that is asked for."""
        if self._name is None:
            return True
        stem = path.name.removesuffix(".log").removesuffix(".boot").removesuffix(".engine")
        label = stem.rpartition("-")[2]  # an engine's log has the name of a stack
        return label == self._name or (
            self._batch is not None
            and (self._name == self._batch or kind_of(path) == "engine")
            and label.partition(".")[0] == self._batch
        )


def kind_of(path: Path) -> Kind:
    """Return what a file in a run's folder of logs is."""
    if path.name.endswith(".boot.log"):
        return "boot"
    return "engine" if path.name.endswith(".engine.log") else "worker"


def names(wanted: str) -> list[tuple[str, str]]:
    """Return what a run has logs of: its workers and its scenes, each with what it is.

    Args:
        wanted: the run's id, the beginning of it, or its folder.

    Raises:
        RunUnknown: there is no such run, or more than one.
        JournalFailed: its journal cannot be read.
    """
    run = reading.load(wanted)
    if run.report is None:
        return []
    launches = [launch for batch in run.report.batches for launch in batch.launches]
    # A rung that gave no worker has the label of the one that did, which is the last.
    workers = {launch.label: launch.rung.shown for launch in launches}
    return [*workers.items(), *((one.name, tr(str(one.status))) for one in run.report.scenes)]


def _batch_of(run: PastRun, name: str) -> str | None:
    """Return the batch that a name is of, None for a scene's."""
    scenes = {scene.name for scene in run.report.scenes} if run.report else set()
    if name in scenes:
        return None
    batches = run.report.batches if run.report else ()
    labels = {launch.label: batch.label for batch in batches for launch in batch.launches}
    labels |= {batch.label: batch.label for batch in batches}
    if name in labels:
        return labels[name]
    known = [*sorted(labels)[:5], *sorted(scenes)[:5]]
    raise RunUnknown(
        tr(
            "run {run} has no scene and no worker {name!r}; it has {known}",
            run=run.run_id,
            name=name,
            known=", ".join(known) or tr("none yet"),
        )
    )
