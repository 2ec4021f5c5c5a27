"""Camera motion over a still: which part of the canvas a frame shows. Pure, except for `choose`.

The camera never leaves the canvas. Positions are real numbers: rounding them to pixels is what
makes slow zooms jitter.
"""

from __future__ import annotations

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


def choose(effects: Sequence[str]) -> str | None:
    """Pick the motion for a scene: one of those asked for, any for ``random``, None for none."""
    if not effects:
        return None
    picked = random.choice(effects)  # noqa: S311 - taste, not secrets
    return random.choice(MOTIONS) if picked == "random" else picked  # noqa: S311


def view(motion: str, progress: float) -> tuple[float, float]:
    """Say where the camera is.

    Args:
        motion: one of `MOTIONS`.
        progress: 0 at the first frame, 1 at the last.

    Returns:
        The magnification, 1 to `ZOOM`, and how far the view stands right of the centre, from -1
        (left edge of the canvas) to 1 (right edge).
    """
    if motion == "zoom_in":
        return 1 + (ZOOM - 1) * progress, 0.0
    if motion == "zoom_out":
        return ZOOM - (ZOOM - 1) * progress, 0.0
    if motion == "pan_left":
        return ZOOM, 1 - 2 * progress
    if motion == "pan_right":
        return ZOOM, 2 * progress - 1
    raise ValueError(f"no such motion: {motion}")


def frames(planes: Sequence[Plane], motion: str, count: int) -> Iterator[bytes]:
    """Give each frame of a motion as planar YUV 4:2:0 bytes.

    The planes are warped as they are: converting every frame from RGB would cost more than the
    motion itself.

    Args:
        planes: Y, U and V of the canvas, as (height, width) arrays.
        motion: one of `MOTIONS`.
        count: number of frames.
    """
    total = sum(plane.size for plane in planes)
    for index in range(count):
        zoom, shift = view(motion, index / max(1, count - 1))
        frame = np.empty(total, np.uint8)
        at = 0
        for plane in planes:
            height, width = plane.shape
            target = frame[at : at + plane.size].reshape(height, width)
            cv2.warpAffine(
                plane,
                _inverse(width, height, zoom, shift),
                (width, height),
                dst=target,
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )
            at += plane.size
        yield frame.tobytes()


def _inverse(width: int, height: int, zoom: float, shift: float) -> NDArray[np.float64]:
    """Map a frame's pixel centres to the canvas."""
    free_x, free_y = (width - width / zoom) / 2, (height - height / zoom) / 2
    # The half pixels: 0 is the centre of the first pixel, not its edge.
    half = (1 / zoom - 1) / 2
    return np.array([[1 / zoom, 0, free_x * (1 + shift) + half], [0, 1 / zoom, free_y + half]])
