"""Write IVF, a container of frames with times, which ffmpeg reads from a pipe.

A raw H.264 stream has no times, and ffmpeg guesses them wrong where frames are not shown in the
order of decoding. The layout is that of ffmpeg's ``libavformat/ivfdec.c``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def written(
    size: tuple[int, int], fps: int, frames: Iterable[tuple[int, bytes]]
) -> Iterator[bytes]:
    """Yield the parts of a file.

    Args:
        size: width and height, in pixels.
        fps: frames per second.
        frames: in the order of decoding: where each is shown, as the number of a frame, and its
            access unit of H.264.
    """
    yield struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"H264", *size, fps, 1, 0, 0)
    for place, unit in frames:
        yield struct.pack("<IQ", len(unit), place) + unit
