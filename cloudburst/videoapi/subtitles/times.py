"""Lines with the two times of a cue, as tools and people write them. Pure.

A line in the form of SRT or WebVTT always begins a cue. One that differs – full-width signs, other
arrows, colons or dots before the milliseconds, no hours, too many digits – begins a cue if nothing
else can be meant, which also depends on what stands before it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

_STAMP = r"(\d{1,3}):(\d{1,2}):(\d{1,2})[,.](\d{1,3})"
_STRICT = re.compile(rf"\s*{_STAMP}\s*-->\s*{_STAMP}(?=\D|$)(.*)", re.ASCII)
_SHORT = re.compile(
    r"\s*(?:(\d+):)?(\d\d):(\d\d)\.(\d{3})[ \t]+-->[ \t]+(?:(\d+):)?(\d\d):(\d\d)\.(\d{3})"
    r"(?=\s|$)(.*)",
    re.ASCII,
)
# No line of times is longer, but for settings, which may be cut.
_LONGEST = 400
# Nor shorter: 1 > 2.
_SHORTEST = 5
# What every line of times has: a colon, an arrow, or what stands for them.
_SIGN = re.compile("[:;>'′：﹕∶ː꞉︰；﹔＞›〉》≥»﹥❯→⟶⇒➔➜➡⇨⟹]")
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("：﹕∶ː꞉︰", ":"),
        **dict.fromkeys("，､﹐٫،、", ","),
        **dict.fromkeys("．。·․", "."),
        **dict.fromkeys("；﹔", ";"),
        **dict.fromkeys("‐‑‒–—―−－﹣─━ー", "-"),
        **dict.fromkeys("＞›〉》≥»﹥❯", ">"),
        **dict.fromkeys("→⟶⇒➔➜➡⇨⟹", ">"),
        **dict.fromkeys("～〜", "~"),
        "＝": "=",
    }
)
# Marks of direction and joiners, which editors put around numbers.
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\u00ad]")
_MISREAD = re.compile(r"[\dOolI:;,.\s>=~-]+")
_LETTERS = str.maketrans("OolI", "0011")
_NUMBERS = r"-?\d{1,20}(?:\s?[:;,.]\s?-?\d{1,20}){0,5}"
_ARROW = r"[-=~]{0,4} ?[-=]{0,3}(?:>{1,3}|&gt;)"
_LOOSE = re.compile(rf"\W{{0,2}}?({_NUMBERS})\s*{_ARROW}\s*({_NUMBERS})(?![\d:])(.*)")
_BARE = re.compile(rf"\W{{0,2}}?({_NUMBERS})\s*(?:-{{1,5}}|~|to|至|/|\s)\s*({_NUMBERS})\W*")
# As Whisper prints them, with the words behind.
_BRACKETED = re.compile(r"\A\[(\d[\d:.,]{3,15}\s*-{1,3}>\s*[\d:.,]{4,16})\]")
# The number of the cue, in the line of its times.
_NUMBERED = re.compile(r"\d{1,6}[.:)]?\s+(?=\d{1,3}:\d{1,2}:\d{1,2}[,.]\d)")
_OPEN = re.compile(rf"\W{{0,2}}?({_NUMBERS})\s*{_ARROW}\s*")
_ARROWED = re.compile(rf".*{_ARROW}")
_CLOCK = re.compile(r"\d\s?[:;]\s?\d")
_BETWEEN = "[,.]?[:;'′]{1,2}[,.]?"
_STAMPS = re.compile(rf"\d+{_BETWEEN}\d+{_BETWEEN}\d+(?:[:;,.'′]\d+)?")
_PART = re.compile(r"\s?([:;,.])\s?")
_SETTINGS = re.compile(
    r"\s*(?:(?:[XxYy][12]\s?:\s?\d+|(?:align|line|position|size|vertical|region|A|L|S|T|D)"
    r":\S*)\s*)+",
    re.IGNORECASE,
)
# More numbers right behind a time: what belongs to it cannot be told.
_NUMERIC = re.compile(r"\W*\d+[^\w\s]+\d|\W*\d[\W\d]*$")
_GLUED = re.compile(r"[:;,.]?&gt;|[OolI]+(?:\W|\d|$)")
# Frames of a second, where a stamp ends with two digits after a colon, as on tape.
_FRAMES = 30
_HOUR, _MINUTE = 3600, 60
_FULL, _MOST_HOURS = 3, 99


class Times(NamedTuple):
    """The times of a cue.

    Args:
        start: seconds.
        end: seconds; None if the line has none.
        repaired: whether the line is not as the format demands.
        rest: what follows the times: words of the cue.
    """

    start: float
    end: float | None
    repaired: bool = False
    rest: str = ""


class Unreadable(NamedTuple):
    """A line that is meant to be times, and cannot be read."""

    line: str


def read(line: str, *, separate: bool) -> Times | Unreadable | None:
    """Read a line with the times of a cue.

    Args:
        line: without its line break.
        separate: whether only a number or nothing stands before it, as before the times of a cue.

    Returns:
        The times, that they cannot be read, or None for a line of text.
    """
    line = line.strip()[:_LONGEST]
    text = _BRACKETED.sub(r"\1 ", line)
    if len(text) < _SHORTEST or not _SIGN.search(text):
        return None
    if strict := _strict(text):
        return strict._replace(repaired=strict.repaired or text != line)
    if not any(char.isdecimal() or char in "Oo" for char in text[:4]) and not separate:
        return None
    text = _normal(text)
    return _loose(text, separate=separate) or _broken(text, separate=separate)


def stamp(seconds: float) -> str:
    """Return a time as SRT writes it."""
    thousandths = round(seconds * 1000)
    minutes, thousandths = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, rest = divmod(thousandths, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d},{rest:03d}"


def line(read: Times) -> str:
    """Return times as a line of SRT."""
    return f"{stamp(read.start)} --> {'' if read.end is None else stamp(read.end)}"


def _strict(text: str) -> Times | None:
    match = _STRICT.match(text) or _SHORT.match(text)
    if match is None:
        return None
    parts, rest = match.groups()[:-1], _without_settings(match.groups()[-1])
    start, end = (_seconds(*(part or "0" for part in half)) for half in (parts[:4], parts[4:]))
    if _GLUED.match(match.groups()[-1]) or (len(parts[-1]) < _FULL and _NUMERIC.match(rest)):
        return None  # a sign inside the last number
    # Words after the times are words of the cue.
    return Times(start, end, repaired=bool(rest), rest=rest)


def _seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:
    whole = int(hours) * _HOUR + int(minutes) * _MINUTE + int(seconds)
    return whole + float(f"0.{fraction}")


def _without_settings(rest: str) -> str:
    match = _SETTINGS.match(rest)
    words = rest[match.end() if match else 0 :].strip()
    return words if any(map(str.isalnum, words)) else ""


def _normal(text: str) -> str:
    """Return a line with the digits and signs of ASCII, where it has others of the same meaning."""
    text = _INVISIBLE.sub("", text).translate(_SIGNS)
    text = "".join(
        str(unicodedata.decimal(char)) if char.isdecimal() else " " if char.isspace() else char
        for char in text
    )
    return text.translate(_LETTERS) if _MISREAD.fullmatch(text) else text


def _loose(text: str, *, separate: bool) -> Times | None:
    if match := _NUMBERED.match(text):
        text = text[match.end() :]
    if match := _LOOSE.match(text):
        start, end = _time(match[1]), _time(match[2])
        cut = _NUMERIC.match(match[3]) or _GLUED.match(match[3])
        clear = not cut and (separate or (_full(match[1]) and _full(match[2])))
        if start is not None and end is not None and clear:
            return Times(start, end, repaired=True, rest=_without_settings(match[3]))
    if match := _BARE.fullmatch(text):
        start, end = _time(match[1]), _time(match[2])
        if start is not None and end is not None and _full(match[1]) and _full(match[2]):
            return Times(start, end, repaired=True)
    if match := _OPEN.fullmatch(text):
        start = _time(match[1])
        if start is not None and (separate or _full(match[1])):
            return Times(start, None)
    return None


def _full(numbers: str) -> bool:
    """Whether numbers cannot be anything but a time: hours, minutes, seconds, or milliseconds."""
    return len(_PART.findall(numbers)) >= _FULL - 1 and ":" in numbers.replace(";", ":")


def _broken(text: str, *, separate: bool) -> Unreadable | None:
    """Return a line that can only be meant as times: an arrow, and something like a clock."""
    wordless = not any(char.isalpha() for char in text)
    stamps = len(_STAMPS.findall(text))
    if wordless and stamps > 1:
        return Unreadable(text)
    if not _ARROWED.match(text):
        return None
    clocks = len(_CLOCK.findall(text))
    begins = text[:2].strip("-[(")[:1].isdecimal()
    only_numbers = wordless and _LOOSE.match(text) is not None
    if separate and (stamps or (begins and clocks) or only_numbers):
        return Unreadable(text)
    return Unreadable(text) if wordless and clocks >= _FULL else None


def _time(numbers: str) -> float | None:
    """Return the seconds of a time in any way of writing; None if it has no single meaning."""
    parts = _PART.split(numbers.replace(" ", ""))
    values, signs = parts[::2], parts[1::2]
    if any(value.startswith("-") for value in values):
        return None
    whole, fraction = _split(values, signs)
    if whole is None or len(whole) > _FULL or int(whole[0]) > _most(len(whole)):
        return None
    if any(int(value) >= 100 for value in whole[1:]):  # noqa: PLR2004 - two digits
        return None
    total = 0.0
    for value in whole:
        total = total * 60 + int(value)
    return total + fraction


def _most(count: int) -> int:
    """Return the largest first number of a time of so many numbers: hours, minutes or seconds."""
    return _MOST_HOURS if count == _FULL else 999 if count == _FULL - 1 else 99_999


def _split(values: list[str], signs: list[str]) -> tuple[list[str] | None, float]:
    """Return the whole numbers of a time, and the fraction of a second behind them."""
    if not signs:
        return None, 0.0  # one number can be anything
    decimal = next((i for i, sign in enumerate(signs) if sign in ",." and i >= _lone(signs)), None)
    if len(values) > _FULL and decimal in (None, 0, 1):
        # Hours, minutes, seconds, and what follows whatever sign.
        return values[:_FULL], _fraction("".join(values[_FULL:]), signs[_FULL - 1])
    if decimal is not None:
        return values[: decimal + 1], _fraction("".join(values[decimal + 1 :]), ",")
    if len(values) == _FULL and len(values[-1]) == 3:  # noqa: PLR2004 - milliseconds
        return values[:-1], _fraction(values[-1], ",")
    return values, 0.0


def _lone(signs: list[str]) -> int:
    """Return from which sign on a comma or dot is a decimal one: the first, if all are colons."""
    return len(signs) - 1 if all(sign in ",." for sign in signs) and len(signs) < _FULL else 0


def _fraction(digits: str, sign: str) -> float:
    if sign in ":;" and len(digits) <= 2:  # noqa: PLR2004 - frames, as on tape
        return min(int(digits or 0), _FRAMES - 1) / _FRAMES
    return float(f"0.{digits[:6] or 0}")
