"""Inspect pictures, narrations and videos. Only this module imports PyAV.

The length of a sound comes from its packets, not from the container's header: for an MP3 without a
Xing header that is only an estimate, and the video must be as long as the sound.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from pathlib import Path


MAX_PICTURE_SIDE = 20_000
# Pillow warns from 89 million on: a decoded pixel takes up to four bytes.
MAX_PICTURE_PIXELS = 89_000_000
MIN_PICTURE_SIDE = 16
MAX_AUDIO_SECONDS = 1800.0
MIN_AUDIO_SECONDS = 0.1


class MediaError(ValueError):
    """A file is not the expected kind of media, or unusable; the message says why."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Properties of a video file.

    Args:
        size: bytes.
        picture_seconds: length of the video stream, in seconds.
        sound_seconds: length of the audio stream, in seconds.
        width: pixels.
        height: pixels.
        frames: number of video frames.
        fps: average frames per second.
        video_codec: such as ``h264``.
        audio_codec: such as ``aac``.
        sample_rate: audio samples per second.
    """

    size: int
    picture_seconds: float
    sound_seconds: float
    width: int
    height: int
    frames: int
    fps: float
    video_codec: str
    audio_codec: str
    sample_rate: int

    @property
    def seconds(self) -> float:
        """Length of the longer stream, in seconds."""
        return max(self.picture_seconds, self.sound_seconds)


def picture_size(path: Path) -> tuple[int, int]:
    """Return the width and height of a picture, in pixels.

    Raises:
        MediaError: the file is not a picture, or its header is damaged.
        OSError: the file cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except UnidentifiedImageError:
        raise MediaError(f"not a picture ({describe(path)})") from None
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise MediaError(f"not a usable picture: {error}") from error


def check_picture_size(width: int, height: int) -> None:
    """Reject pictures that are too large or too small, before they are decoded.

    Args:
        width: pixels.
        height: pixels.

    Raises:
        MediaError: too large or too small.
    """
    if max(width, height) > MAX_PICTURE_SIDE or width * height > MAX_PICTURE_PIXELS:
        raise MediaError(
            f"{width}x{height} pixels; the limit is {MAX_PICTURE_SIDE} per side and "
            f"{MAX_PICTURE_PIXELS // 10**6} million in total"
        )
    if min(width, height) < MIN_PICTURE_SIDE:
        raise MediaError(f"{width}x{height} pixels; the minimum is {MIN_PICTURE_SIDE} per side")


def audio_seconds(path: Path) -> float:
    """Return the length of a file's first audio stream, in seconds.

    Raises:
        MediaError: the file has no usable sound.
        OSError: the file cannot be read.
    """
    try:
        with av.open(str(path), mode="r", metadata_errors="ignore") as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None:
                raise MediaError(f"no audio stream ({describe(path)})")
            seconds = _stream_seconds(container, stream)
    except av.error.InvalidDataError:
        raise MediaError(f"not an audio file ({describe(path)})") from None
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, OSError | MediaError):
            raise
        raise MediaError(f"cannot read the audio stream: {error}") from error
    if seconds <= 0:
        raise MediaError("the audio stream has no duration")
    return seconds


def checked_audio_seconds(path: Path) -> float:
    """Return the length of a narration in seconds, within the limits.

    Raises:
        MediaError: the file has no usable sound, or its length is outside `MIN_AUDIO_SECONDS` to
            `MAX_AUDIO_SECONDS`.
        OSError: the file cannot be read.
    """
    seconds = audio_seconds(path)
    if not MIN_AUDIO_SECONDS <= seconds <= MAX_AUDIO_SECONDS:
        raise MediaError(
            f"{seconds:.2f} s of audio; the limits are {MIN_AUDIO_SECONDS} and "
            f"{MAX_AUDIO_SECONDS:.0f} s"
        )
    return seconds


def _stream_seconds(
    container: av.container.InputContainer, stream: av.audio.stream.AudioStream
) -> float:
    first: int | None = None
    last = 0
    base = stream.time_base
    for packet in container.demux(stream):
        if packet.pts is None:
            continue
        if first is None:
            first = packet.pts
        last = max(last, packet.pts + (packet.duration or 0))
    if first is None or base is None:
        return 0.0
    return float((last - max(first, 0)) * base)


def inspect_video(path: Path) -> VideoInfo:
    """Check that a video is complete, decode samples of it, and return its properties.

    Raises:
        MediaError: it is not a complete video with both streams, or does not decode.
        OSError: the file cannot be read.
    """
    try:
        with av.open(str(path), mode="r") as container:
            video = next(iter(container.streams.video), None)
            audio = next(iter(container.streams.audio), None)
            if video is None or audio is None:
                missing = "video" if video is None else "audio"
                raise MediaError(f"no {missing} stream")
            if video.time_base is None or audio.time_base is None:
                raise MediaError("a stream has no time base")
            # The index may come first and list packets that are missing: count the packets, in one
            # pass, since a seek to the beginning may land behind the first packet.
            counts = Counter(p.stream.index for p in container.demux(video, audio) if p.size)
            for stream in (video, audio):
                if counts[stream.index] < stream.frames:
                    found = f"{counts[stream.index]} of {stream.frames} {stream.type} packets"
                    raise MediaError(f"truncated: only {found} found")
                container.seek(0)
                if next(container.decode(stream), None) is None:
                    raise MediaError(f"cannot decode the {stream.type} stream")
            container.seek(video.duration or 0, stream=video)
            if sum(1 for _ in container.decode(video)) == 0:
                raise MediaError("cannot decode the last video frames")
            return VideoInfo(
                size=path.stat().st_size,
                picture_seconds=float((video.duration or 0) * video.time_base),
                sound_seconds=float((audio.duration or 0) * audio.time_base),
                width=video.width,
                height=video.height,
                frames=video.frames,
                fps=float(video.average_rate or 0),
                video_codec=video.codec_context.name,
                audio_codec=audio.codec_context.name,
                sample_rate=audio.sample_rate or 0,
            )
    except av.error.FFmpegError as error:
        raise MediaError(f"cannot decode it: {error.strerror}") from error


_MAGIC = {
    b"\x89PNG": "it is a PNG file",
    b"\xff\xd8\xff": "it is a JPEG file",
    b"GIF8": "it is a GIF file",
    b"%PDF": "it is a PDF file",
    b"PK\x03\x04": "it is a ZIP archive",
    b"ID3": "it is an MP3 file",
    b"OggS": "it is an Ogg file",
    b"fLaC": "it is a FLAC file",
    b"\x1aE\xdf\xa3": "it is a Matroska file",
    b"version https://git-lfs": "it is a Git LFS pointer: run `git lfs pull`",
}


def describe(path: Path) -> str:
    """Return what a file appears to be, by its first bytes, for an error message."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return "it is empty"
    for magic, description in _MAGIC.items():
        if head.startswith(magic):
            return description
    if head[:4] == b"RIFF":
        return {b"WAVE": "it is a WAV file", b"WEBP": "it is a WebP file"}.get(
            head[8:12], "it is a RIFF file"
        )
    if head[4:8] == b"ftyp":
        return "it is an MP4 file"
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return "unknown file format"
    return f"it is text: {text.splitlines()[0][:30]!r}" if text.strip() else "it is blank"
