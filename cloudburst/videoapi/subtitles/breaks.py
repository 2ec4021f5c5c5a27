"""Where a text may be broken: lines (UAX #14), graphemes and sentences (UAX #29), by ICU. Pure.

ICU knows the words of Thai, Lao, Khmer and Burmese, which are written without spaces, and the
phrases of Japanese; docs/decisions.md compares the libraries.
"""

from __future__ import annotations

from icu4py.breakers import CharacterBreaker, LineBreaker, SentenceBreaker

from cloudburst.videoapi.typefaces import scripts

# `lb=strict` keeps small kana and the long-vowel mark away from the beginning of a line.
_STRICT = {scripts.JAPANESE: "ja-u-lb-strict"}
# Korean is broken at its spaces, Japanese between its phrases.
_PHRASES = {scripts.JAPANESE: "ja-u-lb-strict-lw-phrase", scripts.KOREAN: "ko-u-lw-phrase"}
# CLDR's rules for quotation marks between ideographs are those of Chinese.
_CHINESE = "zh"


def phrases(line: str, language: str) -> list[str]:
    """Split a line where it is best broken; each piece ends with the spaces that follow it.

    Args:
        line: text without line breaks.
        language: BCP 47 tag.
    """
    locale = _PHRASES.get(_base(language))
    if locale is None:
        return words(line, language)
    allowed = set(_ends(words(line, language)))
    pieces, current = [], ""
    position = 0
    for phrase in LineBreaker(line, locale):
        current += phrase
        position += len(phrase)
        if position in allowed or position == len(line):
            pieces.append(current)
            current = ""
    return pieces


def words(line: str, language: str) -> list[str]:
    """Split a line wherever the script allows a line to be broken (UAX #14).

    Args:
        line: text without line breaks.
        language: BCP 47 tag.
    """
    base = _base(language)
    return list(LineBreaker(line, _STRICT.get(base, _CHINESE if base == "zh" else "en")))


def graphemes(text: str) -> list[str]:
    """Split a text into what people take for single characters."""
    return list(CharacterBreaker(text, "en"))


def sentences(text: str) -> list[str]:
    """Split a text after each sentence."""
    return list(SentenceBreaker(text, "en"))


def _base(language: str) -> str:
    return language.partition("-")[0].lower()


def _ends(pieces: list[str]) -> list[int]:
    ends, position = [], 0
    for piece in pieces:
        position += len(piece)
        ends.append(position)
    return ends
