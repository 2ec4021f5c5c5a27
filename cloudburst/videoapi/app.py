"""HTTP interface of the video API, as in the public image. Only this module imports Flask."""

from __future__ import annotations

import hmac
import logging
import resource
import shutil
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, jsonify, request, send_file
from werkzeug.exceptions import HTTPException

from cloudburst.version import __version__
from cloudburst.videoapi import ffmpeg
from cloudburst.videoapi.admission import Admission, AdmissionFullError, ClientDisconnectedError
from cloudburst.videoapi.ffmpeg import Cancelled, Deadline, RenderError
from cloudburst.videoapi.protocol import FieldError, parse
from cloudburst.videoapi.render import UnrenderableRequest, render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = "X-Authentication-Key"
# The public image ships with this in its environment; it means "no key".
PLACEHOLDER = "your-authentication-key-placeholder-uuid-here"
MAX_BODY = 512 * 1024**2
_ENDPOINTS = ["/create_video_onestep", "/download/<file_id>", "/cleanup"]
_LOG = logging.getLogger("cloudburst.videoapi")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a server.

    Args:
        work: folder for its files; it is emptied when the server starts.
        key: authentication key; None is the protocol's default mode, open to all.
        slots: scenes rendered at once.
        queue: requests that may wait for a slot.
        threads: encoder threads of one scene.
        timeout: seconds for one scene, from its admission.
        expiry: seconds for which a video can be downloaded.
        max_body: largest request body, in bytes.
    """

    work: Path
    key: str | None = None
    slots: int = 1
    queue: int = 64
    threads: int = 2
    timeout: float = 3600.0
    expiry: float = 3600.0
    max_body: int = MAX_BODY


@dataclass(slots=True)
class Store:
    """Finished videos by id, until they expire.

    Args:
        expiry: seconds.
        clock: returns the time in seconds.
    """

    expiry: float
    clock: Callable[[], float] = time.monotonic
    _files: dict[str, tuple[Path, str, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, path: Path, filename: str) -> str:
        """Store a video and return its id."""
        file_id = str(uuid.uuid4())
        with self._lock:
            self._files[file_id] = (path, filename, self.clock())
        return file_id

    def get(self, file_id: str) -> tuple[Path, str] | None:
        """Return a video's path and file name, or None if it is unknown or expired."""
        self.expire()
        with self._lock:
            entry = self._files.get(file_id)
        return (entry[0], entry[1]) if entry else None

    def expire(self) -> int:
        """Remove expired videos and return their number."""
        limit = self.clock() - self.expiry
        with self._lock:
            expired = [key for key, (_, _, since) in self._files.items() if since <= limit]
            paths = [self._files.pop(key)[0] for key in expired]
        for path in paths:
            shutil.rmtree(path.parent, ignore_errors=True)
        return len(paths)

    def __len__(self) -> int:
        return len(self._files)


