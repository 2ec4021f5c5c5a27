"""The bytes of a sound file as a decoder should see them, and what their headers announce."""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, Self

from cloudburst.media.parts import LARGEST_WAV, Part, parts

if TYPE_CHECKING:
    from pathlib import Path

_ID3_HEADER = 10
_HEAD = 4096
# Sampling rates by the version bits of an MPEG audio header (ISO 11172-3, 13818-3, and MPEG 2.5).
_MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_LAYER_3 = 1
_PCM = (1, 3, 0xFFFE)  # integers, floating point, and either with more about its channels


class Content:
    """A file without its name, and without the ID3 tag in front of it; read in binary.

    libavformat guesses by name where content leaves doubt, but the renderer receives content
    alone; and a tag with a large cover fills all that it looks at.

    Args:
        path: the file.

    Attributes:
        parts: the files that were joined to this one, where a decoder must begin anew.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        self._start = 0
        while (head := self._file.read(_ID3_HEADER))[:3] == b"ID3" and len(head) == _ID3_HEADER:
            # ID3 2.4.0, section 3.1: four bytes of seven bits each; a footer repeats the header.
            size = functools.reduce(lambda total, byte: total << 7 | byte & 0x7F, head[6:], 0)
            footer = _ID3_HEADER if head[5] & 0x10 else 0
            self._start += _ID3_HEADER + size + footer
            self._file.seek(self._start)
        self._file.seek(0, 2)
        self._end = self._file.tell()
        self.parts = parts(self._file, self._start, self._end)
        self.use(self.parts[0])

    def use(self, part: Part) -> None:
        """Present another of the `parts` as if it were the file, from its beginning."""
        self._start, self._end = part.start, part.end
        self._file.seek(self._start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def announced_seconds(self) -> float:
        """Return the length that an MP3's or a WAV's header announces; 0 if there is none."""
        position = self.tell()  # a decoder may be at work
        self.seek(0)
        head = self.read(_HEAD)
        self.seek(position)
        return _wav_seconds(head) or _mp3_seconds(head)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, all that remain if `size` is negative."""
        remaining = max(0, self._end - self._file.tell())
        return self._file.read(remaining if size < 0 else min(size, remaining))

    def tell(self) -> int:
        """Return the position, in bytes from the beginning of the part."""
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as `io.IOBase.seek` does, within the part; return the position."""
        origin = {0: self._start, 1: self._file.tell(), 2: self._end}[whence]
        # A damaged header may name a place that no file can have.
        return self._file.seek(min(max(self._start, origin + offset), self._end)) - self._start


def _wav_seconds(head: bytes) -> float:
    layout, data = head.find(b"fmt "), head.find(b"data")
    if head[:4] != b"RIFF" or min(layout, data) < 0 or max(layout + 22, data + 8) > len(head):
        return 0.0
    (rate,) = struct.unpack_from("<I", head, layout + 12)
    (kind,), (block,) = (struct.unpack_from("<H", head, layout + at) for at in (8, 20))
    (size,) = struct.unpack_from("<I", head, data + 4)
    if size >= LARGEST_WAV or not rate:
        return 0.0
    if kind in _PCM:  # the field for bytes a second is often wrong
        return size / (rate * block) if block else 0.0
    # Of what is compressed, that field is a guess; the number of samples is known.
    fact = head.find(b"fact", layout, data)
    return struct.unpack_from("<I", head, fact + 8)[0] / rate if 0 <= fact <= data - 12 else 0.0


def _mp3_seconds(head: bytes) -> float:
    """Return the length by the number of frames in the Xing header, which LAME calls Info."""
    tag = max(head.find(b"Xing", 0, 64), head.find(b"Info", 0, 64))
    if tag < 0 or head[0] != 0xFF or (head[1] >> 1 & 3) != _LAYER_3:  # noqa: PLR2004 - sync word
        return 0.0
    version, rate = head[1] >> 3 & 3, head[2] >> 2 & 3
    flags, frames = struct.unpack_from(">II", head, tag + 4)
    if version not in _MP3_RATES or rate >= len(_MP3_RATES[version]) or not flags & 1:
        return 0.0
    samples = 1152 if version == 3 else 576  # noqa: PLR2004 - MPEG 1; half as many in MPEG 2
    return float(frames * samples / _MP3_RATES[version][rate])
