"""The fonts of a scene's subtitles, and the characters for which there is none.

Apart from the renderer, so that a job is checked without loading its libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.videoapi import subtitles
from cloudburst.videoapi.typefaces import fonts, scripts
from cloudburst.videoapi.typefaces.fontfile import MAX_BYTES as MAX_FONT_BYTES
from cloudburst.videoapi.typefaces.fontfile import FontError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAX_FONT_BYTES", "FontError", "check_font", "faces", "instead", "missing", "named",
    "no_such_font", "own",
]  # fmt: skip

# Characters that a warning names.
_NAMED = 10


def check_font(data: bytes) -> None:
    """Check that a file is a font that can draw subtitles.

    Raises:
        FontError: it is not.
    """
    fonts.given(data)


def own(font: bytes | str | None, language: str = "zh-Hans") -> fonts.Face | None:
    """Return the font that a user chose; None for none, or if this machine has none of the name.

    Args:
        font: a font file, or the name of a family.
        language: BCP 47 tag.

    Raises:
        FontError: the file cannot be used.
    """
    if isinstance(font, bytes):
        return fonts.given(font, language)
    return fonts.named(font) if font else None


def faces(text: str, language: str, first: fonts.Face | None = None) -> fonts.Faces:
    """Choose the fonts; a Chinese font also draws the Latin words in Chinese text.

    Args:
        text: of all subtitles.
        language: BCP 47 tag.
        first: the font that the user chose, which draws what it can.
    """
    sample = "中" if scripts.count_cjk(text) else "A"
    return fonts.choose(subtitles.literal(text), sample, language, first)


def missing(cues: Iterable[subtitles.Cue], first: fonts.Face | None = None) -> str:
    """Return the characters of subtitles that no font of this machine has, each once, in order.

    They are those of `fonts.Faces`, found without laying out the text: each character is looked up
    once, however many files have it.

    Args:
        cues: the subtitles.
        first: the font that the user chose.
    """
    chars = "".join({char for cue in cues for char in cue.text})
    return fonts.missing(subtitles.literal(chars), first)


def instead(text: str, language: str) -> str:
    """Return the name of the font that draws a text if the user's choice is not there.

    Args:
        text: of all subtitles.
        language: of the scene, as in a request.
    """
    main = faces(text, scripts.language_of(text, language)).main
    return main.family if main else ""


def no_such_font(family: str, where: str, used: str) -> str:
    """Return the message about a family that is not there.

    Args:
        family: as the user wrote it.
        where: the machine without it.
        used: the family that is used instead.
    """
    near = ", ".join(fonts.near(family))
    message = tr(
        "no font on {machine} is called {family}; {used} is used instead",
        machine=where,
        family=family,
        used=used,
    )
    return tr("{problem}; did you mean {names}?", problem=message, names=near) if near else message


def named(chars: str) -> str:
    """Return characters for a message, each with its code point; of many, the first ones."""
    names = ", ".join(f"{char} (U+{ord(char):04X})" for char in chars[:_NAMED])
    if len(chars) > _NAMED:
        names = tr("{names} and {count} more", names=names, count=len(chars) - _NAMED)
    return names
