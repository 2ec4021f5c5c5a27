"""A small picture of a video, for a page that shows many."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
from PIL import Image

from cloudburst.language import tr
from cloudburst.media.kinds import MediaError

if TYPE_CHECKING:
    from pathlib import Path


def poster(path: Path, side: int, quality: int) -> bytes:
    """Return a frame of a video as a JPEG: the key frame at or before its middle.

    Args:
        path: the video.
        side: pixels of the longer side.
        quality: of the JPEG, 1 to 95, see Pillow.

    Raises:
        MediaError: it has no picture, or does not decode.
        OSError: it cannot be read.
    """
    try:
        with av.open(str(path), mode="r") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                raise MediaError(tr("no video stream"))
            container.seek((stream.duration or 0) // 2, stream=stream)
            frame = next(container.decode(stream), None)
            if frame is None:
                raise MediaError(tr("cannot decode the {type} stream", type="video"))
            scale = side / max(frame.width, frame.height)
            width, height = max(1, round(frame.width * scale)), max(1, round(frame.height * scale))
            small = frame.reformat(width, height, "rgb24", interpolation="AREA")
            picture = Image.fromarray(small.to_ndarray())
    except av.error.FFmpegError as error:
        if isinstance(error, OSError) and error.filename and not path.exists():
            raise
        raise MediaError(str(error)) from error
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=quality, optimize=True)
    return data.getvalue()
