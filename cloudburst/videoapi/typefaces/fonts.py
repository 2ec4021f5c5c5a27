"""Choose the fonts that draw a text: those of the packages before installed ones.

Searched in this order: the folders that CLOUDBURST_FONTS names, the packages that CloudBurst
depends on, its own folder `noto` with the scripts that no package has, the folders of the system.
Packages come before the system so that the same subtitles look the same on every machine, whether a
laptop or the container; docs/decisions.md compares them. A font that the user chose for a scene, a
file or the name of a family, comes before all of them.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.videoapi.subtitles import breaks
from cloudburst.videoapi.typefaces import fontfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
# Names of fonts that a message suggests, and how much they have to resemble what was written.
_NEAR, _RESEMBLANCE = 3, 0.8
_UNNAMEABLE = set(",\\{}")  # characters that end the name of a font in ASS


@dataclass(frozen=True, slots=True)
class Face:
    """A font in a file.

    Args:
        family: name by which libass finds it.
        file: absolute path of the font file.
        index: its index in a collection.
        own: a font that libass gets from memory, in a file of its own.
    """

    family: str
    file: str
    index: int = 0
    own: fontfile.Opened | None = field(default=None, compare=False, repr=False)

    @property
    def height(self) -> float:
        """Height of a line, in em: libass's font size is this many em."""
        return self._opened.height

    def has(self, char: str) -> bool:
        """Whether the font has a glyph for a character."""
        return ord(char) in self._opened.characters

    def width(self, text: str) -> float:
        """Return the width of a text as HarfBuzz shapes it for libass, in em."""
        if len(text) == 1:
            return self._advance(text)
        if all(char < "\u0300" or "\u2e80" <= char < "\ua000" for char in text):
            return sum(map(self._advance, text))  # nothing to shape, but kerning
        return fontfile.shaped(self.own, text) if self.own else _shaped(self.file, self.index, text)

    @property
    def _opened(self) -> fontfile.Opened:
        return self.own or fontfile.opened(self.file, self.index)

    def _advance(self, char: str) -> float:
        return fontfile.advance(self._opened, char)


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
        for number, file in enumerate(sorted({face.file for face in faces if not face.own})):
            (folder / "fonts" / f"{number}{Path(file).suffix}").symlink_to(file)
        for face in faces:
            if face.own and face.own.data:
                (folder / "fonts" / "own.ttf").write_bytes(face.own.data)
        (folder / "fonts.conf").write_text("<fontconfig></fontconfig>\n", encoding="utf-8")


