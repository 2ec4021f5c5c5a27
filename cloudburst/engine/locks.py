"""Locks on stacks, and the engine processes of dead runs that hold them."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import psutil

from cloudburst.models import Lock

ENGINE_GRACE = 10.0


def end(pid: int, stack: str) -> bool:
    """End an engine process that works on a stack, and what it has started.

    Politely first, so that it writes its state.

    Returns:
        Whether it has ended.
    """
    try:
        process = psutil.Process(pid)
        if not _works_on(process, stack):
            return True  # its number is another process's by now
        family = [process, *process.children(recursive=True)]
        process.send_signal(signal.SIGINT)
    except psutil.NoSuchProcess:
        return True
    _, remaining = psutil.wait_procs(family, ENGINE_GRACE)
    for member in remaining:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    _, remaining = psutil.wait_procs(remaining, ENGINE_GRACE)
    return not remaining


def _works_on(process: psutil.Process, stack: str) -> bool:
    """Whether a process is an engine that works on a stack: in its workspace, or by its name."""
    if "pulumi" not in process.name():
        return False
    try:
        # Linux appends this to the name of a folder that was removed.
        place = Path(process.cwd().removesuffix(" (deleted)")).name
        return place == stack or any(stack in word for word in process.cmdline())
    except psutil.AccessDenied:
        return True  # whatever it is, it holds the lock


def read(path: Path) -> Lock:
    """Return a lock from its file; a damaged one, as after a power cut, still locks."""
    try:
        lock = json.loads(path.read_text("utf-8"))
        return Lock(int(lock["pid"]), str(lock["hostname"]), str(lock.get("timestamp", "")))
    except (ValueError, KeyError, TypeError):
        return Lock(0, "", "")


def folder(backend: str, project: str, stack: str) -> Path | None:
    """Return the folder of a stack's locks; None for a backend that is no folder.

    Args:
        backend: its URL.
        project: of the stack.
        stack: its name.
    """
    if not backend.startswith("file://"):
        return None
    parts = urlsplit(backend)  # "file://~/folder" has the home in the host's place
    root = Path(url2pathname(parts.netloc + parts.path)).expanduser()
    return root / ".pulumi" / "locks" / "organization" / project / stack
