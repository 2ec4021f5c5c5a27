"""Choose the fonts that draw a text: those of the packages before installed ones.

Searched in this order: the folders that CLOUDBURST_FONTS names, the packages that CloudBurst
depends on, its own folder `noto` with the scripts that no package has, the folders of the system.
Packages come before the system so that the same subtitles look the same on every machine, whether a
laptop or the container; docs/decisions.md compares them.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import uharfbuzz

from cloudburst.videoapi.subtitles import breaks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Noto Sans first, because other packaged fonts have Latin letters, too, for mixed text.
_PACKAGES = ("manimgx_fonts", "noto_cjk_sans_otc")
_OWN = Path(__file__).with_name("noto")
_INSTALLED = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
)
_SUFFIXES = {".ttf", ".otf", ".ttc", ".otc"}
# Files with these words in their names are preferred, in this order; then the rest.
_PREFERRED = ("notosanscjk-regular", "notosanssc", "sourcehansans", "pingfang", "wqy", "heiti",
              "droidsansfallback", "dejavusans.", "notosans-regular", "notosans[",
              "liberationsans-regular", "arial", "helvetica")  # fmt: skip
# A CJK collection has a face for each region: the same characters look different in each.
_REGIONS = {"zh-Hant": "TC", "zh-TW": "TC", "zh-HK": "HK", "ja": "JP", "ko": "KR"}
# Of these an emoji font draws one picture; another font, two or none.
_PICTURE = re.compile("[\ufe0f\u200d\u20e3\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff]")
# Texts of these have no character of several code points.
_PLAIN = re.compile(
    "[ -\u02ff\u0370-\u0482\u048a-\u0590\u2010-\u2027\u3000-\u3029\u3030-\u3096\u309b-\u9fff]*"
)
_UNNAMEABLE = set(",\\{}")  # characters that end the name of a font in ASS


@dataclass(frozen=True, slots=True)
class Face:
    """A font in a file.

    Args:
        family: name by which libass finds it.
        file: absolute path of the font file.
        index: its index in a collection.
    """

    family: str
    file: str
    index: int = 0

    @property
    def height(self) -> float:
        """Height of a line, in em: libass's font size is this many em."""
        return _open(self.file, self.index).height

    def has(self, char: str) -> bool:
        """Whether the font has a glyph for a character."""
        return ord(char) in _open(self.file, self.index).characters

    def width(self, text: str) -> float:
        """Return the width of a text as HarfBuzz shapes it for libass, in em."""
        if len(text) == 1:
            return self._advance(text)
        if all(char < "\u0300" or "\u2e80" <= char < "\ua000" for char in text):
            return sum(map(self._advance, text))  # nothing to shape, but kerning
        return _shaped(self.file, self.index, text)

    def _advance(self, char: str) -> float:
        font = _open(self.file, self.index).font
        glyph = font.get_nominal_glyph(ord(char))
        return 0.0 if glyph is None else font.get_glyph_h_advance(glyph) / font.face.upem


@dataclass(frozen=True, slots=True)
class Faces:
    """The fonts that together draw a text.

    Args:
        main: draws every character that it has; None if nothing can be drawn.
        others: fonts of the characters that `main` does not have; of several code points, or one.
        missing: characters that no font has.
    """

    main: Face | None
    others: Mapping[str, Face]
    missing: str

    def width(self, text: str, size: float) -> float:
        """Return the width in pixels of a text at a libass font size of `main`, in pixels."""
        em = size / self.main.height if self.main else 0.0
        return em * sum(face.width(part) for face, part in self._divided(text))

    def runs(self, text: str) -> list[tuple[str, float, str]]:
        """Split a text where its font changes.

        Returns:
            Family, scale and text of each run: at the font size of `main` times this scale, an em
            is as large as one of `main`.
        """
        if self.main is None:
            return [("", 1.0, text)]
        return [
            (face.family, face.height / self.main.height, part)
            for face, part in self._divided(text)
        ]

    def _divided(self, text: str) -> list[tuple[Face, str]]:
        if self.main is None or not self.others:
            return [(self.main, text)] if self.main else []
        runs: list[tuple[Face, str]] = []
        for cluster in _clusters(text):
            whole = cluster in self.others or len(cluster) == 1 or _has_all(self.main, cluster)
            for char in (cluster,) if whole else cluster:
                face = self.others.get(char, self.main)
                # Joiners, and marks that the current font has, do not end a run.
                if runs and (face == runs[-1][0] or _stays(char[0], runs[-1][0])):
                    runs[-1] = (runs[-1][0], runs[-1][1] + char)
                else:
                    runs.append((face, char))
        return runs

    def install(self, folder: Path) -> None:
        """Put what ffmpeg needs into a folder: the font files as ``fonts``, and ``fonts.conf``.

        The configuration names no folders: libass then has these fonts and no others, on a machine
        without fontconfig, too, and does not spend time on scanning installed ones.
        """
        (folder / "fonts").mkdir()
        faces = {*self.others.values(), *((self.main,) if self.main else ())}
        for number, file in enumerate(sorted({face.file for face in faces})):
            (folder / "fonts" / f"{number}{Path(file).suffix}").symlink_to(file)
        (folder / "fonts.conf").write_text("<fontconfig></fontconfig>\n", encoding="utf-8")