def choose(
    text: str, sample: str = "A", language: str = "zh-Hans", first: Face | None = None
) -> Faces:
    """Choose the fonts for a text.

    Args:
        text: all that will be drawn.
        sample: a character; a font that has it draws as much of the text as it can.
        language: BCP 47 tag; decides which of the faces for a region draws Chinese characters.
        first: the font that the user chose; it draws what it can instead.
    """
    clusters = sorted(set(_clusters(text)))
    chars = sorted({char for char in text if not _invisible(char)})
    main = (
        first
        or face_for(sample, language)
        or next((face for char in chars if (face := face_for(char, language))), None)
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


def missing(text: str, first: Face | None = None) -> str:
    """Return the characters of a text that no font has, each once, in order.

    Args:
        text: all that will be drawn.
        first: the font that the user chose.
    """
    # Nearly all characters are in one of two fonts; the others are searched for one by one.
    usual = [face for face in (first, face_for("A"), face_for("中")) if face]
    rare = (char for char in sorted(set(text)) if not any(face.has(char) for face in usual))
    return "".join(char for char in rare if not _invisible(char) and face_for(char) is None)


def face_for(char: str, language: str = "zh-Hans") -> Face | None:
    """Return the first font that has a character, or None.

    Args:
        char: one code point, or several that are one character.
        language: BCP 47 tag.
    """
    return _search(char, _region(language), os.environ.get("CLOUDBURST_FONTS", ""))


def given(data: bytes, language: str = "zh-Hans") -> Face:
    """Return the font of a file.

    Args:
        data: TrueType, OpenType, or a collection of such fonts.
        language: BCP 47 tag; decides which face of a collection for several regions it is.

    Raises:
        FontError: it cannot be used.
    """
    return Face(fontfile.FAMILY, "", own=fontfile.choose(data, _region(language)))


def named(family: str) -> Face | None:
    """Return the font that a user names, None if there is none.

    Args:
        family: name of a family or of one of its fonts, ignoring case and spaces: of a family, the
            upright font of regular weight and width.
    """
    wanted = _plain(family)
    for paths in _groups(os.environ.get("CLOUDBURST_FONTS", "")):
        found = [
            (font, path)
            for path in paths
            for font in fontfile.described(path)
            if wanted in map(_plain, font.names)
        ]
        # Where a font is wanted by its whole name, there is one, in whatever weight.
        for font, path in sorted(found, key=lambda one: one[0].strangeness):
            opened = _alone(path, font.index, font.coordinates)
            if opened:
                return Face(fontfile.FAMILY, "", own=opened)
    return None


def near(family: str) -> list[str]:
    """Return names of families that are there and resemble one that is not, the nearest first."""
    known = {
        _plain(font.family): font.family
        for path in _files(os.environ.get("CLOUDBURST_FONTS", ""))
        for font in fontfile.described(path)
        if font.family
    }
    return [
        known[name]
        for name in difflib.get_close_matches(_plain(family), sorted(known), _NEAR, _RESEMBLANCE)
    ]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


@functools.lru_cache(maxsize=4)
def _alone(
    path: Path, index: int, coordinates: tuple[tuple[str, float], ...]
) -> fontfile.Opened | None:
    try:
        return fontfile.alone(path.read_bytes(), index, coordinates)
    except Exception:  # noqa: BLE001 - the next one may be whole
        return None


def _region(language: str) -> str:
    return _REGIONS.get(language) or _REGIONS.get(language.partition("-")[0], "SC")


@functools.lru_cache(maxsize=4096)
def _clusters(text: str) -> tuple[str, ...]:
    """Return what people take for single characters; a font must draw each as a whole."""
    return tuple(text) if _PLAIN.fullmatch(text) else tuple(breaks.graphemes(text))


def _has_all(face: Face, cluster: str) -> bool:
    return all(_invisible(char) or face.has(char) for char in cluster)


def own_files(text: str) -> frozenset[str]:
    """Return the names of the files in `noto` that a machine without other fonts needs for a text.

    It has those of the packages, which are installed there, too.

    Args:
        text: all that will be drawn.
    """
    parts = set(text).union(_clusters(text))
    faces = [_first(_packaged(), part, "SC") for part in parts if part.strip()]
    files = {Path(face.file) for face in faces if face is not None}
    return frozenset(file.name for file in files if file.parent == _OWN)


@functools.lru_cache(maxsize=4096)
def _search(char: str, region: str, folders: str) -> Face | None:
    return _first(_files(folders), char, region)


def _first(paths: Iterable[Path], char: str, region: str) -> Face | None:
    picture = len(char) > 1 and _PICTURE.search(char)
    for path in sorted(paths, key=lambda path: not _is_emoji(path)) if picture else paths:
        faces = [face for face in _faces(path) if _has_all(face, char)]
        faces.sort(key=lambda face: f" {region}" not in face.family)
        if faces:
            return faces[0]
    return None


def _files(folders: str) -> Iterator[Path]:
    """Yield the font files, best first."""
    for paths in _groups(folders):
        yield from paths


def _groups(folders: str) -> Iterator[tuple[Path, ...]]:
    """Yield the font files by origin; system folders are read only if it comes to that."""
    yield _listed(tuple(folder for folder in folders.split(os.pathsep) if folder))
    yield _packaged()
    yield _listed(_INSTALLED)


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
    for index in range(fontfile.opened(str(path), 0).faces):
        font = fontfile.opened(str(path), index)
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
    return fontfile.shaped(fontfile.opened(file, index), text)


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
