"""Which font can draw a text. Looks at the font files of this machine, once."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageFont

_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
)
_SUFFIXES = {".ttf", ".otf", ".ttc"}
# Files with these words in their names are asked first: plain, sans, then the rest.
_PREFERRED = ("notosanscjk-regular", "notosanssc", "sourcehansans", "pingfang", "wqy", "heiti",
              "droidsansfallback", "dejavusans.", "notosans-regular", "liberationsans-regular",
              "arial", "helvetica")  # fmt: skip
_UNASSIGNED = "\U000e0fff"


@dataclass(frozen=True, slots=True)
class Face:
    """An installed font.

    Args:
        family: the name by which libass finds it.
        file: where it is.
    """

    family: str
    file: str

    def width(self, text: str, size: float) -> float:
        """Measure a line, in pixels, at a size as libass means it: ascent plus descent."""
        font = _load(self.file)
        return font.getlength(text) * size / sum(font.getmetrics())


def face_for(text: str) -> Face | None:
    """Find an installed font that has some characters, or None.

    Args:
        text: a few characters that stand for the whole, such as 中 for Chinese.
    """
    return _search(text, os.environ.get("CLOUDBURST_FONTS", os.pathsep.join(_FOLDERS)))


@functools.lru_cache(maxsize=32)
def _search(text: str, folders: str) -> Face | None:
    files = [
        path
        for folder in folders.split(os.pathsep)
        for path in Path(folder).expanduser().rglob("*")
        if path.suffix.lower() in _SUFFIXES
    ]
    for path in sorted(files, key=_rank):
        try:
            font = _load(str(path))
            family = font.getname()[0]
            if family and all(_has(font, char) for char in text):
                return Face(family, str(path))
        except (OSError, ValueError):
            continue
    return None


@functools.lru_cache(maxsize=8)
def _load(file: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, 64, layout_engine=ImageFont.Layout.BASIC)


def _rank(path: Path) -> tuple[int, str]:
    name = path.name.lower()
    place = next((i for i, word in enumerate(_PREFERRED) if word in name), len(_PREFERRED))
    return place, name


def _has(font: ImageFont.FreeTypeFont, char: str) -> bool:
    """A font without a character draws the same box for it as for one that nobody has."""
    drawn = font.getmask(char)
    box = font.getmask(_UNASSIGNED)
    return bool(drawn.getbbox()) and (drawn.size != box.size or bytes(drawn) != bytes(box))
