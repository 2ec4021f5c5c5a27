"""Write cues as ASS. Pure.

ASS is written here, not by ffmpeg's SRT reader: size, wrapping and the box must fit the output's
size, and the text of a cue must never act as ASS commands.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.videoapi.subtitles.parse import Cue

    Measure = Callable[[str, float], float]
    Runs = Callable[[str], list[tuple[str, float, str]]]

# A line longer than this fills the screen anyway; its pieces need not be of equal width.
_BALANCED = 300


@dataclass(frozen=True, slots=True)
class Style:
    """How cues are drawn.

    Args:
        width: width of the output, in pixels.
        height: height of the output, in pixels.
        font: font family of the text.
        measure: returns the width of a text in pixels at a font size in pixels.
        runs: splits a text into runs of a font: family, factor of the font size, text. None draws
            all of it in `font`.
        font_size: pixels; None for 1/18 of the shorter side.
        box: whether a box is drawn behind the text.
        transparency: transparency of the box, 0 (solid) to 1 (clear).
        outline_color: ASS colour.
    """

    width: int
    height: int
    font: str
    measure: Measure
    runs: Runs | None = None
    font_size: int | None = None
    box: bool = True
    transparency: float = 0.2
    outline_color: str = "&H00000000"


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
        f"{_wrapped(cue, style, size, usable)}\n"
        for cue in cues
    ]
    return head + "".join(events)


def _stamp(seconds: float) -> str:
    hundredths = max(0, round(seconds * 100))
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def _wrapped(cue: Cue, style: Style, size: int, usable: int) -> str:
    def width(text: str) -> float:
        return style.measure(text, size)

    text = literal(cue.text)
    lines = [piece for line in text.split("\n") for piece in wrap(line, width, usable)]
    return r"\N".join(_in_fonts(line, style, size) for line in lines)


def _in_fonts(line: str, style: Style, size: int) -> str:
    """Return a line in ASS, with a command where its font changes."""
    if style.runs is None:
        return _escape(line)
    return "".join(
        _escape(text)
        if family == style.font
        else rf"{{\fn{family}\fs{size * scale:.4g}}}{_escape(text)}{{\fn\fs}}"
        for family, scale, text in style.runs(line)
    )


def literal(text: str) -> str:
    """Return a text as it is drawn: with full-width braces, which libass never parses."""
    return text.replace("{", "\uff5b").replace("}", "\uff5d")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\u2060")  # a zero-width joiner breaks `\n`-like pairs


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
