"""Still pictures: encode a picture once and repeat it for as long as it is shown.

In H.264, a frame that is identical to the one before is a P slice in which every macroblock is
skipped: some 70 bytes that do not depend on the picture. So a still needs only one encoded frame,
followed by such slices; subtitles need one more frame for each change. The cost of encoding does
not grow with length.

The slices are taken from an encoding of black frames by x264. What changes from frame to frame is
``frame_num``, which counts reference frames modulo 16, and the order of display. `Skips` verifies
this: it compares its slices with those that x264 writes and raises `UnknownStreamError` if one
bit differs; the caller then encodes every frame.

x264 writes these frames without B-frames and with one reference, which is what makes them so
predictable. `h264` then gives them the parameter sets of moving pictures, so that the clips of one
run can follow each other in any player.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst.videoapi import h264
from cloudburst.videoapi.h264 import UnknownStreamError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PERIOD = 16
# Players seek to key frames; x264's default is at least one in 250 frames.
KEY_EVERY = 300
# x264 settings that the method requires, with any preset.
X264 = "weightp=0:scenecut=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:aud=1:keyint=infinite:ref=1"


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of frames that show the same picture.

    Args:
        frames: number of frames.
        state: index of the picture; several segments may show the same one.
        key: whether its first frame is a key frame.
    """

    frames: int
    state: int
    key: bool


def segments(changes: Sequence[int], total: int) -> list[Segment]:
    """Divide a video into segments, with a key frame at least every `KEY_EVERY` frames.

    Args:
        changes: frames at which the picture changes, ascending, starting with 0.
        total: number of frames.
    """
    parts: list[Segment] = []
    since_key = KEY_EVERY
    for state, (start, end) in enumerate(zip(changes, [*changes[1:], total], strict=True)):
        remaining = end - start
        while remaining > 0:
            key = since_key >= KEY_EVERY // 2
            since_key = 0 if key else since_key
            frames = min(remaining, KEY_EVERY - since_key)
            parts.append(Segment(frames, state, key))
            since_key += frames
            remaining -= frames
    return parts


def encoded(parts: Sequence[Segment]) -> list[Segment]:
    """Return the segments whose first frame is encoded: all but those that repeat a key frame.

    A repeated key frame reuses the bytes of the one before: a second encoding of the same picture
    would differ slightly, and the picture would pulse with every key frame.
    """
    return [
        part
        for before, part in zip([None, *parts[:-1]], parts, strict=True)
        if before is None or not (part.key and before.key and part.state == before.state)
    ]


class Skips:
    """P slices that repeat the previous frame.

    Args:
        black: an encoding of more than `PERIOD` black frames.
        moving: the start of a moving picture of the same size, with its parameter sets.

    Raises:
        UnknownStreamError: they differ from the expected streams.
    """

    def __init__(self, black: bytes, moving: bytes) -> None:
        frames = h264.units(black)
        if len(frames) < PERIOD + 3:
            raise UnknownStreamError("too few frames to see a whole period")
        self._own = h264.parameter_sets(frames[0])
        self._target = h264.parameter_sets(moving)
        if not self._own.fit(self._target):
            raise UnknownStreamError("the parameter sets of stills and motion differ too much")
        for index, frame in enumerate(frames[1:], start=1):
            repeated = h264.renumbered(frames[1], self._own, self._own, index, index)
            if h264.nals(frame) != h264.nals(repeated):
                raise UnknownStreamError(f"frame {index} is not the expected slice")
        self._since = [self._rewritten(frames[1], since) for since in range(KEY_EVERY)]

    def _rewritten(self, unit: bytes, since: int) -> bytes:
        return h264.renumbered(unit, self._own, self._target, since, since)

    def assemble(self, stream: bytes, parts: Sequence[Segment]) -> Iterator[bytes]:
        """Yield the frames of the video: each encoded picture, repeated for its segment.

        Args:
            stream: one frame for each `encoded` segment, with the settings of the black frames.
            parts: the segments.

        Raises:
            UnknownStreamError: the stream is not one frame per encoded segment with the expected
                key frames.
        """
        pictures = h264.units(stream)
        fresh = encoded(parts)
        keys = [h264.is_key(picture) for picture in pictures]
        if keys != [part.key for part in fresh] or h264.parameter_sets(pictures[0]) != self._own:
            raise UnknownStreamError("the pictures are not encoded as asked")
        pending = iter(zip(pictures, fresh, strict=True))
        following = next(pending, None)
        picture, since = b"", 0
        for part in parts:
            if following is not None and part is following[1]:
                picture, following = following[0], next(pending, None)
            since = 0 if part.key else since + 1
            yield self._rewritten(picture, since)
            for _ in range(part.frames - 1):
                since += 1
                yield self._since[since]
