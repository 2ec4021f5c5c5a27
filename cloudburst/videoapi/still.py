"""Still pictures: encode a picture once and repeat it for as long as it is shown.

In H.264, a frame that is identical to the one before is a P slice in which every macroblock is
skipped: some 70 bytes that do not depend on the picture. So a still needs only one encoded frame,
followed by such slices; subtitles need one more frame for each change. The cost of encoding does
not grow with length.

The slices are taken from an encoding of black frames by x264. The only field that changes from
frame to frame is ``frame_num``, which counts reference frames modulo 16 (x264's choice for
one reference and no B-frames; display order is decoding order, ``pic_order_cnt_type`` 2).
It has a fixed position in the slice header, ITU-T H.264 (08/2021) section 7.3.3::

    first_mb_in_slice ue(v)  1        = 0
    slice_type        ue(v)  00110    = 5, P
    pic_parameter_set ue(v)  1        = 0
    frame_num         u(4)   xxxx

`Skips` verifies all of this: it compares its slices with those that x264 writes and raises
`StillUnsupportedError` if one bit differs; the caller then encodes every frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PERIOD = 16
# Players seek to key frames; x264's default is at least one in 250 frames.
KEY_EVERY = 300
# x264 settings that the method requires, with any preset.
X264 = "weightp=0:scenecut=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:aud=1:keyint=infinite:ref=1"

_START = re.compile(rb"\x00\x00\x01")
_P_HEADER = 0b10011010  # the three fields above, then the first bit of frame_num
_AUD, _IDR, _SLICE, _SPS, _PPS = 9, 5, 1, 7, 8


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
        if stream[match.end()] & 31 == _AUD
    ]
    if not starts:
        raise StillUnsupportedError("no access unit delimiters")
    return [stream[a:b] for a, b in zip(starts, [*starts[1:], len(stream)], strict=True)]


def _nals(unit: bytes) -> dict[int, tuple[int, bytes]]:
    """Return the last NAL unit of each type, as (offset of its header, bytes)."""
    offsets = [match.end() for match in _START.finditer(unit)]
    ends = [*(match.start() for match in _START.finditer(unit)), len(unit)][1:]
    return {
        unit[offset] & 31: (offset, unit[offset:end].rstrip(b"\0"))
        for offset, end in zip(offsets, ends, strict=True)
    }


def numbered(unit: bytes, number: int) -> bytes:
    """Return a P frame with another ``frame_num``.

    Raises:
        StillUnsupportedError: its slice header does not have the expected structure.
    """
    offset = _nals(unit).get(_SLICE, (0, b""))[0]
    if not offset or unit[offset + 1] & 0b11111110 != _P_HEADER:
        raise StillUnsupportedError("not a P slice of the known shape")
    changed = bytearray(unit)
    changed[offset + 1] = _P_HEADER | number >> 3
    changed[offset + 2] = unit[offset + 2] & 0b00011111 | (number & 7) << 5
    if changed[offset + 2] == 0:
        raise StillUnsupportedError("the header would need an emulation prevention byte")
    return bytes(changed)


class Skips:
    """P slices that repeat the previous frame.

    Args:
        black: an encoding of more than `PERIOD` black frames.

    Raises:
        StillUnsupportedError: it differs from the expected stream.
    """

    def __init__(self, black: bytes) -> None:
        frames = units(black)
        if len(frames) < PERIOD + 3:
            raise StillUnsupportedError("too few frames to see a whole period")
        self._parameter_sets = _parameter_sets(frames[0])
        self._by_number = [numbered(frames[1], number) for number in range(PERIOD)]
        for index, frame in enumerate(frames[1:], start=1):
            if frame != self._by_number[index % PERIOD]:
                raise StillUnsupportedError(f"frame {index} is not the expected slice")

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
        keys = [_IDR in _nals(picture) for picture in pictures]
        fresh = encoded(parts)
        if (
            keys != [part.key for part in fresh]
            or _parameter_sets(pictures[0]) != self._parameter_sets
        ):
            raise StillUnsupportedError("the pictures are not encoded as asked")
        pending = iter(zip(pictures, fresh, strict=True))
        following = next(pending, None)
        picture, number = b"", 0
        for part in parts:
            if following is not None and part is following[1]:
                picture, following = following[0], next(pending, None)
            number = 0 if part.key else (number + 1) % PERIOD
            yield picture if part.key else numbered(picture, number)
            for _ in range(part.frames - 1):
                number = (number + 1) % PERIOD
                yield self._by_number[number]


def _parameter_sets(unit: bytes) -> tuple[bytes, bytes]:
    """Return the parameter sets: slices are interchangeable only under identical ones."""
    nals = _nals(unit)
    if _SPS not in nals or _PPS not in nals:
        raise StillUnsupportedError("no parameter sets before the first frame")
    return nals[_SPS][1], nals[_PPS][1]
