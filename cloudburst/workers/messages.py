"""The video API's requests and responses: what is sent, and what of a response is believed. Pure.

Nothing that a worker sends is trusted: texts, sizes and paths are all checked.
"""

from __future__ import annotations

import base64
import json as jsonlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudburst.errors import RenderFailed
from cloudburst.language import tr
from cloudburst.models import DEFAULT_BACKGROUND
from cloudburst.videoapi import subtitles
from cloudburst.workers import pictures

if TYPE_CHECKING:
    from cloudburst.models import Effort, Scene

# Bytes; a video of the longest narration, with motion, has some 2 GB.
LARGEST = 8 * 1024**3
MAX_WARNINGS = 100
_MAX_TEXT = 300
# A path, and nothing that could be parsed as another host, header or line.
ENDPOINT = re.compile(r"/[!-~]{0,1000}")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A video that is ready on its worker.

    Args:
        endpoint: path of the download.
        size: bytes; 0 if the worker announced none.
        scenario: the protocol's name for the combination of options.
        warnings: options that could not be applied.
        sent: bytes of the request.
    """

    endpoint: str
    size: int
    scenario: str
    warnings: tuple[str, ...]
    sent: int = 0


def body(
    scene: Scene, effort: Effort, *, bundled: bool = True, shrink: bool = False
) -> dict[str, object]:
    """Return the JSON of a request to render a scene, without what the renderer takes anyway.

    Args:
        scene: the scene; its files are read.
        effort: how much CPU the renderer spends for few bytes.
        bundled: whether it is the bundled video API. Another one gets subtitles and pictures as it
            can read them, and no font: a file may have 20 MiB, and it would be ignored.
        shrink: whether pictures are sent no larger than the bundled video API needs.

    Raises:
        OSError: one of its files cannot be read.
    """
    options = scene.options
    image, mark = pictures.read(scene, bundled=bundled, shrink=shrink)
    # The public image knows two languages; it ignores the field that says it more exactly.
    tag = options.language if options.language not in {"chinese", "english"} else None
    body: dict[str, object] = {
        "input_image": _b64(image),
        "input_audio": _b64(scene.audio.read_bytes()),
        "effects": list(options.effects),
        "language": options.language if tag is None else _nearest(tag),
        "background_box": options.background_box,
        "background_opacity": options.background_opacity,
        "outline_color": options.outline_color,
        "output_filename": f"{scene.name}.mp4",
    }
    color = options.background_color
    optional = {
        **_subtitles(scene, bundled=bundled),
        # What is odd about them has been reported before the run.
        "subtitle_checked": True if options.subtitle else None,
        "subtitle_missing": scene.missing or None,
        "watermark": None if mark is None else _b64(mark),
        "subtitle_language": tag,
        "font_size": options.font_size,
        "is_portrait": options.is_portrait,
        "background_color": None if color == DEFAULT_BACKGROUND else color,
        "quality": options.quality if options.quality != "normal" else None,
        "effort": effort if effort != "low" else None,
        **(_font(scene) if bundled else {}),
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def _subtitles(scene: Scene, *, bundled: bool) -> dict[str, object]:
    """Return the fields with a scene's subtitles.

    The bundled video API reads a file as the client has. Another one gets the cues that the client
    has read, as SRT in UTF-8: ffmpeg shows no word of a file in another encoding, and knows nothing
    of what has been repaired and reported.
    """
    options = scene.options
    if options.subtitle is None:
        return {}
    data = options.subtitle.read_bytes()
    as_it_is: dict[str, object] = {
        "subtitle": _b64(data),
        "subtitle_encoding": options.subtitle_encoding,
    }
    if bundled:
        return as_it_is
    try:
        found = subtitles.read(
            data,
            encoding=options.subtitle_encoding,
            language=options.language,
            seconds=scene.seconds or None,
        )
    except subtitles.SubtitleError:
        return as_it_is  # it has been changed since it was checked
    return {"subtitle": _b64(subtitles.to_srt(found.cues).encode())}


def _font(scene: Scene) -> dict[str, object]:
    """Return the fields that say which font draws the subtitles."""
    font = scene.options.font
    if font is None or scene.options.subtitle is None:
        return {}
    if isinstance(font, Path):
        return {"font": _b64(font.read_bytes())}
    return {"font_family": font, "font_missing": True if scene.font_missing else None}


def _nearest(tag: str) -> str:
    """Return the one of the protocol's two languages that has most of a language's characters."""
    return "chinese" if tag.startswith(("zh", "ja", "ko")) else "english"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def json(body: bytes) -> object:
    """Return what a response says; None when it is not JSON."""
    try:
        return jsonlib.loads(body)
    except (ValueError, RecursionError):
        return None


def capacity(health: dict[str, Any]) -> int | None:
    """Return the number of scenes that a server says it renders at once; None if it says none."""
    value = health.get("capacity")
    return value if type(value) is int and value > 0 else None


def rendered(response: dict[str, Any]) -> Rendered:
    """Parse the response to a render; the fields that the download needs must be valid.

    Raises:
        RenderFailed: they are not.
    """
    endpoint, size = response.get("download_endpoint"), response.get("size")
    if not isinstance(endpoint, str) or not ENDPOINT.fullmatch(endpoint):
        text = tr(
            "the video API answered 200 with download_endpoint {endpoint}; "
            "expected a path such as /download/1",
            endpoint=_as_text(endpoint),
        )
        raise RenderFailed(text)
    size = 0 if size is None else size
    if type(size) is not int or not 0 <= size <= LARGEST:
        text = tr(
            "the video API answered 200 with size {size}; expected bytes, 0 to {most}",
            size=_as_text(size),
            most=LARGEST,
        )
        raise RenderFailed(text)
    scenario, warnings = response.get("scenario"), response.get("warnings")
    listed = warnings if isinstance(warnings, list) else [warnings]
    return Rendered(
        endpoint=endpoint,
        size=size,
        scenario=printable(scenario) if isinstance(scenario, str) else "",
        warnings=tuple(printable(text) for text in listed[:MAX_WARNINGS] if isinstance(text, str)),
    )


def _as_text(value: object) -> str:
    """Return a value as text for a message; containers may nest too deeply for `repr`."""
    if isinstance(value, list | dict):
        return tr("a list") if isinstance(value, list) else tr("a mapping")
    return printable(repr(value))


def printable(raw: str | bytes, most: int = _MAX_TEXT) -> str:
    """Return a worker's text shortened, on one line, and safe for a terminal and a file."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    # Control characters, lone surrogates, line and paragraph separators.
    printable = (
        " " if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} else c for c in text[:most]
    )
    return "".join(printable).strip() + ("…" if len(text) > most else "")


def reason(error: Exception) -> str:
    """Return a short reason for a failed request; the library's messages name its internals."""
    text = str(error)
    for pattern, reason in (
        ("refused", tr("connection refused")),
        ("reset by peer", tr("connection reset")),
        ("RemoteDisconnected", tr("the worker closed the connection")),
        ("NewConnectionError", tr("cannot connect")),
        ("timed out", tr("timed out")),
        ("IncompleteRead", tr("connection closed early")),
        ("BadStatusLine", tr("the response is not HTTP")),
    ):
        if pattern in text:
            return reason
    return printable(text)
