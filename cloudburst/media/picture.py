"""Decode pictures: upright, in sRGB, whole. Only this module of the package imports Pillow."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pi_heif
from PIL import (
    ExifTags,
    Image,
    ImageChops,
    ImageCms,
    ImageColor,
    ImageOps,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from cloudburst.language import tr
from cloudburst.media.jpeg import is_damaged_jpeg, with_end
from cloudburst.media.kinds import MediaError, describe_bytes, is_heif

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MAX_PICTURE_SIDE = 20_000
# As many as Pillow's own: a decoded pixel takes up to four bytes.
MAX_PICTURE_PIXELS = 89_000_000
MIN_PICTURE_SIDE = 16

# The sixteen names of HTML 4, section 6.5, or a colour in hexadecimal.
BACKGROUND = (
    "^(#[0-9A-Fa-f]{6}|aqua|black|blue|fuchsia|gray|green|lime|maroon|navy|olive|purple|red|silver"
    "|teal|white|yellow)$"
)
# Pictures of more pixels are inspected one at a time, so that memory does not grow with cores.
_LARGE = 8_000_000
_one_large = threading.Lock()
_opening = threading.Lock()
# Each of Pillow's readers raises exceptions of its own choice at damaged files.
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, TypeError, RuntimeError, LookupError, ArithmeticError),
    *(EOFError, struct.error, Image.DecompressionBombError, ImageCms.PyCMSError),
)
# Files of these beginnings are pictures that Pillow reads, if they are whole.
_OF_PILLOW = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*")
# TIFF's tag of a digital negative (DNG 1.4), and of an image's kind (TIFF 6.0: 1 is a smaller
# version of another image). Raw pictures of cameras begin with one.
_DNG_VERSION, _SUBFILE_TYPE, _SMALLER = 50706, 254, 1
# Formats whose further frames are an animation or pages; those of others are previews.
_SEQUENCES = {"GIF", "PNG", "WEBP", "AVIF", "TIFF"}
# EXIF 2.32, 4.6.4, A: orientations whose rows are shown as columns.
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})
_SRGB = ImageCms.createProfile("sRGB")
# The modes that a profile of each colour space (ICC.1:2022, table 19) applies to.
_PROFILE_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab ": "LAB"}
# A drawing on transparent ground is visible if it differs from the background by so many levels
# of luma, or of any channel.
_VISIBLE_LUMA, _VISIBLE_CHANNEL = 64, 160
_OPAQUE = 128
# Percent of the drawn pixels, the darkest and the lightest, that do not count.
_SPECKS = 1
# Up to this, values are from 0 to 1: sharpening and scaling leave some beyond.
_OVERSHOOT = 2.0
# What every program reads, and the modes whose pixels need no more than that.
_OF_ALL, _PLAIN_MODES = frozenset({"JPEG", "PNG"}), frozenset({"RGB", "RGBA", "L"})
# Code points (ITU-T H.273, tables 2 and 3) of more colours than sRGB has: BT.2020, cinema, Display
# P3; and of HDR: PQ, HLG.
_WIDE, _HDR = frozenset({9, 11, 12}), frozenset({16, 18})
# Levels of a channel: a profile that changes less is sRGB by another name.
_ALIKE = 3
# zlib's level; the next ones take twice the time for a tenth.
_QUICK = 3
_BT709 = (0.2126, 0.7152, 0.0722)

pi_heif.register_heif_opener()
# What Pillow writes to standard error about odd metadata helps nobody.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True, slots=True)
class Ink:
    """What is drawn on the transparent ground of a picture.

    Args:
        darkest: lowest value of each channel, R, G, B.
        lightest: highest value of each.
        nothing: whether the picture is transparent throughout.
    """

    darkest: tuple[int, int, int] = (0, 0, 0)
    lightest: tuple[int, int, int] = (0, 0, 0)
    nothing: bool = False

    def is_lost_on(self, background: str) -> bool:
        """Whether the drawing can hardly be told from a background, ``#RRGGBB`` or a name."""
        if self.nothing:
            return True
        ground = ImageColor.getrgb(background)[:3]
        lumas = [_luma(colour) - _luma(ground) for colour in (self.darkest, self.lightest)]
        channels = [
            abs(value - level)
            for colour in (self.darkest, self.lightest)
            for value, level in zip(colour, ground, strict=True)
        ]
        return max(map(abs, lumas)) < _VISIBLE_LUMA and max(channels) < _VISIBLE_CHANNEL


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Args:
        image: upright, sRGB, RGB or RGBA with 8 bits a channel.
        warnings: what is unusual about the file, for people.
        ink: what is drawn on transparent ground; None if there is no such ground.
    """

    image: Image.Image
    warnings: tuple[str, ...] = ()
    ink: Ink | None = None


def _luma(colour: tuple[int, ...]) -> float:
    return sum(weight * value for weight, value in zip(_BT709, colour, strict=True))


def lost_ink() -> str:
    """Return the warning about a picture whose drawing is lost on its background."""
    return tr(
        "the picture is transparent, and what is drawn on it cannot be told from the background; "
        "set background_color, such as white"
    )


def inspect_picture(path: Path) -> Picture:
    """Decode a picture file whole.

    Raises:
        MediaError: it is not a picture, is damaged, or is too large or too small.
        OSError: the file cannot be read.
    """
    return read_picture(path.read_bytes())


def read_picture(data: bytes) -> Picture:
    """Decode a picture, upright, in sRGB.

    Args:
        data: the bytes of its file.

    Raises:
        MediaError: the data is not a picture, is damaged, or is too large or too small.
    """
    try:
        with _opened(data) as picture:
            check_picture_size(*picture.size)
            if picture.width * picture.height <= _LARGE:
                return _whole(data)
            with _one_large:
                return _whole(data)
    except MediaError:
        raise
    except UnidentifiedImageError:
        what = describe_bytes(data)
        if data.startswith(_OF_PILLOW) or is_heif(data):
            raise MediaError(
                tr("not a usable picture: it is damaged ({what})", what=what)
            ) from None
        raise MediaError(tr("not a picture ({what})", what=what)) from None
    except _DAMAGED as error:
        raise MediaError(tr("not a usable picture: {reason}", reason=error)) from error


def _opened(data: bytes) -> Image.Image:
    """Open a picture without Pillow's limits, of which `check_picture_size` says more.

    They are put back: programs that import CloudBurst have pictures of their own.
    """
    with _opening:
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data))
        finally:
            Image.MAX_IMAGE_PIXELS = theirs


def upright_size(data: bytes) -> tuple[int, int]:
    """Return a picture's width and height as it is shown, in pixels, without decoding it.

    Args:
        data: the bytes of its file.

    Raises:
        MediaError: the data is not a picture.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1) in _ON_ITS_SIDE
            return (picture.height, picture.width) if turned else picture.size
    except (*_DAMAGED, UnidentifiedImageError) as error:
        raise MediaError(tr("not a usable picture: {reason}", reason=error)) from error


