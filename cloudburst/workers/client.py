"""HTTP client of one video API. The only module that imports requests.

What a worker sends is not trusted: not its words, not its sizes, not its addresses, not its pace.
Each request goes to the worker alone, with an end to its time and to its bytes.
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
# A download is given up when it is slower than so many bytes in so many seconds: some 4 kB/s. Even
# twenty downloads at once get more than that from a slow line.
STEP = 256 * 1024
PATIENCE = 60.0
# The longest narration, as motion, is some 2 GB.
LARGEST = 8 * 1024**3
# Of an answer in words; it has a few hundred bytes.
MAX_ANSWER = 1024**2
MAX_WARNINGS = 100
_CHUNK = 64 * 1024
_OK = 200
# What these say of a request would be said anywhere; all others may be the worker's own trouble.
_ABOUT_THE_SCENE = {400, 413, 415, 422}
_WORDS = 300
# A path, and nothing that could be read as another host, another header, another line.
_ENDPOINT = re.compile(r"/[!-~]{0,1000}")
_BROKEN = (OSError, ValueError, HTTPError, HTTPException)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A video that is ready on its worker.

    Args:
        endpoint: path to download it from.
        size: bytes.
        scenario: the protocol's word for what was rendered.
        warnings: what could not be done as asked.
    """

    endpoint: str
    size: int
    scenario: str
    warnings: tuple[str, ...]


