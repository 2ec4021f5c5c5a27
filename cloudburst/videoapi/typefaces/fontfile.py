"""One font file: read with HarfBuzz, checked, and made into a font for libass.

A font that the user chooses is handed to libass alone in its file, with a name of its own: whatever
it is called, whichever face of a collection or weight of a variable font it is, libass draws with
it and takes no other one for it.
"""

from __future__ import annotations

import functools
import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import uharfbuzz
from PIL import ImageFont

from cloudburst.language import tr
from cloudburst.media.kinds import describe_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# A collection of Noto Sans CJK has 19 MB; the largest request has half a gigabyte.
MAX_BYTES = 20 * 1024**2
# What libass knows the font of a scene by, a name that no installed font has.
FAMILY = "CloudBurstSubtitles"
_SFNT = (b"\x00\x01\x00\x00", b"OTTO", b"true")
_COLLECTION = b"ttcf"
_MOST_FACES = 64
# Of a font: the registered ones are 60, the largest number in the bundled fonts is 23.
_MOST_TABLES = 200
_WEB = {b"wOFF": "WOFF", b"wOF2": "WOFF2"}
_OUTLINES = ("glyf", "CFF ", "CFF2")
# Of a line, in em; of some decorative fonts it is three.
_HEIGHTS = (0.2, 20.0)
# Characters that are drawn to see whether a font can be used.
_TRIED = 20
_REGULAR, _USUAL_WIDTH = 400, 5  # OpenType 1.9, OS/2: usWeightClass, usWidthClass
_ITALIC = 1 << 0 | 1 << 9  # fsSelection: italic, oblique


class FontError(ValueError):
    """The bytes are not a font that can draw subtitles."""


class Opened(NamedTuple):
    """A font that is open.

    Args:
        font: for shaping.
        characters: code points for which it has glyphs.
        faces: number of fonts in its file.
        family: name by which libass finds it.
        style: such as ``Bold Italic``.
        height: what libass scales to the font size (`set_font_metrics`), in em.
        data: its file, if libass gets it from memory.
    """

    font: uharfbuzz.Font
    characters: uharfbuzz.Set
    faces: int
    family: str
    style: str
    height: float
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """A font of a file, as users name it.

    Args:
        index: of the font in its file.
        family: its usual name.
        names: all its names, in every language.
        strangeness: how far it is from an upright, regular font of usual width; the least is best.
        coordinates: of a variable font, by axis.
    """

    index: int
    family: str
    names: frozenset[str]
    strangeness: tuple[bool, int, int]
    coordinates: tuple[tuple[str, float], ...] = ()


# -- reading ------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def opened(file: str, index: int) -> Opened:
    """Open a font; one without characters if the file is unreadable or not a font.

    Args:
        file: path of the file.
        index: of the font in it.
    """
    try:
        blob = uharfbuzz.Blob.from_file_path(file)
    except uharfbuzz.HarfBuzzError:
        blob = uharfbuzz.Blob(b"")
    return _opened(uharfbuzz.Face(blob, index))


def _opened(face: uharfbuzz.Face, data: bytes | None = None) -> Opened:
    font = uharfbuzz.Font(face)
    name = uharfbuzz.OTNameIdPredefined
    return Opened(
        font,
        face.unicodes,
        face.count,
        # libass knows fonts in a folder by this name, not by the typographic family.
        face.get_name(name.FONT_FAMILY) or "",
        face.get_name(name.FONT_SUBFAMILY) or "",
        _height(font) or 1.0,
        data,
    )


def _height(font: uharfbuzz.Font) -> float:
    tag = uharfbuzz.OTMetricsTag
    names = (tag.HORIZONTAL_CLIPPING_ASCENT, tag.HORIZONTAL_CLIPPING_DESCENT)
    clipping = sum(float(font.get_metric_position(name) or 0) for name in names)
    extents = font.get_font_extents("ltr")
    return (clipping or float(extents.ascender - extents.descender)) / float(font.face.upem)


def advance(of: Opened, char: str) -> float:
    """Return the width of a character on its own, in em; 0 if the font does not have it."""
    glyph = of.font.get_nominal_glyph(ord(char))
    return 0.0 if glyph is None else of.font.get_glyph_h_advance(glyph) / of.font.face.upem


def shaped(of: Opened, text: str) -> float:
    """Return the width of a text as HarfBuzz shapes it for libass, in em."""
    buffer = uharfbuzz.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    uharfbuzz.shape(of.font, buffer)
    width = sum(position.x_advance for position in buffer.glyph_positions or ())
    return float(abs(width)) / float(of.font.face.upem)


