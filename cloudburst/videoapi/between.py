"""Moving pictures: encode every sixteenth frame, and have the decoder move the picture between.

A camera that moves over a still moves every part of it uniformly. H.264 can express just that: in
a B-frame whose macroblocks are all skipped, each takes the motion of the same place in the next
reference, for its part of the time, and is the weighted mean of both references (ITU-T H.264
(08/2021), 8.4.1.2.3 and 8.4.2.3.1). Such a frame has some 50 bytes, whatever is on it. So only the
references, here called anchors, are drawn and encoded; what lies between them follows. The decoder
does what the encoder need not.

What uniform motion does not explain, as subtitles that change and key frames, is at an anchor, with
another one just before it. What a pan brings into view is only in the anchor after it, and what
leaves in the one before: the columns at both edges name the one they are in (`data`).
"""

from __future__ import annotations

import bisect
import functools
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudburst.videoapi import cabac, h264
from cloudburst.videoapi.h264 import UnknownStreamError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Frames from one anchor to the next at most. x264 itself makes up to 16 B-frames of a row.
WIDEST = 16
# Players seek to key frames.
KEY_EVERY = 240
# References of an anchor. The decoder keeps one more: the one before them may be what macroblocks
# of the next anchor refer to, and is needed for the frames between.
REFERENCES = 3
# x264 settings that the method requires. Of the anchors: no B-frames.
ANCHORS = f"bframes=0:ref={REFERENCES}:weightp=0:scenecut=0:aud=1:keyint=infinite"
# Of encodings of every frame, whose parameter sets all videos have: B-frames of which one is a
# reference, and one more reference than anchors have.
_B_FRAMES = "bframes=7:b-adapt=0:b-pyramid=normal:weightb=1"
EVERY = f"{_B_FRAMES}:ref={REFERENCES + 1}:weightp=0:scenecut=0:aud=1"
# Frames by which a decoder of the latter is ahead of what is shown.
DELAY = 2
# The order of display, two a frame, must not differ by half of what its bits can count.
_ORDER_BITS = math.ceil(math.log2(2 * WIDEST + 1)) + 1


@dataclass(frozen=True, slots=True)
class Anchor:
    """A frame that is encoded.

    Args:
        place: its number among all frames.
        key: whether it is a key frame.
    """

    place: int
    key: bool


def anchors(count: int, spacings: Mapping[int, int]) -> list[Anchor]:
    """Choose the frames that are encoded.

    Args:
        count: number of frames of the video.
        spacings: frames from one anchor to the next, at most, from a frame on: the first one, and
            each from which on something is shown that was not shown before.
    """
    keys = set(range(0, count, KEY_EVERY))
    changes = sorted(change for change in spacings if change < count)
    sudden = keys | set(changes)
    fixed = sorted(sudden | {place - 1 for place in sudden if place} | {count - 1})
    places = [fixed[0]]
    for start, end in itertools.pairwise(fixed):
        spacing = spacings[changes[bisect.bisect(changes, start) - 1]]
        steps = math.ceil((end - start) / spacing)
        places += [start + round((end - start) * step / steps) for step in range(1, steps + 1)]
    return [Anchor(place, place in keys) for place in places]


class Tweens:
    """B slices that move the picture on.

    Args:
        size: width and height of the video, in pixels.
        sets: an encoding of that size with the settings of `EVERY`.

    Raises:
        UnknownStreamError: its parameter sets are not as expected.
    """

    def __init__(self, size: tuple[int, int], sets: bytes) -> None:
        self._target = h264.parameter_sets(sets)
        if self._target.order_bits < _ORDER_BITS:
            raise UnknownStreamError("the order of display has too few bits")
        self._blocks = math.ceil(size[0] / _BLOCK), math.ceil(size[1] / _BLOCK)

    def assemble(
        self, stream: bytes, parts: Sequence[Anchor], pan: float = 0.0
    ) -> Iterator[tuple[int, bytes]]:
        """Yield the frames in the order of decoding: where each is shown, and its data.

        Args:
            stream: the encoded anchors, with the settings of `ANCHORS`.
            parts: the anchors.
            pan: pixels by which all of the picture moves to the right with every frame.

        Raises:
            UnknownStreamError: the stream is not one frame per anchor with the expected key frames.
        """
        pictures = h264.units(stream)
        own = h264.parameter_sets(pictures[0])
        if [h264.is_key(picture) for picture in pictures] != [part.key for part in parts]:
            raise UnknownStreamError("the anchors are not encoded as asked")
        if not own.fit(self._target):
            raise UnknownStreamError("the parameter sets of the anchors differ too much")
        key = number = 0
        before: Anchor | None = None
        for picture, part in zip(pictures, parts, strict=True):
            if part.key:
                key, number = part.place, 0
            yield part.place, h264.renumbered(picture, own, self._target, number, part.place - key)
            number += 1
            past = min(number - 1, REFERENCES)
            for place in range(before.place + 1 if before else 0, part.place):
                moved = _pan(pan, before.place, place, part.place) if before and pan else None
                slice_data = data(self._blocks, moved, one=past == 1)
                yield place, h264.b_unit(slice_data, self._target, number, place - key, past)
            before = part


def _pan(pan: float, before: int, place: int, after: int) -> Pan:
    # One more than needed: beside what is new, x264 often does not find where the picture was.
    columns = math.ceil(abs(pan) * (after - before) / _BLOCK) + 1
    return Pan(
        round(-4 * pan * (place - before)), round(4 * pan * (after - place)), columns, pan > 0
    )


# -- slices -------------------------------------------------------------------------------------

