"""The language of a text, as far as its characters show it, and its direction. Pure."""

from __future__ import annotations

import functools
import re
import unicodedata

# Radicals to ideographs, Hangul, compatibility forms, vertical and full-width forms, extensions.
_CJK = re.compile(
    "[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)
_KANA = re.compile("[\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9d]")
_HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
SIMPLIFIED, TRADITIONAL, JAPANESE, KOREAN = "zh-Hans", "zh-Hant", "ja", "ko"


def count_cjk(text: str) -> int:
    """Return how many characters of a text need a CJK font."""
    return len(_CJK.findall(text))


def language_of(text: str, said: str = "") -> str:
    """Return the language of a text as a BCP 47 tag: what is said, unless the text shows more.

    Kana are Japanese and Hangul is Korean, whatever the default of an option says. Chinese is
    Traditional where more of its characters are in Big5 alone than in GB 2312 alone.

    Args:
        text: the text.
        said: ``chinese`` or ``english``, the names of the protocol, which are defaults rather than
            statements; or a BCP 47 tag, which is a statement.
    """
    if said and said not in {"chinese", "english"}:
        return said
    if _KANA.search(text):
        return JAPANESE
    if _HANGUL.search(text):
        return KOREAN
    if said == "chinese" or _HAN.search(text):
        return TRADITIONAL if _traditional(text) else SIMPLIFIED
    return "en"


def is_rtl(text: str) -> bool:
    """Whether a text runs from right to left: by its first letter with a direction (UAX #9, P2)."""
    strong = (unicodedata.bidirectional(char) for char in text)
    return next((kind for kind in strong if kind in {"L", "R", "AL"}), "L") != "L"


def _traditional(text: str) -> bool:
    han = set(_HAN.findall(text))
    traditional = sum(_encodes(char, "big5") and not _encodes(char, "gb2312") for char in han)
    simplified = sum(_encodes(char, "gb2312") and not _encodes(char, "big5") for char in han)
    return traditional > simplified


@functools.lru_cache(maxsize=32768)
def _encodes(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