def choose(text: str, sample: str = "A", language: str = "zh-Hans") -> Faces:
    """Choose the fonts for a text.

    Args:
        text: all that will be drawn.
        sample: a character; a font that has it draws as much of the text as it can.
        language: BCP 47 tag; decides which of the faces for a region draws Chinese characters.
    """
    clusters = sorted(set(_clusters(text)))
    chars = sorted({char for char in text if not _invisible(char)})
    main = face_for(sample, language) or next(
        (face for char in chars if (face := face_for(char, language))), None
    )
    others, missing = {}, ""
    for char in chars:
        if main is None or not main.has(char):
            face = face_for(char, language)
            if face is None:
                missing += char
            else:
                others[char] = face
    for cluster in clusters:
        if len(cluster) > 1 and (
            _PICTURE.search(cluster) or not (main and _has_all(main, cluster))
        ):
            face = face_for(cluster, language)
            if face and face != main:
                others[cluster] = face
    return Faces(main, others, missing)


def missing(text: str) -> str:
    """Return the characters of a text that no font has, each once, in order."""
    # Nearly all characters are in one of two fonts; the others are searched for one by one.
    usual = [face for face in (face_for("A"), face_for("中")) if face]
    rare = (char for char in sorted(set(text)) if not any(face.has(char) for face in usual))
    return "".join(char for char in rare if not _invisible(char) and face_for(char) is None)


def face_for(char: str, language: str = "zh-Hans") -> Face | None:
    """Return the first font that has a character, or None.

    Args:
        char: one code point, or several that are one character.
        language: BCP 47 tag.
    """
    folders = os.environ.get("CLOUDBURST_FONTS", "")
    region = _REGIONS.get(language) or _REGIONS.get(language.partition("-")[0], "SC")
    return _search(char, region, folders)


@functools.lru_cache(maxsize=4096)
def _clusters(text: str) -> tuple[str, ...]:
    """Return what people take for single characters; a font must draw each as a whole."""
    return tuple(text) if _PLAIN.fullmatch(text) else tuple(breaks.graphemes(text))


def _has_all(face: Face, cluster: str) -> bool:
    return all(_invisible(char) or face.has(char) for char in cluster)


@functools.lru_cache(maxsize=4096)
def _search(char: str, region: str, folders: str) -> Face | None:
    picture = len(char) > 1 and _PICTURE.search(char)
    paths = _files(folders)
    for path in sorted(paths, key=lambda path: not _is_emoji(path)) if picture else paths:
        faces = [face for face in _faces(path) if _has_all(face, char)]
        faces.sort(key=lambda face: f" {region}" not in face.family)
        if faces:
            return faces[0]
    return None


def _files(folders: str) -> Iterator[Path]:
    """Yield the font files, best first; system folders are read only if it comes to that."""
    yield from _listed(tuple(folder for folder in folders.split(os.pathsep) if folder))
    yield from _packaged()
    yield from _listed(_INSTALLED)


