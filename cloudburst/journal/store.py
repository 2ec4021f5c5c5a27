"""The run's journal: what was begun is on disk before it begins. The only module that uses sqlite3.

It lies as ``journal.db`` in the run's folder. Whatever becomes of the run's process, of its machine
or of its power, the journal says which stacks may exist, what they cost, and which videos are
home. One process writes it at a time and holds a lock meanwhile; any may read it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import sqlite3
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

import psutil

from cloudburst import clock
from cloudburst.errors import JournalFailed, RunBusy
from cloudburst.journal.state import Owner, RunState, state_from_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType

    from cloudburst.journal.state import DownloadedVideo
    from cloudburst.models import Attempt, Launch, Price, Rental, Rung, Span

NAME = "journal.db"
LOCK = "journal.lock"
_PASSING = 0.3
_SCHEMA = """
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE session (
    number INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL, started REAL NOT NULL, host TEXT NOT NULL,
    began REAL NOT NULL, seconds REAL NOT NULL DEFAULT 0, outcome TEXT
);
CREATE TABLE launch (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL, batch TEXT NOT NULL, label TEXT NOT NULL, stack TEXT NOT NULL,
    type TEXT NOT NULL, market TEXT NOT NULL, region TEXT NOT NULL, zone TEXT NOT NULL,
    usd_per_hour REAL, price_source TEXT,
    began REAL NOT NULL, expires REAL,
    worker TEXT, endpoint TEXT, room INTEGER NOT NULL,
    state TEXT NOT NULL, scenes_done INTEGER NOT NULL DEFAULT 0,
    spans TEXT NOT NULL DEFAULT '[]', destroyed INTEGER NOT NULL DEFAULT 0,
    code TEXT, error TEXT
);
CREATE TABLE rental (
    machine TEXT NOT NULL, stack TEXT NOT NULL,
    type TEXT NOT NULL, market TEXT NOT NULL, region TEXT NOT NULL, zone TEXT NOT NULL,
    usd_per_hour REAL NOT NULL, price_source TEXT NOT NULL, basis TEXT NOT NULL,
    since REAL NOT NULL, until REAL, expires REAL NOT NULL,
    disk_gb INTEGER NOT NULL, disk_rate REAL NOT NULL, disk_basis TEXT NOT NULL,
    surplus REAL NOT NULL,
    PRIMARY KEY (machine, stack)
);
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    session INTEGER NOT NULL, scene TEXT NOT NULL, worker TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    began REAL NOT NULL, rendered REAL, ended REAL, error TEXT
);
CREATE TABLE artifact (
    scene TEXT PRIMARY KEY, fingerprint TEXT NOT NULL,
    path TEXT NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL, seconds REAL NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, frames INTEGER NOT NULL,
    scenario TEXT NOT NULL, warnings TEXT NOT NULL, superseded INTEGER NOT NULL DEFAULT 0
);
"""


class Journal:
    """One run's journal, held for writing. Every method may be called from any thread.

    Args:
        folder: the run's.
        now: gives the seconds that the run has taken.

    Attributes:
        failure: why it could not be written, once that has happened.
        on_failure: is called once, when that happens.

    Raises:
        RunBusy: another process holds it.
        JournalFailed: it cannot be opened, made or written.
    """

    def __init__(self, folder: Path, now: Callable[[], float] = lambda: 0.0) -> None:
        self.failure: JournalFailed | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self.now = now
        self.folder = folder
        self._lock = threading.RLock()
        self._session = 0
        self._held = _hold(folder)
        try:
            with _told(folder):
                self._db = sqlite3.connect(
                    folder / NAME, isolation_level=None, check_same_thread=False
                )
                self._db.execute("PRAGMA journal_mode = WAL")
                # Every commit is on disk when it returns: that is what a write-ahead is for.
                self._db.execute("PRAGMA synchronous = FULL")
                if not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    self._db.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
        except BaseException:
            os.close(self._held)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it and let go of the run."""
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            os.close(self._held)

    def history(self) -> RunState:
        """Read all of it."""
        with self._lock, _told(self.folder):
            return _history(self._db)

    # -- write-ahead: what raises has not begun --------------------------------------------------

    def begin(self, header: dict[str, str]) -> None:
        """Begin a session; the first one says what the run is.

        Raises:
            JournalFailed: it could not be written.
        """
        me = psutil.Process()
        rows = [("INSERT OR REPLACE INTO run VALUES (?, ?)", pair) for pair in header.items()]
        session = (
            "INSERT INTO session (pid, started, host, began, seconds) VALUES (?, ?, ?, ?, ?)",
            (me.pid, me.create_time(), socket.gethostname(), clock.now(), self.now()),
        )
        self._session = self._must([*rows, session])

    def launch(
        self,
        *,
        batch: str,
        label: str,
        stack: str,
        rung: Rung,
        price: Price | None,
        room: int,
        expires: float | None,
    ) -> int:
        """Note that a stack is about to be; give the number of the note.

        Raises:
            JournalFailed: it could not be written: the stack must not come to be.
        """
        return self._must(
            [
                (
                    (
                        "INSERT INTO launch (session, batch, label, stack, type, market, region,"
                        " zone, usd_per_hour, price_source, began, expires, room, state)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'creating')"
                    ),
                    (
                        *(self._session, batch, label, stack),
                        *(rung.type, rung.market, rung.region, rung.zone),
                        *((price.usd_per_hour, price.source) if price else (None, None)),
                        *(clock.now(), expires, room),
                    ),
                )
            ]
        )

    def attempt(self, scene: str, worker: str, fingerprint: str, began: float) -> int:
        """Note that a scene is about to be rendered, and from what; give the note's number.

        Raises:
            JournalFailed: it could not be written.
        """
        return self._must(
            [
                (
                    (
                        "INSERT INTO attempt (session, scene, worker, fingerprint, began)"
                        " VALUES (?, ?, ?, ?, ?)"
                    ),
                    (self._session, scene, worker, fingerprint, began),
                )
            ]
        )

    def superseded(self, scenes: Iterable[str]) -> None:
        """Note that the videos of scenes are no longer what the job wants.

        Raises:
            JournalFailed: it could not be written: their files must stay where they are.
        """
        statement = "UPDATE artifact SET superseded = 1 WHERE scene = ?"
        self._must([(statement, (scene,)) for scene in scenes])

    # -- what has happened: never raises, a teardown goes on without -----------------------------

    def worker(self, launch: int, worker: str, endpoint: str, expires: float | None) -> None:
        """Note that a worker is there."""
        self._may(
            [
                (
                    "UPDATE launch SET worker = ?, endpoint = ?, expires = ? WHERE id = ?",
                    (worker, endpoint, expires, launch),
                )
            ]
        )

    def progress(self, launch: int, state: str, spans: Iterable[Span]) -> None:
        """Note how far a worker has come."""
        self._may(
            [
                (
                    "UPDATE launch SET state = ?, spans = ? WHERE id = ?",
                    (state, _spans(spans), launch),
                )
            ]
        )

    def ended(self, launch: int, result: Launch, state: str) -> None:
        """Note what became of a worker; `destroyed` only when its provider said so."""
        self._may(
            [
                (
                    (
                        "UPDATE launch SET state = ?, spans = ?, destroyed = ?, code = ?,"
                        " error = ?, scenes_done = ? WHERE id = ?"
                    ),
                    (
                        *(state, _spans(result.spans), result.destroyed),
                        *(result.code, result.error, result.scenes_done, launch),
                    ),
                )
            ]
        )

    def gone(self, stack: str, why: str) -> None:
        """Note that nothing is left of a stack whose run had left it."""
        self._may(
            [
                (
                    (
                        "UPDATE launch SET destroyed = 1, error = CASE state WHEN 'kept' THEN error"
                        " ELSE coalesce(error, ?) END, state = 'gone'"
                        " WHERE stack = ? AND NOT destroyed"
                    ),
                    (why, stack),
                )
            ]
        )

    def rental(self, one: Rental) -> None:
        """Note a machine that costs something, or its end."""
        asked = "DELETE FROM rental WHERE stack = ? AND machine = ''"
        rows: list[tuple[str, tuple[Any, ...]]] = []
        if one.until is None or not one.machine:  # another machine's end says nothing of it
            rows.append((asked, (one.stack,)))
        if one.machine or one.until is None:
            rows.append(
                (
                    (
                        "INSERT OR REPLACE INTO rental VALUES"
                        " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                    ),
                    (
                        *(one.machine, one.stack),
                        *(one.rung.type, one.rung.market, one.rung.region, one.rung.zone),
                        *(one.price.usd_per_hour, one.price.source, str(one.basis)),
                        *(one.since, one.until, one.expires),
                        *(one.disk_gb, one.disk_rate, str(one.disk_basis), one.surplus),
                    ),
                )
            )
        self._may(rows)

    def tried(self, attempt: int, tried: Attempt) -> None:
        """Note how a try ended."""
        self._may([_tried(attempt, tried)])

    def home(self, scene: str, attempt: int, tried: Attempt, home: DownloadedVideo) -> None:
        """Note a video that is home, verified and renamed."""
        one = home.artifact
        self._may(
            [
                _tried(attempt, tried),
                (
                    "INSERT OR REPLACE INTO artifact VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                    (
                        *(scene, home.fingerprint, str(one.path), one.size, home.sha256),
                        *(one.seconds, one.width, one.height, one.frames),
                        *(home.scenario, json.dumps(home.warnings, ensure_ascii=False)),
                    ),
                ),
            ]
        )

    def end(self, outcome: str) -> None:
        """End the last session: this one, or one that could not say how it ended."""
        newest = "(SELECT max(number) FROM session)"
        self._may([(f"UPDATE session SET outcome = ? WHERE number = {newest}", (outcome,))])  # noqa: S608

    # -- writing ------------------------------------------------------------------------------

    def _must(self, rows: list[tuple[str, tuple[Any, ...]]]) -> int:
        with self._lock:
            if self.failure is not None:
                raise self.failure
            try:
                with _told(self.folder):
                    return self._write(rows)
            except JournalFailed as error:
                self._fail(error)
                raise

    def _may(self, rows: list[tuple[str, tuple[Any, ...]]]) -> None:
        # Tried even after a failure: on a disk that was full there may be room again.
        with self._lock:
            try:
                with _told(self.folder):
                    self._write(rows)
            except JournalFailed as error:
                self._fail(error)

    def _write(self, rows: list[tuple[str, tuple[Any, ...]]]) -> int:
        """Write all rows or none; give the number of the last one."""
        number = 0
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for statement, values in rows:
                number = self._db.execute(statement, _storable(values)).lastrowid or 0
            if self._session:
                self._db.execute(
                    "UPDATE session SET seconds = ? WHERE number = ?", (self.now(), self._session)
                )
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


