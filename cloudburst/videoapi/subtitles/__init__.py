"""Subtitle files → cues → ASS."""

from cloudburst.videoapi.subtitles.ass import Drawn, Style, draw, literal, to_ass
from cloudburst.videoapi.subtitles.parse import (
    MAX_BYTES,
    MAX_TEXT,
    Cue,
    SubtitleError,
    flatten,
    parse,
)
from cloudburst.videoapi.subtitles.wrap import wrap

__all__ = [
    "MAX_BYTES",
    "MAX_TEXT",
    "Cue",
    "Drawn",
    "Style",
    "SubtitleError",
    "draw",
    "flatten",
    "literal",
    "parse",
    "to_ass",
    "wrap",
]
