"""Read ASS and SSA: the words of its dialogue, without positions, styles and drawings. Pure.

http://www.tcax.org/docs/ass-specs.htm
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudburst.videoapi.subtitles import markup
from cloudburst.videoapi.subtitles.cue import Draft, Findings

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMAT = "layer, start, end, style, name, marginl, marginr, marginv, effect, text"
_TIME = re.compile(r"\s*(\d{1,3}):(\d{1,2}):(\d{1,2})(?:[.,:](\d{1,3}))?\s*", re.ASCII)
_OVERRIDES = re.compile(r"\{([^{}]*)\}")
_DRAWING = re.compile(r"\\p(\d+)")
_BREAK = re.compile(r"\\[Nn]")


def read(lines: Sequence[str]) -> Findings:
    """Read the lines of an ASS file: dialogue by its Format line; comments are not shown."""
    found = Findings()
    fields = _fields(_FORMAT)
    events = False
    seen: set[tuple[float, float, str]] = set()
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if line.startswith("["):
            events = line.casefold() == "[events]"
            continue
        kind, _, rest = line.partition(":")
        if events and kind.casefold() == "format":
            fields = _fields(rest) if "text" in rest.casefold() else fields
        elif kind.casefold() == "dialogue":
            _read_event(number, line, rest, fields, found, seen)
    return found


def _fields(text: str) -> list[str]:
    return [name.strip().casefold() for name in text.split(",")]


def _read_event(
    number: int,
    line: str,
    rest: str,
    fields: Sequence[str],
    found: Findings,
    seen: set[tuple[float, float, str]],
) -> None:
    values = dict(zip(fields, rest.split(",", len(fields) - 1), strict=False))
    start, end = _seconds(values.get("start")), _seconds(values.get("end"))
    text = _text(values.get("text", ""))
    if start is None or end is None:
        found.unreadable.append((number, line))
    elif text and (start, end, text) not in seen:
        # Layers of shadows and glows repeat a line.
        seen.add((start, end, text))
        found.add(Draft(start, end, text, number))


def _seconds(value: str | None) -> float | None:
    match = _TIME.fullmatch(value or "")
    if match is None:
        return None
    hours, minutes, seconds, fraction = match.groups()
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + float(f"0.{fraction or 0}")


def _text(raw: str) -> str:
    r"""Return the words of an event: overrides in braces go, and what is drawn after ``\p1``."""
    pieces: list[str] = []
    drawing, at = False, 0
    for match in _OVERRIDES.finditer(raw):
        if not drawing:
            pieces.append(raw[at : match.start()])
        at = match.end()
        if levels := _DRAWING.findall(match[1]):
            drawing = levels[-1].strip("0") != ""
    if not drawing:
        pieces.append(raw[at:])
    text = _BREAK.sub("\n", "".join(pieces)).replace("\\h", "\u00a0")
    return markup.tidy(text)
