"""The pictures of the size benchmark: the examples, five photographs of scikit-image, five drawn.

Nothing is downloaded but scikit-image's wheel, once, with pip into CloudBurst's cache. The drawn
ones come out the same everywhere: their random numbers have a seed, their letters a font of ours.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import manimgx_fonts
import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from benchmarks.render import PICTURES
from cloudburst.paths import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH, HEIGHT = 1920, 1080
SCIKIT_IMAGE = "scikit-image==0.26.0"
EXAMPLES = sorted(path.stem for path in PICTURES.glob("*.jpg"))
PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "coffee": "coffee.png",
    "gravel": "gravel.png",
    "hubble": "hubble_deep_field.jpg",
    "retina": "retina.jpg",
}
_SENTENCE = (
    "the quick brown fox jumps over a lazy dog while seven wizards quietly mix potions and judge "
    "every vexing number 0123456789"
)


def flat() -> Image.Image:
    """Draw houses in plain colours."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), (244, 236, 216))
    draw, random = ImageDraw.Draw(picture), np.random.default_rng(1)
    draw.rectangle((0, 760, WIDTH, HEIGHT), fill=(96, 150, 92))
    draw.ellipse((1450, 90, 1700, 340), fill=(248, 196, 72))
    for _ in range(9):
        left, height = int(random.integers(0, 1700)), int(random.integers(150, 480))
        red, green, blue = (int(value) for value in random.integers(60, 220, 3))
        draw.rectangle((left, 760 - height, left + 180, 780), fill=(red, green, blue))
        for top in range(785 - height, 740, 60):
            for column in (17, 72, 127):
                window = (left + column, top, left + column + 22, top + 30)
                draw.rectangle(window, fill=(250, 240, 170))
    return picture


def gradient() -> Image.Image:
    """Draw colours that change slowly, the kind in which steps show."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    distance = np.hypot(x - WIDTH / 2, y - HEIGHT / 2) / 1101
    channels = [40 + 150 * x / WIDTH, 60 + 120 * y / HEIGHT, 200 - 120 * distance]
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def text() -> Image.Image:
    """Write a page of small letters."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, random = ImageDraw.Draw(picture), np.random.default_rng(2)
    words = _SENTENCE.split()
    font = ImageFont.truetype(_font(), 26)
    for row in range(31):
        line = " ".join(words[index] for index in random.integers(0, len(words), 24))
        draw.text((60, 30 + row * 33), line[:128], fill=(20, 20, 24), font=font)
    return picture


def lineart() -> Image.Image:
    """Draw thin winding lines and circles."""
    size = (2 * WIDTH, 2 * HEIGHT)
    picture = Image.new("RGB", size, (252, 252, 250))
    draw, random = ImageDraw.Draw(picture), np.random.default_rng(3)
    for _ in range(260):
        position, angle = random.uniform(0, size), random.uniform(0, 2 * np.pi)
        line = [tuple(position)]
        for _ in range(30):
            angle += random.normal(0, 0.3)
            position = position + 40 * np.array([np.cos(angle), np.sin(angle)])
            line.append(tuple(position))
        draw.line(line, fill=(30, 30, 40), width=int(random.integers(2, 9)))
    for _ in range(60):
        (x, y), radius = random.uniform(0, size), random.uniform(30, 240)
        circle = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(circle, outline=(30, 30, 40), width=4)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def noise() -> Image.Image:
    """Draw the worst that can be asked of an encoder: every pixel on its own."""
    values = np.random.default_rng(4).normal(128, 40, (HEIGHT, WIDTH, 3))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


DRAWN: dict[str, Callable[[], Image.Image]] = {
    "flat": flat,
    "gradient": gradient,
    "lineart": lineart,
    "noise": noise,
    "text": text,
}
NAMES = (*EXAMPLES, *PHOTOGRAPHS, *DRAWN)


def write(folder: Path, source: str) -> Path:
    """Write a picture as a PNG of 1920x1080, or 1080x1920 if it is higher than wide.

    The peer changes no picture of these sizes.

    Args:
        folder: where to.
        source: one of `NAMES`, or the path of another picture.
    """
    picture = ImageOps.exif_transpose(_open(source)).convert("RGB")
    size = (WIDTH, HEIGHT) if picture.width >= picture.height else (HEIGHT, WIDTH)
    path = folder / "picture.png"
    ImageOps.fit(picture, size, Image.Resampling.LANCZOS).save(path)
    return path


def _open(source: str) -> Image.Image:
    if source in DRAWN:
        return DRAWN[source]()
    if source in PHOTOGRAPHS:
        return Image.open(_scikit_image() / PHOTOGRAPHS[source])
    return Image.open(PICTURES / f"{source}.jpg" if source in EXAMPLES else source)


def _font() -> str:
    """Return the file of Noto Sans that draws the subtitles, too."""
    package = Path(next(iter(manimgx_fonts.__path__)))
    return str(package / "NotoSans[wght].ttf")


def _scikit_image() -> Path:
    """Return the folder of scikit-image's pictures; install it without what it depends on."""
    folder = cache_folder() / "pictures" / SCIKIT_IMAGE
    data = folder / "skimage" / "data"
    if not all((data / name).exists() for name in PHOTOGRAPHS.values()):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        command += ["--disable-pip-version-check", "--target", str(folder), SCIKIT_IMAGE]
        subprocess.run(command, check=True, timeout=600)
    return data
