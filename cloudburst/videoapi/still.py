"""Still pictures: encode a picture once and repeat it for as long as it is shown.

In H.264, a frame that is identical to the one before is a P slice in which every macroblock is
skipped: some 70 bytes that do not depend on the picture. So a still needs only one encoded frame,
followed by such slices; subtitles need one more frame for each change. The cost of encoding does
not grow with length.

The slices are taken from an encoding of black frames by x264. What changes from frame to frame is
``frame_num``, which counts reference frames modulo 16, and the order of display. `Skips` verifies
this: it compares its slices with those that x264 writes and raises `StillUnsupportedError` if one
bit differs; the caller then encodes every frame.

x264 writes these frames without B-frames and with one reference, which is what makes them so
predictable. `h264` then gives them the parameter sets of moving pictures, so that the clips of one
run can follow each other in any player.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst.videoapi import h264

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PERIOD = 16
# Players seek to key frames; x264's default is at least one in 250 frames.
KEY_EVERY = 300
# x264 settings that the method requires, with any preset.
X264 = "weightp=0:scenecut=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:aud=1:keyint=infinite:ref=1"

_START = re.compile(rb"\x00\x00\x01")


class StillUnsupportedError(ValueError):
    """The encoder's stream does not have the structure that this module expects."""


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


def units(stream: bytes) -> list[bytes]:
    """Split an Annex B stream with access unit delimiters into access units."""
    starts = [
        match.start() - (stream[match.start() - 1 : match.start()] == b"\0")
        for match in _START.finditer(stream)
        if stream[match.end()] & 31 == h264.AUD
    ]
    if not starts:
        raise StillUnsupportedError("no access unit delimiters")
    return [stream[a:b] for a, b in zip(starts, [*starts[1:], len(stream)], strict=True)]


def _nals(unit: bytes) -> list[bytes]:
    """Return the NAL units of an access unit, without start codes."""
    offsets = [match.end() for match in _START.finditer(unit)]
    ends = [*(match.start() for match in _START.finditer(unit)), len(unit)][1:]
    return [unit[offset:end].rstrip(b"\0") for offset, end in zip(offsets, ends, strict=True)]


def _kinds(unit: bytes) -> dict[int, bytes]:
    """Return the last NAL unit of each type."""
    return {nal[0] & 31: nal for nal in _nals(unit)}


def parameter_sets(stream: bytes) -> h264.Sets:
    """Read the parameter sets at the start of a stream.

    Raises:
        StillUnsupportedError: there are none, or of a kind that is not known.
    """
    nals = _kinds(stream)
    if h264.SPS not in nals or h264.PPS not in nals:
        raise StillUnsupportedError("no parameter sets before the first frame")
    try:
        return h264.sets(nals[h264.SPS], nals[h264.PPS])
    except h264.UnknownStreamError as error:
        raise StillUnsupportedError(str(error)) from error


def _rewritten(unit: bytes, own: h264.Sets, target: h264.Sets, since: int) -> bytes:
    """Return an access unit as it is with other parameter sets.

    Args:
        unit: a frame in one slice.
        own: its parameter sets.
        target: those it shall have.
        since: number of frames since the last key frame.
    """
    nals = []
    for nal in _nals(unit):
        kind = nal[0] & 31
        if kind in {h264.P_SLICE, h264.IDR}:
            try:
                nals.append(h264.rewritten(nal, own, target, since))
            except h264.UnknownStreamError as error:
                raise StillUnsupportedError(str(error)) from error
        else:
            nals.append({h264.SPS: target.sps, h264.PPS: target.pps}.get(kind, nal))
    return b"".join(b"\0\0\0\1" + nal for nal in nals)


class Skips:
    """P slices that repeat the previous frame.

    Args:
        black: an encoding of more than `PERIOD` black frames.
        moving: the start of a moving picture of the same size, with its parameter sets.

    Raises:
        StillUnsupportedError: they differ from the expected streams.
    """

    def __init__(self, black: bytes, moving: bytes) -> None:
        frames = units(black)
        if len(frames) < PERIOD + 3:
            raise StillUnsupportedError("too few frames to see a whole period")
        self._own = parameter_sets(frames[0])
        self._target = parameter_sets(moving)
        if not self._own.fit(self._target):
            raise StillUnsupportedError("the parameter sets of stills and motion differ too much")
        for index, frame in enumerate(frames[1:], start=1):
            if _nals(frame) != _nals(_rewritten(frames[1], self._own, self._own, index)):
                raise StillUnsupportedError(f"frame {index} is not the expected slice")
        self._since = [
            _rewritten(frames[1], self._own, self._target, since) for since in range(KEY_EVERY)
        ]

    def assemble(self, stream: bytes, parts: Sequence[Segment]) -> Iterator[bytes]:
        """Yield the frames of the video: each encoded picture, repeated for its segment.

        Args:
            stream: one frame for each `encoded` segment, with the settings of the black frames.
            parts: the segments.

        Raises:
            StillUnsupportedError: the stream is not one frame per encoded segment with the expected
                key frames.
        """
        pictures = units(stream)
        keys = [h264.IDR in _kinds(picture) for picture in pictures]
        fresh = encoded(parts)
        if keys != [part.key for part in fresh] or parameter_sets(pictures[0]) != self._own:
            raise StillUnsupportedError("the pictures are not encoded as asked")
        pending = iter(zip(pictures, fresh, strict=True))
        following = next(pending, None)
        picture, since = b"", 0
        for part in parts:
            if following is not None and part is following[1]:
                picture, following = following[0], next(pending, None)
            since = 0 if part.key else since + 1
            yield _rewritten(picture, self._own, self._target, since)
            for _ in range(part.frames - 1):
                since += 1
                yield self._since[since]
