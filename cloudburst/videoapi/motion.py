"""Camera motion over a still: draw each frame. Pure, except for `choose`.

The view never leaves the canvas. Positions are real numbers: rounding them to pixels makes slow
motion jitter.
"""

from __future__ import annotations

import functools
import math
import random
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]

MOTIONS = ("zoom_in", "zoom_out", "pan_left", "pan_right")
ZOOM = 1.1
# Largest error at a frame's edge, in pixels; visible steps are ten times as large.
CLOSE = 0.03
# A zoom draws from a canvas that is scaled up once by this. Linear interpolation of the canvas
# itself blurs what falls between its pixels, here more, there less, and elsewhere in the next
# frame: less sharp than it could be, and what no encoder can predict.
FINER = 2
# Pixels by which the edges may move from one anchor to the next. What a zoom brings into view
# between them is not in both; twice as far, a pan of fine lines is clear and blurred in turn.
_TRAVEL = 8.0
# Pixels that a pan's frames are made from.
_TAPS = 8
# What H.264 shows half a pixel further on (ITU-T H.264 (08/2021), 8.4.2.2.1), done there and back.
_HALF = np.array([1, -5, 20, 20, -5, 1]) / 32
_HALVES = np.convolve(_HALF, _HALF)
# A place is even if its variance is below this. Variance that is not seen.
_EVEN, _UNSEEN = 20.0, 2.0
# Pixels of a side of a place; height of a strip of the picture; which of the strips are looked at.
_PLACE, _STRIP, _EVERY = 9, 32, 4
# Which part of the variance of noise is changed, rounded up from 0.16.
_NOISE = 0.2
# How much more is changed in the even places of a drawing, relative to their variance, on average:
# 0.05 (JPEG) to 0.5. Photographs have 0.001, with noise as well, and beside a bar 0.02.
_DRAWN = 0.04


def choose(effects: Sequence[str]) -> str | None:
    """Choose one of the requested motions; ``random`` stands for any, None for no motion."""
    if not effects:
        return None
    choice = random.choice(effects)  # noqa: S311 - taste, not secrets
    return random.choice(MOTIONS) if choice == "random" else choice  # noqa: S311


def is_pan(motion: str) -> bool:
    """Whether a motion only shifts the view; it then needs a canvas that is larger by `ZOOM`."""
    return motion.startswith("pan_")