def resized(image: Image.Image, size: tuple[int, int]) -> bytes:
    """Return a picture in another size as a lossless file; one of its own size is not changed.

    Args:
        image: RGB or RGBA.
        size: width and height in pixels.
    """
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    out = io.BytesIO()
    # A quarter smaller than PNG in a quarter of the time; its slower methods save another tenth.
    image.save(out, "WEBP", lossless=True, exact=True, quality=20, method=0)
    return out.getvalue()


def plain_file(data: bytes, background: str | None = None) -> bytes:
    """Return a picture as a file that every program shows alike.

    Many heed neither the orientation of EXIF nor colour profiles nor transparency, and read few
    formats.

    Args:
        data: the bytes of its file.
        background: seen through what is transparent, ``#RRGGBB`` or a name; None leaves that as it
            is.

    Returns:
        The file itself if it is a JPEG or PNG that looks the same without all this; otherwise a
        PNG, upright, in sRGB.

    Raises:
        MediaError: see `read_picture`.
    """
    data = with_end(data)
    image = read_picture(data).image
    if image.mode == "RGBA" and background is not None:
        ground = Image.new("RGBA", image.size, background)
        image = Image.alpha_composite(ground, image).convert("RGB")
    with Image.open(io.BytesIO(data)) as original:
        if original.format in _OF_ALL and _looks_like(original, image):
            return data
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=_QUICK, icc_profile=None)  # the file's has been applied
    return out.getvalue()


def _looks_like(original: Image.Image, image: Image.Image) -> bool:
    """Whether a picture's mere pixels are those that should be seen."""
    if original.size != image.size or original.mode not in _PLAIN_MODES:
        return False
    off = np.asarray(ImageChops.difference(original.convert(image.mode), image))
    return int(off.max()) <= _ALIKE


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


# -- decoding -----------------------------------------------------------------------------------


def _whole(data: bytes) -> Picture:
    ended = with_end(data)
    with Image.open(io.BytesIO(ended)) as picture:
        found = _decoded(picture, ended)
    if ended is data:
        return found
    note = tr("the picture's file lacks its end marker; nothing else of it seems to be missing")
    return replace(found, warnings=(note, *found.warnings))


