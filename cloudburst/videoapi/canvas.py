"""A picture of any kind → the Y, U and V planes of a 1080p canvas. Pillow does the reading."""

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


# What Pillow's readers raise at damaged files is decided by each of them.
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, RuntimeError, LookupError, ArithmeticError),
    *(EOFError, struct.error, Image.DecompressionBombError),
)


class PictureError(ValueError):
    """The bytes are not a picture that can be shown."""


def read(data: bytes) -> Image.Image:
    """Decode a picture, upright, as RGBA or RGB with 8 bits a channel.

    Raises:
        PictureError: it is not a picture, is damaged, or is too large to open safely.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            media.check_picture_size(*opened.size)
            opened.load()
            return _shown(ImageOps.exif_transpose(opened))
    except _DAMAGED as error:
        raise PictureError(f"not a usable picture: {error}") from error


def _shown(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I") or picture.mode == "F":
        # Pillow clips 16-bit grey to white; take the upper 8 bits.
        grey = np.asarray(picture, np.float32)
        scale = 255 / 65535 if grey.max() > 255 else 1.0  # noqa: PLR2004
        picture = Image.fromarray(np.clip(grey * scale, 0, 255).astype(np.uint8))
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    return picture.convert("RGBA" if has_alpha else "RGB")


def size_for(picture: Image.Image, *, portrait: bool | None) -> tuple[int, int]:
    """Give the output's width and height; None takes the picture's orientation."""
    upright = picture.height > picture.width if portrait is None else portrait
    return PORTRAIT if upright else LANDSCAPE


def planes(picture: Image.Image, size: tuple[int, int]) -> tuple[Plane, Plane, Plane]:
    """Fit a picture on a black canvas without stretching, and convert it once.

    Args:
        picture: RGB or RGBA; what is transparent becomes black.
        size: of the canvas, width and height, both even.
    """
    fitted = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", size)
    at = ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2)
    canvas.paste(fitted, at, fitted if fitted.mode == "RGBA" else None)
    yuv = cv2.transform(np.asarray(canvas, np.float32), _BT709)
    half = (size[0] // 2, size[1] // 2)
    chroma = [cv2.resize(yuv[:, :, i], half, interpolation=cv2.INTER_AREA) for i in (1, 2)]
    luma, u, v = (
        np.ascontiguousarray(np.clip(np.rint(plane), 0, 255), np.uint8)
        for plane in (yuv[:, :, 0], *chroma)
    )
    return luma, u, v


def watermark(picture: Image.Image, size: tuple[int, int]) -> bytes:
    """Scale a watermark to its share of the output's width, not higher than wide; as PNG."""
    share = round(size[0] * WATERMARK_WIDTH)
    picture = ImageOps.contain(picture, (share, share), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
