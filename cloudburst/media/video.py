"""Check that a video is complete."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

from cloudburst.language import tr
from cloudburst.media.kinds import MediaError
from cloudburst.media.sound import measure

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Properties of a video file.

    Args:
        size: bytes.
        picture_seconds: length of the video stream, in seconds.
        sound_seconds: length of the audio stream, in seconds, by decoding it.
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
                sound_seconds=measure(path).seconds,
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
