"""Decode a picture with Pillow and convert it to the Y, U and V planes of a 1080p canvas."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageOps

from cloudburst import media

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


# Each of Pillow's readers raises exceptions of its own choice at damaged files.
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, RuntimeError, LookupError, ArithmeticError),
    *(EOFError, struct.error, Image.DecompressionBombError),
)


class PictureError(ValueError):
    """The bytes are not a usable picture."""


def read(data: bytes) -> Image.Image:
    """Decode a picture, upright, as RGBA or RGB with 8 bits a channel.

    Raises:
        PictureError: the data is not a picture, is damaged, or is too large to open safely.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            media.check_picture_size(*picture.size)
            picture.load()
            return _to_rgb(ImageOps.exif_transpose(picture))
    except _DAMAGED as error:
        raise PictureError(f"not a usable picture: {error}") from error


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow clips 16-bit grey to white; take the upper 8 bits.
        grey = np.asarray(picture, np.float32)
        scale = 255 / 65535 if grey.max() > 255 else 1.0  # noqa: PLR2004
        picture = Image.fromarray(np.clip(grey * scale, 0, 255).astype(np.uint8))
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    return picture.convert("RGBA" if has_alpha else "RGB")


def size_for(picture: Image.Image, *, portrait: bool | None) -> tuple[int, int]:
    """Return the output's width and height in pixels.

    Args:
        picture: the upright picture.
        portrait: the orientation; None takes the picture's.
    """
    upright = picture.height > picture.width if portrait is None else portrait
    return PORTRAIT if upright else LANDSCAPE


def planes(picture: Image.Image, size: tuple[int, int]) -> tuple[Plane, Plane, Plane]:
    """Fit a picture on a black canvas without stretching, and convert it once.

    Args:
        picture: RGB or RGBA; transparent parts become black.
        size: width and height of the canvas in pixels, both even.
    """
    fitted = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", size)
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
