"""The run's journal: what begins is on disk before it begins. The only module that uses sqlite3.

It is ``journal.db`` in the run's folder. Whatever happens to the run's process, its machine or its
power, the journal says which stacks may exist, what they cost, and which videos were downloaded.
One process writes it at a time and holds a lock meanwhile; any may read it.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Self

from cloudburst import clock
from cloudburst.errors import JournalFailed
from cloudburst.journal import lock, rows, schema
from cloudburst.journal.state import state_from_rows
from cloudburst.models import WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from cloudburst.journal.state import RunState
    from cloudburst.models import (
        Attempt,
        DownloadedVideo,
        Launch,
        PlannedRun,
        Price,
        Renewal,
        Rental,
        Rung,
        RunRecord,
        Span,
    )

    Statement = tuple[str, Mapping[str, Any]]

NAME = "journal.db"
_TABLES = ("run", "session", "launch", "rental", "attempt", "artifact", "renewal")


class Journal:
    """One run's journal, held for writing. Every method may be called from any thread.

    What is written before something begins raises when it cannot be written: then it must not
    begin. What is written afterwards never raises: a teardown goes on without.

    Args:
        folder: the run's.
        now: returns the seconds that the run has taken.

    Attributes:
        failure: why it could not be written, once that has happened.
        on_failure: called once, when that happens.

    Raises:
        RunBusy: another process holds it.
        JournalFailed: it cannot be opened, created, upgraded or written.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = lambda: 0.0) -> None:
        self.failure: JournalFailed | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.now = now
        self.folder = folder
        self._lock = threading.RLock()
        self._session = 0
        self._held = lock.acquire(folder)
        try:
            with _translated(folder):
                self._db = sqlite3.connect(
                    folder / NAME, isolation_level=None, check_same_thread=False
                )
                self._db.execute("PRAGMA journal_mode = WAL")
                # Every commit is on disk when it returns: that is what a write-ahead log is for.
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.executescript(schema.upgrade(_layout(self._db)))
        except BaseException:
            os.close(self._held)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close it and release the run."""
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            os.close(self._held)

    def state(self) -> RunState:
        """Return everything that it says."""
        with self._lock, _translated(self.folder):
            return _read_state(self._db)

    # -- before: what raises must not begin -----------------------------------------------------

    def begin(self, record: RunRecord) -> None:
        """Begin a session of the run.

        Raises:
            JournalFailed: it could not be written.
        """
        values = rows.record_row(record)
        mine = lock.this_process()
        session = {
            "pid": mine.pid,
            "started": mine.started,
            "host": mine.host,
            "began": clock.now(),
            "seconds": self.now(),
        }
        self._session = self._require(
            *(_insert("run", {"name": name, "value": values[name]}) for name in values),
            _insert("session", session),
        )

    def launch(
        self,
        *,
        batch: str,
        label: str,
        stack: str,
        target: str,
        rung: Rung,
        price: Price | None,
        room: int,
        expires: float | None,
        renderer: str = "",
    ) -> int:
        """Note that a stack is about to be created; return the number of the row.

        Raises:
            JournalFailed: it could not be written: the stack must not be created.
        """
        row = {
            "session": self._session,
            "batch": batch,
            "label": label,
            "stack": stack,
            "target": target,
            **rows.rung_row(rung),
            **rows.price_row(price),
            "began": clock.now(),
            "expires": expires,
            "room": room,
            "renderer": renderer,
            "state": WorkerState.CREATING,
        }
        return self._require(_insert("launch", row))

    def attempt(self, scene: str, worker: str, fingerprint: str, began: float) -> int:
        """Note that a scene is about to be rendered, and from what; return the row's number.

        Raises:
            JournalFailed: it could not be written.
        """
        row = {
            "session": self._session,
            "scene": scene,
            "worker": worker,
            "fingerprint": fingerprint,
            "began": began,
        }
        return self._require(_insert("attempt", row))

    def superseded(self, scenes: Iterable[str]) -> None:
        """Note that the job no longer wants the videos of some scenes.

        Raises:
            JournalFailed: it could not be written: their files must stay where they are.
        """
        self._require(*(_update("artifact", {"superseded": 1}, scene=name) for name in scenes))

    # -- afterwards: never raises ---------------------------------------------------------------

    def planned(self, planned: PlannedRun) -> None:
        """Note what the run sets out to do; what its first session noted stays."""
        statement = "INSERT OR IGNORE INTO run (name, value) VALUES ('plan', :plan)"
        self._record((statement, {"plan": rows.plan_text(planned)}))

    def worker(self, launch: int, worker: str, endpoint: str, expires: float | None) -> None:
        """Note that a worker exists."""
        row = {"worker": worker, "endpoint": endpoint, "expires": expires}
        self._record(_update("launch", row, id=launch))

    def progress(self, launch: int, state: str, spans: Iterable[Span], sent: int = 0) -> None:
        """Note how far a worker has come.

        Args:
            launch: number of its row.
            state: a `WorkerState`.
            spans: its phases until now.
            sent: bytes of the video API's files that this session has sent to it.
        """
        row: dict[str, object] = {"state": state, "spans": rows.spans_text(spans)}
        if sent:  # a session that takes a worker over sends it none: those of the first one stay
            row["sent"] = sent
        self._record(_update("launch", row, id=launch))

    def renewal(self, launch: int, renewal: Renewal) -> None:
        """Note that a worker's lease was renewed."""
        row = {"launch": launch, "at": renewal.at, "until": renewal.until}
        self._record(_insert("renewal", row))

    def ended(self, launch: int, result: Launch, state: str) -> None:
        """Note what became of a worker; `destroyed` only when its provider confirmed it."""
        row = {
            "state": state,
            "spans": rows.spans_text(result.spans),
            "destroyed": result.destroyed,
            "code": result.code,
            "error": result.error,
            "scenes_done": result.scenes_done,
        }
        self._record(_update("launch", row, id=launch))

    def gone(self, stack: str, why: str) -> None:
        """Note that nothing is left of a stack that an earlier session had left."""
        statement = (
            "UPDATE launch SET destroyed = 1,"
            " error = CASE state WHEN :kept THEN error ELSE coalesce(error, :why) END,"
            " state = :gone WHERE stack = :stack AND NOT destroyed"
        )
        values = {
            "why": why,
            "stack": stack,
            "kept": WorkerState.KEPT,
            "gone": WorkerState.GONE,
        }
        self._record((statement, values))

    def rental(self, rental: Rental) -> None:
        """Note a machine that costs something, or its end."""
        statements: list[Statement] = []
        if rental.until is None or not rental.machine:  # another machine's end does not concern it
            asked = "DELETE FROM rental WHERE stack = :stack AND machine = ''"
            statements.append((asked, {"stack": rental.stack}))
        if rental.machine or rental.until is None:
            statements.append(_insert("rental", rows.rental_row(rental)))
        self._record(*statements)

    def tried(self, number: int, attempt: Attempt) -> None:
        """Note how an attempt ended."""
        self._record(_update("attempt", rows.attempt_row(attempt), id=number))

    def video(self, scene: str, number: int, attempt: Attempt, video: DownloadedVideo) -> None:
        """Note a video that was downloaded, verified and renamed."""
        self._record(
            _update("attempt", rows.attempt_row(attempt), id=number),
            _insert("artifact", rows.video_row(scene, video)),
        )

    def end(self, outcome: str) -> None:
        """End the last session: this one, or one that could not note how it ended."""
        newest = "(SELECT max(number) FROM session)"
        statement = f"UPDATE session SET outcome = :outcome WHERE number = {newest}"  # noqa: S608
        self._record((statement, {"outcome": outcome}))

    # -- writing --------------------------------------------------------------------------------

    def _require(self, *statements: Statement) -> int:
        with self._lock:
            if self.failure is not None:
                raise self.failure
            try:
                with _translated(self.folder):
                    return self._write(statements)
            except JournalFailed as error:
                self._fail(error)
                raise

    def _record(self, *statements: Statement) -> None:
        # Tried even after a failure: a disk that was full may have room again.
        with self._lock:
            try:
                with _translated(self.folder):
                    self._write(statements)
            except JournalFailed as error:
                self._fail(error)

    def _write(self, statements: Iterable[Statement]) -> int:
        """Write all or nothing; return the number of the last row."""
        number = 0
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in statements:
                number = self._db.execute(statement, _storable(values)).lastrowid or 0
            if self._session:
                clocked, values = _update("session", {"seconds": self.now()}, number=self._session)
                self._db.execute(clocked, values)
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        return number

    def _fail(self, error: JournalFailed) -> None:
        first, self.failure = self.failure is None, self.failure or error
        if first:
            self.on_failure()


