"""Fit a picture on a 1080p canvas and convert it to Y, U and V planes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
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
    upright = picture.height > picture.width if portrait is None else portrait
    return PORTRAIT if upright else LANDSCAPE


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
    share = round(size[0] * WATERMARK_WIDTH)
    picture = ImageOps.contain(picture, (share, share), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