@functools.lru_cache(maxsize=8)
def _listed(folders: tuple[str, ...]) -> tuple[Path, ...]:
    files = [
        path.absolute()
        for folder in folders
        for path in Path(folder).expanduser().rglob("*")
        if path.suffix.lower() in _SUFFIXES
    ]
    return tuple(sorted(files, key=_rank))


@functools.cache
def _packaged() -> tuple[Path, ...]:
    """Return the font files of the packages, without importing them."""
    specs = (importlib.util.find_spec(name) for name in _PACKAGES)
    folders = [
        str(folder) for spec in specs if spec for folder in spec.submodule_search_locations or ()
    ]
    # Emoji after letters: they have digits, for key caps. Then signs that are emoji, too.
    files = sorted((path for folder in folders for path in _listed((folder,))), key=_is_emoji)
    return (*files, *_listed((str(_OWN),)))


def _is_emoji(path: Path) -> bool:
    return "emoji" in path.name.lower()


def _rank(path: Path) -> tuple[int, str]:
    name = path.name.lower()
    preference = next((i for i, word in enumerate(_PREFERRED) if word in name), len(_PREFERRED))
    return preference, name


@functools.lru_cache(maxsize=1024)
def _faces(path: Path) -> tuple[Face, ...]:
    """Return the upright, proportional faces of a file; none of a file that is not a font."""
    faces = []
    for index in range(_open(str(path), 0).faces):
        font = _open(str(path), index)
        named = font.family and not _UNNAMEABLE & set(font.family)
        if (
            named
            and "Mono" not in font.family
            and not {"Italic", "Oblique"} & set(font.style.split())
        ):
            faces.append(Face(font.family, str(path), index))
    return tuple(faces)


@functools.lru_cache(maxsize=16384)
def _shaped(file: str, index: int, text: str) -> float:
    opened = _open(file, index)
    buffer = uharfbuzz.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    uharfbuzz.shape(opened.font, buffer)
    advance = sum(position.x_advance for position in buffer.glyph_positions or ())
    return float(abs(advance)) / float(opened.font.face.upem)


class _Opened(NamedTuple):
    font: uharfbuzz.Font
    characters: uharfbuzz.Set
    faces: int
    family: str
    style: str
    height: float


@functools.lru_cache(maxsize=1024)
def _open(file: str, index: int) -> _Opened:
    """Open a font; one without characters if the file is unreadable or not a font."""
    try:
        blob = uharfbuzz.Blob.from_file_path(file)
    except uharfbuzz.HarfBuzzError:
        blob = uharfbuzz.Blob(b"")
    face = uharfbuzz.Face(blob, index)
    font = uharfbuzz.Font(face)
    name = uharfbuzz.OTNameIdPredefined
    return _Opened(
        font,
        face.unicodes,
        face.count,
        # libass knows fonts in a folder by this name, not by the typographic family.
        face.get_name(name.FONT_FAMILY) or "",
        face.get_name(name.FONT_SUBFAMILY) or "",
        _height(font) or 1.0,
    )


def _height(font: uharfbuzz.Font) -> float:
    """Return the height that libass scales to the font size (`set_font_metrics`), in em."""
    tag = uharfbuzz.OTMetricsTag
    names = (tag.HORIZONTAL_CLIPPING_ASCENT, tag.HORIZONTAL_CLIPPING_DESCENT)
    clipping = sum(float(font.get_metric_position(name) or 0) for name in names)
    extents = font.get_font_extents("ltr")
    return (clipping or float(extents.ascender - extents.descender)) / float(font.face.upem)


def _invisible(char: str) -> bool:
    """Whether libass draws nothing for a character: joiners, controls, variation selectors."""
    return (
        char in " \n"
        or unicodedata.category(char) in {"Cc", "Cf"}
        or "\ufe00" <= char <= "\ufe0f"
        or "\U000e0100" <= char <= "\U000e01ef"
    )


def _stays(char: str, face: Face) -> bool:
    """Whether a character continues a run of a font: a joiner, or a mark that the font has.

    A space does not: those of the emoji font are wider than an em.
    """
    if unicodedata.category(char).startswith("M") and not _invisible(char):
        return face.has(char)
    return _invisible(char) and char != " "
