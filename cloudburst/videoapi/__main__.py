"""Run the video API: ``python -m cloudburst.videoapi``, or ``cloudburst serve``.

A worker of the local target is this program on an inherited socket, with a lifeline: a pipe whose
write end only the runner holds. When the runner exits, for whatever reason, the pipe reaches its
end, and the worker terminates itself and its children.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from cloudburst.videoapi.app import Server

_REAP_EVERY = 30.0
_REMOVALS = 100  # tries to remove the work folder, 10 ms apart
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h


def main(arguments: list[str] | None = None) -> None:
    """Serve until a signal stops the server."""
    options = _options().parse_args(arguments)
    work = options.work or Path(tempfile.mkdtemp(prefix="cloudburst-serve-"))
    if options.lifeline is not None:
        # Before the slow imports: the runner may die during them.
        threading.Thread(
            target=_watch, args=(options.lifeline, work), name="lifeline", daemon=True
        ).start()
    signal.signal(signal.SIGTERM, lambda *_: _end(work))
    signal.signal(signal.SIGINT, lambda *_: _end(work))
    listening = (
        socket.socket(fileno=options.socket)
        if options.socket is not None
        else socket.create_server((options.host, options.port), backlog=256)
    )
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    _keep_memory_flat()
    _serve(options, listening, work)


def _keep_memory_flat() -> None:
    """Return large blocks to the system as soon as they are freed.

    glibc keeps one arena per thread, and each time a mapped block is freed it raises the size from
    which blocks are mapped: after 80 requests a server held 780 MB of free memory.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.mallopt(_M_MMAP_THRESHOLD, 256 * 1024)


def _serve(options: argparse.Namespace, listening: socket.socket, work: Path) -> None:
    # Slow; see `main`.
    from cloudburst.videoapi import admission, ffmpeg  # noqa: PLC0415
    from cloudburst.videoapi.app import Server, Settings  # noqa: PLC0415
    from cloudburst.videoapi.listener import serve  # noqa: PLC0415

    if options.slots is None:
        options.slots = admission.slots(os.cpu_count() or 1, nvenc=ffmpeg.has_nvenc())
    settings = Settings(
        work=work,
        key=os.environ.get("AUTHENTICATION_KEY") or None,
        slots=options.slots,
        queue=options.queue,
        threads=options.threads,
        timeout=options.timeout,
        expiry=options.expiry,
    )
    server = Server(settings)
    threading.Thread(target=_reap, args=(server,), name="reap", daemon=True).start()
    if options.grace > 0:

        def stop(*_: object) -> None:
            threading.Thread(target=_drain, args=(server, options.grace, work)).start()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
    host, port = listening.getsockname()[:2]
    print(f"video API on http://{host}:{port}", file=sys.stderr, flush=True)  # noqa: T201
    serve(
        server.app,
        listening,
        requests=options.slots + options.queue,
        max_body=settings.max_body,
        idle=options.timeout + 60,
    )


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cloudburst serve", description="Serve the video API.", allow_abbrev=False
    )
    cores = os.cpu_count() or 1
    parser.add_argument("--host", default="127.0.0.1", help="address; 0.0.0.0 for all")
    parser.add_argument(
        "--port", type=int, default=int(os.environ.get("PORT", "5000")), help="default: $PORT, 5000"
    )
    parser.add_argument(
        "--slots",
        type=int,
        help="scenes rendered at once; default: one for every two cores, with NVENC one for each, "
        "up to 8",
    )
    parser.add_argument("--queue", type=int, default=64, help="requests that may wait")
    parser.add_argument("--threads", type=int, default=cores, help="encoder threads of one scene")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds for one scene")
    parser.add_argument("--expiry", type=float, default=3600.0, help="seconds a video is kept")
    parser.add_argument(
        "--grace", type=float, default=30.0, help="seconds to finish renders when told to stop"
    )
    parser.add_argument("--work", type=Path, help="folder for the server's files; emptied")
    parser.add_argument("--socket", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stack", help=argparse.SUPPRESS)
    return parser


def _reap(server: Server) -> None:
    while True:
        time.sleep(_REAP_EVERY)
        server.store.expire()


def _drain(server: Server, grace: float, work: Path) -> NoReturn:
    """Refuse new requests, let running renders finish, then exit."""
    server.draining = True
    deadline = time.monotonic() + grace
    while server.admission.in_flight + server.admission.queued and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.2)  # the last response is still being sent
    _end(work)


def _watch(lifeline: int, work: Path) -> None:
    """Exit when the lifeline closes, or as many seconds later as the runner requested."""
    message = b""
    while part := os.read(lifeline, 64):
        message += part
    delay = re.search(rb"keep (\d+)\n", message)
    time.sleep(int(delay[1]) if delay else 0)
    _end(work)


def _end(work: Path) -> NoReturn:
    """Remove the files and kill this process group, ffmpeg children included."""
    for _ in range(_REMOVALS):
        # A render that goes on may make a file in a folder that is just being removed.
        shutil.rmtree(work, ignore_errors=True)
        if not work.exists():
            break
        time.sleep(0.01)
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