class VideoApi:
    """One worker's video API. Safe to use from several threads: each request stands alone."""

    def __init__(self, worker: Worker) -> None:
        self._base = worker.endpoint.rstrip("/")
        self._headers = {HEADER: worker.key}

    def healthy(self, timeout: float = CONNECT_TIMEOUT) -> str | None:
        """Ask once for its health; give None if healthy, otherwise what came back.

        Args:
            timeout: seconds for all of it.
        """
        try:
            # Not everybody who answers at that address has to be the worker: no key here.
            status, body = self._ask("GET", "/health", _Budget(timeout), headers={})
        except (_NoAnswerError, _TooMuchError) as error:
            return str(error)
        said = _json(body)
        if status == _OK and isinstance(said, dict) and said.get("status") == "healthy":
            return None
        return f"/health answered {status}: {_words(body)}"

    def wait_healthy(self, timeout: float, stopped: Callable[[float], bool]) -> None:
        """Ask for its health until it is, more and more seldom.

        Args:
            timeout: seconds.
            stopped: sleeps for so many seconds and says if the wait is to end.

        Raises:
            WorkerUnhealthy: it was not in time, with its last answer, or the wait was ended.
        """
        deadline = time.monotonic() + timeout
        pause = 0.05
        while (last := self.healthy(_within(CONNECT_TIMEOUT, deadline))) is not None:
            if time.monotonic() + pause > deadline:
                raise WorkerUnhealthy(f"not healthy within {timeout:.0f} s; last: {last}")
            if stopped(pause):
                raise WorkerUnhealthy("the wait for its health was ended")
            pause = min(pause * 1.5, 2.0)

    def render(self, scene: Scene, timeout: float) -> Rendered:
        """Send a scene and wait until its video is ready on the worker.

        Args:
            scene: whose files are read now.
            timeout: seconds for all of it, from the first byte sent to the last one of the answer.

        Raises:
            SceneRejected: the scene cannot be rendered, here or elsewhere.
            RenderFailed: it was not rendered, in time or at all, or the answer makes no sense.
            WorkerGone: the worker does not answer any more.
        """
        try:
            body = _body(scene)
        except OSError as error:
            raise SceneRejected(f"{error.filename} cannot be read: {error.strerror}") from error
        # A little more than the worker itself allows: its own reason is the better one.
        budget = _Budget(timeout + GRACE)
        place = "/create_video_onestep"
        try:
            status, answer = self._ask("POST", place, budget, headers=self._headers, json=body)
        except _NoAnswerError as error:
            raise WorkerUnreachable(f"POST {place}: {error}") from error
        except _TooMuchError as error:
            raise RenderFailed(f"POST {place} {error}") from error
        read = _json(answer)
        said = read if isinstance(read, dict) else {}
        if status == _OK and said.get("success") is True:
            return _rendered(said)
        told = said.get("error")
        words = _words(told) if isinstance(told, str) and told else _words(answer)
        reason = f"the video API answered {status}: {words}"
        raise (SceneRejected if status in _ABOUT_THE_SCENE else RenderFailed)(reason)

    def fetch(self, rendered: Rendered, path: Path) -> None:
        """Download a video into a file.

        There is no limit to the whole of it, for videos may be large and lines slow; but whenever
        fewer than `STEP` bytes come in `PATIENCE` seconds it is given up, so a video of a size
        that was announced can hold its scene no longer than that size allows.

        Raises:
            ArtifactInvalid: fewer or more bytes came than were announced, they came too slowly,
                it is not there, or the worker names no place of its own for it.
            WorkerGone: the worker does not answer any more, or broke off in the middle.
        """
        endpoint = rendered.endpoint
        if not _ENDPOINT.fullmatch(endpoint):
            # What is behind the worker's name may be part of another one, and would get the key.
            raise ArtifactInvalid(f"{_words(endpoint)!r} is no path on the worker")
        most = rendered.size or LARGEST
        received: int | None = None
        try:
            budget = _Budget(PATIENCE, STEP)
            with self._open("GET", endpoint, budget, headers=self._headers) as answer:
                received = 0
                if answer.status_code != _OK:
                    raise ArtifactInvalid(
                        f"{endpoint} answered {answer.status_code}: {_words(_all(answer, budget))}"
                    )
                with path.open("wb") as file:
                    for chunk in _chunks(answer, budget):
                        received += file.write(chunk)
                        budget.count(len(chunk))
                        if received > most:
                            raise ArtifactInvalid(f"more bytes came than the {most} expected")
        except _NoAnswerError as error:
            # Whoever breaks off in the middle may be falling: it is asked after before the next.
            broke = "" if received is None else f"the download broke off after {received} bytes: "
            raise WorkerUnreachable(f"GET {endpoint}: {broke}{error}") from error
        except _TooMuchError as error:
            raise ArtifactInvalid(f"GET {endpoint} {error}, {received or 0} bytes came") from error
        if rendered.size and received != rendered.size:
            raise ArtifactInvalid(f"{received} bytes came, {rendered.size} were announced")

    def _ask(self, method: str, path: str, budget: _Budget, **options: Any) -> tuple[int, bytes]:
        """Give the status and the whole of a short answer."""
        with self._open(method, path, budget, **options) as answer:
            return answer.status_code, _all(answer, budget)

    @contextmanager
    def _open(
        self, method: str, path: str, budget: _Budget, **options: Any
    ) -> Iterator[requests.Response]:
        """Send a request to the worker, to nobody else, and give the beginning of its answer.

        A session would follow redirections, and take the key along to wherever they lead; it would
        use the web's proxy, too, which has no business here. So there is none.
        """
        with closing(_Adapter(budget)) as adapter:
            try:
                request = requests.Request(method, self._base + path, **options).prepare()
                connect = min(CONNECT_TIMEOUT, budget.seconds)
                answer = adapter.send(request, stream=True, timeout=(connect, budget.seconds))
            except _BROKEN as error:
                raise _ended(error, budget) from error
            with answer:
                yield answer


# -- time and bytes -----------------------------------------------------------------------------


class _NoAnswerError(Exception):
    """The connection did not come to be, broke off, or does not speak HTTP."""


class _TooMuchError(Exception):
    """An answer takes more time, or has more bytes, than it may."""


class _Budget:
    """How long a request may take, however its bytes come.

    Args:
        seconds: for all of it.
        step: as often as so many bytes have been counted, there are as many seconds again.
    """

    def __init__(self, seconds: float, step: int | None = None) -> None:
        self.seconds = seconds
        self._step = step
        self._came = 0
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Give the seconds that are left; raise TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    @property
    def over(self) -> bool:
        """Whether none is left."""
        return time.monotonic() >= self._end

    def count(self, came: int) -> None:
        """Note bytes that were worth waiting for; headers, however many, are not."""
        self._came += came
        if self._step is not None and self._came >= self._step:
            self._came = 0
            self._end = time.monotonic() + self.seconds


