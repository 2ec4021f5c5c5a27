"""Markup in the text of a cue: what is a command of a format goes, every other sign stays. Pure."""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"<(/?)([a-zA-Z]{1,10})([^<>]{0,200})>")
# Tags that begin or end with their name alone.
_PLAIN = frozenset(("b", "i", "u", "s", "font", "span", "strong", "em", "strike", "br", "p", "div"))
_PLAIN |= {"ruby", "rt", "rp", "rb", "c", "lang", "v", "sub", "sup", "big", "small"}
# Attributes without a sign of equality: the speaker, the language, a class.
_ANNOTATED = {"v": re.compile(r"[ .][^=()]*"), "lang": re.compile(r" [A-Za-z-]+")}
_ATTRIBUTES = re.compile(r"""(?:\s+[\w:-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"']+))+\s*/?""")
_CLASSES = re.compile(r"(?:\.[\w-]+)+")
_SINGLE = frozenset("biuscvp")
_BREAKS = frozenset(("br",))
_CLOCK = re.compile(r"<\d{1,3}:\d\d(?::\d\d)?(?:[.,:]\d{1,3})?>")
_OVERRIDE = re.compile(r"\{\\[a-zA-Z0-9][^{}]{0,200}\}|\{[yY]:[ibuIBU,]{1,10}\}")
# Left by converters from ASS; after a colon or a backslash it is a path: C:\New.
_ASS_BREAK = re.compile(r"(?<![:\\])\\N")
_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{1,6}|#[xX][0-9a-fA-F]{1,5});")


def strip(text: str) -> str:
    r"""Return the lines of an SRT or WebVTT cue without markup.

    Only tags of these formats are markup, in the form that they have there; `List<String>` and
    `a < b` are text. `{\an8}` and `\N`, of ASS, are common in SRT.

    Args:
        text: lines, with entities as they are.
    """
    if "{" in text:
        text = _OVERRIDE.sub("", text)
    if "\\N" in text:
        text = _ASS_BREAK.sub("\n", text)
    if "<" not in text:
        return text
    text = untimed(text)
    closed = {match[2].lower() for match in _TAG.finditer(text) if match[1]}
    return _TAG.sub(lambda match: _replacement(match, closed), text)


def untimed(text: str) -> str:
    """Return a text without the times of its words, as karaoke and YouTube have them."""
    return _CLOCK.sub("", text) if "<" in text else text


def _replacement(match: re.Match[str], closed: set[str]) -> str:
    name = match[2].lower()
    if not _is_tag(name, match[3], closing=bool(match[1])):
        return match[0]
    before = match.string[match.start() - 1 : match.start()]
    if (
        name in _SINGLE
        and not match[1]
        and not match[3]
        and before.isalnum()
        and name not in closed
    ):
        return match[0]  # vector<i>
    return "\n" if name in _BREAKS else ""


def _is_tag(name: str, rest: str, *, closing: bool) -> bool:
    if name not in _PLAIN:
        return False
    if closing or not rest.strip(" /"):
        return not rest.strip(" /")
    if name == "font":
        return rest[0] in " \t=\"'" or rest[0].isspace()
    if _CLASSES.fullmatch(rest) or (name in _ANNOTATED and _ANNOTATED[name].fullmatch(rest)):
        return True
    return _ATTRIBUTES.fullmatch(rest) is not None


def unescape(text: str) -> str:
    """Return a text with the characters that HTML's entities stand for."""
    if "&" not in text:
        return text
    return _ENTITY.sub(lambda match: _character(match[0]), text)


def has_entities(text: str) -> bool:
    """Whether `unescape` would change a text."""
    return "&" in text and unescape(text) != text


def _character(entity: str) -> str:
    """Return what an entity stands for; those of control characters stay as they are written."""
    char = html.unescape(entity)
    return char if char.isprintable() or char in "\u00a0\u200e\u200f\u00ad" else entity


def tidy(text: str) -> str:
    """Return lines without space around them, and without empty ones."""
    return "\n".join(line for raw in text.split("\n") if (line := raw.strip()))
