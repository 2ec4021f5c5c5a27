"""Check pictures. Only this module of the package imports Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError

from cloudburst.language import tr
from cloudburst.media.kinds import MediaError, describe

if TYPE_CHECKING:
    from pathlib import Path

MAX_PICTURE_SIDE = 20_000
# Pillow warns from 89 million on: a decoded pixel takes up to four bytes.
MAX_PICTURE_PIXELS = 89_000_000
MIN_PICTURE_SIDE = 16


def picture_size(path: Path) -> tuple[int, int]:
    """Return the width and height of a picture, in pixels.

    Raises:
        MediaError: the file is not a picture, or its header is damaged.
        OSError: the file cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except UnidentifiedImageError:
        raise MediaError(tr("not a picture ({what})", what=describe(path))) from None
    except (Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise MediaError(tr("not a usable picture: {reason}", reason=error)) from error


def check_picture_size(width: int, height: int) -> None:
    """Reject pictures that are too large or too small, before they are decoded.

    Args:
        width: pixels.
        height: pixels.

    Raises:
        MediaError: too large or too small.
    """
    if max(width, height) > MAX_PICTURE_SIDE or width * height > MAX_PICTURE_PIXELS:
        raise MediaError(
            tr(
                "{width}x{height} pixels; the limit is {side} per side and {total} million in "
                "total",
                width=width,
                height=height,
                side=MAX_PICTURE_SIDE,
                total=MAX_PICTURE_PIXELS // 10**6,
            )
        )
    if min(width, height) < MIN_PICTURE_SIDE:
        raise MediaError(
            tr(
                "{width}x{height} pixels; the minimum is {side} per side",
                width=width,
                height=height,
                side=MIN_PICTURE_SIDE,
            )
        )
