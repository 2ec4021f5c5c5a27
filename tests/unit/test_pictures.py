"""Pictures: damage is found beforehand, colours are those of the profile, nothing turns black."""

from __future__ import annotations

import base64
import io
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image, ImageDraw, TiffImagePlugin

from cloudburst import media
from cloudburst.errors import BadInput
from cloudburst.job.folder.suffixes import SUFFIXES
from cloudburst.job.loader import load_job
from cloudburst.videoapi import canvas
from tests.support import profiles
from tests.support.inputs import EXAMPLE, scenes_yaml, write_sound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PHOTO = Image.open(EXAMPLE.parent / "pictures" / "dandelions.jpg").convert("RGB").resize((640, 360))
COLOUR = (200, 40, 90)
# 64x64 pixels of COLOUR, made with pillow-heif: no encoder of HEVC is installed with CloudBurst.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAAB0AAAAjaWluZgAAAAAAAQAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34"
    "+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmu"
    "bgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAA"
    "QAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAACVtZGF0AAAAGSgBrwY4Wvz9N/Y43//q"
    "8eh/mEKqvEJj9fg="
)


def saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def middle(picture: media.Picture) -> Any:
    image = picture.image.convert("RGB")
    return np.array(image.getpixel((image.width // 2, image.height // 2)))


def damaged(data: bytes, at: float, size: int) -> bytes:
    start = round(len(data) * at)
    changed = bytes(byte ^ 0xA5 for byte in data[start : start + size])
    return data[:start] + changed + data[start + size :]


BROKEN = {
    "half a jpeg": lambda: half(saved(PHOTO, "JPEG")),
    "half a progressive jpeg": lambda: half(saved(PHOTO, "JPEG", progressive=True)),
    "half a png": lambda: half(saved(PHOTO, "PNG")),
    "half a gif": lambda: half(saved(PHOTO, "GIF")),
    "half a bmp": lambda: half(saved(PHOTO, "BMP")),
    "half a webp": lambda: half(saved(PHOTO, "WEBP")),
    "half a tiff": lambda: half(saved(PHOTO, "TIFF")),
    "half an avif": lambda: half(saved(PHOTO, "AVIF")),
    "png with a broken IDAT": lambda: damaged(saved(PHOTO, "PNG"), 0.5, 60),
    "png with a wrong byte": lambda: damaged(saved(PHOTO, "PNG", compress_level=0), 0.5, 1),
    "a tiff without its directory": lambda: b"II*\0" + struct.pack("<I", 90_000) + bytes(400),
    "not a heic": lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400),
}


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's, which `media` ignores
@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_picture_is_reported_with_its_line(
    job_file: Callable[..., Path], name: str
) -> None:
    path = job_file(scenes_yaml(1))
    (path.parent / "p.png").write_bytes(BROKEN[name]())
    with pytest.raises(BadInput) as caught:
        load_job(path)
    (problem,) = caught.value.problems
    assert (problem.line, problem.field) == (3, "scenes[0].image")
    assert "p.png: not a " in problem.message
    if "heic" in name or "directory" in name:
        assert "it is damaged (it is a " in problem.message


def test_limits_are_told_in_our_words(recwarn: pytest.WarningsRecorder) -> None:
    for size in ((10_000, 9_000), (15_000, 15_000)):
        with pytest.raises(media.MediaError, match=rf"{size[0]}x{size[1]} pixels; the limit is"):
            media.read_picture(saved(Image.new("1", size), "PNG"))
    assert not recwarn.list
    # Those of a program that imports CloudBurst stay.
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(saved(Image.new("1", (15_000, 15_000)), "PNG")))


@pytest.mark.parametrize(
    ("most", "scale"), [(1.0, 255), (1.02, 255), (1.9, 255), (255, 1), (65535, 255 / 65535)]
)
def test_floating_point_is_as_light_as_it_means(most: float, scale: float) -> None:
    values = np.linspace(0, most, 64, dtype=np.float32) * np.ones((64, 1), np.float32)
    values[0, 0] = np.nan
    found = media.read_picture(saved(Image.fromarray(values), "TIFF")).image.convert("L")
    meant = np.clip(values[1] * scale, 0, 255)
    assert np.abs(np.asarray(found, np.float32)[1] - meant).max() <= 1


def coded(data: bytes, primaries: int, transfer: int) -> bytes:
    """Return an AVIF or a PNG that names its colours by code points, and has no profile."""
    at = data.find(b"colrnclx")
    if at > 0:
        return data[: at + 8] + struct.pack(">HH", primaries, transfer) + data[at + 12 :]
    body = b"cICP" + bytes([primaries, transfer, 0, 1])
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    at = data.find(b"IDAT") - 4
    return data[:at] + chunk + data[at:]


@pytest.mark.parametrize("kind", ["AVIF", "PNG"])
@pytest.mark.parametrize(
    ("primaries", "transfer", "told"),
    [(9, 16, True), (9, 18, True), (12, 13, True), (1, 16, True), (1, 13, False), (2, 2, False)],
)
def test_colours_that_are_not_converted_are_told(
    kind: str, primaries: int, transfer: int, told: bool
) -> None:
    data = coded(saved(Image.new("RGB", (64, 64), COLOUR), kind), primaries, transfer)
    warned = media.read_picture(data).warnings
    assert any("colours beyond sRGB" in warning for warning in warned) == told
    assert len(warned) == told


@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 95}])
def test_a_jpeg_without_its_end_marker_is_read_whole(options: dict[str, Any], missing: int) -> None:
    whole = saved(PHOTO, "JPEG", **options)
    sound, cut = media.read_picture(whole), media.read_picture(whole[:-missing])
    assert cut.image.tobytes() == sound.image.tobytes()
    assert cut.warnings == (
        "the picture's file lacks its end marker; nothing else of it seems to be missing",
    )
    for more in (0, missing):
        # Whoever gets the file next finds the marker.
        sent = media.plain_file(whole[: len(whole) - more])
        assert sent.endswith(b"\xff\xd9")
        assert media.read_picture(sent).warnings == ()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_more_than_its_end_marker_is_refused(
    mode: str, *, progressive: bool
) -> None:
    whole = saved(PHOTO.convert(mode), "JPEG", progressive=progressive, quality=95)
    for missing in (30, 60, 200, len(whole) // 3):
        with pytest.raises(media.MediaError, match="truncated"):
            media.read_picture(whole[:-missing])


# Tags of the first image in a file: Pillow reads that one.
RAW: dict[str, dict[int, Any]] = {
    "dng": {50706: b"\1\4\0\0", 254: 1},
    "dng in full": {50706: b"\1\4\0\0"},
    "nef": {254: 1, 271: "NIKON"},
}


@pytest.mark.parametrize("name", RAW)
def test_a_raw_picture_is_not_shown_as_its_preview(name: str) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in RAW[name].items():
        info[tag] = value
    preview = saved(PHOTO.resize((160, 120)), "TIFF", tiffinfo=info)
    with pytest.raises(media.MediaError, match="a raw picture of a camera; export it as JPEG"):
        media.read_picture(preview)
    assert media.read_picture(saved(PHOTO, "TIFF")).image.size == PHOTO.size


NAMED = {
    b"\xff\x0a" + bytes(range(60)): "JPEG XL",
    b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40): "raw picture of a camera",
    b"FUJIFILMCCD-RAW 0201" + bytes(40): "raw picture of a camera",
    b"gimp xcf v011" + bytes(40): "GIMP",
    bytes(5000): "nothing but zeros",
    b"MZ" + bytes(60): "unknown file format",
    "hello".encode("utf-16"): "unknown file format",
    b"<svg xmlns='x'></svg>": "text: ",
    "图片在哪里".encode() * 20: "text: '图",
}


