"""Runs the command line and ends with SIGKILL at a chosen point of it.

``python -m tests.chaos.victim --within FOLDER --trace FILE [--at POINT] -- cloudburst-run …``

A point is an act that somebody outside could see: a file made, renamed or removed below FOLDER, a
process started, a connection opened, a request sent, the journal written. The interpreter itself
tells of them (``sys.addaudithook``); the journal's transactions are wrapped here. Nothing in the
product knows of it. Without ``--at`` they are only counted.

``--at`` takes the number of a point in the run (``137``), or its name (``rename s01.mp4#1``: just
before the first such act; ``pulumi up#2+0.8``: 0.8 s after the second one). Several threads act at
once, so a name is what can be met again. ``--aim engine`` ends the engine's process that the act
has started, and not this one; ``--aim all`` ends this one and all that it has started, as a
machine does that loses its power.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from cloudburst import cli
from cloudburst.journal.store import Journal

if TYPE_CHECKING:
    from collections.abc import Callable

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# What differs from run to run, and what of it a name keeps.
_CHANGING = (
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}"), "RUN"),
    (re.compile(r"batch_\d{8}_\d{6}(-\d+)?"), "BATCH"),
    (re.compile(r"\.b\d+(\.\d+)?\.part$"), ".part"),
    (re.compile(r"passphrase\.\d+"), "passphrase.PID"),
    (re.compile(r"\.\d+-\d+\.part$"), ".part"),
    (re.compile(r"-\d{8}T\d{6}\.log$"), "-TIME.log"),
)


class Points:
    """Counts what the program does, and kills at one point of it.

    Args:
        folder: files elsewhere do not matter.
        trace: where every point is noted: number, seconds, name.
        at: number or name of the point; empty to count alone.
        aim: what is to end: ``self``, ``engine`` or ``all``.
    """

    def __init__(self, folder: Path, trace: Path, at: str, aim: str) -> None:
        self._folder = f"{folder}{os.sep}"
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        name, _, delay = at.partition("+")
        self._number = int(name) if name.isdigit() else 0
        self._name = "" if name.isdigit() else name
        self._delay = float(delay or 0)
        self._aim = aim
        self._began = time.monotonic()
        self._count = 0
        self._met: Counter[str] = Counter()
        self._dying = False
        # A finalizer may act in the middle of anything, also in here.
        self._lock = threading.RLock()

    # -- where points come from ---------------------------------------------------------------

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Be the audit hook."""
        name = _NAMES.get(event)
        if name is None or self._dying:
            return
        words = name(self, arguments)
        if words and not (event == "subprocess.Popen" and self._aim == "engine"):
            self.meet(words)

    def wrap_journal(self) -> None:
        """Make points of the beginning, the middle and the end of each transaction."""
        plain = Journal._write
        points = self

        def write(journal: Journal, rows: list[Any]) -> int:
            # Called by _require or _record, and these by the method that has the good name.
            what = f"journal {sys._getframe(2).f_code.co_name}"
            now = journal.now

            def within() -> float:
                points.meet(f"{what} within")
                return now()

            points.meet(f"{what} before")
            journal.now = within
            try:
                number = plain(journal, rows)
            finally:
                journal.now = now
            points.meet(f"{what} after")
            return number

        Journal._write = write  # type: ignore[method-assign]

    def wrap_processes(self) -> None:
        """Make points of processes once they are there, so that they can be killed."""
        plain = subprocess.Popen.__init__
        points = self

        def start(process: Any, args: Any, *more: Any, **options: Any) -> None:
            plain(process, args, *more, **options)
            words = _command(args)
            if words:
                points.meet(words, process.pid)

        subprocess.Popen.__init__ = start  # type: ignore[assignment, method-assign]

    # -- points ---------------------------------------------------------------------------------

    def meet(self, words: str, pid: int = 0) -> None:
        """Count a point; kill if it is the one."""
        with self._lock:
            self._count += 1
            self._met[words] += 1
            name = f"{words}#{self._met[words]}"
            self._note(f"{self._count}\t{time.monotonic() - self._began:.4f}\t{name}")
            if self._number != self._count and self._name != name:
                return
            victim = pid if self._aim == "engine" else os.getpid()
            if not victim:
                return
            if not self._delay:
                self._end(victim, name)
                return
        later = threading.Timer(self._delay, self._end, (victim, f"{name}+{self._delay}"))
        later.daemon = True
        later.start()

    def _end(self, pid: int, name: str) -> None:
        mine = pid == os.getpid()
        self._dying = mine  # the kill itself is an act, too
        self._note(f"killed\t{time.monotonic() - self._began:.4f}\t{name}")
        if self._aim == "all":
            for child in psutil.Process().children(recursive=True):
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            self._note("it had ended\t0\t-")

    def _note(self, line: str) -> None:
        os.write(self._trace, f"{line}\n".encode())

    # -- what an act is called ------------------------------------------------------------------

    def inside(self, path: object) -> str:
        """Give a path below the folder as a name that every run has; nothing for others."""
        if not isinstance(path, str | bytes | os.PathLike):
            return ""
        # The pulumi SDK gives relative paths to nobody; what is relative is not ours.
        place = os.fsdecode(path)
        if not place.startswith(self._folder):
            return ""
        place = place.removeprefix(self._folder)
        for pattern, instead in _CHANGING:
            place = pattern.sub(instead, place)
        return place

    def opened(self, arguments: tuple[Any, ...]) -> str:
        path, _, flags = arguments
        name = self.inside(path) if (flags or 0) & _WRITES else ""
        return f"open {name}" if name else ""

    def moved(self, arguments: tuple[Any, ...]) -> str:
        name = self.inside(arguments[1])
        return f"rename {name}" if name else ""

    def changed(self, what: str, arguments: tuple[Any, ...]) -> str:
        name = self.inside(arguments[0])
        return f"{what} {name}" if name else ""


