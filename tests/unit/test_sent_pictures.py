"""Pictures are sent no larger than a video needs, and the video is the same."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageOps

from cloudburst import media
from cloudburst.models import Scene, VideoOptions
from cloudburst.videoapi import canvas, motion
from cloudburst.workers import pictures
from tests.support import profiles
from tests.support.inputs import EXAMPLE

if TYPE_CHECKING:
    from pathlib import Path

PHOTO = Image.open(EXAMPLE.parent / "pictures" / "mountain-path.jpg").convert("RGB")


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return a picture of a size that is as hard to pack as a photograph."""
    picture = ImageOps.fit(PHOTO, (width, height), Image.Resampling.BICUBIC)
    if mode == "RGBA":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture if mode in {"RGB", "RGBA"} else picture.convert(mode)


def scene(folder: Path, picture: Image.Image, kind: str = "PNG", **options: object) -> Scene:
    settings = options.pop("settings", {})
    assert isinstance(settings, dict)
    quick = {"compress_level": 1} if kind == "PNG" else {}
    picture.save(folder / "p", kind, **quick, **settings)
    return Scene("s", folder / "p", folder / "a", 1.0, replace(VideoOptions(), **options))


def drawn(data: bytes, moving: str | None, *, portrait: bool | None) -> list[bytes]:
    """Return what the renderer makes of a picture: the planes of its canvas."""
    picture = media.read_picture(data).image
    size = canvas.size_for(picture, portrait=portrait)
    if moving:
        size = motion.canvas_size(moving, size)
    return [plane.tobytes() for plane in canvas.planes(picture, size, "white")]


@pytest.mark.parametrize(
    ("size", "effects", "portrait", "needed"),
    [
        ((3840, 2160), (), None, (1920, 1080)),
        ((3840, 2160), ("zoom_in",), None, (1920, 1080)),
        ((3840, 2160), ("pan_left",), None, (2112, 1188)),
        ((3840, 2160), ("random",), None, (2112, 1188)),
        ((3840, 2160), ("zoom_in", "pan_right"), None, (2112, 1188)),
        ((2160, 3840), (), None, (1080, 1920)),
        ((3840, 2160), (), True, (1080, 608)),
        ((4000, 3000), (), None, (1440, 1080)),
        ((1920, 1080), ("pan_left",), None, (1920, 1080)),
        ((2000, 1125), ("pan_left",), None, (2000, 1125)),
        ((2000, 100), (), None, (1920, 96)),
        ((640, 4000), (), None, (307, 1920)),
        ((20000, 20), (), None, (1920, 2)),
        ((320, 180), ("random",), None, (320, 180)),
    ],
)
def test_the_size_that_a_video_needs(
    size: tuple[int, int],
    effects: tuple[str, ...],
    portrait: bool | None,
    needed: tuple[int, int],
) -> None:
    assert canvas.needed(size, effects, portrait=portrait) == needed


@pytest.mark.parametrize(
    ("size", "moving", "portrait"),
    [
        ((2880, 1620), None, None),
        ((2500, 3001), "zoom_out", None),
        ((2501, 1003), "pan_right", None),
        ((2400, 2000), "pan_left", True),
    ],
)
def test_the_renderer_makes_the_same_of_it(
    tmp_path: Path, size: tuple[int, int], moving: str | None, portrait: bool | None
) -> None:
    effects = (moving,) if moving else ()
    one = scene(tmp_path, photo(*size), effects=effects, is_portrait=portrait)
    sent, mark = pictures.read(one, shrink=True)
    assert (len(sent) < one.image.stat().st_size * 0.8, mark) == (True, None)
    assert drawn(sent, moving, portrait=portrait) == drawn(
        one.image.read_bytes(), moving, portrait=portrait
    )


@pytest.mark.parametrize(
    ("picture", "settings"),
    [
        (photo(2400, 1600, "RGBA"), {}),
        (Image.fromarray(np.asarray(photo(2400, 1600, "L"), np.uint16) * 257), {}),
        (photo(2400, 1600), {"exif": b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03"
                             b"\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"}),
    ],
    ids=["transparent", "16 bits", "turned"],
)  # fmt: skip
def test_so_it_does_of_other_kinds(
    tmp_path: Path, picture: Image.Image, settings: dict[str, object]
) -> None:
    one = scene(tmp_path, picture, settings=settings)
    data = one.image.read_bytes()
    sent, _ = pictures.read(one, shrink=True)
    assert len(sent) < len(data)
    assert drawn(sent, None, portrait=None) == drawn(data, None, portrait=None)
    turned = "exif" in settings
    assert media.read_picture(sent).image.size == ((1080, 1620) if turned else (1620, 1080))


def test_a_picture_of_the_right_size_is_packed_if_that_helps(tmp_path: Path) -> None:
    one = scene(tmp_path, photo(1920, 1080), "BMP")
    sent, _ = pictures.read(one, shrink=True)
    assert len(sent) < one.image.stat().st_size / 2
    assert drawn(sent, None, portrait=None) == drawn(one.image.read_bytes(), None, portrait=None)


@pytest.mark.parametrize(
    ("picture", "kind"),
    [
        (photo(1920, 1080), "JPEG"),  # smaller than anything without loss
        (Image.new("RGB", (4000, 3000)), "PNG"),  # a small file
        (photo(20000, 100), "PNG"),  # ten pixels high, it would be refused
        (photo(2400, 2401), "PNG"),  # scaled it would be square, which is landscape
    ],
)
def test_a_file_is_sent_as_it_is(tmp_path: Path, picture: Image.Image, kind: str) -> None:
    one = scene(tmp_path, picture, kind)
    assert pictures.read(one, shrink=True) == (one.image.read_bytes(), None)


