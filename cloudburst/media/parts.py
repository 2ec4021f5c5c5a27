"""Where a sound file ends by its own structure, and where a file that was joined to it begins.

libavformat reads one WAV, AIFF, MP4, CAF or WMA and passes over what follows; of an Ogg it reads on
only while the parts have the same number of channels and the same rate.
"""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_OGG_HEADER = 27
_HEAD = 64
# Programs that write to a pipe do not know the size; they write 0, or one close to 2 or 4 GiB.
LARGEST_WAV = 0x7FF00000
_UNKNOWN_32 = 0xFFFFFFFF
# What sound files begin with, long enough that it is nowhere in a sound by chance: the first bytes,
# and what follows them.
_BEGINNINGS: dict[str, tuple[bytes, bytes]] = {
    "ogg": (b"OggS\0\x02", rb"\0{8}"),
    "wav": (b"RIFF", rb"....WAVE[ -~]{4}"),
    "rf64": (b"RF64", rb"....WAVEds64"),
    "bw64": (b"BW64", rb"....WAVEds64"),
    "w64": (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0", rb""),
    "aiff": (b"FORM", rb"....AIF[FC][ -~]{4}"),
    "caf": (b"caff\0\x01\0\0desc", rb""),
    "matroska": (b"\x1aE\xdf\xa3", rb".{1,8}\x42\x86\x81\x01"),
    "flac": (b"fLaC", rb"[\0\x80]\0\0\x22"),
    "asf": (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c", rb""),
    "flv": (b"FLV\x01", rb"[\x01\x04\x05]\0\0\0\x09"),
    "amr": (b"#!AMR\n", rb""),
    "amr-wb": (b"#!AMR-WB\n", rb""),
    "au": (b".snd\0\0", rb".{6}\0\0\0.\0[\0-\x05]..\0\0\0."),
    "tta": (b"TTA1\x01\0", rb""),
    "voc": (b"Creative Voice File\x1a", rb""),
    "nut": (b"nut/multimedia container\0", rb""),
    "smaf": (b"MMMD", rb"....CNTI"),
}
# The same for MP4, whose name comes after a size, which is a multiple of four.
_FTYP = (b"ftyp", rb"(?:M4[ABV] |isom|iso\d|mp4[12]|qt  |3gp\d|dash|MSNV)")
_PATTERNS = {
    kind: re.compile(re.escape(first) + rest, re.DOTALL)
    for kind, (first, rest) in {**_BEGINNINGS, "mp4": _FTYP}.items()
}
_MP4_SIZE = 4
# Frame after frame without a structure around them: a decoder passes over what follows, or takes
# it for damage. MPEG and ADTS begin with eleven bits, AC-3 with sixteen.
_STREAMS = frozenset({"flac", "flv", "nut", "amr", "amr-wb", "au", "tta", "voc", "smaf"})
_SYNC = re.compile(rb"\xff[\xe0-\xff]|\x0b\x77")
# An ID3 tag with what it is before: a frame of MPEG.
_TAG = re.compile(rb"ID3[\x02-\x04].[\0\x10\x40\x80]([\0-\x7f]{4})", re.DOTALL)
# What may follow the end of a sound that is no sound.
_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")
_CHUNK_NAME = re.compile(rb"[ -~\xa9]{4}")
# First bytes of ASF's objects: header, data, and three kinds of indices.
_ASF_OBJECTS = frozenset(
    map(bytes.fromhex, ("3026b275", "3626b275", "90080033", "d329e2d6", "f803b1fe"))
)
_W64_HEADER, _W64_CHUNK = 40, 24


@dataclass(frozen=True, slots=True)
class Part:
    """One of the files that were joined to one.

    Args:
        start: where it begins, in bytes.
        end: where the next one begins, or the file ends.
        announced: bytes of sound that its header announces; 0 if it is not known.
        spare: bytes after its end by its structure that are neither metadata nor padding.
        truncated: whether the file ends within what the part announces.
    """

    start: int
    end: int
    announced: int = 0
    spare: int = 0
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class _Extent:
    """What the structure of a file says.

    Args:
        end: where it ends; None if that is not known.
        sound: bytes of sound in it; 0 if that is not known.
        truncates: whether an end beyond the file's means that it is cut; other headers that
            announce too much are found out by decoding.
    """

    end: int | None
    sound: int = 0
    truncates: bool = False


def parts(file: IO[bytes], start: int, end: int) -> list[Part]:
    """Return the files that were joined to one, at least one.

    Args:
        file: a real file, in binary.
        start: where the first one begins, in bytes.
        end: of the file.
    """
    if start >= end:
        return [Part(start, end)]
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = []
        while True:
            part = _part(data, start, end)
            found.append(part)
            if part.end >= end:
                return found
            start = part.end


def _part(data: mmap.mmap, start: int, end: int) -> Part:
    kind = _kind(data, start)
    if kind is None or kind in _STREAMS:
        if kind is None and not _SYNC.match(data, start):
            return Part(start, end)
        return Part(start, _next(data, start + 1, end))
    extent = _WALKERS[kind](data, start, end)
    if extent.end is None or extent.end <= start:  # it is damaged where it begins
        return Part(start, _next(data, start + 1, end, (kind,)))
    if extent.end >= end:
        return Part(start, end, extent.sound, truncated=extent.truncates and extent.end > end)
    following = _next(data, extent.end, end)
    return Part(start, following, extent.sound, _spare(data, extent.end, following))


def _kind(data: mmap.mmap, at: int) -> str | None:
    """Return what begins at a place, None if it is nothing that can be told for certain."""
    for kind in _BEGINNINGS:
        if _PATTERNS[kind].match(data, at):
            return kind
    return "mp4" if data[at + 4 : at + 8] == b"ftyp" else None


def _next(data: mmap.mmap, at: int, end: int, kinds: Iterable[str] = _PATTERNS) -> int:
    """Return where the next file of some kinds begins, the end if there is none."""
    if tag := _TAG.match(data, at):
        size = sum(byte << 7 * place for place, byte in enumerate(reversed(tag[1])))
        if _SYNC.match(data, at + 10 + size):
            return at
    nearest = end
    for kind in kinds:
        pattern, offset = _PATTERNS[kind], _MP4_SIZE if kind == "mp4" else 0
        first = _FTYP[0] if kind == "mp4" else _BEGINNINGS[kind][0]
        place = data.find(first, at + offset, nearest)
        while place >= 0 and not pattern.match(data, place):
            place = data.find(first, place + 1, nearest)
        if place >= 0:
            nearest = min(nearest, place - offset)
    return nearest


def _spare(data: mmap.mmap, at: int, end: int) -> int:
    """Return how many bytes there are after the end of a sound that nothing accounts for."""
    rest = data[at:end].lstrip(b"\0")
    return 0 if not rest or rest.startswith(_TRAILERS) else end - at


# -- structures ---------------------------------------------------------------------------------


def _ogg(data: mmap.mmap, start: int, end: int) -> _Extent:
    """Pages up to the next beginning of a stream, or up to the last page (RFC 3533, 6)."""
    position, in_header = start, True
    while (place := data.find(b"OggS", position, max(0, end - _OGG_HEADER + 1))) >= 0:
        if place > position and _next(data, position, place) < place:
            break
        position = place
        begins = bool(data[position + 5] & 2)
        if begins and not in_header:
            break
        in_header = begins
        count = data[position + 26]
        sizes = data[position + _OGG_HEADER : position + _OGG_HEADER + count]
        position += _OGG_HEADER + count + sum(sizes)
    return _Extent(position, truncates=True)


def _riff(data: mmap.mmap, start: int, end: int) -> _Extent:
    return _chunks(data, start, end, "<", b"data")


def _aiff(data: mmap.mmap, start: int, end: int) -> _Extent:
    return _chunks(data, start, end, ">", b"SSND")


def _chunks(data: mmap.mmap, start: int, end: int, order: str, sound: bytes) -> _Extent:
    """Chunks of a name and a size, whatever the header says of the whole.

    Args:
        data: the file.
        start: of this part.
        end: of the file.
        order: of bytes, as `struct` names it.
        sound: name of the chunk with the sound.
    """
    position, held, long_size = start + 12, 0, 0
    while position + 9 <= end:
        if _kind(data, position) or _kind(data, position + 1):
            break
        # Chunks begin at even places, mostly.
        place = position
        if not _fits(data, position, end, order) and _fits(data, position + 1, end, order):
            place += 1
        name = data[place : place + 4]
        (size,) = struct.unpack_from(f"{order}I", data, place + 4)
        if name == b"ds64":  # EBU Tech 3306: sizes of eight bytes
            long_size = int.from_bytes(data[place + 16 : place + 24], "little")
        if name == sound:
            size = long_size if size == _UNKNOWN_32 and long_size else size
            if not 0 < size < LARGEST_WAV and not long_size:
                return _Extent(None)
            held = size
        elif not _fits(data, place, end, order):
            break
        position = place + 8 + size
    return _Extent(position if held else None, held, truncates=order == ">")


def _fits(data: mmap.mmap, at: int, end: int, order: str) -> bool:
    """Whether there may be a chunk at a place."""
    if not _is_chunk(data, at) or at + 8 > end:
        return False
    (size,) = struct.unpack_from(f"{order}I", data, at + 4)
    return bool(at + 8 + size <= end)


def _is_chunk(data: mmap.mmap, at: int) -> bool:
    return bool(_CHUNK_NAME.fullmatch(data[at : at + 4]))


def _w64(data: mmap.mmap, start: int, end: int) -> _Extent:
    """Chunks of a GUID and a size of eight bytes, header included (Sony's specification)."""
    position, held = start + _W64_HEADER, 0
    while position + _W64_CHUNK <= end and not _kind(data, position):
        (size,) = struct.unpack_from("<Q", data, position + 16)
        if size < _W64_CHUNK or not _is_chunk(data, position):
            break
        if data[position : position + 4] == b"data":
            held = size - _W64_CHUNK
        position += size + -size % 8
    return _Extent(position if held else None, held)


def _mp4(data: mmap.mmap, start: int, end: int) -> _Extent:
    """Boxes up to one for the next file's type (ISO 14496-12, 4.2)."""
    position = start
    while position + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, position)
        if size == 1 and position + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, position + 8)
        if size == 0:  # up to the end
            return _Extent(end)
        if size < 8 or not _CHUNK_NAME.fullmatch(kind):  # noqa: PLR2004 - the box's own header
            break
        if kind == b"ftyp" and position > start:
            break
        position += size
    return _Extent(position)


