"""Pictures that are held: encode a picture once, show it for as long as it lasts.

A frame that is like the one before is, in H.264, a P slice in which every macroblock is skipped:
some 70 bytes that say nothing about the picture. So a still needs no more than its one encoded
frame, followed by such slices; subtitles need one more frame for each change. Cost no longer
grows with length.

The slices are x264's own, taken from an encoding of black. The one thing in them that changes
from frame to frame is ``frame_num``, which counts reference frames modulo 16 (x264's choice for
one reference and no B-frames; order of display is order of decoding, ``pic_order_cnt_type`` 2).
It stands at a fixed place of the slice header, ITU-T H.264 (08/2021) section 7.3.3::

    first_mb_in_slice ue(v)  1        = 0
    slice_type        ue(v)  00110    = 5, P
    pic_parameter_set ue(v)  1        = 0
    frame_num         u(4)   xxxx

None of this is taken on trust: `Skips` compares its slices with those that x264 writes, and
refuses to be made when one bit differs; then the caller encodes every frame.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PERIOD = 16
# Players seek to key frames; x264's own default is one in 250 at most.
KEY_EVERY = 300
# What x264 must do for the above to hold, whatever its preset.
X264 = "weightp=0:scenecut=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:aud=1:keyint=infinite:ref=1"

_START = re.compile(rb"\x00\x00\x01")
_P_HEADER = 0b10011010  # the three fields above, and room for frame_num's first bit
_AUD, _IDR, _SLICE, _SPS, _PPS = 9, 5, 1, 7, 8


class HoldUnsupportedError(ValueError):
    """The encoder's stream is not of the shape that this module knows."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A picture that is held.

    Args:
        frames: for how many.
        state: index of the picture; two segments may show the same one.
        key: whether its first frame is a key frame.
    """

    frames: int
    state: int
    key: bool


def segments(changes: Sequence[int], total: int) -> list[Segment]:
    """Divide a video into held pictures, with a key frame at least every `KEY_EVERY` frames.

    Args:
        changes: frames at which the picture changes, ascending, the first one 0.
        total: number of frames.
    """
    made: list[Segment] = []
    since_key = KEY_EVERY
    for state, (start, end) in enumerate(zip(changes, [*changes[1:], total], strict=True)):
        left = end - start
        while left > 0:
            key = since_key >= KEY_EVERY // 2
            since_key = 0 if key else since_key
            frames = min(left, KEY_EVERY - since_key)
            made.append(Segment(frames, state, key))
            since_key += frames
            left -= frames
    return made


def encoded(parts: Sequence[Segment]) -> list[Segment]:
    """Leave out the segments that show the key frame before them once more.

    The same bytes are used again: a second encoding of the same picture would differ by a hair,
    and the picture would breathe with every key frame.
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
        raise HoldUnsupportedError("no access unit delimiters")
    return [stream[a:b] for a, b in zip(starts, [*starts[1:], len(stream)], strict=True)]


def _nals(unit: bytes) -> dict[int, tuple[int, bytes]]:
    """Give the last NAL unit of each type, as (place of its header, bytes)."""
    places = [match.end() for match in _START.finditer(unit)]
    ends = [*(match.start() for match in _START.finditer(unit)), len(unit)][1:]
    return {
        unit[place] & 31: (place, unit[place:end].rstrip(b"\0"))
        for place, end in zip(places, ends, strict=True)
    }


def numbered(unit: bytes, number: int) -> bytes:
    """Give a P frame with another ``frame_num``.

    Raises:
        HoldUnsupportedError: its slice header is not of the known shape.
    """
    place = _nals(unit).get(_SLICE, (0, b""))[0]
    if not place or unit[place + 1] & 0b11111110 != _P_HEADER:
        raise HoldUnsupportedError("not a P slice of the known shape")
    changed = bytearray(unit)
    changed[place + 1] = _P_HEADER | number >> 3
    changed[place + 2] = unit[place + 2] & 0b00011111 | (number & 7) << 5
    if changed[place + 2] == 0:
        raise HoldUnsupportedError("the header would need an emulation prevention byte")
    return bytes(changed)


class Skips:
    """Slices that repeat the frame before them.

    Args:
        black: an encoding of more than `PERIOD` black frames.

    Raises:
        HoldUnsupportedError: it is not what this module expects, bit by bit.
    """

    def __init__(self, black: bytes) -> None:
        frames = units(black)
        if len(frames) < PERIOD + 3:
            raise HoldUnsupportedError("too few frames to see a whole period")
        self._head = _head(frames[0])
        self._by_number = [numbered(frames[1], number) for number in range(PERIOD)]
        for index, frame in enumerate(frames[1:], start=1):
            if frame != self._by_number[index % PERIOD]:
                raise HoldUnsupportedError(f"frame {index} is not the expected slice")

    def assemble(self, stream: bytes, parts: Sequence[Segment]) -> Iterator[bytes]:
        """Hold each encoded picture for its frames.

        Args:
            stream: one frame for each segment that is `encoded`, with the black's settings.
            parts: the segments.

        Raises:
            HoldUnsupportedError: the stream is not one frame per segment, keys where asked.
        """
        pictures = units(stream)
        keys = [_IDR in _nals(picture) for picture in pictures]
        fresh = encoded(parts)
        if keys != [part.key for part in fresh] or _head(pictures[0]) != self._head:
            raise HoldUnsupportedError("the pictures are not encoded as asked")
        coming = iter(zip(pictures, fresh, strict=True))
        following = next(coming, None)
        picture, number = b"", 0
        for part in parts:
            if following is not None and part is following[1]:
                picture, following = following[0], next(coming, None)
            number = 0 if part.key else (number + 1) % PERIOD
            yield picture if part.key else numbered(picture, number)
            for _ in range(part.frames - 1):
                number = (number + 1) % PERIOD
                yield self._by_number[number]


def _head(unit: bytes) -> tuple[bytes, bytes]:
    """Give the parameter sets: a slice means the same only under the same ones."""
    nals = _nals(unit)
    if _SPS not in nals or _PPS not in nals:
        raise HoldUnsupportedError("no parameter sets before the first frame")
    return nals[_SPS][1], nals[_PPS][1]
