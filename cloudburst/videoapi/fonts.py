"""Which font family can draw a text. Looks at the font files of this machine, once."""

from __future__ import annotations

import functools
import os
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


def family_for(text: str) -> str | None:
    """Name an installed family that has a text's rarest kind of character, or None.

    Args:
        text: a few characters that stand for the whole, such as 中 for Chinese.
    """
    return _search(text, os.environ.get("CLOUDBURST_FONTS", os.pathsep.join(_FOLDERS)))


@functools.lru_cache(maxsize=32)
def _search(text: str, folders: str) -> str | None:
    files = [
        path
        for folder in folders.split(os.pathsep)
        for path in Path(folder).expanduser().rglob("*")
        if path.suffix.lower() in _SUFFIXES
    ]
    for path in sorted(files, key=_rank):
        try:
            font = ImageFont.truetype(str(path), 24)
            if all(_has(font, char) for char in text):
                return font.getname()[0]
        except (OSError, ValueError):
            continue
    return None


def _rank(path: Path) -> tuple[int, str]:
    name = path.name.lower()
    place = next((i for i, word in enumerate(_PREFERRED) if word in name), len(_PREFERRED))
    return place, name


def _has(font: ImageFont.FreeTypeFont, char: str) -> bool:
    """A font without a character draws the same box for it as for one that nobody has."""
    drawn = font.getmask(char)
    box = font.getmask(_UNASSIGNED)
    return bool(drawn.getbbox()) and (drawn.size != box.size or bytes(drawn) != bytes(box))
