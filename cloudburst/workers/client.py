"""Client of one worker's video API.

Nothing that a worker sends is trusted: texts, sizes, paths and pace are all checked.
"""

from __future__ import annotations

import json as jsonlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

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
from cloudburst.workers.transport import (
    CONNECT_TIMEOUT,
    Budget,
    NoAnswerError,
    Peer,
    Response,
    TooMuchError,
    chunks,
    everything,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import Effort, Scene, Worker
    from cloudburst.workers.messages import Rendered

HEADER = "X-Authentication-Key"
GRACE = 5.0
# A download is aborted when it is slower than `STEP` bytes in `PATIENCE` seconds, some 4 kB/s. Even
# twenty parallel downloads over a slow connection are faster.
STEP = 256 * 1024
PATIENCE = 60.0
_OK, _PARTIAL = 200, 206
_PAUSE = 1.0
# Between two looks at a worker's health: a boot that has failed is told that soon.
LONGEST_PAUSE = 2.0
# Any worker would reject the scene with these; other statuses may be a problem of this worker.
_ABOUT_THE_SCENE = {400, 413, 415, 422}


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
        bundled: whether it is the bundled video API, by the same answer.
        wanted: whether the video of a scene, by its name, is still wanted while it is waited for.
        failed: why it will never be healthy again, by its own word; None while it may be.
    """

    # Seconds without a byte for which a download that broke off is tried again.
    resumes = 0.0

    def __init__(self, worker: Worker, effort: Effort = "low", shrink: bool = False) -> None:
        self.capacity: int | None = None
        self.bundled = False
        self.wanted: Callable[[str], bool] = lambda _: True
        self.failed: WorkerUnhealthy | None = None
        self._effort, self._shrink = effort, shrink
        self._peer = Peer(worker.endpoint, worker.certificate)
        self._headers = {HEADER: worker.key}
        self._hint = worker.hint

    def healthy(self, timeout: float = CONNECT_TIMEOUT) -> str | None:
        """Request the worker's health once; return None if healthy, otherwise the reason.

        Args:
            timeout: seconds for the whole request.
        """
        try:
            # Another host may answer at this address, so the key is not sent.
            status, body = self._peer.ask("GET", "/health", Budget(timeout), headers={})
        except (NoAnswerError, TooMuchError) as error:
            return str(error)
        health = messages.json(body)
        if status == _OK and isinstance(health, dict) and health.get("status") == "healthy":
            self.capacity = messages.capacity(health)
            # Who reports no capacity is the public image, or one that is no more than that.
            self.bundled = self.capacity is not None
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
            if self.failed is not None:
                raise self.failed
            if time.monotonic() + pause > deadline:
                text = tr(
                    "not healthy within {seconds:.0f} s; last check: {last}",
                    seconds=timeout,
                    last=last,
                )
                raise WorkerUnhealthy(self._explained(text))
            if stopped(pause):
                raise WorkerUnhealthy(tr("stopped waiting for it to become healthy"))
            pause = min(pause * 1.5, LONGEST_PAUSE)

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
            # What another image makes of a moving picture is as large as the picture.
            ours = self.bundled
            body = messages.body(scene, self._effort, bundled=ours, shrink=ours and self._shrink)
            data = jsonlib.dumps(body).encode()
        except OSError as error:
            raise SceneRejected(
                tr("{file} cannot be read: {reason}", file=error.filename, reason=error.strerror)
            ) from error
        try:
            wanted = self.wanted
            rendered = self._rendered(data, timeout, lambda: wanted(scene.name))
            return replace(rendered, sent=len(data))
        except SceneError as error:
            error.sent = len(data)
            raise

    def _explained(self, text: str) -> str:
        """Return why a worker is not healthy, with what else is known of that."""
        return text

    def _rendered(self, data: bytes, timeout: float, wanted: Callable[[], bool]) -> Rendered:  # noqa: ARG002 - a request waits in any case
        # A little more than the worker's own limit, since its message is more precise.
        budget = Budget(timeout + GRACE)
        path = "/create_video_onestep"
        headers = self._headers | {"Content-Type": "application/json"}
        try:
            status, content = self._peer.ask("POST", path, budget, headers=headers, data=data)
        except NoAnswerError as error:
            raise WorkerUnreachable(f"POST {path}: {error}") from error
        except TooMuchError as error:
            failure = RenderTimedOut if budget.over else RenderFailed
            raise failure(f"POST {path} {error}") from error
        return outcome(status, content)

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
        with path.open("wb") as file:
            received = self._receive(rendered, file)
        if rendered.size and received != rendered.size:
            text = tr(
                "GET {endpoint}: received {size} of {total} bytes",
                endpoint=endpoint,
                size=received,
                total=rendered.size,
            )
            raise ArtifactInvalid(text)

    def _receive(self, rendered: Rendered, file: BinaryIO) -> int:
        """Write a video to a file, in several requests if some break off; return its bytes."""
        endpoint, heard = rendered.endpoint, time.monotonic()
        while True:
            before = file.tell()
            try:
                self._stream(rendered, file)
            except NoAnswerError as error:
                received = file.tell()
                heard = time.monotonic() if received > before else heard
                if time.monotonic() - heard < self.resumes:
                    time.sleep(_PAUSE)
                    continue
                # The worker may be terminating; its health is checked before the next scene.
                text = f"GET {endpoint}: {error}"
                if received:
                    text = tr(
                        "GET {endpoint}: download interrupted after {size} bytes: {reason}",
                        endpoint=endpoint,
                        size=received,
                        reason=error,
                    )
                raise WorkerUnreachable(text) from error
            except TooMuchError as error:
                text = tr(
                    "GET {endpoint} {problem} ({size} bytes received)",
                    endpoint=endpoint,
                    problem=error,
                    size=file.tell(),
                )
                raise ArtifactInvalid(text) from error
            return file.tell()

    def _stream(self, rendered: Rendered, file: BinaryIO) -> None:
        """Write what a file lacks of a video."""
        endpoint, start = rendered.endpoint, file.tell()
        most = rendered.size or messages.LARGEST
        headers = self._headers | ({"Range": f"bytes={start}-"} if start else {})
        budget = Budget(PATIENCE, STEP)
        with self._peer.open("GET", endpoint, budget, headers=headers) as response:
            if start and response.status_code == _OK:
                file.seek(0)  # it sends everything again
                file.truncate()
            elif response.status_code != (_PARTIAL if start else _OK):
                raise ArtifactInvalid(_refused(endpoint, response, budget))
            for chunk in chunks(response, budget):
                file.write(chunk)
                budget.count(len(chunk))
                if file.tell() > most:
                    raise ArtifactInvalid(_too_long(endpoint, most))


def outcome(status: int, content: bytes) -> Rendered:
    """Return what a video API's answer to a scene says.

    Raises:
        SceneRejected: the scene cannot be rendered on any worker.
        RenderFailed: it was not rendered, or the answer is invalid.
    """
    parsed = messages.json(content)
    response = parsed if isinstance(parsed, dict) else {}
    if status == _OK and response.get("success") is True:
        return messages.rendered(response)
    detail = response.get("error")
    message = messages.printable(detail if isinstance(detail, str) and detail else content)
    reason = tr("the video API answered {status}: {text}", status=status, text=message)
    raise (SceneRejected if status in _ABOUT_THE_SCENE else RenderFailed)(reason)


def _within(seconds: float, deadline: float) -> float:
    """Return the seconds, cut at the deadline, but at least 0.1."""
    return max(0.1, min(seconds, deadline - time.monotonic()))


def _refused(endpoint: str, response: Response, budget: Budget) -> str:
    return tr(
        "GET {endpoint} answered {status}: {text}",
        endpoint=endpoint,
        status=response.status_code,
        text=messages.printable(everything(response, budget)),
    )


def _too_long(endpoint: str, most: int) -> str:
    return tr(
        "GET {endpoint}: the worker sent more than the expected {most} bytes",
        endpoint=endpoint,
        most=most,
    )
