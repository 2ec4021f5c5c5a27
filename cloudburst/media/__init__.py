"""Inspect and decode pictures, narrations and videos."""

from __future__ import annotations

from cloudburst.media.kinds import MediaError, describe
from cloudburst.media.picture import (
    MAX_PICTURE_PIXELS,
    MAX_PICTURE_SIDE,
    MIN_PICTURE_SIDE,
    check_picture_size,
    picture_size,
)
from cloudburst.media.sound import (
    MAX_AUDIO_SECONDS,
    MIN_AUDIO_SECONDS,
    PCM,
    Sound,
    audio_seconds,
    checked_sound,
    decode_sound,
    measure,
)
from cloudburst.media.video import VideoInfo, inspect_video

__all__ = [
    "MAX_AUDIO_SECONDS",
    "MAX_PICTURE_PIXELS",
    "MAX_PICTURE_SIDE",
    "MIN_AUDIO_SECONDS",
    "MIN_PICTURE_SIDE",
    "PCM",
    "MediaError",
    "Sound",
    "VideoInfo",
    "audio_seconds",
    "check_picture_size",
    "checked_sound",
    "decode_sound",
    "describe",
    "inspect_video",
    "measure",
    "picture_size",
]
