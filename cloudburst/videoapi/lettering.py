"""The fonts of a scene's subtitles, and the characters for which there is none.

Apart from the renderer, so that a job is checked without loading its libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.videoapi import fonts, scripts, subtitles

if TYPE_CHECKING:
    from collections.abc import Iterable

# Characters that a warning names.
_NAMED = 10


def faces(text: str, language: str) -> fonts.Faces:
    """Choose the fonts; a Chinese font also draws the Latin words in Chinese text.

    Args:
        text: of all subtitles.
        language: BCP 47 tag.
    """
    sample = "中" if scripts.count_cjk(text) else "A"
    return fonts.choose(subtitles.literal(text), sample, language)


def missing(cues: Iterable[subtitles.Cue]) -> str:
    """Return the characters of subtitles that no font of this machine has, each once, in order.

    They are those of `fonts.Faces`, found without laying out the text: each character is looked up
    once, however many files have it.
    """
    return fonts.missing(subtitles.literal("".join({char for cue in cues for char in cue.text})))


def named(chars: str) -> str:
    """Return characters for a message, each with its code point; of many, the first ones."""
    names = ", ".join(f"{char} (U+{ord(char):04X})" for char in chars[:_NAMED])
    if len(chars) > _NAMED:
        names = tr("{names} and {count} more", names=names, count=len(chars) - _NAMED)
    return names
