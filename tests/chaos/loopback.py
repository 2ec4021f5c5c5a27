"""A server of raw bytes on a loopback port, and a watch over where this process connects to."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from cloudburst.models import Worker
from cloudburst.workers.client import VideoApi
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEY = "the-key-of-this-worker"


@dataclass
class Call:
    """A request that came, and the connection that waits for the answer."""

    connection: socket.socket
    ended: threading.Event
    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, status: int, body: bytes, *, announced: int | None = None) -> None:
        length = len(body) if announced is None else announced
        self.send(f"HTTP/1.1 {status} Words\r\nContent-Length: {length}\r\n\r\n".encode() + body)

    def drip(self, data: bytes, every: float) -> None:
        """Send one byte at a time, until the client has had enough."""
        for byte in data:
            self.send(bytes([byte]))
            if self.ended.wait(every):
                return

    def hang(self) -> None:
        """Say nothing, until the client or the test has gone."""
        self.connection.settimeout(0.05)
        while not self.ended.is_set():
            with contextlib.suppress(TimeoutError):
                if not self.connection.recv(1024):
                    return

    def reset(self) -> None:
        """Break the connection off as a process that dies does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


class Loopback:
    """Answers each connection as `play` says; what it does not send, it does not send.

    Args:
        play: is called with each request that came, in a thread of its own.
        reads: whether requests are read before they are answered.
    """

    def __init__(self, play: Callable[[Call], None], *, reads: bool = True) -> None:
        self.play = play
        self.reads = reads
        self.calls: list[Call] = []
        self._ended = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listening.settimeout(0.1)
        self.port: int = self._listening.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def api(self) -> VideoApi:
        return VideoApi(self.worker())

    def worker(self, room: int = 1) -> Worker:
        return Worker("run-b01", "1", f"http://127.0.0.1:{self.port}", KEY, room)

    def close(self) -> None:
        self._ended.set()
        self._accepting.join(10)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "a server's answer goes on for ever"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        # A client that hangs up while it is answered is what many of these tests are about.
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            call = self._read(connection) if self.reads else Call(connection, self._ended)
            self.calls.append(call)
            self.play(call)
            # Closing with unread bytes would reset the connection under the answer.
            connection.shutdown(socket.SHUT_WR)

    def _read(self, connection: socket.socket) -> Call:
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65536)
            if not more:
                raise ConnectionError
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, *_ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers.get("Content-Length", "0"))
        parts = [body]
        left = length - len(body)
        while left > 0 and (more := connection.recv(min(left, 1 << 20))):
            parts.append(more)
            left -= len(more)
        return Call(connection, self._ended, method, path, headers, b"".join(parts))


class _Watch:
    """Hears of every connection that this process opens or looks up; there is one for ever."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.on = False
        self.installed = False

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and event in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}:
            where = arguments[1:2] if event == "socket.connect" else arguments[:2]
            self.heard.append((event, repr(where)))


_WATCH = _Watch()


@contextmanager
def connections() -> Iterator[list[tuple[str, str]]]:
    """Note every address to which this process connects meanwhile, or asks a name server for."""
    if not _WATCH.installed:
        sys.addaudithook(_WATCH)  # it cannot be taken away again, only switched off
        _WATCH.installed = True
    _WATCH.heard = []
    _WATCH.on = True
    try:
        yield _WATCH.heard
    finally:
        _WATCH.on = False


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Check that something takes no more seconds of CPU, and does not wait for ever."""
    began, worked = time.monotonic(), time.process_time()
    yield
    took = time.process_time() - worked
    assert took < seconds, f"took {took:.1f} s of CPU"
    waited = time.monotonic() - began
    assert waited < seconds + SOON, f"took {waited:.1f} s"
