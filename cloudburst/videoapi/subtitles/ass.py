"""Write cues as ASS. Pure.

ASS is written here, not by ffmpeg's SRT reader: size, wrapping and the box must fit the output's
size, and the text of a cue must never act as ASS commands.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst.videoapi.subtitles import fit
from cloudburst.videoapi.subtitles.parse import Cue, flatten
from cloudburst.videoapi.typefaces import scripts

if TYPE_CHECKING:
    from collections.abc import Callable

    Measure = Callable[[str, float], float]
    Runs = Callable[[str], list[tuple[str, float, str]]]


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
        language: of the text, as a BCP 47 tag.
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
    language: str = "en"

    @property
    def size(self) -> int:
        """Font size where nothing speaks against it, in pixels."""
        return self.font_size or round(min(self.width, self.height) / 18)

    @property
    def margin(self) -> int:
        """Left and right of the text, in pixels."""
        return round(self.width * 0.06)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A subtitle as libass draws it.

    Args:
        start: seconds.
        end: seconds.
        text: in ASS, commands included.
    """

    start: float
    end: float
    text: str


def draw(cues: list[Cue], style: Style) -> tuple[list[Drawn], list[str]]:
    """Lay out cues; where they overlap, one has the lines of all (see `flatten`).

    Returns:
        What is drawn, and warnings about cues that are not shown as they were written.
    """
    where = fit.room(style.width, style.height, style.margin, style.size)
    texts = [Cue(cue.start, cue.end, literal(cue.text)) for cue in cues]

    @functools.cache  # the same words and characters come again and again
    def measure(text: str) -> float:
        return style.measure(text, 1.0)

    def tallness(text: str) -> float:
        runs = style.runs(text) if style.runs else []
        return max((scale for _, scale, _ in runs), default=1.0)

    fitted = fit.fit(flatten(texts), where, measure, tallness, style.language)
    drawn = [Drawn(one.start, one.end, _text(one, style)) for one in fitted]
    return drawn, fit.notes(fitted, where, chosen=bool(style.font_size))


def to_ass(drawn: list[Drawn], style: Style) -> str:
    """Return the text of an ASS file that draws subtitles."""
    size = style.size
    box = 4 if style.box else 1
    alpha = round(255 * style.transparency)
    # BorderStyle 4 (libass): one box behind all lines, as wide as the text plus `Shadow`.
    edge = round(size * 0.28) if style.box else 0
    # Encoding -1 (libass): the first letter of a line decides its direction, and a line is put in
    # order as a whole, across changes of its font.
    head = f"""[Script Info]
ScriptType: v4.00+
PlayResX: {style.width}
PlayResY: {style.height}
WrapStyle: 2
ScaledBorderAndShadow: yes
YCbCr Matrix: TV.709

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, OutlineColour, BackColour, Bold, BorderStyle, \
Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,{style.font},{size},&H00FFFFFF,{style.outline_color.rstrip("&")},\
&H{alpha:02X}000000,0,{box},{max(1, round(size / 24))},{edge},2,{style.margin},{style.margin},\
{round(style.height * 0.06)},-1

[Events]
Format: Layer, Start, End, Style, Text
"""
    events = [
        f"Dialogue: 0,{_stamp(one.start)},{_stamp(one.end)},Default,{one.text}\n" for one in drawn
    ]
    return head + "".join(events)


def _stamp(seconds: float) -> str:
    hundredths = max(0, round(seconds * 100))
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def _text(fitted: fit.Fitted, style: Style) -> str:
    """Return a subtitle in ASS, with commands for a size of its own."""
    size, smaller = fitted.size, ""
    if size < style.size:
        edge = round(size * 0.28) if style.box else 0
        smaller = rf"{{\fs{size}\bord{max(1, round(size / 24))}\shad{edge}}}"
    lines = (
        _mark(line, rtl) + _in_fonts(line + _edge(line, rtl), style, size)
        for line, rtl in fitted.lines
    )
    return smaller + r"\N".join(lines)


# Invisible, of no direction, but of a script: libass ends a run at a joiner between characters that
# are of none, and would draw a family of emoji as its members.
_SCRIPT = "\u180e"


def _mark(line: str, rtl: bool) -> str:
    """Return the marks that a line needs: for its direction, and for its joined emoji."""
    head, joiner, _ = line.partition("\u200d")
    script = _SCRIPT if joiner and not any(map(str.isalpha, head)) else ""
    if scripts.is_rtl(line) == rtl:
        return script
    return script + ("\u200f" if rtl else "\u200e")


def _edge(line: str, rtl: bool) -> str:
    """Return the mark that a line from right to left needs behind an accent, at its left end.

    libass takes the place of a letter's accent for the left edge of the letter: the box would end
    within it, and the line would not be centred.
    """
    return "\u200f" if rtl and unicodedata.category(line[-1:] or " ").startswith("M") else ""


def _in_fonts(line: str, style: Style, size: int) -> str:
    """Return a line in ASS, with a command where its font changes."""
    if style.runs is None:
        return _escape(line)
    back = "" if size == style.size else f"{size}"
    return "".join(
        _escape(text)
        if family == style.font
        else rf"{{\fn{family}\fs{size * scale:.4g}}}{_escape(text)}{{\fn\fs{back}}}"
        for family, scale, text in style.runs(line)
    )


def literal(text: str) -> str:
    """Return a text as it is drawn: with full-width braces, which libass never parses."""
    return text.replace("{", "\uff5b").replace("}", "\uff5d")


def _escape(text: str) -> str:
    return text.replace("\\", "\\\u2060")  # a zero-width joiner breaks `\n`-like pairs
