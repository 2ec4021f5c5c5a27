"""Colour profiles."""

from __future__ import annotations

import struct

from PIL import ImageCms


def srgb() -> bytes:
    """Return a profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped() -> bytes:
    """Return an RGB profile whose red and green primaries are exchanged."""
    profile = bytearray(srgb())
    (count,) = struct.unpack_from(">I", profile, 128)
    entry = {bytes(profile[132 + 12 * k : 136 + 12 * k]): 136 + 12 * k for k in range(count)}
    red, green = entry[b"rXYZ"], entry[b"gXYZ"]
    profile[red : red + 8], profile[green : green + 8] = (
        profile[green : green + 8],
        profile[red : red + 8],
    )
    return bytes(profile)


def grey(gamma: float) -> bytes:
    """Return a minimal ICC 2 profile of grey with a gamma."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)  # D50
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"g\0" + bytes(78 + 2)
    text += bytes(-len(text) % 4)
    tags, data, offset = b"", b"", 128 + 4 + 12 * 3
    for name, value in ((b"wtpt", white), (b"kTRC", curve), (b"desc", text)):
        tags += name + struct.pack(">II", offset + len(data), len(value))
        data += value
    body = struct.pack(">I", 3) + tags + data
    header = struct.pack(
        ">I4sI4s4s4s", 128 + len(body), b"lcms", 0x02100000, b"mntr", b"GRAY", b"XYZ "
    )
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + body
