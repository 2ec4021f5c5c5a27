"""Inspect and decode pictures, narrations and videos."""

from __future__ import annotations

from cloudburst.media.kinds import MediaError, describe, describe_bytes
from cloudburst.media.likeness import LEAST_LIKENESS, Stretch, compare, first_difference
from cloudburst.media.picture import (
    BACKGROUND,
    MAX_PICTURE_PIXELS,
    MAX_PICTURE_SIDE,
    MIN_PICTURE_SIDE,
    Ink,
    Picture,
    check_picture_size,
    inspect_picture,
    lost_ink,
    plain_file,
    read_picture,
    resized,
    upright_size,
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
    "BACKGROUND",
    "LEAST_LIKENESS",
    "MAX_AUDIO_SECONDS",
    "MAX_PICTURE_PIXELS",
    "MAX_PICTURE_SIDE",
    "MIN_AUDIO_SECONDS",
    "MIN_PICTURE_SIDE",
    "PCM",
    "Ink",
    "MediaError",
    "Picture",
    "Sound",
    "Stretch",
    "VideoInfo",
    "audio_seconds",
    "check_picture_size",
    "checked_sound",
    "compare",
    "decode_sound",
    "describe",
    "describe_bytes",
    "first_difference",
    "inspect_picture",
    "inspect_video",
    "lost_ink",
    "measure",
    "plain_file",
    "read_picture",
    "resized",
    "upright_size",
]