# -- reading ------------------------------------------------------------------------------------


def read(folder: Path) -> RunState | None:
    """Read a run's journal, whoever holds it; None when there is none.

    Raises:
        JournalFailed: there is one, and it cannot be read.
    """
    path = folder / NAME
    with _told(folder, "read"):
        if not path.exists():
            return None
        with contextlib.closing(sqlite3.connect(path)) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'artifact'").fetchone():
                return None  # its process was killed before it was made
            db.execute("BEGIN")  # all tables as they are at one moment
            return _history(db)


def holder(folder: Path) -> Owner | None:
    """Say who holds a run now; None when nobody does.

    Raises:
        JournalFailed: that cannot be seen.
    """
    with _told(folder, "read"):
        if not (folder / LOCK).exists():
            return None  # looking makes nothing
    try:
        os.close(_hold(folder, leave_mark=False))
    except RunBusy:
        return _marked(folder / LOCK) or Owner(0, 0.0, "an unknown host")
    return None


def _history(db: sqlite3.Connection) -> RunState:
    db.row_factory = sqlite3.Row
    return state_from_rows(
        {
            table: [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY rowid")]  # noqa: S608
            for table in ("run", "session", "launch", "rental", "attempt", "artifact")
        }
    )


def _tried(attempt: int, tried: Attempt) -> tuple[str, tuple[Any, ...]]:
    rendered = tried.download.start if tried.download else None
    ended = tried.download.end if tried.download else tried.span.end
    return (
        "UPDATE attempt SET rendered = ?, ended = ?, error = ? WHERE id = ?",
        (rendered, ended, tried.error, attempt),
    )


def _storable(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Write lone surrogates, which a worker's JSON may hold, so that SQLite takes them."""
    return tuple(
        value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for value in values
    )


def _spans(spans: Iterable[Span]) -> str:
    return json.dumps([asdict(span) for span in spans])


# -- holding ------------------------------------------------------------------------------------


def _hold(folder: Path, *, leave_mark: bool = True) -> int:
    """Take the run's lock, which ends with this process, whatever ends it."""
    path = folder / LOCK
    with _told(folder, "written" if leave_mark else "read"):
        try:
            descriptor = os.open(path, os.O_RDWR | (os.O_CREAT if leave_mark else 0), 0o644)
        except OSError:
            if leave_mark:
                raise
            # Whoever only looks may do so on a disk that takes no writes any more.
            descriptor = os.open(path, os.O_RDONLY)
    # An audit takes it for a moment, to see if anybody has it.
    deadline = time.monotonic() + _PASSING
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if time.monotonic() > deadline:
                os.close(descriptor)
                owner = _marked(path) or "another process"
                raise RunBusy(f"{folder} is in use by {owner}; nothing was started") from error
        time.sleep(_PASSING / 10)
    if leave_mark:
        me = psutil.Process()
        mark = json.dumps(asdict(Owner(me.pid, me.create_time(), socket.gethostname())))
        try:
            with _told(folder):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, mark.encode(), 0)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _marked(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold a folder that has no journal, for as long as this is entered.

    Raises:
        RunBusy: another process holds it.
        JournalFailed: it cannot be written to.
    """
    held = _hold(folder)
    try:
        yield
    finally:
        os.close(held)


@contextlib.contextmanager
def _told(folder: Path, what: str = "written") -> Iterator[None]:
    """Translate failures of the disk and of SQLite into ours, once."""
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, TypeError, LookupError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise JournalFailed(f"{folder / NAME} cannot be {what}: {why}") from error
