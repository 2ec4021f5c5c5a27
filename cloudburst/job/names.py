"""Names of scenes: which are safe as file names, how others become so, and their natural order."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from cloudburst.section import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudburst.job.tree import Path, Tree

_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_OTHER = re.compile(r"[^\w .,+()'-]")
_MAX_CHARACTERS = 100
_MAX_BYTES = 200  # 255 is the limit of a file name, with .mp4.part

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


def unsafe_name(name: str) -> str | None:
    """Return why a scene's name cannot name a file on every system, None if it can."""
    if not re.fullmatch(r"[\w][\w .,+()'-]*", name):
        return "expected letters, digits, space and . , + - _ ( ) ', beginning with a letter or _"
    if name[-1] in ". ":
        return "expected a name that does not end in a dot or a space"
    if _RESERVED.fullmatch(name):
        return "expected a name that is not reserved on Windows"
    if len(name.encode()) > _MAX_BYTES:
        return f"expected at most {_MAX_BYTES} bytes"
    return None


def safe_name(text: str, most: int = _MAX_BYTES) -> str:
    """Return a text as a name that names a file on every system.

    Args:
        text: such as the stem of a file.
        most: bytes of the name.
    """
    name = _OTHER.sub("_", unicodedata.normalize("NFC", text)).strip(" .").lstrip(" .,+()'-")
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    name = name[:_MAX_CHARACTERS].encode()[:most].decode(errors="ignore").rstrip(". ")
    return name or "scene"


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
        problem = unsafe_name(name)
        if problem:
            yield path, f"got {show(name)}; {problem}"
        # Some file systems fold case and Unicode forms: two such names would be one file.
        folded = fold(name)
        if folded in seen:
            line = tree.line(("scenes", seen[folded], "name"))
            first = f"line {line}" if line else f"scenes[{seen[folded]}]"
            problem = f"expected a unique name (ignoring case, {first} has it too)"
            yield path, f"got {show(name)}; {problem}"
        seen.setdefault(folded, index)


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
