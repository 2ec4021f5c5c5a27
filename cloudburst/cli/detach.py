"""A run that goes on without its terminal.

The run is a child that stays in the terminal's session until it has its journal: until then it may
ask for a code, its errors are shown, and Ctrl-C ends it. From then on it is in a session of its
own, and what it says goes to a file in its folder.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from cloudburst import console
from cloudburst.console import streams
from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cloudburst.models import RunRecord

OPTION, TO = "--detach", "--detached-to"
LOG = "run.log"
# What a process list shows says what it is.
_PROGRAM = "from cloudburst.__main__ import run_command; run_command()  # cloudburst-run"


def start(arguments: Sequence[str], *, as_json: bool) -> int:
    """Start a run in a process that outlives this one; return when it has its journal.

    Args:
        arguments: of `cloudburst-run`.
        as_json: print what was started as JSON, not the run's id alone.

    Returns:
        0 once it goes on by itself; else the exit code with which it has ended.
    """
    # Ctrl-C reaches the child too, which knows what to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reader, writer = os.pipe()
    with subprocess.Popen(
        # -P: not what the user's folder has by a module's name.
        [sys.executable, "-P", "-c", _PROGRAM, *_passed_on(arguments), f"{TO}={writer}"],
        pass_fds=[writer],
        stdout=sys.stderr.fileno(),
        # As if nobody had ignored it above.
        preexec_fn=_heed_interrupts,  # noqa: PLW1509 - no thread has been started yet
    ) as process:
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as answer:
            begun = answer.read()
        if not begun:
            return process.wait()
        # It goes on: leaving the block must not wait for it.
        process.returncode = 0
    _show(json.loads(begun), as_json=as_json)
    return 0


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _passed_on(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without those that are about how this process prints."""
    own = {OPTION, "--json", "--quiet"}
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    return [word for word in arguments[:end] if word not in own] + list(arguments[end:])


def _show(begun: dict[str, str], *, as_json: bool) -> None:
    run = begun["run_id"]
    if as_json:
        streams.write_line(json.dumps({"version": 1, **begun}, indent=2, ensure_ascii=False))
        return
    streams.write_line(run)
    for line in (
        tr("watch it: {command}", command=f"cloudburst watch {run}"),
        tr("stop it: {command}", command=f"cloudburst stop {run}"),
        tr("what it says: {file}", file=begun["log"]),
    ):
        console.show_hint(line)


def let_go(descriptor: int, record: RunRecord) -> None:
    """Leave the terminal: in the child, once its run has a journal.

    Args:
        descriptor: where the parent waits for the run's id.
        record: which run it is.
    """
    os.setsid()
    log = _redirect(record.path)
    begun = {"run_id": record.run_id, "folder": record.folder, "log": str(log)}
    with suppress(OSError):  # nobody waits any more
        os.write(descriptor, json.dumps(begun).encode())
    os.close(descriptor)


def _redirect(folder: Path) -> Path:
    """Let what is printed go to a file in the run's folder, and read nothing."""
    sys.stdout.flush()
    sys.stderr.flush()
    path = folder / "logs" / LOG
    path.parent.mkdir(exist_ok=True)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, number)
    os.close(log)
    os.close(nothing)
    return path