@pytest.mark.parametrize(("data", "name"), NAMED.items(), ids=[*NAMED.values()])
def test_what_is_no_picture_is_named(data: bytes, name: str) -> None:
    with pytest.raises(media.MediaError, match=name):
        media.read_picture(data)


def test_a_picture_whose_check_sum_is_wrong_is_damaged_not_another_file() -> None:
    data = saved(PHOTO, "PNG")
    at = data.index(b"IDAT") - 4
    text = b"\0\0\0\3tEXta\0b" + b"\0\0\0\0"
    with pytest.raises(media.MediaError, match=r"is damaged \(it is a PNG file\)"):
        media.read_picture(data[:at] + text + data[at:])


def test_floating_point_is_from_0_to_1_or_to_255() -> None:
    for value in (0.5, 128.0):
        grey = Image.fromarray(np.full((36, 64), value, np.float32))
        assert middle(media.read_picture(saved(grey, "TIFF"))).tolist() == pytest.approx(
            [128] * 3, abs=1
        )


def test_odd_metadata_is_not_written_to_standard_error(tmp_path: Path) -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + b"\xff" * 52
    PHOTO.save(tmp_path / "p.jpg", exif=exif)
    code = "import sys, pathlib\nfrom cloudburst import media\n"
    code += "print(media.inspect_picture(pathlib.Path(sys.argv[1])).image.size)"
    command = [sys.executable, "-c", code, str(tmp_path / "p.jpg")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("(640, 360)\n", "")


def test_a_speck_of_light_does_not_make_a_dark_drawing_visible() -> None:
    picture = drawing("black")
    picture.putpixel((0, 0), (255, 255, 255, 255))
    ink = media.read_picture(saved(picture, "PNG")).ink
    assert ink is not None
    assert ink.is_lost_on("black")
    assert not ink.is_lost_on("white")


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 4}, {"subsampling": 0}]
)
@pytest.mark.parametrize("size", [40, 200])
def test_damage_within_a_jpeg_is_a_warning(options: dict[str, Any], size: int) -> None:
    whole = saved(PHOTO, "JPEG", quality=90, **options)
    sound = media.read_picture(whole)
    assert sound.warnings == ()
    noticed = [
        is_noticed(damaged(whole, part / 100, size), sound.image) for part in range(10, 95, 5)
    ]
    wrong = [seen for seen in noticed if seen is not None]
    assert len(wrong) >= 8
    assert sum(wrong) >= 0.75 * len(wrong), "no decoder can notice all of them"