def canvas_size(motion: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return the canvas size that a motion needs, in pixels, both even."""
    if not is_pan(motion):
        return size
    return round(size[0] * ZOOM / 2) * 2, round(size[1] * ZOOM / 2) * 2


def source(planes: Sequence[Plane], motion: str) -> tuple[Plane, ...]:
    """Return what `frames` draws from.

    Args:
        planes: Y, U and V of the canvas, as (height, width) arrays.
        motion: one of `MOTIONS`.
    """
    return tuple(np.asarray(_enlarged(plane, motion), np.uint8) for plane in planes)


def _enlarged(plane: Plane, motion: str) -> NDArray[Any]:
    if is_pan(motion):
        return cv2.copyMakeBorder(plane, 0, 0, _TAPS // 2, _TAPS // 2, cv2.BORDER_REPLICATE)
    return cv2.resize(plane, None, fx=FINER, fy=FINER, interpolation=cv2.INTER_LANCZOS4)


def zoom_at(motion: str, progress: float) -> float:
    """Return a zoom's magnification, 1 to `ZOOM`, at progress 0 (first frame) to 1 (last)."""
    return 1 + (ZOOM - 1) * (progress if motion == "zoom_in" else 1 - progress)


def shift_at(motion: str, progress: float) -> float:
    """Return the horizontal position of a pan's view, from -1 (left edge) to 1 (right edge)."""
    return 1 - 2 * progress if motion == "pan_left" else 2 * progress - 1


def pan(motion: str, size: tuple[int, int], count: int) -> float:
    """Return by how many pixels the picture moves to the right with every frame; 0 in a zoom."""
    if not is_pan(motion):
        return 0.0
    spare = canvas_size(motion, size)[0] - size[0]
    return spare / max(1, count - 1) * (1 if motion == "pan_left" else -1)


def longest(motion: str, size: tuple[int, int], count: int) -> float:
    """Return in how many frames the edges move as far as anchors may be apart; see `between`.

    Args:
        motion: one of `MOTIONS`.
        size: width and height of the frames in pixels.
        count: number of frames.
    """
    whole = (ZOOM - 1) * (size[0] if is_pan(motion) else max(size) / 2)
    return _TRAVEL * max(1, count - 1) / whole


def is_drawing(luma: Plane) -> bool:
    """Whether a picture has such sharp edges beside even places that each frame must be encoded.

    A frame that the decoder moves is interpolated. Beside an edge that is one pixel wide, this adds
    what was not there, and in an even place it is seen: letters, charts, cartoons. Noise and
    foliage only lose some of their detail.

    Args:
        luma: Y of the canvas.
    """
    added = pixels = 0.0
    for top in range(0, luma.shape[0] - _STRIP + 1, _EVERY * _STRIP):
        strip = luma[top : top + _STRIP].astype(np.float32)
        across, down = (
            strip - cv2.filter2D(strip, -1, kernel)
            for kernel in (_HALVES[np.newaxis], _HALVES[:, np.newaxis])
        )
        variance = _mean(strip**2) - _mean(strip) ** 2
        more = np.maximum(_mean((across**2 + down**2) / 2) - _NOISE * variance, 0)
        added += float((more / (variance + _UNSEEN))[variance < _EVEN].sum())
        pixels += strip.size
    return added > _DRAWN * pixels


def _mean(strip: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(cv2.blur(strip, (_PLACE, _PLACE)))


def frames(
    planes: Sequence[Plane],
    motion: str,
    size: tuple[int, int],
    count: int,
    buffers: int,
    places: Sequence[int] | None = None,
) -> Iterator[memoryview]:
    """Yield each frame of a motion as planar YUV 4:2:0 bytes.

    The YUV planes are transformed directly: converting every frame from RGB would cost more than
    the motion itself.

    Args:
        planes: Y, U and V, as (height, width) arrays; see `source`.
        motion: one of `MOTIONS`.
        size: width and height of the frames in pixels.
        count: number of frames.
        buffers: number of frame buffers, reused in turn; allocating memory for every frame costs
            as much as drawing it.
        places: numbers of the frames to draw; None draws all.
    """
    shapes = [(size[1], size[0]), *[(size[1] // 2, size[0] // 2)] * 2]
    total = sum(height * width for height, width in shapes)
    ring = [np.empty(total, np.uint8) for _ in range(buffers)]
    for number, index in enumerate(range(count) if places is None else places):
        frame = ring[number % buffers]
        progress = index / max(1, count - 1)
        offset = 0
        for plane, (height, width) in zip(planes, shapes, strict=True):
            target = frame[offset : offset + height * width].reshape(height, width)
            if is_pan(motion):
                _shift(plane, target, shift_at(motion, progress))
            else:
                _zoom(plane, target, zoom_at(motion, progress))
            offset += height * width
        yield frame.data


def _zoom(plane: Plane, target: Plane, zoom: float) -> None:
    """Magnify about the centre of the picture, which lies between pixels.

    A resize costs half of a general warp, but its input and output are whole pixels. So a frame is
    the middle of a slightly larger picture: the middle of the plane, resized by a ratio of whole
    numbers that matches the zoom within `CLOSE` at the frame's edge; the centre cannot move. Where
    no such ratio exists, close to a zoom of 1, the frame is warped.

    Args:
        plane: `FINER` times as wide and high as the frame.
        target: the frame.
        zoom: at least 1.
    """
    (height, width), scale = target.shape, zoom / FINER
    horizontal, vertical = _ratio(width // 2, scale), _ratio(height // 2, scale)
    if horizontal is None or vertical is None:
        _warp(plane, target, scale)
        return
    (source_x, scaled_x), (source_y, scaled_y) = horizontal, vertical
    x, y = plane.shape[1] // 2, plane.shape[0] // 2
    larger = cv2.resize(
        plane[y - source_y : y + source_y, x - source_x : x + source_x],
        (2 * scaled_x, 2 * scaled_y),
    )
    x, y = width // 2, height // 2
    target[:] = larger[scaled_y - y : scaled_y + y, scaled_x - x : scaled_x + x]


@functools.lru_cache(maxsize=4096)
def _ratio(half: int, scale: float) -> tuple[int, int] | None:
    """Return whole numbers (source, scaled) with scaled / source ≈ scale, scaled ≥ half; or None.

    Args:
        half: half the frame's width or height, in pixels.
        scale: at least 1 / `FINER`.
    """
    for scaled in range(half, int(half * scale * FINER) + 1):
        source = round(scaled / scale)
        # The error at the edge of the frame, in pixels of the frame.
        if source <= half * FINER and abs(source * scale - scaled) * half / scaled <= CLOSE:
            return source, scaled
    return None


def _warp(plane: Plane, target: Plane, scale: float) -> None:
    (height, width), (rows, columns) = target.shape, plane.shape
    x, y = ((columns - 1) - (width - 1) / scale) / 2, ((rows - 1) - (height - 1) / scale) / 2
    cv2.warpAffine(
        plane,
        np.array([[1 / scale, 0, x], [0, 1 / scale, y]]),
        (width, height),
        dst=target,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _shift(plane: Plane, target: Plane, shift: float) -> None:
    """Cut the view out of the canvas, its pixels moved by a fraction of one.

    All pixels of a frame lie equally far between those of the canvas: a short filter moves them and
    keeps their detail.

    Args:
        plane: of the canvas, higher than the frame by an even number, with half of `_TAPS` more
            pixels on the left and on the right.
        target: the frame.
        shift: see `shift_at`.
    """
    height, width = target.shape
    left = (plane.shape[1] - _TAPS - width) / 2 * (1 + shift)
    top, whole = (plane.shape[0] - height) // 2, math.floor(left)
    needed = plane[top : top + height, whole : whole + width + _TAPS]
    before = _TAPS // 2 - 1
    moved = cv2.filter2D(needed, -1, lanczos(left - whole)[np.newaxis], anchor=(before, 0))
    target[:] = moved[:, before + 1 : before + 1 + width]


def lanczos(fraction: float) -> NDArray[np.float32]:
    """Return the weights of the pixels around a place between two of them.

    Args:
        fraction: how far it is from the left one to the right one, 0 to 1.
    """
    distance = np.arange(_TAPS) - (_TAPS // 2 - 1) - fraction
    weights = np.sinc(distance) * np.sinc(distance / (_TAPS // 2))
    return np.asarray(weights / weights.sum(), np.float32)
