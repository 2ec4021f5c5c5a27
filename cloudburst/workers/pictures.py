"""Pictures as they are sent.

A rented machine gets none larger than the video needs: a picture of 4K has 10 to 20 MB as PNG, and
what a video of 1080p shows of it some 2 MB. It is scaled as the renderer scales it, and packed
without loss, so the video is the same.

The public image gets pictures that look the same to every program. Its ffmpeg reads no HEIC and no
GIF, shows CMYK and wide gamuts in other colours, and black behind what is transparent; that would
be noticed after the machine was paid for.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from cloudburst import media

if TYPE_CHECKING:
    from cloudburst.models import Scene

# Smaller files are sent as they are.
_SMALL = 256 * 1024
# Bytes a pixel that is needed: a file with more may be smaller without loss, whatever its size.
_MANY = 1.0
# Each may hold a decoded picture of 360 MB while it is scaled.
_few = threading.BoundedSemaphore(2)


def read(scene: Scene, *, bundled: bool = True, shrink: bool) -> tuple[bytes, bytes | None]:
    """Return the files of a scene's picture and of its watermark, if it has one.

    Args:
        scene: the scene.
        bundled: whether the bundled video API gets them, which reads everything.
        shrink: make them no larger than the bundled video API needs.

    Raises:
        OSError: one of them cannot be read.
    """
    path = scene.options.watermark
    picture, mark = scene.image.read_bytes(), path.read_bytes() if path else None
    try:
        if not bundled:
            return _plain(picture, mark, scene)
        if not shrink or max(len(picture), len(mark or b"")) < _SMALL:
            return picture, mark
        return _fitted(picture, mark, scene)
    except media.MediaError:
        return picture, mark  # the renderer says what is wrong with them


def _plain(picture: bytes, mark: bytes | None, scene: Scene) -> tuple[bytes, bytes | None]:
    with _few:
        picture = media.plain_file(picture, scene.options.background_color)
        return picture, None if mark is None else media.plain_file(mark)


def _fitted(picture: bytes, mark: bytes | None, scene: Scene) -> tuple[bytes, bytes | None]:
    from cloudburst.videoapi import canvas  # noqa: PLC0415 - OpenCV; who renders here needs none

    options = scene.options
    size = media.upright_size(picture)
    video = canvas.video_size(*size, portrait=options.is_portrait)
    wanted = canvas.needed(size, options.effects, portrait=options.is_portrait)
    if canvas.video_size(*wanted, portrait=options.is_portrait) == video:
        picture = _packed(picture, size, wanted)
    if mark is not None:
        size, side = media.upright_size(mark), canvas.watermark_side(video)
        mark = _packed(mark, size, canvas.contained(size, (side, side)))
    return picture, mark


def _packed(data: bytes, size: tuple[int, int], wanted: tuple[int, int]) -> bytes:
    """Return a picture in the size that is wanted, or its own file if that is no larger."""
    pixels = wanted[0] * wanted[1]
    if len(data) < _SMALL or (wanted == size and len(data) < _MANY * pixels):
        return data
    if min(wanted) < media.MIN_PICTURE_SIDE:
        return data  # the renderer would refuse it
    with _few:
        image = media.read_picture(data).image
        if image.size != size:
            return data  # a reader that turns pictures itself, and another size than was thought
        smaller = media.resized(image, wanted)
    return min(data, smaller, key=len)
