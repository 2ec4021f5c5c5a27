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

from cloudburst.language import later, tr

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
        raise MediaError(tr("not a picture ({what})", what=describe(path))) from None
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise MediaError(tr("not a usable picture: {reason}", reason=error)) from error


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
            tr(
                "{width}x{height} pixels; the limit is {side} per side and {total} million in "
                "total",
                width=width,
                height=height,
                side=MAX_PICTURE_SIDE,
                total=MAX_PICTURE_PIXELS // 10**6,
            )
        )
    if min(width, height) < MIN_PICTURE_SIDE:
        raise MediaError(
            tr(
                "{width}x{height} pixels; the minimum is {side} per side",
                width=width,
                height=height,
                side=MIN_PICTURE_SIDE,
            )
        )


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
                raise MediaError(tr("no audio stream ({what})", what=describe(path)))
            seconds = _stream_seconds(container, stream)
    except av.error.InvalidDataError:
        raise MediaError(tr("not an audio file ({what})", what=describe(path))) from None
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, OSError | MediaError):
            raise
        raise MediaError(tr("cannot read the audio stream: {reason}", reason=error)) from error
    if seconds <= 0:
        raise MediaError(tr("the audio stream has no duration"))
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
            tr(
                "{seconds:.2f} s of audio; the limits are {least} and {most:.0f} s",
                seconds=seconds,
                least=MIN_AUDIO_SECONDS,
                most=MAX_AUDIO_SECONDS,
            )
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
                raise MediaError(tr("no video stream") if video is None else tr("no audio stream"))
            if video.time_base is None or audio.time_base is None:
                raise MediaError(tr("a stream has no time base"))
            # The index may come first and list packets that are missing: count the packets, in one
            # pass, since a seek to the beginning may land behind the first packet.
            counts = Counter(p.stream.index for p in container.demux(video, audio) if p.size)
            for stream in (video, audio):
                if counts[stream.index] < stream.frames:
                    raise MediaError(_truncated(counts[stream.index], stream))
                container.seek(0)
                if next(container.decode(stream), None) is None:
                    raise MediaError(tr("cannot decode the {type} stream", type=stream.type))
            container.seek(video.duration or 0, stream=video)
            if sum(1 for _ in container.decode(video)) == 0:
                raise MediaError(tr("cannot decode the last video frames"))
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
        raise MediaError(tr("cannot decode it: {reason}", reason=error.strerror)) from error


def _truncated(packets: int, stream: av.stream.Stream) -> str:
    return tr(
        "truncated: only {packets} of {total} {type} packets found",
        packets=packets,
        total=stream.frames,
        type=stream.type,
    )


_MAGIC = {
    b"\x89PNG": later("it is a PNG file"),
    b"\xff\xd8\xff": later("it is a JPEG file"),
    b"GIF8": later("it is a GIF file"),
    b"%PDF": later("it is a PDF file"),
    b"PK\x03\x04": later("it is a ZIP archive"),
    b"ID3": later("it is an MP3 file"),
    b"OggS": later("it is an Ogg file"),
    b"fLaC": later("it is a FLAC file"),
    b"\x1aE\xdf\xa3": later("it is a Matroska file"),
    b"version https://git-lfs": later("it is a Git LFS pointer: run `git lfs pull`"),
}


def describe(path: Path) -> str:
    """Return what a file appears to be, by its first bytes, for an error message."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        return tr("it is empty")
    for magic, description in _MAGIC.items():
        if head.startswith(magic):
            return tr(description)
    if head[:4] == b"RIFF":
        kinds = {b"WAVE": tr("it is a WAV file"), b"WEBP": tr("it is a WebP file")}
        return kinds.get(head[8:12], tr("it is a RIFF file"))
    if head[4:8] == b"ftyp":
        return tr("it is an MP4 file")
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return tr("unknown file format")
    shown = text.splitlines()[0][:30] if text.strip() else ""
    return tr("it is text: {text!r}", text=shown) if shown else tr("it is blank")
