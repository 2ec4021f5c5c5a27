"""Fit a picture on a 1080p canvas and convert it to Y, U and V planes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageOps

from cloudburst.videoapi import motion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.videoapi.motion import Plane

LANDSCAPE = (1920, 1080)
PORTRAIT = (1080, 1920)
# ITU-R BT.709, limited range: Y = 16 + 219 (0.2126 R + 0.7152 G + 0.0722 B), U and V likewise.
_BT709 = np.array(
    [
        [0.2126 * 219, 0.7152 * 219, 0.0722 * 219, 16],
        [-0.2126 / 1.8556 * 224, -0.7152 / 1.8556 * 224, 0.5 * 224, 128],
        [0.5 * 224, -0.7152 / 1.5748 * 224, -0.0722 / 1.5748 * 224, 128],
    ],
    np.float32,
)
_BT709[:, :3] /= 255
# As the public image does: an eighth of the width, ten pixels from the top left corner.
WATERMARK_WIDTH = 1 / 8


def size_for(picture: Image.Image, *, portrait: bool | None) -> tuple[int, int]:
    """Return the output's width and height in pixels.

    Args:
        picture: the upright picture.
        portrait: the orientation; None takes the picture's.
    """
    return video_size(picture.width, picture.height, portrait=portrait)


def video_size(width: int, height: int, *, portrait: bool | None) -> tuple[int, int]:
    """Return the output's width and height for an upright picture's, in pixels."""
    upright = height > width if portrait is None else portrait
    return PORTRAIT if upright else LANDSCAPE


def needed(
    size: tuple[int, int], effects: Sequence[str], *, portrait: bool | None = None
) -> tuple[int, int]:
    """Return the size from which on a picture's pixels are lost, in pixels.

    That in which `planes` draws it on the largest canvas that its motions need; a picture that is
    smaller keeps its own. From a picture of this size it makes the same planes, unless a motion is
    left to chance of which some need a larger canvas than others.

    Args:
        size: width and height of the upright picture, in pixels.
        effects: of the scene, see `cloudburst.videoapi.motion.choose`.
        portrait: as for `size_for`.
    """
    video = video_size(*size, portrait=portrait)
    motions = motion.MOTIONS if "random" in effects else effects
    sizes = [motion.canvas_size(name, video) for name in motions]
    return contained(size, max([video, *sizes]))


def contained(size: tuple[int, int], most: tuple[int, int]) -> tuple[int, int]:
    """Return the size in which `ImageOps.contain` fits a picture; one that fits keeps its own.

    Args:
        size: width and height of the picture, in pixels.
        most: those that it has to fit.
    """
    (width, height), (wide, high) = size, most
    if width <= wide and height <= high:
        return size
    if width * high > height * wide:
        return wide, max(1, round(height / width * wide))
    return max(1, round(width / height * high)), high


def watermark_side(size: tuple[int, int]) -> int:
    """Return the side of the square that a watermark fits, of a video of a size, in pixels."""
    return round(size[0] * WATERMARK_WIDTH)


def planes(
    picture: Image.Image, size: tuple[int, int], background: str = "black"
) -> tuple[Plane, Plane, Plane]:
    """Fit a picture on a canvas without stretching, and convert it once.

    Args:
        picture: RGB or RGBA.
        size: width and height of the canvas in pixels, both even.
        background: colour of the canvas, seen beside the picture and through it.
    """
    fitted = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", size, background)
    offset = ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2)
    canvas.paste(fitted, offset, fitted if fitted.mode == "RGBA" else None)
    yuv = cv2.transform(np.asarray(canvas, np.float32), _BT709)
    half = (size[0] // 2, size[1] // 2)
    chroma = [cv2.resize(yuv[:, :, i], half, interpolation=cv2.INTER_AREA) for i in (1, 2)]
    luma, u, v = (
        np.ascontiguousarray(np.clip(np.rint(plane), 0, 255), np.uint8)
        for plane in (yuv[:, :, 0], *chroma)
    )
    return luma, u, v


def watermark(picture: Image.Image, size: tuple[int, int]) -> bytes:
    """Scale a watermark to fit a square of an eighth of the output's width; return it as PNG."""
    share = watermark_side(size)
    picture = ImageOps.contain(picture, (share, share), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
