"""One process at a time works on a run: a lock that ends with its process, whatever ends it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import psutil

from cloudburst.errors import InfrastructureError, JournalFailed, RunBusy
from cloudburst.language import tr
from cloudburst.models import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "journal.lock"
# An audit takes the lock for a moment, to see whether anybody holds it.
_PASSING_SECONDS = 0.3


def acquire(folder: Path, *, leave_mark: bool = True) -> int:
    """Lock a run; return the descriptor that holds the lock until it is closed.

    Args:
        folder: the run's.
        leave_mark: write who holds it; whoever only looks does not.

    Raises:
        RunBusy: another process holds it.
        JournalFailed: the lock cannot be opened or written.
    """
    path = folder / NAME
    descriptor = _open(path, leave_mark=leave_mark)
    try:
        _lock(descriptor, path)
        if leave_mark:
            mark = json.dumps(asdict(this_process()))
            with disk_errors(path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, mark.encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Lock a folder that has no journal, for as long as this is entered.

    Raises:
        RunBusy: another process holds it.
        JournalFailed: it cannot be written to.
    """
    descriptor = acquire(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def holder(folder: Path) -> Owner | None:
    """Return the process that holds a run now, None when nobody does.

    Raises:
        JournalFailed: that cannot be seen.
    """
    path = folder / NAME
    with disk_errors(path, "read"):
        if not path.exists():
            return None  # looking creates nothing
    try:
        os.close(acquire(folder, leave_mark=False))
    except RunBusy:
        return _marked(path) or Owner(0, 0.0, tr("an unknown host"))
    return None


def interrupt(folder: Path) -> Owner | None:
    """Ask the process that holds a run to stop, as Ctrl-C does.

    Returns:
        The process; None when nobody holds the run.

    Raises:
        InfrastructureError: it is on another machine, or may not be signalled.
        JournalFailed: that cannot be seen.
    """
    owner = holder(folder)
    if owner is None:
        return None
    if owner.host != socket.gethostname():
        raise InfrastructureError(
            tr("{owner} holds the run; stop it there: kill -INT {pid}", owner=owner, pid=owner.pid)
        )
    try:
        process = psutil.Process(owner.pid)
        # Not another process that has got its number since.
        if abs(process.create_time() - owner.started) > 1:
            return None
        process.send_signal(signal.SIGINT)
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied as error:
        raise InfrastructureError(
            tr("{owner} holds the run and may not be signalled by this user", owner=owner)
        ) from error
    return owner


def this_process() -> Owner:
    """Return this process as the owner of a run."""
    process = psutil.Process()
    return Owner(process.pid, process.create_time(), socket.gethostname())


@contextlib.contextmanager
def disk_errors(path: Path, action: str = "written") -> Iterator[None]:
    """Translate what the disk refuses into `JournalFailed`."""
    try:
        yield
    except (OSError, ValueError, TypeError, LookupError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise JournalFailed(unusable(path, action, why)) from error


def unusable(path: Path, action: str, why: object) -> str:
    """Return that a file cannot be ``written`` or ``read``, and why."""
    if action == "read":
        return tr("{file} cannot be read: {reason}", file=path, reason=why)
    return tr("{file} cannot be written: {reason}", file=path, reason=why)


def _open(path: Path, *, leave_mark: bool) -> int:
    with disk_errors(path, "written" if leave_mark else "read"):
        try:
            return os.open(path, os.O_RDWR | (os.O_CREAT if leave_mark else 0), 0o644)
        except OSError:
            if leave_mark:
                raise
            # Looking must work on a disk that takes no writes any more.
            return os.open(path, os.O_RDONLY)


def _lock(descriptor: int, path: Path) -> None:
    deadline = time.monotonic() + _PASSING_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if time.monotonic() > deadline:
                raise RunBusy(
                    tr(
                        "{folder} is in use by {owner}; nothing was started",
                        folder=path.parent,
                        owner=_marked(path) or tr("another process"),
                    )
                ) from error
        else:
            return
        time.sleep(_PASSING_SECONDS / 10)


def _marked(path: Path) -> Owner | None:
    try:
        return Owner(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
