"""HTTP client of one video API. Only this module imports requests.

Nothing that a worker sends is trusted: texts, sizes, paths and pace are all checked. Each request
goes only to the worker, and its time and its bytes are bounded.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import time
import unicodedata
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from cloudburst.errors import (
    ArtifactInvalid,
    RenderFailed,
    SceneRejected,
    WorkerUnhealthy,
    WorkerUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from urllib3.connectionpool import ConnectionPool

    from cloudburst.models import Scene, Worker

HEADER = "X-Authentication-Key"
CONNECT_TIMEOUT = 5.0
GRACE = 5.0
# A download is aborted when it is slower than `STEP` bytes in `PATIENCE` seconds, some 4 kB/s. Even
# twenty parallel downloads over a slow connection are faster.
STEP = 256 * 1024
PATIENCE = 60.0
# Bytes; a video of the longest narration, with motion, has some 2 GB.
LARGEST = 8 * 1024**3
# Bytes of a JSON response, which usually has a few hundred.
MAX_ANSWER = 1024**2
MAX_WARNINGS = 100
_CHUNK = 64 * 1024
_OK = 200
# Any worker would reject the scene with these; other statuses may be a problem of this worker.
_ABOUT_THE_SCENE = {400, 413, 415, 422}
_MAX_TEXT = 300
# A path, and nothing that could be parsed as another host, header or line.
_ENDPOINT = re.compile(r"/[!-~]{0,1000}")
_BROKEN = (OSError, ValueError, HTTPError, HTTPException)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A video that is ready on its worker.

    Args:
        endpoint: path of the download.
        size: bytes; 0 if the worker announced none.
        scenario: the protocol's name for the combination of options.
        warnings: options that could not be applied.
    """

    endpoint: str
    size: int
    scenario: str
    warnings: tuple[str, ...]


