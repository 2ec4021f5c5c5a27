"""Parse the protocol's JSON body into a Request. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from cloudburst import media
from cloudburst.videoapi.motion import MOTIONS
from cloudburst.videoapi.quality import EFFORTS, QUALITIES
from cloudburst.videoapi.render import Request
from cloudburst.videoapi.subtitles import known_encoding
from cloudburst.videoapi.typefaces import lettering

if TYPE_CHECKING:
    from collections.abc import Sequence

EFFECTS = (*MOTIONS, "random")
FILENAME = "output.mp4"
_COLOR = re.compile(r"&H[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?&?")

_MOST_NAME = 200
_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")


class FieldError(ValueError):
    """A field is missing or invalid; the message names it."""


def parse(body: object) -> tuple[Request, str]:
    """Parse a request body; unknown fields are ignored, as in the public image.

    Returns:
        The request, and the file name for the download.

    Raises:
        FieldError: names the field, the value and what was expected.
    """
    if not isinstance(body, dict) or not body:
        raise FieldError("No JSON data provided")
    image, audio = _data(body, "input_image"), _data(body, "input_audio")
    if image is None or audio is None:
        missing = [name for name in ("input_image", "input_audio") if not body.get(name)]
        raise FieldError(f"missing required field: {', '.join(missing)}")
    request = Request(
        image=image,
        audio=audio,
        subtitle=_data(body, "subtitle"),
        subtitle_encoding=_encoding(body),
        subtitle_checked=bool(_typed(body, "subtitle_checked", bool, default=False)),
        subtitle_missing=str(_typed(body, "subtitle_missing", str, default="")),
        effects=_effects(body.get("effects")),
        language=_language(body),
        background_box=bool(_typed(body, "background_box", bool, default=True)),
        background_opacity=_number(body, "background_opacity", 0.2, 0, 1),
        font_size=_font_size(body),
        outline_color=_color(body),
        is_portrait=_typed(body, "is_portrait", bool, default=None),
        watermark=_data(body, "watermark"),
        background_color=_background(body),
        quality=_choice(body, "quality", QUALITIES, "normal"),
        effort=_choice(body, "effort", EFFORTS, "low"),
        font=_font(body),
        font_missing=bool(_typed(body, "font_missing", bool, default=False)),
    )
    return request, _filename(body)


def _typed(body: dict[str, Any], name: str, kind: type, *, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise FieldError(f"{name}: expected {kind.__name__}, got {type(value).__name__}")
    return value


def _data(body: dict[str, Any], name: str) -> bytes | None:
    text = _typed(body, name, str, default=None)
    if not text:
        return None
    if text.startswith("data:"):
        text = text.partition("base64,")[2]
    try:
        # Line breaks are common in base64, and have no meaning.
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FieldError(f"{name}: not base64 (paths are not accepted here): {error}") from error


def _font(body: dict[str, Any]) -> bytes | str | None:
    """Return the font that draws the subtitles: a file, or the name of a family."""
    data = _data(body, "font")
    if data is not None:
        try:
            lettering.check_font(data)
        except lettering.FontError as error:
            raise FieldError(f"font: {error}") from error
        return data
    family = str(_typed(body, "font_family", str, default=""))
    if len(family) > _MOST_NAME or not family.isprintable():
        raise FieldError(f"font_family: expected the name of a font, got {family[:50]!r}")
    return family or None


def _language(body: dict[str, Any]) -> str:
    value = str(_typed(body, "language", str, default="chinese")).lower()
    if value not in {"chinese", "english"}:
        raise FieldError(f"language: expected chinese or english, got {value[:50]!r}")
    tag = str(_typed(body, "subtitle_language", str, default=None) or "")
    if tag and not _TAG.fullmatch(tag):
        raise FieldError(
            f"subtitle_language: expected a BCP 47 tag such as zh-Hant or ja, got {tag[:50]!r}"
        )
    return tag or value


def _choice(body: dict[str, Any], name: str, choices: Sequence[str], default: str) -> str:
    value = str(_typed(body, name, str, default=default))
    if value not in choices:
        raise FieldError(f"{name}: expected {', '.join(choices)}, got {value[:50]!r}")
    return value


def _encoding(body: dict[str, Any]) -> str | None:
    value = _typed(body, "subtitle_encoding", str, default=None) or None
    if value is not None and not known_encoding(value):
        raise FieldError(f"subtitle_encoding: unknown encoding {value[:50]!r}")
    return value


def _number(body: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise FieldError(f"{name}: expected a number from {low} to {high}, got {str(value)[:50]}")
    return float(value)


def _font_size(body: dict[str, Any]) -> int | None:
    if not body.get("font_size") and body.get("font_size") is not False:
        return None  # 0 selects the default size, as in the public image
    return round(_number(body, "font_size", 0, 8, 400))


def _color(body: dict[str, Any]) -> str:
    value = str(_typed(body, "outline_color", str, default="&H00000000"))
    # It is inserted into a line of ASS: reject anything that could inject more.
    if not _COLOR.fullmatch(value):
        raise FieldError(f"outline_color: expected &HAABBGGRR, got {value[:50]!r}")
    return value


def _background(body: dict[str, Any]) -> str:
    value = str(_typed(body, "background_color", str, default="black"))
    if not re.fullmatch(media.BACKGROUND, value):
        raise FieldError(
            f"background_color: expected #RRGGBB or a name such as white, got {value[:50]!r}"
        )
    return value


def _effects(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise FieldError(f"effects: expected a list of {', '.join(EFFECTS)}")
    for item in value:
        if item not in EFFECTS:
            raise FieldError(f"effects: expected {', '.join(EFFECTS)}, got {item[:50]!r}")
    return tuple(value)


def _filename(body: dict[str, Any]) -> str:
    """Return the client's file name without characters that are unsafe in a header or a path."""
    name = str(_typed(body, "output_filename", str, default=None) or FILENAME)
    safe = re.sub(r"[^\w.,()+' -]", "_", name)[:200].strip(". ")
    return safe or FILENAME
