"""Camera motion over a still: what a frame shows. Pure, except for `choose`.

The camera never leaves the canvas. Positions are real numbers: rounding them to pixels is what
makes slow motion jitter.
"""

from __future__ import annotations

import functools
import random
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Plane = NDArray[np.uint8]

MOTIONS = ("zoom_in", "zoom_out", "pan_left", "pan_right")
ZOOM = 1.1
# Pixels by which a frame's edge may be off; the eye sees steps ten times as large.
CLOSE = 0.03


def choose(effects: Sequence[str]) -> str | None:
    """Pick the motion for a scene: one of those asked for, any for ``random``, None for none."""
    if not effects:
        return None
    picked = random.choice(effects)  # noqa: S311 - taste, not secrets
    return random.choice(MOTIONS) if picked == "random" else picked  # noqa: S311


def is_pan(motion: str) -> bool:
    """Say if a motion only shifts the view; it then wants a canvas that is larger by `ZOOM`."""
    return motion.startswith("pan_")


def canvas_size(motion: str, size: tuple[int, int]) -> tuple[int, int]:
    """Give the size of the canvas that a motion wants, in pixels, both even."""
    if not is_pan(motion):
        return size
    return round(size[0] * ZOOM / 2) * 2, round(size[1] * ZOOM / 2) * 2


def zoom_at(motion: str, progress: float) -> float:
    """Give a zoom's magnification, 1 to `ZOOM`; progress is 0 at the first frame, 1 at the last."""
    return 1 + (ZOOM - 1) * (progress if motion == "zoom_in" else 1 - progress)


def shift_at(motion: str, progress: float) -> float:
    """Say how far a pan's view stands right of the centre, from -1 to 1 (right edge)."""
    return 1 - 2 * progress if motion == "pan_left" else 2 * progress - 1


def frames(
    planes: Sequence[Plane], motion: str, size: tuple[int, int], count: int, buffers: int
) -> Iterator[memoryview]:
    """Give each frame of a motion as planar YUV 4:2:0 bytes.

    The planes are moved as they are: converting every frame from RGB would cost more than the
    motion itself.

    Args:
        planes: Y, U and V of the canvas, as (height, width) arrays.
        motion: one of `MOTIONS`.
        size: of the frames, width and height in pixels.
        count: number of frames.
        buffers: a frame is overwritten after so many more; new memory for every frame costs as
            much as drawing it.
    """
    shapes = [(size[1], size[0]), *[(size[1] // 2, size[0] // 2)] * 2]
    total = sum(height * width for height, width in shapes)
    ring = [np.empty(total, np.uint8) for _ in range(buffers)]
    for index in range(count):
        frame = ring[index % buffers]
        progress = index / max(1, count - 1)
        at = 0
        for plane, (height, width) in zip(planes, shapes, strict=True):
            target = frame[at : at + height * width].reshape(height, width)
            if is_pan(motion):
                _shift(plane, target, shift_at(motion, progress))
            else:
                _zoom(plane, target, zoom_at(motion, progress))
            at += height * width
        yield frame.data


def _zoom(plane: Plane, target: Plane, zoom: float) -> None:
    """Magnify about the centre of the picture, which lies between pixels.

    A resize costs a third of a general warp, but takes whole pixels on both sides. So a frame is
    the middle of a somewhat larger one: a middle part of the canvas, resized by a ratio of whole
    numbers that is the zoom within `CLOSE` at the frame's edge, and the centre cannot move at
    all. Where no such ratio is near, next to a zoom of 1, the warp does it.
    """
    height, width = plane.shape
    across, down = _ratio(width // 2, zoom), _ratio(height // 2, zoom)
    if across is None or down is None:
        _warp(plane, target, zoom)
        return
    (taken_x, made_x), (taken_y, made_y) = across, down
    x, y = width // 2, height // 2
    larger = cv2.resize(
        plane[y - taken_y : y + taken_y, x - taken_x : x + taken_x], (2 * made_x, 2 * made_y)
    )
    target[:] = larger[made_y - y : made_y + y, made_x - x : made_x + x]


@functools.lru_cache(maxsize=4096)
def _ratio(half: int, zoom: float) -> tuple[int, int] | None:
    """Find whole numbers (taken, made) with made / taken = zoom and made ≥ half, or None.

    Args:
        half: half the frame's width or height, in pixels.
        zoom: at least 1.
    """
    for made in range(half, int(half * zoom) + 1):
        taken = round(made / zoom)
        # By so much is the picture off at the edge of the frame, in its pixels.
        if taken <= half and abs(taken * zoom - made) * half / made <= CLOSE:
            return taken, made
    return None


def _warp(plane: Plane, target: Plane, zoom: float) -> None:
    height, width = plane.shape
    x, y = (width - 1) / 2 * (1 - 1 / zoom), (height - 1) / 2 * (1 - 1 / zoom)
    cv2.warpAffine(
        plane,
        np.array([[1 / zoom, 0, x], [0, 1 / zoom, y]]),
        (width, height),
        dst=target,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _shift(plane: Plane, target: Plane, shift: float) -> None:
    """Cut the view out of the canvas; an eighth of a zoom's work, for no scale is involved."""
    height, width = target.shape
    free = (plane.shape[1] - width) / 2
    centre = ((plane.shape[1] - 1) / 2 + shift * free, (plane.shape[0] - 1) / 2)
    cv2.getRectSubPix(plane, (width, height), centre, patch=target)