# -- what is in a file --------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def described(path: Path) -> tuple[Described, ...]:
    """Return the fonts of a file, and the named weights of variable ones; none if it has none."""
    try:
        blob = uharfbuzz.Blob.from_file_path(str(path))
    except uharfbuzz.HarfBuzzError:
        return ()
    try:
        return _described(blob)
    except Exception:  # noqa: BLE001 - what HarfBuzz raises at damaged fonts is its own
        return ()


def _described(blob: uharfbuzz.Blob) -> tuple[Described, ...]:
    count = min(uharfbuzz.Face(blob, 0).count, _MOST_FACES)
    return tuple(one for index in range(count) for one in _described_face(blob, index))


def _described_face(blob: uharfbuzz.Blob, index: int) -> Iterator[Described]:
    face = uharfbuzz.Face(blob, index)
    if not any(face.reference_table(tag).data for tag in _OUTLINES):
        return
    kind = uharfbuzz.OTNameIdPredefined
    families = _names(face, kind.FONT_FAMILY, kind.TYPOGRAPHIC_FAMILY)
    others = _names(face, kind.FULL_NAME, kind.POSTSCRIPT_NAME)
    family = face.get_name(kind.TYPOGRAPHIC_FAMILY) or face.get_name(kind.FONT_FAMILY) or ""
    instances = face.named_instances  # of a variable font, which have the full names
    names = families if instances else families | others
    yield Described(index, family, names, _strangeness(face), _regular(face))
    tags = [axis.tag for axis in face.axis_infos]
    for instance in instances:
        weight = face.get_name(instance.subfamily_name_id) or ""
        yield Described(
            index,
            family,
            frozenset(f"{name} {weight}" for name in families),
            _strangeness(face),
            tuple(zip(tags, instance.design_coords, strict=True)),
        )


def _names(face: uharfbuzz.Face, *kinds: uharfbuzz.OTNameIdPredefined) -> frozenset[str]:
    entries = [entry for entry in face.list_names() if entry.name_id in kinds]
    names = (face.get_name(entry.name_id, entry.language) for entry in entries)
    return frozenset(name for name in names if name)


def _strangeness(face: uharfbuzz.Face) -> tuple[bool, int, int]:
    table = face.reference_table("OS/2").data or b""
    if len(table) < 64:  # noqa: PLR2004 - the end of fsSelection
        return False, 0, 0
    weight, width = struct.unpack_from(">HH", table, 4)
    (selection,) = struct.unpack_from(">H", table, 62)
    return bool(selection & _ITALIC), abs(weight - _REGULAR), abs(width - _USUAL_WIDTH)


def _regular(face: uharfbuzz.Face) -> tuple[tuple[str, float], ...]:
    """Return the coordinates of a variable font's regular weight: some are thin by default."""
    return tuple(
        (axis.tag, min(max(_REGULAR, axis.min_value), axis.max_value))
        if axis.tag == "wght"
        else (axis.tag, axis.default_value)
        for axis in face.axis_infos
    )


# -- a font for libass --------------------------------------------------------------------------


def choose(data: bytes, region: str = "SC") -> Opened:
    """Return the font of a file that draws subtitles: upright and regular, if there are several.

    Args:
        data: a TrueType or OpenType font, or a collection of such fonts.
        region: of the faces of a CJK collection: SC, TC, HK, JP or KR.

    Raises:
        FontError: it is not a font, is damaged or too large, or has no outlines.
    """
    _check_file(data)
    try:
        return _chosen(data, region)
    except FontError:
        raise
    except Exception as error:  # what HarfBuzz raises at damaged fonts is its own
        raise FontError(tr("the font is damaged: {reason}", reason=error)) from error


def _chosen(data: bytes, region: str) -> Opened:
    fonts = _described(uharfbuzz.Blob(data))
    if not fonts:
        raise FontError(tr("the font has no outlines; expected one that can be scaled, no bitmaps"))
    best = min(fonts, key=lambda one: (f" {region}" not in one.family, one.strangeness))
    return alone(data, best.index, best.coordinates)


def alone(data: bytes, index: int, coordinates: tuple[tuple[str, float], ...] = ()) -> Opened:
    """Return a font alone in its file, under the name `FAMILY`.

    Args:
        data: the file that has it.
        index: of the font in the file.
        coordinates: of a variable font, by axis.

    Raises:
        FontError: it cannot draw.
    """
    face = _pinned(uharfbuzz.Face(uharfbuzz.Blob(data), index), coordinates)
    tables = {tag: face.reference_table(tag).data or b"" for tag in face.table_tags}
    tables["name"] = _name_table(FAMILY)
    single = _sfnt(tables)
    made = _opened(uharfbuzz.Face(uharfbuzz.Blob(single)), single)
    _check_drawing(made, single)
    return made


