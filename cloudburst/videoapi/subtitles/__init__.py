"""Subtitle files → cues → ASS."""

from cloudburst.videoapi.subtitles.layout import Style, is_cjk, literal, to_ass, wrap
from cloudburst.videoapi.subtitles.parse import (
    MAX_BYTES,
    MAX_TEXT,
    Cue,
    SubtitleError,
    flatten,
    parse,
)

__all__ = [
    "MAX_BYTES",
    "MAX_TEXT",
    "Cue",
    "Style",
    "SubtitleError",
    "flatten",
    "is_cjk",
    "literal",
    "parse",
    "to_ass",
    "wrap",
]
