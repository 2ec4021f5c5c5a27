"""Find an installed font that can draw a text. Searches are cached."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
)
_SUFFIXES = {".ttf", ".otf", ".ttc"}
# Files with these words in their names are preferred, in this order; then the rest.
_PREFERRED = ("notosanscjk-regular", "notosanssc", "sourcehansans", "pingfang", "wqy", "heiti",
              "droidsansfallback", "dejavusans.", "notosans-regular", "liberationsans-regular",
              "arial", "helvetica")  # fmt: skip
_UNASSIGNED = "\U000e0fff"


@dataclass(frozen=True, slots=True)
class Face:
    """An installed font.

    Args:
        family: name by which libass finds it.
        file: path of the font file.
        index: its index in a collection.
    """

    family: str
    file: str
    index: int = 0

    def load(self) -> ImageFont.FreeTypeFont:
        """Open the font at a size suited to measuring."""
        return _load(self.file, self.index)

    def width(self, text: str, size: float) -> float:
        """Return a line's width in pixels at a libass font size, which is ascent plus descent."""
        font = self.load()
        return font.getlength(text) * size / sum(font.getmetrics())


def face_for(text: str) -> Face | None:
    """Return an installed font that has all characters of a text, or None.

    Args:
        text: a few representative characters, such as 中 for Chinese.
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
        faces = [face for face in _faces(path) if all(_has(face, char) for char in text)]
        # A collection has one face per region; the same characters look different in each.
        faces.sort(key=lambda face: " SC" not in face.family)
        if faces:
            return faces[0]
    return None


def _faces(path: Path) -> Iterator[Face]:
    for index in range(16):
        face = Face("", str(path), index)
        try:
            family = face.load().getname()[0]
        except (OSError, ValueError):
            return
        if family and "Mono" not in family:
            yield Face(family, str(path), index)
        if path.suffix.lower() != ".ttc":
            return


@functools.lru_cache(maxsize=64)
def _load(file: str, index: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, 64, index, layout_engine=ImageFont.Layout.BASIC)


def _rank(path: Path) -> tuple[int, str]:
    name = path.name.lower()
    preference = next((i for i, word in enumerate(_PREFERRED) if word in name), len(_PREFERRED))
    return preference, name


def _has(face: Face, char: str) -> bool:
    """Whether a face draws a character differently from an unassigned one, which gets a box."""
    font = face.load()
    drawn = font.getmask(char)
    box = font.getmask(_UNASSIGNED)
    return bool(drawn.getbbox()) and (drawn.size != box.size or bytes(drawn) != bytes(box))