def _decoded(picture: Image.Image, data: bytes) -> Picture:
    notes: list[str] = []
    if picture.format == "TIFF" and _is_raw(picture, data):
        raise MediaError(tr("not a picture (it is a raw picture of a camera; export it as JPEG)"))
    if picture.format == "PNG":
        with Image.open(io.BytesIO(data)) as copy:
            copy.verify()  # check sums, which decoding ignores
    picture.load()
    if picture.format in {"JPEG", "MPO"} and is_damaged_jpeg(data):
        notes.append(tr("the picture seems to be damaged: parts of it may look wrong; look at it"))
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format in _SEQUENCES:
        notes.append(tr("the picture has {count} frames; the first one is shown", count=frames))
    if not picture.info.get("icc_profile") and _has_other_colours(data):
        notes.append(
            tr(
                "the picture has colours beyond sRGB (HDR, BT.2020 or Display P3); they are taken "
                "as sRGB and will look wrong; export it as sRGB"
            )
        )
    upright = _eight_bits(ImageOps.exif_transpose(picture))
    try:
        image = _in_srgb(upright)
    except _DAMAGED as error:
        notes.append(
            tr(
                "the picture's colour profile cannot be used ({reason}); its colours are taken "
                "as sRGB",
                reason=error,
            )
        )
        image = _plain(upright)
    return Picture(image, tuple(notes), _ink(image))


def _has_other_colours(data: bytes) -> bool:
    """Whether a HEIC, AVIF or PNG names colours that it does not have a profile for.

    In a ``colr`` box of the kind ``nclx`` (ISO 14496-12, 12.1.5), or a ``cICP`` chunk (PNG, third
    edition, 11.3.2.6).
    """
    if is_heif(data):
        at = data.find(b"colrnclx")
        primaries, transfer = struct.unpack_from(">HH", data, at + 8) if at > 0 else (0, 0)
    else:
        at = data.find(b"cICP", 0, max(0, data.find(b"IDAT"))) if data[1:4] == b"PNG" else -1
        primaries, transfer = data[at + 4 : at + 6] if at > 0 else (0, 0)
    return primaries in _WIDE or transfer in _HDR


def _is_raw(picture: Image.Image, data: bytes) -> bool:
    """Whether a TIFF is a camera's raw picture, of which Pillow reads a small preview."""
    tags = dict(picture.tag_v2) if isinstance(picture, TiffImagePlugin.TiffImageFile) else {}
    smaller = tags.get(_SUBFILE_TYPE) == _SMALLER
    return data[8:10] == b"CR" or _DNG_VERSION in tags or smaller


def _eight_bits(picture: Image.Image) -> Image.Image:
    if not picture.mode.startswith("I") and picture.mode != "F":
        return picture
    # Pillow clips 16-bit grey to white; take the upper 8 bits.
    grey = np.nan_to_num(np.asarray(picture, np.float32))
    most = grey.max()
    scale = 255 / 65535 if most > 255 else 1.0  # noqa: PLR2004
    if picture.mode == "F" and 0 < most < _OVERSHOOT:
        scale = 255.0  # floating point is from 0 to 1, mostly
    converted = Image.fromarray(np.clip(grey * scale, 0, 255).astype(np.uint8))
    converted.info = picture.info
    return converted


def _plain(picture: Image.Image) -> Image.Image:
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    return picture.convert("RGBA" if has_alpha else "RGB")


def _in_srgb(picture: Image.Image) -> Image.Image:
    """Convert a picture by its embedded colour profile, if it has one."""
    embedded = picture.info.get("icc_profile")
    if not embedded:
        return _plain(picture)
    profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
    mode = _PROFILE_MODES[profile.profile.xcolor_space]
    plain = _plain(picture)
    if (picture.mode == "CMYK") != (mode == "CMYK"):
        raise ValueError(
            tr("it is for {space}, the picture is {mode}", space=mode, mode=picture.mode)
        )
    # Grey and palettes may come with an RGB profile.
    colours = picture if picture.mode == mode else plain.convert("RGB").convert(mode)
    converted = ImageCms.profileToProfile(colours, profile, _SRGB, outputMode="RGB")
    if converted is None:
        raise ValueError(tr("no result"))
    if plain.mode == "RGBA":
        converted.putalpha(plain.getchannel("A"))
    return converted


def _ink(image: Image.Image) -> Ink | None:
    """Return what is drawn on transparent ground, None where hardly any ground is transparent."""
    if image.mode != "RGBA":
        return None
    pixels: NDArray[np.uint8] = np.asarray(image).reshape(-1, 4)
    opaque = pixels[:, 3] >= _OPAQUE
    if np.count_nonzero(opaque) > 0.95 * len(pixels):
        return None
    drawn = pixels[opaque, :3]
    if not len(drawn):
        return Ink(nothing=True)
    # A speck of light does not make a dark drawing visible.
    low, high = np.percentile(drawn, [_SPECKS, 100 - _SPECKS], axis=0, method="nearest")
    return Ink((int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2])))
