"""The HTTP face of the video API: the protocol of the public image. Flask lives only here."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import shutil
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import imageio_ffmpeg
from flask import Flask, Response, jsonify, request, send_file
from werkzeug.exceptions import HTTPException

from cloudburst.videoapi.motion import MOTIONS
from cloudburst.videoapi.render import RenderError, Request, SceneRefused, render

if TYPE_CHECKING:
    from pathlib import Path

HEADER = "X-Authentication-Key"
EXPIRY = 3600.0
MAX_BODY = 512 * 1024**2
_COLOR = re.compile(r"&H[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?&?")
_ENDPOINTS = ["/health", "/create_video_onestep", "/download/<file_id>", "/cleanup"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server runs.

    Args:
        work: folder for its files; it is emptied when the server starts.
        key: authentication key; None is the protocol's default mode, open to all.
        slots: scenes rendered at once; others wait for their turn.
        threads: encoder threads of one scene.
        timeout: seconds for one scene.
    """

    work: Path
    key: str | None = None
    slots: int = 1
    threads: int = 2
    timeout: float = 3600.0


@dataclass(slots=True)
class _Store:
    """Finished videos by id, until they expire."""

    files: dict[str, tuple[Path, str, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, path: Path, filename: str) -> str:
        file_id = uuid.uuid4().hex
        with self.lock:
            self.files[file_id] = (path, filename, time.monotonic())
        return file_id

    def get(self, file_id: str) -> tuple[Path, str] | None:
        self.expire()
        with self.lock:
            found = self.files.get(file_id)
        return (found[0], found[1]) if found else None

    def expire(self) -> int:
        limit = time.monotonic() - EXPIRY
        with self.lock:
            old = [key for key, (_, _, since) in self.files.items() if since < limit]
            gone = [self.files.pop(key)[0] for key in old]
        for path in gone:
            shutil.rmtree(path.parent, ignore_errors=True)
        return len(gone)


class _Refused(Exception):
    def __init__(self, status: int, **body: str) -> None:
        self.status, self.body = status, body
        super().__init__(body.get("error"))


def create_app(settings: Settings) -> Flask:
    """Make the WSGI application."""
    app = Flask("cloudburst.videoapi")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    shutil.rmtree(settings.work, ignore_errors=True)
    settings.work.mkdir(parents=True)
    store = _Store()
    slots = threading.BoundedSemaphore(settings.slots)
    version = imageio_ffmpeg.get_ffmpeg_version()

    def authorise() -> None:
        given = request.headers.get(HEADER, "")
        if settings.key and not hmac.compare_digest(given.encode(), settings.key.encode()):
            raise _Refused(
                401,
                error="Unauthorized",
                message="Invalid or missing authentication key",
                required_header=HEADER,
            )

    @app.get("/health")
    def health() -> Response:
        return jsonify(
            status="healthy",
            ffmpeg_version=version,
            gpu_available=False,
            authentication={"mode": "secure" if settings.key else "default"},
            available_endpoints=_ENDPOINTS,
        )

    @app.post("/create_video_onestep")
    def create() -> Response:
        authorise()
        body = request.get_json(silent=True)
        if not isinstance(body, dict):
            raise _Refused(400, error="the body must be a JSON object")
        wanted, filename = _parse(body)
        with slots:
            folder = settings.work / uuid.uuid4().hex
            folder.mkdir()
            try:
                video, warnings = render(
                    wanted, folder, threads=settings.threads, timeout=settings.timeout
                )
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
        file_id = store.add(video, filename)
        return jsonify(
            success=True,
            file_id=file_id,
            download_endpoint=f"/download/{file_id}",
            filename=filename,
            size=video.stat().st_size,
            scenario=wanted.scenario,
            warnings=warnings,
        )

    @app.get("/download/<file_id>")
    def download(file_id: str) -> Response:
        authorise()
        found = store.get(file_id)
        if found is None:
            raise _Refused(404, error="File not found or expired")
        return send_file(found[0], mimetype="video/mp4", as_attachment=True, download_name=found[1])

    @app.get("/cleanup")
    def cleanup() -> Response:
        authorise()
        return jsonify(cleaned=store.expire(), active_files=len(store.files))

    _handle_errors(app)
    return app


def _handle_errors(app: Flask) -> None:
    @app.errorhandler(_Refused)
    def refused(error: _Refused) -> tuple[Response, int]:
        return jsonify(error.body), error.status

    @app.errorhandler(SceneRefused)
    def unusable(error: SceneRefused) -> tuple[Response, int]:
        return jsonify(error=str(error)), 400

    @app.errorhandler(RenderError)
    def failed(error: RenderError) -> tuple[Response, int]:
        app.logger.error("render failed: %s", error)
        return jsonify(error=str(error)), 500

    @app.errorhandler(HTTPException)
    def other(error: HTTPException) -> tuple[Response, int]:
        return jsonify(error=f"{error.name}: {error.description}"), error.code or 500

    @app.errorhandler(Exception)
    def unexpected(error: Exception) -> tuple[Response, int]:
        app.logger.error("unexpected error")
        return jsonify(error=f"internal error: {error}"), 500


# -- the request's fields -----------------------------------------------------------------------


def _parse(body: dict[str, Any]) -> tuple[Request, str]:
    image, audio = _bytes(body, "input_image"), _bytes(body, "input_audio")
    if image is None or audio is None:
        missing = [name for name in ("input_image", "input_audio") if not body.get(name)]
        raise _Refused(400, error=f"missing required field: {', '.join(missing)}")
    wanted = Request(
        image=image,
        audio=audio,
        subtitle=_bytes(body, "subtitle"),
        effects=_effects(body.get("effects")),
        language=_one_of(body, "language", ("chinese", "english"), "chinese"),
        background_box=bool(_typed(body, "background_box", bool, default=True)),
        background_opacity=_number(body, "background_opacity", 0.2, 0, 1),
        font_size=_font_size(body),
        outline_color=_color(body),
        is_portrait=_typed(body, "is_portrait", bool, default=None),
        watermark=_bytes(body, "watermark"),
    )
    filename = _typed(body, "output_filename", str, default=None) or "output.mp4"
    filename = re.sub(r"[^\w.,()+ -]", "_", filename)[:200].lstrip(".") or "output.mp4"
    return wanted, filename if filename.endswith(".mp4") else f"{filename}.mp4"


def _typed(body: dict[str, Any], name: str, kind: type, *, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise _Refused(400, error=f"{name}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def _bytes(body: dict[str, Any], name: str) -> bytes | None:
    text = _typed(body, name, str, default=None)
    if not text:
        return None
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except binascii.Error as error:
        raise _Refused(400, error=f"{name}: not base64: {error}") from error


def _one_of(body: dict[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = str(_typed(body, name, str, default=default))
    if value not in allowed:
        raise _Refused(400, error=f"{name}: expected one of {', '.join(allowed)}, got {value!r}")
    return value


def _number(body: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name, default)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _Refused(400, error=f"{name}: expected a number from {low} to {high}, got {value!r}")
    return float(value)


def _font_size(body: dict[str, Any]) -> int | None:
    if body.get("font_size") is None:
        return None
    return round(_number(body, "font_size", 0, 8, 400))


def _color(body: dict[str, Any]) -> str:
    value = str(_typed(body, "outline_color", str, default="&H00000000"))
    # It becomes part of a line of ASS; nothing else may come along.
    if not _COLOR.fullmatch(value):
        raise _Refused(400, error=f"outline_color: expected &HAABBGGRR, got {value!r}")
    return value


def _effects(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _Refused(400, error="effects: expected a list of names")
    allowed = (*MOTIONS, "random")
    for item in value:
        if item not in allowed:
            raise _Refused(400, error=f"effects: expected {', '.join(allowed)}, got {item!r}")
    return tuple(value)