def _pinned(face: uharfbuzz.Face, coordinates: tuple[tuple[str, float], ...]) -> uharfbuzz.Face:
    """Return one weight of a variable font as a font; the font itself if that is not possible."""
    if not coordinates:
        return face
    wanted = uharfbuzz.SubsetInput()
    wanted.keep_everything()
    for tag, value in coordinates:
        wanted.pin_axis_location(face, tag, value)
    try:
        return uharfbuzz.subset(face, wanted)
    except (RuntimeError, uharfbuzz.HarfBuzzError):
        return face  # libass draws its default


def _name_table(family: str) -> bytes:
    """Return a ``name`` table (OpenType 1.9, format 0): Windows, Unicode, English."""
    records, texts = b"", b""
    for number, name in ((1, family), (2, "Regular"), (4, family), (6, family)):
        text = name.encode("utf-16-be")
        records += struct.pack(">6H", 3, 1, 0x409, number, len(text), len(texts))
        texts += text
    return struct.pack(">3H", 0, len(records) // 12, 6 + len(records)) + records + texts


def _sfnt(tables: Mapping[str, bytes]) -> bytes:
    """Return a font file of some tables (OpenType 1.9, “Organization of an OpenType font”).

    The check sums are 0: neither HarfBuzz nor FreeType compares them.
    """
    flavour = b"\x00\x01\x00\x00" if "glyf" in tables else b"OTTO"
    power = len(tables).bit_length() - 1
    search = 16 << power
    head = struct.pack(">4sHHHH", flavour, len(tables), search, power, 16 * len(tables) - search)
    position = len(head) + 16 * len(tables)
    body: list[bytes] = []
    for tag, table in sorted(tables.items()):
        head += struct.pack(">4sIII", tag.encode("latin-1"), 0, position, len(table))
        padded = table + bytes(-len(table) % 4)
        body.append(padded)
        position += len(padded)
    return b"".join((head, *body))


# -- checks -------------------------------------------------------------------------------------


def _check_file(data: bytes) -> None:
    """Check what a file says of itself: that it is a font, and whole.

    Raises:
        FontError: it is not.
    """
    if len(data) > MAX_BYTES:
        size, most = len(data) / 1024**2, MAX_BYTES // 1024**2
        raise FontError(tr("{size:.0f} MiB; the limit is {most} MiB", size=size, most=most))
    kind = data[:4]
    if kind in _WEB:
        message = tr(
            "{format} is a font compressed for web pages; convert it to TTF or OTF",
            format=_WEB[kind],
        )
        raise FontError(message)
    if kind not in _SFNT and kind != _COLLECTION:
        raise FontError(tr("not a font ({what})", what=describe_bytes(data)))
    try:
        starts = [0]
        if kind == _COLLECTION:
            (count,) = struct.unpack_from(">I", data, 8)
            starts = list(struct.unpack_from(f">{min(count, _MOST_FACES)}I", data, 12))
        for start in starts:
            _check_tables(data, start)
    except struct.error as error:
        raise FontError(tr("the font is truncated")) from error


def _check_tables(data: bytes, start: int) -> None:
    """Check what a font says of its tables, each of which will be copied.

    Raises:
        FontError: one is not in the file, or they have more bytes than the file, so that they
            overlap: a few megabytes could fill the memory.
    """
    (count,) = struct.unpack_from(">H", data, start + 4)
    if count > _MOST_TABLES:
        text = tr(
            "the font has {count} tables; the limit is {most}", count=count, most=_MOST_TABLES
        )
        raise FontError(text)
    total = 0
    for number in range(count):
        offset, length = struct.unpack_from(">II", data, start + 12 + 16 * number + 8)
        if offset + length > len(data):
            raise FontError(tr("the font is truncated"))
        total += length
    if total > len(data):
        raise FontError(tr("the font's tables overlap"))


def _check_drawing(made: Opened, data: bytes) -> None:
    """Draw some characters with FreeType, as libass will.

    Raises:
        FontError: it fails, or the font has no characters or no size.
    """
    characters = list(made.characters)
    if not characters:
        raise FontError(tr("the font has no characters"))
    if not _HEIGHTS[0] <= made.height <= _HEIGHTS[1]:
        text = tr("the font says that a line is {height:.3g} em high", height=made.height)
        raise FontError(text)
    try:
        font = ImageFont.truetype(io.BytesIO(data), 32, layout_engine=ImageFont.Layout.BASIC)
        for code in characters[:: max(1, len(characters) // _TRIED)]:
            font.getmask(chr(code))
    except (OSError, ValueError, MemoryError) as error:
        raise FontError(tr("the font is damaged: {reason}", reason=error)) from error