def read(folder: Path) -> RunState | None:
    """Return what a run's journal says, whoever holds it; None when there is none.

    Raises:
        JournalFailed: there is one, and it cannot be read.
    """
    path = folder / NAME
    with _translated(folder, "read"):
        if not path.exists():
            return None
        with contextlib.closing(sqlite3.connect(path)) as db:
            layout = _layout(db)
            if layout < 0:
                return None  # its process was killed before it was created
            schema.upgrade(layout)  # raises for a later release's; a reader changes nothing
            db.execute("BEGIN")  # all tables as of one moment
            return _read_state(db)


def _layout(db: sqlite3.Connection) -> int:
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'artifact'").fetchone():
        return -1
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _read_state(db: sqlite3.Connection) -> RunState:
    db.row_factory = sqlite3.Row
    # A journal of an earlier release, which a reader leaves as it is, may have fewer tables.
    there = {row["name"] for row in db.execute("SELECT name FROM sqlite_master")}
    return state_from_rows(
        {
            table: [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY rowid")]  # noqa: S608
            if table in there
            else []
            for table in _TABLES
        }
    )


def _insert(table: str, row: Mapping[str, Any]) -> Statement:
    names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    return f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", row  # noqa: S608


def _update(table: str, row: Mapping[str, Any], **where: object) -> Statement:
    changes = ", ".join(f"{name} = :{name}" for name in row)
    condition = " AND ".join(f"{name} = :{name}" for name in where)
    return f"UPDATE {table} SET {changes} WHERE {condition}", {**row, **where}  # noqa: S608


def _storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Escape lone surrogates, which a worker's JSON may hold, so that SQLite takes them."""
    return {
        name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for name, value in values.items()
    }


@contextlib.contextmanager
def _translated(folder: Path, action: str = "written") -> Iterator[None]:
    """Translate failures of the disk and of SQLite, once."""
    try:
        with lock.disk_errors(folder / NAME, action):
            yield
    except sqlite3.Error as error:
        raise JournalFailed(lock.unusable(folder / NAME, action, error)) from error
