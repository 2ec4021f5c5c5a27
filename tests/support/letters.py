"""Subtitles as pixels: drawn by the renderer, and by Pillow to compare them with."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cloudburst.videoapi import render
from cloudburst.videoapi.ffmpeg import Deadline
from cloudburst.videoapi.typefaces import fonts
from tests.support.inputs import write_sound

if TYPE_CHECKING:
    import pytest
    from numpy.typing import NDArray

    Pixels = NDArray[np.float64]

SIZE = 120


def _packaged(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / name


# Fonts that are there on every machine.
LATIN = _packaged("manimgx_fonts", "NotoSans[wght].ttf")
ITALIC = _packaged("manimgx_fonts", "NotoSans-Italic[wght].ttf")
HEBREW = _packaged("manimgx_fonts", "NotoSansHebrew[wght].ttf")
CJK = _packaged("noto_cjk_sans_otc", "NotoSansCJK-Regular.ttc")


def hide_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide every font from the renderer and from fontconfig, but for those of the packages."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.setattr(fonts, "_INSTALLED", (str(empty),))
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "FONTCONFIG_PATH", "CLOUDBURST_FONTS"):
        monkeypatch.setenv(name, str(empty))
    monkeypatch.setenv("FONTCONFIG_FILE", str(empty / "absent.conf"))
    fonts._search.cache_clear()


def drawn(tmp_path: Path, text: str, font: bytes | str | None = None) -> tuple[Pixels, list[str]]:
    """Render a line of subtitles on black; return it, cropped to the letters."""
    picture, warnings = frame(tmp_path, text, "black", background_box=False, font=font)
    return cropped(picture), warnings


def frame(
    tmp_path: Path, text: str, background: str, **options: Any
) -> tuple[NDArray[np.uint8], list[str]]:
    """Render a line of subtitles; return the first frame, in grey."""
    folder = tmp_path / f"scene-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    Image.new("RGB", (1920, 1080), background).save(tmp_path / "plain.png")
    request = render.Request(
        image=(tmp_path / "plain.png").read_bytes(),
        audio=write_sound(tmp_path / "a.wav", 0.5, rate=8000).read_bytes(),
        subtitle=f"1\n00:00:00,000 --> 00:00:09,000\n{text}\n".encode(),
        subtitle_checked=True,  # so short a sound leaves no time to read
        font_size=SIZE,
        **options,
    )
    video, warnings = render.render(request, folder, Deadline(60), threads=2)
    return pictures(video)[0], warnings


def cropped(picture: NDArray[np.uint8]) -> Pixels:
    rows, columns = np.nonzero(picture > 100)
    if not len(rows):
        return np.zeros((1, 1))
    return picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(float)


@functools.cache
def expected(face: fonts.Face, text: str) -> Pixels:
    """Draw a text with Pillow, at the size at which libass should draw it."""
    font = ImageFont.truetype(face.file, SIZE / face.height, face.index)
    picture = Image.new("L", (2400, 300))
    ImageDraw.Draw(picture).text((50, 50), text, font=font, fill=255)
    return cropped(np.asarray(picture))


def likeness(a: Pixels, b: Pixels) -> float:
    """Return the correlation of two pictures, -1 to 1, the second scaled to the first."""
    scaled = Image.fromarray(b.astype(np.uint8)).resize(a.shape[::-1])
    return float(np.corrcoef(a.ravel(), np.asarray(scaled).ravel())[0, 1])


def pictures(video: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(video)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