class VideoApi:
    """One worker's video API. Thread-safe: requests share no state."""

    def __init__(self, worker: Worker) -> None:
        self._base = worker.endpoint.rstrip("/")
        self._headers = {HEADER: worker.key}

    def healthy(self, timeout: float = CONNECT_TIMEOUT) -> str | None:
        """Request the worker's health once; return None if healthy, otherwise the reason.

        Args:
            timeout: seconds for the whole request.
        """
        try:
            # Another host may answer at this address, so the key is not sent.
            status, body = self._ask("GET", "/health", _Budget(timeout), headers={})
        except (_NoAnswerError, _TooMuchError) as error:
            return str(error)
        health = _json(body)
        if status == _OK and isinstance(health, dict) and health.get("status") == "healthy":
            return None
        return f"/health answered {status}: {_printable(body)}"

    def wait_healthy(self, timeout: float, stopped: Callable[[float], bool]) -> None:
        """Poll the worker's health, at growing intervals, until it is healthy.

        Args:
            timeout: seconds.
            stopped: sleeps for the given seconds and returns whether to stop waiting.

        Raises:
            WorkerUnhealthy: it was not healthy in time (with its last response), or the wait was
                stopped.
        """
        deadline = time.monotonic() + timeout
        pause = 0.05
        while (last := self.healthy(_within(CONNECT_TIMEOUT, deadline))) is not None:
            if time.monotonic() + pause > deadline:
                raise WorkerUnhealthy(f"not healthy within {timeout:.0f} s; last check: {last}")
            if stopped(pause):
                raise WorkerUnhealthy("stopped waiting for it to become healthy")
            pause = min(pause * 1.5, 2.0)

    def render(self, scene: Scene, timeout: float) -> Rendered:
        """Send a scene and wait until its video is ready on the worker.

        Args:
            scene: the scene; its files are read here.
            timeout: seconds from the first byte sent to the last byte of the response.

        Raises:
            SceneRejected: the scene cannot be rendered on any worker.
            RenderFailed: the scene was not rendered in time or at all, or the response is invalid.
            WorkerUnreachable: the worker does not answer any more.
        """
        try:
            body = _body(scene)
        except OSError as error:
            raise SceneRejected(f"{error.filename} cannot be read: {error.strerror}") from error
        # A little more than the worker's own limit, since its message is more precise.
        budget = _Budget(timeout + GRACE)
        path = "/create_video_onestep"
        try:
            status, content = self._ask("POST", path, budget, headers=self._headers, json=body)
        except _NoAnswerError as error:
            raise WorkerUnreachable(f"POST {path}: {error}") from error
        except _TooMuchError as error:
            raise RenderFailed(f"POST {path} {error}") from error
        parsed = _json(content)
        response = parsed if isinstance(parsed, dict) else {}
        if status == _OK and response.get("success") is True:
            return _rendered(response)
        detail = response.get("error")
        message = _printable(detail if isinstance(detail, str) and detail else content)
        reason = f"the video API answered {status}: {message}"
        raise (SceneRejected if status in _ABOUT_THE_SCENE else RenderFailed)(reason)

    def fetch(self, rendered: Rendered, path: Path) -> None:
        """Download a video into a file.

        The total time is not limited, since videos may be large and connections slow. But the
        download is aborted when fewer than `STEP` bytes arrive in `PATIENCE` seconds, so the
        announced size bounds how long it can take.

        Raises:
            ArtifactInvalid: fewer or more bytes arrived than were announced, they arrived too
                slowly, the video does not exist, or its endpoint is not a path.
            WorkerUnreachable: the worker does not answer any more, or the download broke off.
        """
        endpoint = rendered.endpoint
        if not _ENDPOINT.fullmatch(endpoint):
            # Appended to the address it could form another host name, which would receive the key.
            problem = f"invalid download endpoint {_printable(endpoint)!r}"
            raise ArtifactInvalid(f"{problem}; expected a path such as /download/1")
        max_bytes = rendered.size or LARGEST
        received: int | None = None
        try:
            budget = _Budget(PATIENCE, STEP)
            with self._open("GET", endpoint, budget, headers=self._headers) as response:
                received = 0
                if response.status_code != _OK:
                    message = _printable(_all(response, budget))
                    problem = f"answered {response.status_code}: {message}"
                    raise ArtifactInvalid(f"GET {endpoint} {problem}")
                with path.open("wb") as file:
                    for chunk in _chunks(response, budget):
                        received += file.write(chunk)
                        budget.count(len(chunk))
                        if received > max_bytes:
                            problem = f"sent more than the expected {max_bytes} bytes"
                            raise ArtifactInvalid(f"GET {endpoint}: the worker {problem}")
        except _NoAnswerError as error:
            # The worker may be terminating; its health is checked before the next scene.
            progress = "" if received is None else f"download interrupted after {received} bytes: "
            raise WorkerUnreachable(f"GET {endpoint}: {progress}{error}") from error
        except _TooMuchError as error:
            problem = f"{error} ({received or 0} bytes received)"
            raise ArtifactInvalid(f"GET {endpoint} {problem}") from error
        if rendered.size and received != rendered.size:
            problem = f"received {received} of {rendered.size} bytes"
            raise ArtifactInvalid(f"GET {endpoint}: {problem}")

    def _ask(self, method: str, path: str, budget: _Budget, **options: Any) -> tuple[int, bytes]:
        """Return the status and the body of a short response."""
        with self._open(method, path, budget, **options) as response:
            return response.status_code, _all(response, budget)

    @contextmanager
    def _open(
        self, method: str, path: str, budget: _Budget, **options: Any
    ) -> Iterator[requests.Response]:
        """Send a request to the worker alone and yield its response, with the body still unread.

        No `requests.Session`: it would follow redirects and send the key along, and it would use
        the proxy that is configured for the web.
        """
        with closing(_Adapter(budget)) as adapter:
            try:
                request = requests.Request(method, self._base + path, **options).prepare()
                connect = min(CONNECT_TIMEOUT, budget.seconds)
                response = adapter.send(request, stream=True, timeout=(connect, budget.seconds))
            except _BROKEN as error:
                raise _ended(error, budget) from error
            with response:
                yield response


# -- time and bytes -----------------------------------------------------------------------------


class _NoAnswerError(Exception):
    """The connection failed, broke off, or does not speak HTTP."""


class _TooMuchError(Exception):
    """A response exceeds its limit of time or of bytes."""


