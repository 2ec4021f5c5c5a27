"""Where the files are that a source names, and which one was meant if there is none."""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from cloudburst import userpath
from cloudburst.job.folder import suffixes
from cloudburst.job.names import fold
from cloudburst.language import later, tr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_URL = re.compile(r"(?i)(?P<scheme>[a-z][a-z0-9+.-]+)://")
_SUFFIX = re.compile(r"(?i).*\.[a-z]{2,5}\d?")
_DRIVE = re.compile(r"(?i)[a-z]:[\\/]")
_QUOTES = " \t\u3000\ufeff\u200b'\"“”‘’"
# A search of other folders looks at so many files, so that a home folder is no burden.
_MOST_FILES = 5000
_SIMILAR = 0.8

_MEANT = later("did you mean {file}?")
_CASE = later("did you mean {file}? Upper and lower case differ")
_SLASHES = later("did you mean {file}? Write / instead of \\")
_AROUND = later("did you mean {file}? Without the spaces or quotes around it")
_ESCAPES = later("did you mean {file}? Write the characters themselves instead of % and digits")


def locate(base: Path, text: str) -> Path:
    """Return the path that a source names.

    A file that was named on one system and unpacked on another may have the same letters in another
    Unicode form, which nobody can see: that one is meant, if there is none of the very name.

    Args:
        base: where relative paths start.
        text: the path, as written; ``~`` and ``$HOME`` at its beginning are the home folder.

    Raises:
        NoHomeError: the home folder is not known.
        OSError: a folder may not be looked into.
    """
    path = base / _expanded(base, text)
    if text.isascii() or path.exists():
        return path
    return _walked(path, lambda name: unicodedata.normalize("NFC", name)) or path


def is_font_file(text: str) -> bool:
    """Whether the font that a source names is a file, not a family.

    Args:
        text: as written: a path has a suffix, a slash, or a home folder.
    """
    return bool(_SUFFIX.fullmatch(text.strip(_QUOTES))) or bool(set(text) & set("/\\~$"))


def _expanded(base: Path, text: str) -> str:
    """Return a path with its home folder; a file that is really called ``~x`` is that file."""
    if text.startswith(("~", "$")) and (base / text).exists():
        return text
    return userpath.expanded(text)


def hint(base: Path, text: str) -> str:
    """Return what was meant by a path that does not exist; empty if nothing comes close.

    Args:
        base: where relative paths start.
        text: the path, as written.
    """
    url = _URL.match(text)
    if url:
        return _of_url(text, url["scheme"].lower())
    variable = userpath.unexpanded(text)
    if variable:
        return tr("{name} is not replaced here; write the whole path", name=variable)
    for found, message in _candidates(base, text):
        if found is not None:
            return tr(message, file=_shown(base, found))
    if _DRIVE.match(text):
        return tr("a path of Windows; expected a path on this machine")
    return ""


def _of_url(text: str, scheme: str) -> str:
    if scheme == "file":
        return tr("a URL; expected a path: {file}", file=url2pathname(urlsplit(text).path))
    return tr("a URL; download the file first, and write its path")


def _candidates(base: Path, text: str) -> Iterator[tuple[Path | None, str]]:
    """Yield files that may have been meant, the likeliest first, each with its message."""
    # Backslashes last of the three: in a URL's escapes and in quotes there may be some.
    for variant, message in _variants(text):
        path = base / userpath.expanded(variant)
        yield (path if path.exists() else _walked(path, fold)), message
    path = base / userpath.expanded(text)
    yield _walked(path, fold), _CASE
    for variant, _ in (*_variants(text), (text, "")):
        path = base / userpath.expanded(variant)
        yield _other_suffix(path), _MEANT
        yield _similar(path), _MEANT
    yield _elsewhere(base, Path(text.replace("\\", "/")).name), _MEANT


def _variants(text: str) -> list[tuple[str, str]]:
    """Return how a path may have been meant, with the message for each: alone, then together."""
    around = text.strip(_QUOTES)
    escapes = unquote(text)
    slashes = text.replace("\\", "/")
    found = {around: _AROUND, escapes: _ESCAPES, slashes: _SLASHES}
    together = unquote(around).replace("\\", "/")
    if _DRIVE.match(together):
        together = together[2:]
    found.setdefault(together, _MEANT)
    return [(variant, message) for variant, message in found.items() if variant != text]


def _walked(path: Path, form: Callable[[str], str]) -> Path | None:
    """Return what exists at a path if names are compared in some form; None if it is not one."""
    current = Path(path.anchor) if path.is_absolute() else Path()
    for part in path.parts[1:] if path.is_absolute() else path.parts:
        if (current / part).exists():
            current /= part
            continue
        alike = [name for name in _names(current) if form(name) == form(part)]
        if len(alike) != 1:
            return None
        current /= alike[0]
    return current


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names alone
    except OSError:
        return []


def _parent(path: Path) -> Path | None:
    return path.parent if path.parent.is_dir() else _walked(path.parent, fold)


def _other_suffix(path: Path) -> Path | None:
    """Return the one file beside a path that has its name with another suffix."""
    parent = _parent(path)
    names = _names(parent) if parent else []
    alike = [name for name in names if fold(Path(name).stem) == fold(path.stem)]
    same_kind = [name for name in alike if _kind(name) == _kind(path.name)]
    chosen = same_kind or alike
    return parent / chosen[0] if parent and len(chosen) == 1 else None


_KINDS = {
    **suffixes.KINDS,
    ".txt": "subtitle",
    **dict.fromkeys((".ttf", ".otf", ".ttc", ".otc"), "font"),
}


def _kind(name: str) -> str:
    suffix = Path(name).suffix.casefold()
    return _KINDS.get(suffix, suffix)


def _similar(path: Path) -> Path | None:
    """Return the file whose name comes closest to a path's, folder by folder."""
    current = Path(path.anchor) if path.is_absolute() else Path()
    for part in path.parts[1:] if path.is_absolute() else path.parts:
        if (current / part).exists():
            current /= part
            continue
        by_form = {fold(name): name for name in sorted(_names(current))}
        close = difflib.get_close_matches(fold(part), by_form, n=1, cutoff=_SIMILAR)
        if not close or re.sub(r"\D", "", close[0]) != re.sub(r"\D", "", fold(part)):
            return None  # 2.jpg is no slip of the pen for 1.jpg
        current /= by_form[close[0]]
    return current


def _elsewhere(base: Path, name: str) -> Path | None:
    """Return the one file of a name in the folders below, up to two levels."""
    found, looked = [], 0
    folders = [(base, 0)]
    for folder, depth in folders:
        for entry in sorted(_names(folder)):
            looked += 1
            if looked > _MOST_FILES:
                return None
            path = folder / entry
            if fold(entry) == fold(name) and path.is_file():
                found.append(path)
            elif depth < 2 and not entry.startswith(".") and path.is_dir():  # noqa: PLR2004 - levels
                folders.append((path, depth + 1))
    return found[0] if len(found) == 1 else None


def _shown(base: Path, path: Path) -> str:
    """Return a path as one would write it in the source."""
    absolute, start = Path(os.path.abspath(path)), Path(os.path.abspath(base))  # noqa: PTH100 - links stay
    return str(absolute.relative_to(start) if absolute.is_relative_to(start) else path)
