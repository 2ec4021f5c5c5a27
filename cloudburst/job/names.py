"""Names of scenes: how they become names of files on every system, and their natural order."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from cloudburst.job.problems import dotted
from cloudburst.language import tr
from cloudburst.models import Problem
from cloudburst.section import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudburst.job.tree import Path, Tree

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?")
# Windows drops them from the end of a name; at its beginning nobody sees a space.
_EDGES = re.compile(r"^\s+|[\s.]+$")
# What no file name of Windows can have; / and NUL are those that no system's can.
_IMPOSSIBLE = frozenset('/\\:*?"<>|')
# Control characters, lone surrogates, line and paragraph separators.
_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
# Format characters that belong to the spelling of words and emoji; others, such as a mark that
# turns the direction of text or a soft hyphen, only make names look alike.
_JOINERS = {"\u200c", "\u200d"} | {chr(code) for code in range(0xE0020, 0xE0080)}
_MAX_BYTES = 200  # 255 is the limit of a file name, with .mp4.b01.part

_HAN_DIGITS = {digit: str(value) for value, digit in enumerate("零一二三四五六七八九")}
_HAN_DIGITS |= {"〇": "0", "两": "2"}  # noqa: RUF001 - the Chinese zero
_HAN_UNITS = {"十": 10, "百": 100, "千": 1000}
_NUMBER = re.compile(rf"(\d+)|([{''.join([*_HAN_DIGITS, *_HAN_UNITS])}]+)")

# In the order in which they sort: "a", "a1", "ab".
_END, _DIGITS, _TEXT = range(3)
NaturalKey = tuple[tuple[int, int, str], ...]


def fold(name: str) -> str:
    """Return what two names have in common if some file system takes them for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def safe_name(text: str, most: int = _MAX_BYTES) -> str:
    """Return a text as a name that names a file on every system.

    Letters of every script stay, with their marks, as do signs and emoji, in Unicode's composed
    form. What a file system cannot hold becomes ``_``.

    Args:
        text: such as the name of a scene.
        most: bytes of the name.
    """
    kept = "".join(_kept(char) for char in unicodedata.normalize("NFC", text))
    name = _EDGES.sub("", unicodedata.normalize("NFC", kept))
    if name.startswith("."):  # such a file is hidden
        name = f"_{name.lstrip('.')}"
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    return _EDGES.sub("", _cut(name, most)) or "scene"


def _kept(char: str) -> str:
    """Return what a file's name has for a character."""
    category = unicodedata.category(char)
    if char in _IMPOSSIBLE or category in _HIDDEN:
        return "_"
    return "" if category == "Cf" and char not in _JOINERS else char


def _cut(name: str, most: int) -> str:
    """Return the beginning of a name, so many bytes at most, without half of a letter."""
    data = name.encode()
    if len(data) <= most:
        return name
    kept = data[:most].decode(errors="ignore")
    rest = name[len(kept) :]
    if _continues(rest[0]) or kept[-1] == "\u200d":
        kept = kept.rstrip("\u200d")
        while kept and _continues(kept[-1]):
            kept = kept[:-1]
        kept = kept[:-1]
    return kept


def _continues(char: str) -> bool:
    """Whether a character belongs to the one before: a mark, a joiner, a colour of skin."""
    return (
        unicodedata.category(char)[0] == "M"
        or char in _JOINERS
        or "\U0001f3fb" <= char <= "\U0001f3ff"
    )


def job_name(text: str) -> str:
    """Return a file's or folder's name as the name of a job; empty if nothing of it can stay."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:40]


def problems(tree: Tree) -> Iterator[tuple[Path, str]]:
    """Return what is wrong with the names of a document's scenes, as (path, message)."""
    scenes = tree.value.get("scenes") if isinstance(tree.value, dict) else None
    seen: dict[str, int] = {}
    for index, scene in enumerate(scenes if isinstance(scenes, list) else []):
        name = scene.get("name") if isinstance(scene, dict) else None
        if not isinstance(name, str) or not name:
            continue
        path = ("scenes", index, "name")
        # Some file systems fold case and Unicode forms: two such names would be one file.
        folded = fold(safe_name(name))
        if folded in seen:
            yield path, _repeated(name, seen[folded], tree.line(("scenes", seen[folded], "name")))
        seen.setdefault(folded, index)


def replaced(tree: Tree, shown: str) -> Iterator[str]:
    """Return a line for each scene whose video is not called what the scene is, and why.

    Args:
        tree: a document without problems.
        shown: the source, as the user named it.
    """
    scenes = tree.value["scenes"] if isinstance(tree.value, dict) else []
    for index, scene in enumerate(scenes):
        name, safe = scene["name"], safe_name(scene["name"])
        # Another Unicode form is the same name for everybody.
        if safe != unicodedata.normalize("NFC", name):
            path = ("scenes", index, "name")
            place = Problem(shown, tree.line(path), dotted(path), _why_replaced(name, safe))
            yield str(place)


def _why_replaced(name: str, safe: str) -> str:
    value, file = show(name), show(f"{safe}.mp4")
    if len(name.encode()) > _MAX_BYTES:
        return tr(
            "{value} is longer than {most} bytes; the file is {file}",
            value=value,
            most=_MAX_BYTES,
            file=file,
        )
    return tr(
        "{value} cannot be a file's name on every system; it is {file}", value=value, file=file
    )


def _repeated(name: str, index: int, line: int) -> str:
    """Return what is wrong with a name that an earlier scene has; 0 for a source without lines."""
    if line:
        return tr(
            "got {value}; expected a unique name (ignoring case, line {line} has it too)",
            value=show(name),
            line=line,
        )
    return tr(
        "got {value}; expected a unique name (ignoring case, scenes[{index}] has it too)",
        value=show(name),
        index=index,
    )


def natural_key(text: str) -> NaturalKey:
    """Return a key that sorts as people count: 2 before 10, 第二章 before 第十章.

    Args:
        text: any; decimal digits of every script and Chinese numerals are numbers.
    """
    key: list[tuple[int, int, str]] = []
    rest = 0
    folded = unicodedata.normalize("NFKC", text).casefold()
    for match in _NUMBER.finditer(folded):
        if match.start() > rest:
            key.append((_TEXT, 0, folded[rest : match.start()]))
        digits = _decimal(match[1]) if match[1] else str(_han_number(match[2])).lstrip("0")
        # As text with its length: there is no number too long for it.
        key.append((_DIGITS, len(digits), digits))
        rest = match.end()
    if folded[rest:]:
        key.append((_TEXT, 0, folded[rest:]))
    return (*key, (_END, 0, text))


def _decimal(run: str) -> str:
    return "".join(str(unicodedata.decimal(char)) for char in run).lstrip("0")


def _han_number(run: str) -> int:
    """Return the value of Chinese numerals, 二十三 as well as 二三, both 23."""
    total, digits = 0, ""
    for char in run:
        if char in _HAN_UNITS:
            total += int(digits or "1") * _HAN_UNITS[char]
            digits = ""
        else:
            digits += _HAN_DIGITS[char]
    return total + int(digits or "0")
