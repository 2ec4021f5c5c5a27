"""HTTP client of one video API. The only module that imports requests."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from cloudburst.errors import (
    ArtifactInvalid,
    RenderFailed,
    SceneRejected,
    WorkerGone,
    WorkerUnhealthy,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import Scene, Worker

HEADER = "X-Authentication-Key"
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 60.0
GRACE = 5.0
_CHUNK = 1024 * 1024
_TOO_BUSY = 429
_SERVER = 500
_OK = 200


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
        """Ask once for its health; give None if healthy, otherwise what came back."""
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.get(f"{self._base}/health", timeout=timeout)
                said = answer.json()
        except requests.RequestException as error:
            return _reason(error)
        if answer.status_code == _OK and isinstance(said, dict) and said.get("status") == "healthy":
            return None
        return f"/health answered {answer.status_code}: {answer.text[:200]}"

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
        while (last := self.healthy()) is not None:
            if time.monotonic() + pause > deadline:
                raise WorkerUnhealthy(f"not healthy within {timeout:.0f} s; last: {last}")
            if stopped(pause):
                raise WorkerUnhealthy("the wait for its health was ended")
            pause = min(pause * 1.5, 2.0)

    def render(self, scene: Scene, timeout: float) -> Rendered:
        """Send a scene and wait until its video is ready on the worker.

        Args:
            scene: whose files are read now.
            timeout: seconds.

        Raises:
            SceneRejected: the scene cannot be rendered, here or elsewhere.
            RenderFailed: it was not rendered, in time or at all.
            WorkerGone: the worker does not answer any more.
        """
        try:
            body = _body(scene)
        except OSError as error:
            raise SceneRejected(f"{error.filename} cannot be read: {error.strerror}") from error
        # A little more than the worker itself allows: its own reason is the better one.
        answer = self._request(
            "POST", "/create_video_onestep", json=body, timeout=(CONNECT_TIMEOUT, timeout + GRACE)
        )
        said = _json(answer)
        if answer.status_code == _OK and said.get("success") is True:
            return Rendered(
                endpoint=str(said["download_endpoint"]),
                size=int(said.get("size") or 0),
                scenario=str(said.get("scenario") or ""),
                warnings=tuple(str(warning) for warning in said.get("warnings") or ()),
            )
        reason = f"the video API answered {answer.status_code}: {said.get('error') or answer.text}"
        refused = _OK < answer.status_code < _SERVER and answer.status_code != _TOO_BUSY
        raise (SceneRejected if refused else RenderFailed)(reason[:500])

    def fetch(self, rendered: Rendered, path: Path) -> None:
        """Download a video into a file.

        Raises:
            ArtifactInvalid: fewer or more bytes came than were announced, or it is not there.
            WorkerGone: the worker does not answer any more.
        """
        timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
        answer = self._request("GET", rendered.endpoint, timeout=timeout, stream=True)
        with answer:
            if answer.status_code != _OK:
                raise ArtifactInvalid(
                    f"{rendered.endpoint} answered {answer.status_code}: {answer.text[:200]}"
                )
            received = 0
            try:
                with path.open("wb") as file:
                    for chunk in answer.iter_content(_CHUNK):
                        received += file.write(chunk)
            except requests.RequestException as error:
                raise ArtifactInvalid(
                    f"the download broke off after {received} bytes: {_reason(error)}"
                ) from error
        if rendered.size and received != rendered.size:
            raise ArtifactInvalid(f"{received} bytes came, {rendered.size} were announced")

    def _request(self, method: str, path: str, **options: Any) -> requests.Response:
        session = requests.Session()
        # Workers are reached directly: a proxy for the web has no business here.
        session.trust_env = False
        try:
            return session.request(method, self._base + path, headers=self._headers, **options)
        except requests.ReadTimeout as error:
            limit = options["timeout"][1]
            raise RenderFailed(f"{method} {path} took longer than {limit:.0f} s") from error
        except requests.RequestException as error:
            raise WorkerGone(f"{method} {path}: {_reason(error)}") from error


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


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        said = answer.json()
    except requests.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _reason(error: Exception) -> str:
    """Say in a few words why a request failed; the library's own words name its internals."""
    text = str(error)
    for sign, words in (
        ("refused", "connection refused"),
        ("reset by peer", "connection reset"),
        ("RemoteDisconnected", "the worker closed the connection"),
        ("NewConnectionError", "cannot connect"),
        ("timed out", "timed out"),
    ):
        if sign in text:
            return words
    return text[:200]
