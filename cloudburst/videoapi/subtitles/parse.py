"""Parse SRT into cues. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIME = re.compile(
    r"\s*(\d{1,3}):(\d{1,2}):(\d{1,2})[,.](\d{1,3})\s*-->\s*(\d{1,3}):(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|\{\\[^{}]{0,200}\}")
# Half an hour, the longest narration, has some 50 000 characters even when spoken fast. Far larger
# files are not subtitles, and would keep a worker busy for hours.
MAX_BYTES = 1024**2
MAX_TEXT = 10_000
MAX_SHOWN = 500_000
# libass takes a NUL for the end of the file, and draws other control characters as boxes.
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ") | {0: None, ord("\n"): "\n"}
# GB18030 is a superset of GBK and GB2312; UTF-16 is recognised by its byte order mark.
_ENCODINGS = ("utf-8-sig", "gb18030", "cp1252")


class SubtitleError(ValueError):
    """The bytes are not an SRT file."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle.

    Args:
        start: seconds.
        end: seconds.
        text: lines, without markup.
    """

    start: float
    end: float
    text: str


def parse(data: bytes) -> list[Cue]:
    """Parse an SRT file in any common encoding; return its cues in order of time.

    Cue numbers are ignored, markup and control characters are removed, cues without text or length
    are skipped.

    Raises:
        SubtitleError: the file has no cues, or exceeds a limit on bytes or characters.
    """
    if len(data) > MAX_BYTES:
        raise SubtitleError(tr("{size} bytes; the limit is {most}", size=len(data), most=MAX_BYTES))
    cues = sorted(_cues(_decode(data)), key=lambda cue: (cue.start, cue.end))
    if not cues:
        raise SubtitleError(tr("no cues found (a cue is 00:00:01,000 --> 00:00:04,000, then text)"))
    for cue in cues:
        if len(cue.text) > MAX_TEXT:
            raise SubtitleError(
                tr(
                    "the cue at {start:.1f} s has {count} characters; the limit is {most}",
                    start=cue.start,
                    count=len(cue.text),
                    most=MAX_TEXT,
                )
            )
    if _flattened_length(cues) > MAX_SHOWN:
        raise SubtitleError(
            tr(
                "more than {most} characters in total (overlapping cues count more than once)",
                most=MAX_SHOWN,
            )
        )
    return cues


def _flattened_length(cues: list[Cue]) -> int:
    """Return the number of characters of all cues that `flatten` would return."""
    changes: dict[float, int] = {}
    for cue in cues:
        changes[cue.start] = changes.get(cue.start, 0) + len(cue.text)
        changes[cue.end] = changes.get(cue.end, 0) - len(cue.text)
    total = current = 0
    for _, change in sorted(changes.items()):
        current += change
        total += current
    return total


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    for encoding in _ENCODINGS:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", errors="replace")


def _cues(text: str) -> Iterator[Cue]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").translate(_CONTROLS).split("\n")
    times = [index for index, line in enumerate(lines) if _TIME.match(line)]
    for index, following in pairwise([*times, len(lines)]):
        body = lines[index + 1 : following]
        if following < len(lines) and body and re.fullmatch(r"\s*\d+\s*", body[-1]):
            body.pop()  # the next cue's number
        shown = "\n".join(_TAG.sub("", line).strip() for line in body).strip()
        match = _TIME.match(lines[index])
        if match is None:
            continue
        start, end = _seconds(match.groups()[:4]), _seconds(match.groups()[4:])
        if shown and end > start:
            yield Cue(start, end, re.sub(r"\n{2,}", "\n", shown))


def _seconds(parts: tuple[str, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def flatten(cues: list[Cue]) -> list[Cue]:
    """Return cues that do not overlap: where several overlapped, one cue has all their lines.

    Two overlapping boxes are darker where they meet and hide text; one box does not.
    """
    edges = sorted({edge for cue in cues for edge in (cue.start, cue.end)})
    pending = sorted(enumerate(cues), key=lambda item: item[1].start, reverse=True)
    visible: dict[int, Cue] = {}
    flat: list[Cue] = []
    for start, end in pairwise(edges):
        visible = {index: cue for index, cue in visible.items() if cue.end > start}
        while pending and pending[-1][1].start <= start:
            index, cue = pending.pop()
            visible[index] = cue
        if not visible:
            continue
        text = "\n".join(visible[index].text for index in sorted(visible))
        if flat and flat[-1].end == start and flat[-1].text == text:
            flat[-1] = Cue(flat[-1].start, end, text)
        else:
            flat.append(Cue(start, end, text))
    return flat
