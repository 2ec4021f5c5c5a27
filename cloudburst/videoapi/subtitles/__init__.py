"""Subtitle files → cues → ASS."""

from cloudburst.videoapi.subtitles.ass import Drawn, Style, draw, literal, to_ass
from cloudburst.videoapi.subtitles.cue import Cue, Notice, SubtitleError, Subtitles
from cloudburst.videoapi.subtitles.decode import known_encoding
from cloudburst.videoapi.subtitles.parse import MAX_BYTES, MAX_TEXT, flatten, parse, read
from cloudburst.videoapi.subtitles.srt import to_srt

__all__ = [
    "MAX_BYTES",
    "MAX_TEXT",
    "Cue",
    "Drawn",
    "Notice",
    "Style",
    "SubtitleError",
    "Subtitles",
    "draw",
    "flatten",
    "known_encoding",
    "literal",
    "parse",
    "read",
    "to_ass",
    "to_srt",
]