# Pixels of a macroblock's side.
_BLOCK = 16
# Differences of motion below this are counted in ones.
_PREFIX = 9
# How much the neighbours' differences tell of the next one.
_KNOWN = (2, 32)
# The contexts, and their m and n for cabac_init_idc 0: tables 9-13 to 9-18.
_SKIP, _TYPE, _ACROSS, _DOWN, _REFERENCE, _LUMA, _CHROMA = 24, 27, 40, 47, 54, 73, 77
_CONTEXTS = dict(
    [
        *enumerate([(18, 64), (9, 43), (29, 0)], _SKIP),
        *enumerate([(26, 67), (16, 90), (9, 104), (-46, 127), (-20, 104), (1, 67)], _TYPE),
        *enumerate([(-3, 69), (-6, 81), (-11, 96), (6, 55), (7, 67), (-5, 86), (2, 88)], _ACROSS),
        *enumerate([(0, 58)], _DOWN),
        *enumerate([(-7, 67)], _REFERENCE),
        *enumerate([(-27, 126), (-28, 98), (-25, 101), (-23, 67)], _LUMA),
        *enumerate([(-28, 82)], _CHROMA),
    ]
)


@dataclass(frozen=True, slots=True)
class Pan:
    """Where the picture is in the anchors, when all of it moves sideways.

    Args:
        before: in the anchor before, quarters of a pixel to the right of where it is.
        after: in the anchor after, likewise.
        columns: of macroblocks at each edge that are not in both; at least two.
        to_right: whether it moves to the right.
    """

    before: int
    after: int
    columns: int
    to_right: bool


@dataclass(frozen=True, slots=True)
class _Block:
    """A macroblock with motion of its own, and nothing else.

    Args:
        after: whether it is predicted from the anchor after, or from the one before.
        difference: of its motion to what its neighbours suggest, in quarters of a pixel.
    """

    after: bool
    difference: int


@functools.lru_cache(maxsize=256)
def data(blocks: tuple[int, int], pan: Pan | None, *, one: bool) -> bytes:
    """Return the data of a B slice: macroblocks that move as they do in the next anchor.

    With a pan, those at the edges are predicted from one anchor, by its motion. The first one says
    so. Motion is coded as the difference to the median of three neighbours', and two columns are
    enough for two of these to have that motion: from then on the difference is zero, whatever the
    third one, which takes its motion from elsewhere, has (8.4.1.3). For the same reason the
    uppermost row has no macroblock with motion from elsewhere.

    Args:
        blocks: columns and rows of macroblocks.
        pan: None if nothing comes or goes at the edges.
        one: whether there is only one anchor before.
    """
    coder = cabac.Encoder(_CONTEXTS, h264.QUANTISER)
    columns, rows = blocks
    above: list[_Block | None] = [None] * columns
    for row in range(rows):
        left: _Block | None = None
        for column in range(columns):
            block = _block(pan, row, column, columns) if pan else None
            near = [neighbour for neighbour in (left, above[column]) if neighbour]
            coder.value(_SKIP + len(near), int(block is None))
            if block is not None:
                _code(coder, block, near, column > 0, row > 0, one=one)
            coder.terminate(last=(row, column) == (rows - 1, columns - 1))
            left = above[column] = block
    return coder.finish()


def _block(pan: Pan, row: int, column: int, columns: int) -> _Block | None:
    is_left, is_right = column < pan.columns, column >= columns - pan.columns
    if not (is_left or is_right or row == 0):
        return None
    # What moves to the right came in from the left, and is not in the anchor before.
    after = pan.to_right is not is_right
    first = row == 0 and column in {0, columns - pan.columns}
    return _Block(after, (pan.after if after else pan.before) if first else 0)


def _code(
    coder: cabac.Encoder,
    block: _Block,
    near: Sequence[_Block],
    has_left: bool,
    has_above: bool,
    *,
    one: bool,
) -> None:
    """Code a macroblock that is not skipped (7.3.5): B_L0_16x16 or B_L1_16x16.

    Args:
        coder: of its slice.
        block: the macroblock.
        near: those on its left and above it that are not skipped.
        has_left: whether there is any on its left.
        has_above: whether there is any above it.
        one: whether there is only one anchor before.
    """
    for context, bit in ((len(near), 1), (3, 0), (5, int(block.after))):
        coder.value(_TYPE + context, bit)
    if not (block.after or one):
        coder.value(_REFERENCE, 0)
    known = sum(abs(other.difference) for other in near if other.after == block.after)
    _code_difference(coder, block.difference, known)
    coder.value(_DOWN, 0)
    # coded_block_pattern: nothing of four parts, as it is of the parts beside and above them.
    for beside, over in ((has_left, has_above), (1, has_above), (has_left, 1), (1, 1)):
        coder.value(_LUMA + int(beside) + 2 * int(over), 0)
    coder.value(_CHROMA, 0)


def _code_difference(coder: cabac.Encoder, difference: int, known: int) -> None:
    """Code a difference of motion (9.3.2.3, 9.3.3.1.1.7): UEG3, signed, with a prefix of nine."""
    size = abs(difference)
    coder.value(_ACROSS + sum(known > limit for limit in _KNOWN), int(size > 0))
    if not size:
        return
    for place in range(1, min(size, _PREFIX)):
        coder.value(_ACROSS + min(place + 2, 6), 1)
    if size < _PREFIX:
        coder.value(_ACROSS + min(size + 2, 6), 0)
    else:
        rest, width = size - _PREFIX, 3
        while rest >= 1 << width:
            coder.bypass(1)
            rest -= 1 << width
            width += 1
        coder.bypass(0)
        for place in reversed(range(width)):
            coder.bypass(rest >> place & 1)
    coder.bypass(int(difference < 0))
