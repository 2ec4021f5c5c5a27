"""Find damage within a JPEG."""

from __future__ import annotations

import av


def is_damaged_jpeg(data: bytes) -> bool:
    """Whether libav's decoder finds errors in a JPEG.

    libjpeg, which Pillow uses, conceals most errors within the data and reports only the end that
    is missing. What libav does not support is not taken for damage.
    """
    decoder = av.CodecContext.create("mjpeg", "r")
    decoder.options = {"err_detect": "explode"}
    try:
        decoder.decode(av.Packet(data))
        decoder.decode(None)
    except av.error.InvalidDataError:
        return True
    except (av.error.FFmpegError, ValueError, MemoryError):
        return False
    return False