def is_noticed(data: bytes, sound: Image.Image) -> bool | None:
    """Return whether damage is refused or warned of; None if it can hardly be seen."""
    try:
        picture = media.read_picture(data)
    except media.MediaError:
        return True
    off = np.abs(np.asarray(picture.image, np.int16) - np.asarray(sound, np.int16)).mean()
    return any("damaged" in text for text in picture.warnings) if off > 1 else None


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [(640, 360), (641, 359), (17, 16)])
def test_no_good_jpeg_is_taken_for_damaged(mode: str, size: tuple[int, int]) -> None:
    picture = PHOTO.resize(size).convert(mode)
    for options in (
        *({}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}),
        *({"restart_marker_blocks": 3}, {"quality": 100}, {"quality": 3}, {"optimize": True}),
    ):
        data = saved(picture, "JPEG", **options)
        assert media.read_picture(data).warnings == ()
        for rest in (b"trailing rubbish", bytes(1000), data, bytes(range(256)) * 4):
            assert media.read_picture(data + rest).warnings == ()
        # Cameras fill the data up to a multiple of four bytes.
        for filled in (b"\0\0\0", b"\xff\xff\xff"):
            assert media.read_picture(data[:-2] + filled + data[-2:]).warnings == ()


def test_what_other_encoders_write_is_not_taken_for_damaged(tmp_path: Path) -> None:
    pixels = np.asarray(PHOTO)
    for options in (
        [],
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 5],
        [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411],
    ):
        assert media.read_picture(cv2.imencode(".jpg", pixels, options)[1].tobytes()).warnings == ()
    several = io.BytesIO()
    PHOTO.save(several, "MPO", save_all=True, append_images=[PHOTO.rotate(90)])
    assert media.read_picture(several.getvalue()).warnings == ()
    PHOTO.save(tmp_path / "p.png")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", tmp_path / "p.png"]
    for more in (["yuvj420p"], ["yuvj422p"], ["yuvj444p", "-huffman", "default"], ["gray"]):
        made = subprocess.run(
            [*command, "-pix_fmt", *more, "-f", "mjpeg", "-"], capture_output=True, check=True
        ).stdout
        assert media.read_picture(made).warnings == ()


