"""Run the video API: ``python -m cloudburst.videoapi``.

A worker of the local target is this program on a socket it was handed, with a lifeline: a pipe
whose other end only its runner holds. When the runner is gone, however it went, the pipe ends
and the worker ends itself and what it started.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import NoReturn


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to stop."""
    options = _options().parse_args(arguments)
    if options.lifeline is not None:
        # Before the slow imports: a runner may die while they go on.
        threading.Thread(
            target=_watch, args=(options.lifeline, options.work), name="lifeline", daemon=True
        ).start()
    signal.signal(signal.SIGTERM, lambda *_: _end(options.work))
    listening = (
        socket.socket(fileno=options.socket)
        if options.socket is not None
        else socket.create_server((options.host, options.port))
    )
    import waitress  # noqa: PLC0415 - see above

    from cloudburst.videoapi.app import MAX_BODY, Settings, create_app  # noqa: PLC0415

    settings = Settings(
        work=options.work,
        key=os.environ.get("AUTHENTICATION_KEY") or None,
        slots=options.slots,
        threads=options.threads,
        timeout=options.timeout,
    )
    app = create_app(settings)
    host, port = listening.getsockname()[:2]
    print(f"video API on http://{host}:{port}", file=sys.stderr, flush=True)  # noqa: T201
    waitress.serve(
        app,
        sockets=[listening],
        # A request that waits for its turn holds a thread; health must always find one.
        threads=options.slots * 2 + 4,
        max_request_body_size=MAX_BODY,
        channel_timeout=int(options.timeout) + 60,
        ident=None,
    )


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cloudburst.videoapi", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "5000")))
    parser.add_argument("--socket", type=int, help="a listening socket's file descriptor")
    parser.add_argument("--lifeline", type=int, help="a pipe; the server ends when it does")
    parser.add_argument("--work", type=Path, required=True, help="folder for the server's files")
    parser.add_argument("--slots", type=int, default=1, help="scenes rendered at once")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for one scene")
    parser.add_argument("--stack", help="the stack it belongs to; shown in the process list")
    return parser


def _watch(lifeline: int, work: Path) -> None:
    while os.read(lifeline, 1):
        pass
    _end(work)


def _end(work: Path) -> NoReturn:
    """Remove the files and end the whole process group: ffmpeg children with it."""
    shutil.rmtree(work, ignore_errors=True)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