def test_pictures_go_as_they_are_where_they_are_not_to_be_shrunk(tmp_path: Path) -> None:
    one = scene(tmp_path, photo(2100, 1600), watermark=tmp_path / "p")
    data = one.image.read_bytes()
    assert pictures.read(one, shrink=False) == (data, data)


def test_what_cannot_be_read_is_sent_for_the_renderer_to_refuse(tmp_path: Path) -> None:
    one = scene(tmp_path, photo(2100, 1600))
    data = one.image.read_bytes()[:-200_000]
    one.image.write_bytes(data)
    assert pictures.read(one, shrink=True) == (data, None)
    one.image.write_bytes(bytes(500_000))
    assert pictures.read(one, shrink=True) == (bytes(500_000), None)


@pytest.mark.parametrize("portrait", [False, True])
def test_a_watermark_is_no_larger_than_it_is_drawn(tmp_path: Path, portrait: bool) -> None:
    photo(1800, 1200, "RGBA").save(tmp_path / "mark.png")
    one = scene(
        tmp_path, Image.new("RGB", (64, 64)), watermark=tmp_path / "mark.png", is_portrait=portrait
    )
    _, sent = pictures.read(one, shrink=True)
    assert sent is not None
    assert len(sent) < 120_000
    size = canvas.PORTRAIT if portrait else canvas.LANDSCAPE
    whole = media.read_picture((tmp_path / "mark.png").read_bytes()).image
    assert canvas.watermark(media.read_picture(sent).image, size) == canvas.watermark(whole, size)


def test_no_metadata_is_sent_along(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    one = scene(tmp_path, photo(2100, 1600), settings={"icc_profile": profile})
    sent, _ = pictures.read(one, shrink=True)
    with Image.open(io.BytesIO(sent)) as picture:
        assert set(picture.info) <= {"loop", "background", "timestamp", "duration"}


# -- what the public image gets -----------------------------------------------------------------


def half_red(mode: str = "RGB") -> Image.Image:
    """Return a picture that is red on the left, blue on the right."""
    picture = Image.new("RGB", (64, 32), (0, 0, 220))
    picture.paste((210, 30, 40), (0, 0, 32, 32))
    return picture.convert(mode)


def hole() -> Image.Image:
    """Return a picture whose right half is transparent."""
    picture = half_red("RGBA")
    picture.paste((0, 0, 0, 0), (32, 0, 64, 32))
    return picture


def mere_pixels(data: bytes) -> Image.Image:
    """Return what a program shows that heeds nothing but pixels."""
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format in {"PNG", "JPEG"}
        assert not {"icc_profile", "exif", "transparency"} & set(picture.info)
        return picture.copy()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    ("picture", "kind", "settings"),
    [
        (half_red(), "PNG", {}),
        (half_red("L"), "PNG", {}),
        (half_red(), "JPEG", {}),
        (half_red("L"), "JPEG", {"progressive": True}),
        (photo(640, 360), "JPEG", {"icc_profile": profiles.srgb()}),
    ],
)
def test_the_public_image_gets_plain_pictures_as_they_are(
    tmp_path: Path, picture: Image.Image, kind: str, settings: dict[str, object]
) -> None:
    one = scene(tmp_path, picture, kind, settings=settings, watermark=tmp_path / "p")
    data = one.image.read_bytes()
    assert pictures.read(one, bundled=False, shrink=False) == (data, data)


@pytest.mark.parametrize(
    ("picture", "kind", "settings"),
    [
        (half_red(), "GIF", {}),
        (half_red(), "TIFF", {}),
        (half_red(), "WEBP", {"lossless": True}),
        (half_red("P"), "PNG", {}),
        (Image.linear_gradient("L").resize((64, 32)).convert("I;16"), "PNG", {}),
        (half_red("CMYK"), "JPEG", {"quality": 100, "subsampling": 0}),
        (half_red(), "PNG", {"icc_profile": profiles.swapped()}),
        (half_red(), "JPEG", {"exif": turned(), "quality": 100, "subsampling": 0}),
        (hole(), "PNG", {}),
        (hole().quantize(3), "PNG", {}),
    ],
)
def test_the_public_image_gets_other_pictures_as_they_are_shown(
    tmp_path: Path, picture: Image.Image, kind: str, settings: dict[str, object]
) -> None:
    one = scene(tmp_path, picture, kind, settings=settings, background_color="lime")
    sent, _ = pictures.read(one, bundled=False, shrink=False)
    got = mere_pixels(sent)
    shown = media.read_picture(one.image.read_bytes()).image
    assert got.mode == "RGB"
    assert got.size == shown.size
    over = Image.new("RGBA", shown.size, "lime")
    over.alpha_composite(shown.convert("RGBA"))
    assert np.array_equal(np.asarray(got), np.asarray(over.convert("RGB")))
    # And that is not what the file itself would have shown.
    with Image.open(one.image) as file:
        assert file.format not in {"PNG", "JPEG"} or file.mode != "RGB" or file.info


def test_a_watermark_for_the_public_image_stays_transparent(tmp_path: Path) -> None:
    hole().save(tmp_path / "mark.webp", "WEBP", lossless=True)
    one = scene(tmp_path, half_red(), watermark=tmp_path / "mark.webp", background_color="lime")
    _, sent = pictures.read(one, bundled=False, shrink=False)
    assert sent is not None
    assert mere_pixels(sent).tobytes() == hole().tobytes()