def _caf(data: mmap.mmap, start: int, end: int) -> _Extent:
    position, held = start + 8, 0
    while position + 12 <= end and _is_chunk(data, position) and not _kind(data, position):
        (size,) = struct.unpack_from(">q", data, position + 4)
        if size < 0:
            return _Extent(None)
        if data[position : position + 4] == b"data":
            held = size
        position += 12 + size
    return _Extent(position if held else None, held, truncates=True)


def _matroska(data: mmap.mmap, start: int, end: int) -> _Extent:
    """The header and the segment (RFC 8794, section 4); a live one has no size."""
    position = start
    for name in (_BEGINNINGS["matroska"][0], b"\x18\x53\x80\x67"):
        if data[position : position + 4] != name:
            return _Extent(None)
        position += 4
        first = data[position] if position < end else 0
        length = 9 - first.bit_length()
        if not first or position + length > end:
            return _Extent(None)
        number = int.from_bytes(data[position : position + length], "big")
        size = number - (1 << 7 * length)
        if size == (1 << 7 * length) - 1:
            return _Extent(None)
        position += length + size
    return _Extent(position)


def _asf(data: mmap.mmap, start: int, end: int) -> _Extent:
    """The header, the data and indices, each a GUID and a size of eight bytes (ASF 1.20.3, 2.1)."""
    position = start
    while position + 24 <= end and (position == start or not _kind(data, position)):
        (size,) = struct.unpack_from("<Q", data, position + 16)
        if data[position : position + 4] not in _ASF_OBJECTS:
            break
        if size < 24:  # noqa: PLR2004 - its own header; a live stream has no size
            return _Extent(None)
        position += size
    return _Extent(position)


_WALKERS: dict[str, Callable[[mmap.mmap, int, int], _Extent]] = {
    **dict.fromkeys(("wav", "rf64", "bw64"), _riff),
    "ogg": _ogg,
    "aiff": _aiff,
    "asf": _asf,
    "w64": _w64,
    "mp4": _mp4,
    "caf": _caf,
    "matroska": _matroska,
}