def _command(args: Any) -> str:
    """Name a program that is started: the engine's operation, or the worker."""
    words = [os.fsdecode(word) for word in (args if isinstance(args, list | tuple) else [args])]
    if "cloudburst.videoapi" in words:
        return "start worker"
    if Path(words[0]).name != "pulumi":
        return f"start {Path(words[0]).name}"
    said = [word for word in words[1:] if not word.startswith("-")]
    return f"pulumi {' '.join(said[: 2 if said[:1] == ['stack'] else 1])}"


def _sent(arguments: tuple[Any, ...]) -> str:
    """Name a request by its first line, an AWS call by its action, by the first bytes of either."""
    data = arguments[1]
    if isinstance(data, str):
        data = data.encode()
    if not isinstance(data, bytes | bytearray):
        return ""
    head = bytes(data[:300])
    if action := re.match(rb"(?:.*&)?Action=(\w+)", head):
        return f"ask AWS {action[1].decode()}"
    if line := re.match(rb"(GET|POST|PUT|DELETE) (/[\w-]*)", head):
        return f"send {line[1].decode()} {line[2].decode()}"
    return "send body"


def _connected(arguments: tuple[Any, ...]) -> str:
    return "connect" if isinstance(arguments[1], tuple) else ""


_NAMES: dict[str, Callable[[Points, tuple[Any, ...]], str]] = {
    "open": Points.opened,
    "os.rename": Points.moved,
    "os.link": Points.moved,
    "os.remove": lambda points, arguments: points.changed("remove", arguments),
    "os.mkdir": lambda points, arguments: points.changed("mkdir", arguments),
    "os.rmdir": lambda points, arguments: points.changed("rmdir", arguments),
    "shutil.rmtree": lambda points, arguments: points.changed("rmtree", arguments),
    "sqlite3.connect": lambda points, arguments: points.changed("database", arguments),
    "subprocess.Popen": lambda _, arguments: _command(arguments[1]),
    "socket.connect": lambda _, arguments: _connected(arguments),
    "http.client.send": lambda _, arguments: _sent(arguments),
    "os.kill": lambda *_: "signal",
    "fcntl.flock": lambda *_: "flock",
}


def main() -> None:
    """Run a command of the project in this process, watched."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--within", type=Path, required=True)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--at", default="")
    parser.add_argument("--aim", choices=["self", "engine", "all"], default="self")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    points = Points(options.within, options.trace, options.at, options.aim)
    points.wrap_journal()
    if options.aim == "engine":
        points.wrap_processes()
    sys.argv = options.command
    entry = cli.run_command if options.command[0] == "cloudburst-run" else cli.main
    sys.addaudithook(points.hear)
    entry()


if __name__ == "__main__":
    main()