class _Budget:
    """The time limit of a request, whatever the pace of its bytes.

    Args:
        seconds: limit for the whole request.
        step: bytes; each time so many have been counted, the limit starts again.
    """

    def __init__(self, seconds: float, step: int | None = None) -> None:
        self.seconds = seconds
        self._step = step
        self._received = 0
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Return the remaining seconds.

        Raises:
            TimeoutError: none remain.
        """
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        return remaining

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() >= self._end

    def count(self, size: int) -> None:
        """Count received bytes of the body; headers do not extend the limit."""
        self._received += size
        if self._step is not None and self._received >= self._step:
            self._received = 0
            self._end = time.monotonic() + self.seconds


class _Socket(socket.socket):
    """A connection whose total time is limited by its budget.

    A socket's own timeout restarts with every byte, also in the headers: a worker that sends one
    byte now and then would block its client for ever.
    """

    budget: _Budget

    def recv_into(self, *arguments: Any) -> int:
        """Receive within the remaining time."""
        self.settimeout(self.budget.remaining())
        return super().recv_into(*arguments)

    def sendall(self, *arguments: Any) -> None:
        """Send within the remaining time; urllib3 would apply the short connect timeout."""
        self.settimeout(self.budget.remaining())
        super().sendall(*arguments)


class _Adapter(HTTPAdapter):
    """The transport of one request to a worker, over plain HTTP.

    Args:
        budget: time limit of the request.
    """

    def __init__(self, budget: _Budget) -> None:
        super().__init__()
        self._budget = budget
        self._opened: list[_Socket] = []

    def close(self) -> None:
        """Close all connections: urllib3 leaves one open after some malformed headers."""
        super().close()
        for opened in self._opened:
            if (descriptor := opened.detach()) >= 0:
                socket.close(descriptor)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        """Return a pool whose connections are limited by the budget."""
        budget, opened = self._budget, self._opened

        class Connection(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                self.sock = _Socket(fileno=self.sock.detach())
                self.sock.budget = budget
                opened.append(self.sock)

        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = Connection  # type: ignore[attr-defined] # the stubs know only its base
        return pool


def _chunks(response: requests.Response, budget: _Budget) -> Iterator[bytes]:
    try:
        yield from response.iter_content(_CHUNK)
    except _BROKEN as error:
        raise _ended(error, budget) from error


def _all(response: requests.Response, budget: _Budget) -> bytes:
    body = b""
    for chunk in _chunks(response, budget):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise _TooMuchError(f"answered {response.status_code} with over {MAX_ANSWER} bytes")
    return body


def _ended(error: Exception, budget: _Budget) -> _NoAnswerError | _TooMuchError:
    """Return the error for a request that ended without a response."""
    if budget.over:
        return _TooMuchError(f"took longer than {budget.seconds:.0f} s")
    return _NoAnswerError(_reason(error))


def _within(seconds: float, deadline: float) -> float:
    """Return the seconds, cut at the deadline, but at least 0.1."""
    return max(0.1, min(seconds, deadline - time.monotonic()))


# -- messages -----------------------------------------------------------------------------------


def _body(scene: Scene) -> dict[str, object]:
    options = scene.options
    body: dict[str, object] = {
        "input_image": _b64(scene.image),
        "input_audio": _b64(scene.audio),
        "effects": list(options.effects),
        "language": options.language,
        "background_box": options.background_box,
        "background_opacity": options.background_opacity,
        "outline_color": options.outline_color,
        "output_filename": f"{scene.name}.mp4",
    }
    optional = {
        "subtitle": _b64(options.subtitle) if options.subtitle else None,
        "watermark": _b64(options.watermark) if options.watermark else None,
        "font_size": options.font_size,
        "is_portrait": options.is_portrait,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def _b64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode("ascii")


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _rendered(response: dict[str, Any]) -> Rendered:
    """Parse the response to a render; the fields that the download needs must be valid.

    Raises:
        RenderFailed: they are not.
    """
    endpoint, size = response.get("download_endpoint"), response.get("size")
    if not isinstance(endpoint, str) or not _ENDPOINT.fullmatch(endpoint):
        problem = f"download_endpoint {_as_text(endpoint)}; expected a path such as /download/1"
        raise RenderFailed(f"the video API answered 200 with {problem}")
    size = 0 if size is None else size
    if type(size) is not int or not 0 <= size <= LARGEST:
        problem = f"size {_as_text(size)}; expected bytes, 0 to {LARGEST}"
        raise RenderFailed(f"the video API answered 200 with {problem}")
    scenario, warnings = response.get("scenario"), response.get("warnings")
    listed = warnings if isinstance(warnings, list) else [warnings]
    return Rendered(
        endpoint=endpoint,
        size=size,
        scenario=_printable(scenario) if isinstance(scenario, str) else "",
        warnings=tuple(_printable(text) for text in listed[:MAX_WARNINGS] if isinstance(text, str)),
    )


def _as_text(value: object) -> str:
    """Return a value as text for a message; containers may nest too deeply for `repr`."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return _printable(repr(value))


def _printable(raw: str | bytes) -> str:
    """Return a worker's text shortened, on one line, and safe for a terminal and a file."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    # Control characters, lone surrogates, line and paragraph separators.
    printable = (
        " " if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} else c for c in text[:_MAX_TEXT]
    )
    return "".join(printable).strip() + ("…" if len(text) > _MAX_TEXT else "")


def _reason(error: Exception) -> str:
    """Return a short reason for a failed request; the library's messages name its internals."""
    text = str(error)
    for pattern, reason in (
        ("refused", "connection refused"),
        ("reset by peer", "connection reset"),
        ("RemoteDisconnected", "the worker closed the connection"),
        ("NewConnectionError", "cannot connect"),
        ("timed out", "timed out"),
        ("IncompleteRead", "connection closed early"),
        ("BadStatusLine", "the response is not HTTP"),
    ):
        if pattern in text:
            return reason
    return _printable(text)