def test_rubbish_between_the_headers_of_a_jpeg_is_no_damage() -> None:
    """What libjpeg-turbo says of it does not change the picture."""
    data = saved(PHOTO, "JPEG")
    at = data.index(b"\xff\xdb")
    assert media.read_picture(data[:at] + bytes(20) + data[at:]).warnings == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("alpha", [False, True])
def test_an_rgb_profile_is_applied(kind: str, alpha: bool) -> None:
    if alpha and kind == "JPEG":
        return
    picture = Image.new("RGB", (64, 64), COLOUR)
    if alpha:
        picture.putalpha(200)
    options = {"quality": 100} if kind in {"JPEG", "WEBP", "AVIF"} else {}
    data = saved(picture, kind, icc_profile=profiles.swapped(), **options)
    got = media.read_picture(data)
    assert got.warnings == ()
    assert got.image.mode == picture.mode
    expected = (COLOUR[1], COLOUR[0], COLOUR[2])
    assert np.abs(middle(got) - expected).max() <= 6


def test_palettes_and_greys_have_rgb_profiles_too() -> None:
    palette = Image.new("RGB", (64, 64), COLOUR).quantize(4)
    data = saved(palette, "PNG", icc_profile=profiles.swapped())
    assert np.abs(middle(media.read_picture(data)) - (40, 200, 90)).max() <= 6
    data = saved(Image.new("L", (64, 64), 128), "PNG", icc_profile=profiles.swapped())
    assert media.read_picture(data).warnings == ()


def test_a_grey_profile_is_applied() -> None:
    data = saved(Image.new("L", (64, 64), 128), "PNG", icc_profile=profiles.grey(1.0))
    got = media.read_picture(data)
    assert got.warnings == ()
    # Half the light, linearly, is 188 in sRGB.
    assert np.abs(middle(got) - 188).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_a_broken_or_foreign_profile_is_a_warning(mode: str) -> None:
    picture = Image.new("RGB", (64, 64), COLOUR).convert(mode)
    embedded = [b"no profile", profiles.swapped()[:300]]
    embedded += [profiles.swapped()] if mode == "CMYK" else []
    for profile in embedded:
        got = media.read_picture(saved(picture, "TIFF", icc_profile=profile))
        (warning,) = got.warnings
        assert "colour profile cannot be used" in warning
        assert np.abs(middle(got) - picture.convert("RGB").getpixel((0, 0))).max() <= 3


def test_rotation_and_profile_together() -> None:
    picture = Image.new("RGB", (80, 40), COLOUR)
    ImageDraw.Draw(picture).rectangle((0, 0, 39, 39), fill=(10, 10, 250))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    data = saved(picture, "JPEG", exif=exif, quality=100, icc_profile=profiles.swapped())
    got = media.read_picture(data).image
    assert got.size == (40, 80)
    assert np.abs(np.array(got.getpixel((20, 60))) - (40, 200, 90)).max() <= 8
    assert np.abs(np.array(got.getpixel((20, 20))) - (10, 10, 250)).max() <= 8


def test_heic_and_avif_are_read() -> None:
    assert (
        np.abs(
            middle(media.read_picture(saved(PHOTO, "AVIF", quality=90)))
            - middle(media.Picture(PHOTO))
        ).max()
        < 25
    )
    got = media.read_picture(HEIC)
    assert got.image.size == (64, 64)
    assert np.abs(middle(got) - COLOUR).max() <= 6


