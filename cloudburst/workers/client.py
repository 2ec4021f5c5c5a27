"""HTTP client of one video API. Only this module imports requests.

Nothing that a worker sends is trusted: texts, sizes, paths and pace are all checked. Each request
goes only to the worker, and its time and its bytes are bounded.
"""

from __future__ import annotations

import json as jsonlib
import socket
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from cloudburst.errors import (
    ArtifactInvalid,
    RenderFailed,
    RenderTimedOut,
    SceneError,
    SceneRejected,
    WorkerUnhealthy,
    WorkerUnreachable,
)
from cloudburst.language import tr
from cloudburst.workers import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from urllib3.connectionpool import ConnectionPool

    from cloudburst.models import Effort, Scene, Worker
    from cloudburst.workers.messages import Rendered

HEADER = "X-Authentication-Key"
CONNECT_TIMEOUT = 5.0
GRACE = 5.0
# A download is aborted when it is slower than `STEP` bytes in `PATIENCE` seconds, some 4 kB/s. Even
# twenty parallel downloads over a slow connection are faster.
STEP = 256 * 1024
PATIENCE = 60.0
# Bytes of a JSON response, which usually has a few hundred.
MAX_ANSWER = 1024**2
_CHUNK = 64 * 1024
_OK = 200
# Any worker would reject the scene with these; other statuses may be a problem of this worker.
_ABOUT_THE_SCENE = {400, 413, 415, 422}
_BROKEN = (OSError, ValueError, HTTPError, HTTPException)


class VideoApi:
    """One worker's video API. Thread-safe: requests share nothing but what is noted of it.

    Args:
        worker: the worker.
        effort: how much CPU it spends for how few bytes, see `Effort`.
        shrink: whether it gets pictures no larger than it needs.

    Attributes:
        capacity: scenes that it renders at once, by its last healthy answer. None if it reports
            none, as the public image: it renders whatever comes, at once, and goes on with what
            was given up (docs/protocol.md).
    """

    def __init__(self, worker: Worker, effort: Effort = "low", shrink: bool = False) -> None:
        self.capacity: int | None = None
        self._effort, self._shrink = effort, shrink
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
        health = messages.json(body)
        if status == _OK and isinstance(health, dict) and health.get("status") == "healthy":
            self.capacity = messages.capacity(health)
            return None
        return tr("/health answered {status}: {text}", status=status, text=messages.printable(body))

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
                raise WorkerUnhealthy(
                    tr(
                        "not healthy within {seconds:.0f} s; last check: {last}",
                        seconds=timeout,
                        last=last,
                    )
                )
            if stopped(pause):
                raise WorkerUnhealthy(tr("stopped waiting for it to become healthy"))
            pause = min(pause * 1.5, 2.0)

    def render(self, scene: Scene, timeout: float) -> Rendered:
        """Send a scene and wait until its video is ready on the worker.

        Args:
            scene: the scene; its files are read here.
            timeout: seconds from the first byte sent to the last byte of the response.

        Raises:
            SceneRejected: the scene cannot be rendered on any worker.
            RenderTimedOut: the scene was not rendered in time.
            RenderFailed: the scene was not rendered at all, or the response is invalid.
            WorkerUnreachable: the worker does not answer any more.
        """
        try:
            # Who reports no capacity is the public image, or one that is no more than that. What
            # that makes of a moving picture is as large as the picture.
            ours = self.capacity is not None
            body = messages.body(scene, self._effort, fonts=ours, shrink=ours and self._shrink)
            data = jsonlib.dumps(body).encode()
        except OSError as error:
            raise SceneRejected(
                tr("{file} cannot be read: {reason}", file=error.filename, reason=error.strerror)
            ) from error
        try:
            return replace(self._rendered(data, timeout), sent=len(data))
        except SceneError as error:
            error.sent = len(data)
            raise

    def _rendered(self, data: bytes, timeout: float) -> Rendered:
        # A little more than the worker's own limit, since its message is more precise.
        budget = _Budget(timeout + GRACE)
        path = "/create_video_onestep"
        headers = self._headers | {"Content-Type": "application/json"}
        try:
            status, content = self._ask("POST", path, budget, headers=headers, data=data)
        except _NoAnswerError as error:
            raise WorkerUnreachable(f"POST {path}: {error}") from error
        except _TooMuchError as error:
            failure = RenderTimedOut if budget.over else RenderFailed
            raise failure(f"POST {path} {error}") from error
        parsed = messages.json(content)
        response = parsed if isinstance(parsed, dict) else {}
        if status == _OK and response.get("success") is True:
            return messages.rendered(response)
        detail = response.get("error")
        message = messages.printable(detail if isinstance(detail, str) and detail else content)
        reason = tr("the video API answered {status}: {text}", status=status, text=message)
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
        if not messages.ENDPOINT.fullmatch(endpoint):
            # Appended to the address it could form another host name, which would receive the key.
            raise ArtifactInvalid(
                tr(
                    "invalid download endpoint {endpoint!r}; expected a path such as /download/1",
                    endpoint=messages.printable(endpoint),
                )
            )
        max_bytes = rendered.size or messages.LARGEST
        received: int | None = None
        try:
            budget = _Budget(PATIENCE, STEP)
            with self._open("GET", endpoint, budget, headers=self._headers) as response:
                received = 0
                if response.status_code != _OK:
                    raise ArtifactInvalid(_refused(endpoint, response, budget))
                with path.open("wb") as file:
                    for chunk in _chunks(response, budget):
                        received += file.write(chunk)
                        budget.count(len(chunk))
                        if received > max_bytes:
                            raise ArtifactInvalid(_too_long(endpoint, max_bytes))
        except _NoAnswerError as error:
            # The worker may be terminating; its health is checked before the next scene.
            text = f"GET {endpoint}: {error}"
            if received is not None:
                text = tr(
                    "GET {endpoint}: download interrupted after {size} bytes: {reason}",
                    endpoint=endpoint,
                    size=received,
                    reason=error,
                )
            raise WorkerUnreachable(text) from error
        except _TooMuchError as error:
            text = tr(
                "GET {endpoint} {problem} ({size} bytes received)",
                endpoint=endpoint,
                problem=error,
                size=received or 0,
            )
            raise ArtifactInvalid(text) from error
        if rendered.size and received != rendered.size:
            text = tr(
                "GET {endpoint}: received {size} of {total} bytes",
                endpoint=endpoint,
                size=received,
                total=rendered.size,
            )
            raise ArtifactInvalid(text)

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
            raise _TooMuchError(
                tr(
                    "answered {status} with over {most} bytes",
                    status=response.status_code,
                    most=MAX_ANSWER,
                )
            )
    return body


def _ended(error: Exception, budget: _Budget) -> _NoAnswerError | _TooMuchError:
    """Return the error for a request that ended without a response."""
    if budget.over:
        return _TooMuchError(tr("took longer than {seconds:.0f} s", seconds=budget.seconds))
    return _NoAnswerError(messages.reason(error))


def _within(seconds: float, deadline: float) -> float:
    """Return the seconds, cut at the deadline, but at least 0.1."""
    return max(0.1, min(seconds, deadline - time.monotonic()))


def _refused(endpoint: str, response: requests.Response, budget: _Budget) -> str:
    return tr(
        "GET {endpoint} answered {status}: {text}",
        endpoint=endpoint,
        status=response.status_code,
        text=messages.printable(_all(response, budget)),
    )


def _too_long(endpoint: str, most: int) -> str:
    return tr(
        "GET {endpoint}: the worker sent more than the expected {most} bytes",
        endpoint=endpoint,
        most=most,
    )