class Server:
    """The WSGI application and its state.

    Args:
        settings: limits, key and folder of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.admission = Admission(settings.slots, settings.queue)
        self.store = Store(settings.expiry)
        self.draining = False
        shutil.rmtree(settings.work, ignore_errors=True)
        settings.work.mkdir(parents=True)
        self.app = Flask("cloudburst.videoapi")
        self.app.config["MAX_CONTENT_LENGTH"] = settings.max_body
        # A doubled slash is an unknown path: a redirect would be answered in HTML.
        self.app.url_map.merge_slashes = False
        self.app.before_request(_begin)
        self.app.after_request(_finish)
        self.app.add_url_rule("/health", view_func=self.health)
        self.app.add_url_rule("/create_video_onestep", view_func=self.create, methods=["POST"])
        self.app.add_url_rule("/download/<file_id>", view_func=self.download)
        self.app.add_url_rule("/cleanup", view_func=self.cleanup)
        _handle_errors(self.app)

    @property
    def secure(self) -> bool:
        """Whether requests need the key."""
        return bool(self.settings.key) and self.settings.key != PLACEHOLDER

    def health(self) -> Response:
        """Return the server's status, version, capacity and load."""
        authentication = {
            "mode": "secure" if self.secure else "default",
            "description": f"Secure mode - {HEADER} header required"
            if self.secure
            else "Open access - no authentication required",
        }
        if self.secure:
            authentication["required_header"] = HEADER
        return jsonify(
            status="healthy",
            ffmpeg_version=ffmpeg.version(),
            gpu_available=ffmpeg.has_nvenc(),
            authentication=authentication,
            available_endpoints=_ENDPOINTS,
            version=__version__,
            capacity=self.settings.slots,
            in_flight=self.admission.in_flight,
            queued=self.admission.queued,
        )

    def create(self) -> Response:
        """Render a scene once it is admitted."""
        self._authorise()
        if self.draining:
            raise _Refused(503, error="the server is stopping")
        # waitress reports whether the client has disconnected; other servers may not.
        gone = request.environ.get("waitress.client_disconnected", lambda: False)
        arrived = time.monotonic()
        with self.admission.turn(gone):
            g.log["waited"] = f"{time.monotonic() - arrived:.3f}"
            return self._render(gone)

    def _render(self, gone: Callable[[], bool]) -> Response:
        # The body is read only now: the bodies of queued requests stay on disk.
        scene_request, filename = parse(_body())
        g.log["scenario"] = scene_request.scenario
        folder = self.settings.work / uuid.uuid4().hex
        folder.mkdir()
        try:
            deadline = Deadline(self.settings.timeout, gone)
            video, warnings = render(scene_request, folder, deadline, threads=self.settings.threads)
            shutil.rmtree(folder / "fonts", ignore_errors=True)
            for path in folder.iterdir():
                if path != video:
                    path.unlink()
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        file_id = self.store.add(video, filename)
        return jsonify(
            success=True,
            file_id=file_id,
            download_endpoint=f"/download/{file_id}",
            filename=filename,
            size=video.stat().st_size,
            scenario=scene_request.scenario,
            warnings=warnings,
        )

    def download(self, file_id: str) -> Response:
        """Return a video as an attachment."""
        self._authorise()
        video = self.store.get(file_id)
        if video is None:
            raise _Refused(404, error="File not found")
        path, name = video
        return send_file(path, mimetype="video/mp4", as_attachment=True, download_name=name)

    def cleanup(self) -> Response:
        """Remove expired videos."""
        self._authorise()
        return jsonify(cleaned=self.store.expire(), active_files=len(self.store))

    def _authorise(self) -> None:
        key = request.headers.get(HEADER, "")
        if self.secure and not hmac.compare_digest(key.encode(), str(self.settings.key).encode()):
            raise _Refused(
                401,
                error="Authentication failed",
                message="Invalid authentication key",
                required_header=HEADER,
            )


# -- every request ------------------------------------------------------------------------------


class _Refused(Exception):
    def __init__(self, status: int, **body: str) -> None:
        self.status, self.body = status, body
        super().__init__(body.get("error"))


def _body() -> object:
    """Return the JSON of a request, None if it is none, or nested too deeply for Python."""
    try:
        return request.get_json(silent=True, force=True)
    except RecursionError:
        return None


def _begin() -> None:
    g.began = time.monotonic()
    g.log = {"request": uuid.uuid4().hex[:12]}


def _finish(response: Response) -> Response:
    """Log a request as one line of key=value pairs, without bodies, keys or file names."""
    response.headers["X-Request-Id"] = g.log["request"]
    if request.path != "/health":
        fields = {
            **g.log,
            "method": request.method,
            # As ASCII: a path may contain line breaks and could forge log lines.
            "path": ascii(request.path.split("/")[1][:40])[1:-1],
            "status": response.status_code,
            "seconds": f"{time.monotonic() - g.began:.3f}",
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }
        _LOG.info(" ".join(f"{key}={value}" for key, value in fields.items()))
    return response


def _handle_errors(app: Flask) -> None:
    def answer(status: int, **body: Any) -> tuple[Response, int]:
        g.log["error"] = ascii(str(body.get("error"))[:200])
        return jsonify(body), status

    def other(error: HTTPException) -> tuple[Response, int]:
        return answer(error.code or 500, error=f"{error.name}: {error.description}")

    def unexpected(error: Exception) -> tuple[Response, int]:
        _LOG.exception("request=%s unexpected", g.log["request"])
        return answer(500, error=f"internal error, request {g.log['request']}: {error}")

    handlers: dict[type[Exception], Callable[[Any], tuple[Response, int]]] = {
        _Refused: lambda error: answer(error.status, **error.body),
        FieldError: lambda error: answer(400, error=str(error)),
        UnrenderableRequest: lambda error: answer(422, error=str(error)),
        AdmissionFullError: lambda _: answer(429, error="too many requests wait; try again later"),
        ClientDisconnectedError: lambda _: answer(499, error="the client has gone"),
        Cancelled: lambda error: answer(499, error=str(error)),
        RenderError: lambda error: answer(500, error=str(error)),
        HTTPException: other,
        Exception: unexpected,
    }
    for kind, handler in handlers.items():
        app.register_error_handler(kind, handler)
