"""Parse SRT into cues and write them as ASS. Pure.

ASS is written here, not by ffmpeg's SRT reader: size, wrapping and the box must fit the output's
size, and the text of a cue must never act as ASS commands.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Measure = Callable[[str, float], float]

_TIME = re.compile(
    r"\s*(\d{1,3}):(\d{1,2}):(\d{1,2})[,.](\d{1,3})\s*-->\s*(\d{1,3}):(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>|\{\\[^{}]{0,200}\}")
# Half an hour, the longest narration, has some 50 000 characters even when spoken fast. Far larger
# files are not subtitles, and would keep a worker busy for hours.
MAX_BYTES = 1024**2
MAX_TEXT = 10_000
MAX_SHOWN = 500_000
# A line longer than this fills the screen anyway; its pieces need not be of equal width.
_BALANCED = 300
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


@dataclass(frozen=True, slots=True)
class Style:
    """How cues are drawn.

    Args:
        width: width of the output, in pixels.
        height: height of the output, in pixels.
        font: font family that has the characters.
        measure: returns the width of a text in pixels at a font size in pixels.
        font_size: pixels; None for 1/18 of the shorter side.
        box: whether a box is drawn behind the text.
        transparency: transparency of the box, 0 (solid) to 1 (clear).
        outline_color: ASS colour.
    """

    width: int
    height: int
    font: str
    measure: Measure
    font_size: int | None = None
    box: bool = True
    transparency: float = 0.2
    outline_color: str = "&H00000000"


def parse(data: bytes) -> list[Cue]:
    """Parse an SRT file in any common encoding; return its cues in order of time.

    Cue numbers are ignored, markup and control characters are removed, cues without text or length
    are skipped.

    Raises:
        SubtitleError: the file has no cues, or exceeds a limit on bytes or characters.
    """
    if len(data) > MAX_BYTES:
        raise SubtitleError(f"{len(data)} bytes; the limit is {MAX_BYTES}")
    cues = sorted(_cues(_decode(data)), key=lambda cue: (cue.start, cue.end))
    if not cues:
        raise SubtitleError("no cues found (a cue is 00:00:01,000 --> 00:00:04,000, then text)")
    for cue in cues:
        if len(cue.text) > MAX_TEXT:
            cue_length = f"the cue at {cue.start:.1f} s has {len(cue.text)} characters"
            raise SubtitleError(f"{cue_length}; the limit is {MAX_TEXT}")
    if _flattened_length(cues) > MAX_SHOWN:
        raise SubtitleError(
            f"more than {MAX_SHOWN} characters in total (overlapping cues count more than once)"
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


def to_ass(cues: list[Cue], style: Style) -> str:
    """Return the text of an ASS file that draws cues without overlaps (see `flatten`)."""
    size = style.font_size or round(min(style.width, style.height) / 18)
    margin = round(style.width * 0.06)
    usable = style.width - 2 * margin
    box = 4 if style.box else 1
    alpha = round(255 * style.transparency)
    # BorderStyle 4 (libass): one box behind all lines, as wide as the text plus `Shadow`.
    edge = round(size * 0.28) if style.box else 0
    head = f"""[Script Info]
ScriptType: v4.00+
PlayResX: {style.width}
PlayResY: {style.height}
WrapStyle: 2
ScaledBorderAndShadow: yes
YCbCr Matrix: TV.709

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, OutlineColour, BackColour, Bold, BorderStyle, \
Outline, Shadow, Alignment, MarginL, MarginR, MarginV
Style: Default,{style.font},{size},&H00FFFFFF,{style.outline_color.rstrip("&")},\
&H{alpha:02X}000000,0,{box},{max(1, round(size / 24))},{edge},2,{margin},{margin},\
{round(style.height * 0.06)}

[Events]
Format: Layer, Start, End, Style, Text
"""
    events = [
        f"Dialogue: 0,{_stamp(cue.start)},{_stamp(cue.end)},Default,"
        f"{_wrapped(cue, style.measure, size, usable)}\n"
        for cue in cues
    ]
    return head + "".join(events)


def _stamp(seconds: float) -> str:
    hundredths = max(0, round(seconds * 100))
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def _wrapped(cue: Cue, measure: Measure, size: int, usable: int) -> str:
    def width(text: str) -> float:
        return measure(text, size)

    lines = [piece for line in cue.text.split("\n") for piece in wrap(line, width, usable)]
    return r"\N".join(_escape(line) for line in lines)


def _escape(text: str) -> str:
    # A zero-width joiner breaks `\n`-like pairs; full-width braces are what libass never parses.
    return text.replace("\\", "\\\u2060").replace("{", "\uff5b").replace("}", "\uff5d")


_OPENING = set("“‘《〈（【「『([{")
_CLOSING = set("，。、；：？！”’》〉）】」』)]},.;:?!%…")


def wrap(line: str, width: Callable[[str], float], usable: float) -> list[str]:
    """Break a line into as few pieces as possible, of about the same width.

    libass breaks only at spaces; Chinese has none. Punctuation is not separated from its word.

    Args:
        line: text without line breaks.
        width: returns the width of a text, in pixels.
        usable: width available for a line, in pixels.
    """
    whole = width(line)
    if whole <= usable:
        return [line]
    best = _fill(_breakable_parts(line), width, usable)
    if len(line) > _BALANCED:
        return best
    # The narrowest goal that needs no more lines makes their widths most alike.
    for step in range(20):
        goal = whole / len(best) + (usable - whole / len(best)) * step / 20
        pieces = _fill(_breakable_parts(line), width, max(goal, usable / 2))
        if len(pieces) <= len(best) and all(width(piece) <= usable for piece in pieces):
            return pieces
    return best


def _fill(words: list[str], width: Callable[[str], float], goal: float) -> list[str]:
    pieces: list[str] = []
    current = ""
    for word in words:
        if current and width((current + word).strip()) > goal:
            pieces.append(current.strip())
            current = ""
        current += word
        while len(current) > 1 and width(current.strip()) > goal and " " not in current.strip():
            fit = _fit(current, width, goal)
            pieces.append(current[:fit])  # one word is longer than the line
            current = current[fit:]
    return [piece for piece in (*pieces, current.strip()) if piece]


def _fit(word: str, width: Callable[[str], float], goal: float) -> int:
    """Return how many characters of a word fit, at least one."""
    lengths = range(1, len(word))
    return max(1, bisect_right(lengths, goal, key=lambda length: width(word[:length])))


def _breakable_parts(line: str) -> list[str]:
    """Split a line where it may be broken: after spaces, and between CJK characters."""
    words: list[str] = []
    for char in line:
        last = words[-1] if words else ""
        glued = bool(last) and (
            char in _CLOSING
            or char.isspace()
            or last[-1] in _OPENING
            or not (is_cjk(char) or is_cjk(last[-1]) or last[-1].isspace() or last[-1] in _CLOSING)
            or (last[-1] in _CLOSING and not is_cjk(char) and ord(last[-1]) < 128)  # noqa: PLR2004
        )
        if glued:
            words[-1] += char
        else:
            words.append(char)
    return words


# Radicals to ideographs, Hangul, compatibility forms, vertical and full-width forms, extensions.
_CJK_BLOCKS = (
    (0x2E80, 0x9FFF),
    (0xAC00, 0xD7AF),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE4F),
    (0xFF00, 0xFFEF),
    (0x20000, 0x3FFFF),
)


def is_cjk(char: str) -> bool:
    """Whether a character needs a CJK font."""
    code = ord(char)
    return any(first <= code <= last for first, last in _CJK_BLOCKS)