class _Socket(socket.socket):
    """A connection that ends with its budget.

    A socket's own time-out begins anew with every byte, of the headers too: a worker that sends
    one now and then would hold its client for ever.
    """

    budget: _Budget

    def recv_into(self, *arguments: Any) -> int:
        """Receive, as long as there is time."""
        self.settimeout(self.budget.left())
        return super().recv_into(*arguments)

    def sendall(self, *arguments: Any) -> None:
        """Send, as long as there is time: the library would allow a connection's, a few seconds."""
        self.settimeout(self.budget.left())
        super().sendall(*arguments)


class _Adapter(HTTPAdapter):
    """One request's way to a worker, which speaks plain HTTP.

    Args:
        budget: ends the request.
    """

    def __init__(self, budget: _Budget) -> None:
        super().__init__()
        self._budget = budget
        self._opened: list[_Socket] = []

    def close(self) -> None:
        """Close what was opened: the library leaves a connection open at some broken headers."""
        super().close()
        for opened in self._opened:
            if (descriptor := opened.detach()) >= 0:
                socket.close(descriptor)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        """Give connections that end with the budget."""
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


def _chunks(answer: requests.Response, budget: _Budget) -> Iterator[bytes]:
    try:
        yield from answer.iter_content(_CHUNK)
    except _BROKEN as error:
        raise _ended(error, budget) from error


def _all(answer: requests.Response, budget: _Budget) -> bytes:
    body = b""
    for chunk in _chunks(answer, budget):
        body += chunk
        if len(body) > MAX_ANSWER:
            raise _TooMuchError(f"answered {answer.status_code} and more than {MAX_ANSWER} bytes")
    return body


def _ended(error: Exception, budget: _Budget) -> _NoAnswerError | _TooMuchError:
    """Say why a request ended without its answer."""
    if budget.over:
        return _TooMuchError(f"took longer than {budget.seconds:.0f} s")
    return _NoAnswerError(_reason(error))


def _within(seconds: float, deadline: float) -> float:
    """Give so many seconds, or fewer when the deadline comes first; never none at all."""
    return max(0.1, min(seconds, deadline - time.monotonic()))


# -- words --------------------------------------------------------------------------------------


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


def _rendered(said: dict[str, Any]) -> Rendered:
    """Read the answer to a render; what decides about the download has to make sense.

    Raises:
        RenderFailed: it does not.
    """
    endpoint, size = said.get("download_endpoint"), said.get("size")
    if not isinstance(endpoint, str) or not _ENDPOINT.fullmatch(endpoint):
        words = f"download_endpoint: {_shown(endpoint)}; expected a path such as /download/1"
        raise RenderFailed(f"the video API answered 200 with {words}")
    size = 0 if size is None else size
    if type(size) is not int or not 0 <= size <= LARGEST:
        words = f"size: {_shown(size)}; expected bytes, at most {LARGEST}"
        raise RenderFailed(f"the video API answered 200 with {words}")
    scenario, warnings = said.get("scenario"), said.get("warnings")
    listed = warnings if isinstance(warnings, list) else [warnings]
    return Rendered(
        endpoint=endpoint,
        size=size,
        scenario=_words(scenario) if isinstance(scenario, str) else "",
        warnings=tuple(_words(one) for one in listed[:MAX_WARNINGS] if isinstance(one, str)),
    )


def _shown(value: object) -> str:
    """Show a value of an answer; what nests may nest deeper than can be written."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    return _words(repr(value))


def _words(said: str | bytes) -> str:
    """Make what a worker says fit for a line of a terminal, and for a file."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    # Control characters, lone surrogates, line and paragraph separators.
    shown = (
        " " if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} else c for c in text[:_WORDS]
    )
    return "".join(shown).strip() + ("…" if len(text) > _WORDS else "")


def _reason(error: Exception) -> str:
    """Say in a few words why a request failed; the library's own words name its internals."""
    text = str(error)
    for sign, words in (
        ("refused", "connection refused"),
        ("reset by peer", "connection reset"),
        ("RemoteDisconnected", "the worker closed the connection"),
        ("NewConnectionError", "cannot connect"),
        ("timed out", "timed out"),
        ("IncompleteRead", "the connection ended early"),
        ("BadStatusLine", "what answers there does not speak HTTP"),
    ):
        if sign in text:
            return words
    return _words(text)