# By Pillow's name of the format; `HEIC` is encoded already.
_SAVED_AS = {
    **dict.fromkeys(("jpg", "jpeg", "jfif", "jpe"), "JPEG"),
    **dict.fromkeys(("jp2", "jpx", "j2k", "jpf"), "JPEG2000"),
    **dict.fromkeys(("pgm", "pnm"), "PPM"),
    "tif": "TIFF",
    "apng": "PNG",
}


@pytest.mark.parametrize("suffix", SUFFIXES["picture"])
def test_a_scan_finds_every_kind_of_picture_that_a_scene_may_have(
    tmp_path: Path, suffix: str
) -> None:
    kind = suffix.removeprefix(".")
    named = _SAVED_AS.get(kind, kind.upper())
    data = HEIC if kind in ("heic", "heif", "hif") else saved(PHOTO, named)
    (tmp_path / f"1{suffix}").write_bytes(data)
    write_sound(tmp_path / "1.wav")
    (scene,) = load_job(tmp_path).scenes
    assert scene.image.name == f"1{suffix}"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".avif", ".heic"])
def test_a_scan_passes_over_no_picture_that_the_documentation_names(suffix: str) -> None:
    assert suffix in SUFFIXES["picture"]


def test_only_the_first_frame_of_an_animation_is_shown() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        got = media.read_picture(
            saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        )
        assert "has 3 frames" in got.warnings[0]
        assert np.abs(middle(got) - (255, 0, 0)).max() <= 4


def drawing(colour: str) -> Image.Image:
    picture = Image.new("RGBA", (640, 360))
    ImageDraw.Draw(picture).rectangle((200, 150, 440, 210), fill=colour)
    return picture


@pytest.mark.parametrize(
    ("colour", "background", "lost"),
    [
        ("black", "black", True),
        ("#101820", "black", True),
        ("navy", "black", True),
        ("white", "black", False),
        ("red", "black", False),
        ("black", "white", False),
        ("white", "white", True),
        ("red", "green", False),
        ("#00000000", "white", True),
    ],
)
def test_a_drawing_that_is_lost_on_the_background_is_a_warning(
    job_file: Callable[..., Path], colour: str, background: str, lost: bool
) -> None:
    path = job_file(scenes_yaml(1, f"defaults: {{background_color: {background}}}\n"))
    drawing(colour).save(path.parent / "p.png")
    warnings = load_job(path).warnings
    assert len(warnings) == int(lost)
    if lost:
        assert warnings[0].startswith(f"{path}:4: scenes[0].image: p.png: the picture is trans")


def test_the_background_is_seen_through_and_beside_the_picture() -> None:
    picture = Image.new("RGBA", (640, 640))
    ImageDraw.Draw(picture).rectangle((300, 300, 340, 340), fill="black")
    luma, u, v = canvas.planes(picture, canvas.LANDSCAPE, "#ffffff")
    assert luma[540, 960] == 16
    assert (luma[540, 700], luma[540, 100]) == (235, 235), "through it, and beside it"
    assert (u[270, 50], v[270, 50]) == (128, 128)
    assert canvas.planes(picture, canvas.LANDSCAPE)[0].max() <= 16, "black by default"


@pytest.mark.parametrize("value", ["ffffff", "'#fff'", "chartreuse", "null", "'#ffffff;x'"])
def test_other_backgrounds_are_refused(job_file: Callable[..., Path], value: str) -> None:
    path = job_file(scenes_yaml(1, f"defaults: {{background_color: {value}}}\n"))
    with pytest.raises(BadInput, match="background_color"):
        load_job(path)


def test_large_pictures_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from cloudburst.media import picture

    monkeypatch.setattr(picture, "_LARGE", 1000)
    running, most = [0], [0]
    original = picture._in_srgb

    def watched(image: Image.Image) -> Image.Image:
        running[0] += 1
        most[0] = max(most[0], running[0])
        try:
            return original(image)
        finally:
            running[0] -= 1

    monkeypatch.setattr(picture, "_in_srgb", watched)
    data = saved(PHOTO.resize((1600, 900)), "PNG")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(media.read_picture, [data] * 16))
    assert most[0] == 1
