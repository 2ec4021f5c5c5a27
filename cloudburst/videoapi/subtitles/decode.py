"""Bytes → text: which encoding a subtitle file has. Pure.

UTF-8, UTF-16 and UTF-32 are recognised by their structure. Any other encoding is a guess, made by
chardet among those in which subtitles are found, and is told to people with its name. So is what a
program has saved as UTF-8 that took it for something else.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import NamedTuple

from cloudburst.language import tr
from cloudburst.videoapi.subtitles.cue import SubtitleError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Text says nothing new about its encoding after that many bytes, and detection takes its time.
_SAMPLE = 32_768
# chardet's name → the codec that reads it, a superset where there is one, as people write it.
_CODECS = {
    "cp1250": "windows-1250",
    "cp1251": "windows-1251",
    "cp1252": "windows-1252",
    "cp1253": "windows-1253",
    "cp1254": "windows-1254",
    "cp1255": "windows-1255",
    "cp1256": "windows-1256",
    "cp1257": "windows-1257",
    "cp874": "cp874",
    "tis-620": "cp874",
    "cp932": "cp932",
    "euc_jis_2004": "euc_jp",
    "cp949": "cp949",
    "big5hkscs": "big5",
    "gb18030": "gb18030",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    "cp866": "cp866",
    "iso8859-2": "iso-8859-2",
    "iso8859-6": "iso-8859-6",
    "iso8859-7": "windows-1253",
    "iso8859-8": "windows-1255",
    "iso8859-9": "windows-1254",
}
_WIDER = {"big5": "big5hkscs", "euc_jp": "euc_jis_2004"}
# How much more or less likely than chardet thinks: it takes every encoding to be equally common.
# Chosen on the short and long texts of tests/unit/test_subtitle_encodings.py.
_PRIOR = {
    "windows-1252": 1.35,
    "windows-1254": 0.8,
    "windows-1257": 0.7,
    "iso-8859-2": 0.9,
    "koi8-u": 0.9,
    "cp866": 0.6,
}
_RARE_LANGUAGES = {"is": 0.6, "et": 0.7, "lv": 0.7, "lt": 0.7}
# Lead bytes of the characters that texts are made of; the others of a standard are rare.
_COMMON = {
    "gb18030": re.compile(rb"[\xa1\xa3\xb0-\xd7][\xa1-\xfe]"),
    "big5": re.compile(rb"[\xa1-\xa3\xa4-\xc6][\x40-\xfe]"),
    "cp949": re.compile(rb"[\xa1\xa3\xb0-\xc8][\xa1-\xfe]"),
}
_PAIR = re.compile(rb"[\x81-\xfe][\x30-\xfe]")
# Where a language has one encoding besides Unicode.
_LOCAL = {
    **dict.fromkeys(("chinese", "zh-Hans"), "gb18030"),
    **dict.fromkeys(("zh-Hant", "zh-HK"), "big5"),
    "ko": "cp949",
}
# How a program that knows nothing of UTF-8 takes it in the west.
_WESTERN = "windows-1252"
_LATIN = (*("windows-1250", "windows-1252", "windows-1254", "windows-1257"), "iso-8859-2", "cp866")
# Letters beyond ASCII in a text of another alphabet: how many at least, and how many of all.
_LEAST_FOREIGN, _MOSTLY = 7, 0.9
# Two characters of other encodings may be UTF-8 by chance, as лл and 谢谢 are.
_BY_CHANCE, _FEW_BROKEN = 2, 3
# For what UTF-8 is taken, the likeliest first.
_MISTAKEN = (_WESTERN, "windows-1251", "gb18030", "cp932", "big5", "cp949")
_ALPHABETS = ("LATIN ", "GREEK ", "CYRILLIC ")
# Of each of them, without accents.
_VOWEL = re.compile(
    "[aeiouy\xe6\xf8\u0153\u0131"
    "\u03b1\u03b5\u03b7\u03b9\u03bf\u03c5\u03c9"
    "\u0430\u0435\u0438\u043e\u0443\u044b\u044d\u044e\u044f\u0456]"
)
_WORD = re.compile(r"[^\W\d_\x00-\x7f]{2}")
_CHINESE = {"gb18030": 1.15, "big5": 1.15}
# Letters of an alphabet touch no Latin letters in a word, and lower case follows no mark.
_MIXED = re.compile(
    "[A-Za-z][\u0370-\u03ff\u0400-\u04ff\u0590-\u06ff\u0e00-\u0e7f]"
    "|[\u0370-\u03ff\u0400-\u04ff\u0590-\u06ff\u0e00-\u0e7f][A-Za-z]"
    "|[\u02c7\u02d8-\u02dd][A-Za-z]|\\b[\u0161\u017c\u017a][A-Z]|[\x80-\x9f]"
)
_MIXED_WEIGHT = 0.3
# Full width: any byte of some alphabets is one of half width.
_KANA = re.compile("[\u3041-\u30fe]")
_MUCH_KANA = 0.5


class Decoded(NamedTuple):
    """The text of a file.

    Args:
        text: without byte order marks.
        guess: name of the encoding if it is a guess, None if it is certain.
        rival: another encoding that fits as well: the other files of a job may show which it is.
        garbled: how the text had been misread before it was saved as UTF-8, which has been undone:
            what it was, and for what it was taken; None if it was not.
    """

    text: str
    guess: str | None = None
    rival: str | None = None
    garbled: tuple[str, str] | None = None


def known_encoding(name: str) -> bool:
    """Whether there is an encoding of text by this name."""
    try:
        return "1".encode(name).decode(name) == "1"  # others raise LookupError, as of no encoding
    except (LookupError, ValueError):
        return False


def decode(data: bytes, *, encoding: str | None = None, language: str | None = None) -> Decoded:
    """Decode a subtitle file.

    Args:
        data: the file.
        encoding: its encoding, as the user names it; a byte order mark is stronger.
        language: of the scene; "chinese" makes Chinese encodings likelier.

    Raises:
        SubtitleError: the bytes are not text in the encoding that was named.
    """
    for mark, marked in _MARKS:
        if data.startswith(mark):
            return _mended(data.decode(marked, errors="replace"), language)
    if encoding is not None:
        return Decoded(_plain(_as_told(data, encoding)))
    certain = _without_mark(data) or _as_utf8(data)
    rival = _rival(data, certain, language)
    if certain is not None and rival is not None:
        if _unspeakable(certain):
            return Decoded(_plain(data.decode(rival)), rival, "utf-8")
        return Decoded(_plain(certain), "utf-8", rival)
    if certain is not None:
        return _mended(certain, language)
    text, guess = _guessed(data, language)
    return Decoded(_plain(text), guess)


def _plain(text: str) -> str:
    """Remove byte order marks: joined files have them anywhere."""
    return text.replace("\ufeff", "")


def _as_told(data: bytes, encoding: str) -> str:
    if not known_encoding(encoding):
        raise SubtitleError(tr("unknown encoding {encoding}", encoding=encoding))
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, errors="replace")
        raise SubtitleError(
            tr(
                "line {line}: the bytes {bytes} are not {encoding}, the encoding that "
                "subtitle_encoding names",
                line=before.count("\n") + 1,
                bytes=data[error.start : error.start + 4].hex(" "),
                encoding=encoding,
            )
        ) from error
    except ValueError as error:
        raise SubtitleError(
            tr("the file is not {encoding}: {error}", encoding=encoding, error=error)
        ) from error


def _without_mark(data: bytes) -> str | None:
    """Return the text of a file in UTF-16 or UTF-32 without a byte order mark.

    Digits, spaces and line breaks are half of a short file, and their high bytes are zero.
    """
    for encoding, highest in (("utf-32-le", 3), ("utf-32-be", 0)):
        planes = data[abs(highest - 1) :: 4]
        if data and not any(data[highest::4]) and planes.count(0) > _MOSTLY * len(planes):
            return data.decode(encoding, errors="replace")
    even, odd = data[::2].count(0), data[1::2].count(0)
    if max(even, odd) * 8 < len(data) // 2 or min(even, odd) * 8 > max(even, odd):
        return None
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    return data.decode(encoding, errors="replace")


def _as_utf8(data: bytes) -> str | None:
    """Return the text of a file in UTF-8, or in what looks like UTF-8 with a few broken bytes."""
    try:
        if b"\x1b$" in data or b"\x1b(" in data:
            return data.decode("iso2022_jp_2")
        if b"~{" in data and b"~}" in data and data.isascii():
            return data.decode("hz")  # RFC 1843
    except UnicodeDecodeError:
        pass
    try:
        # Emoji as Java writes them, in two halves (CESU-8).
        text = data.decode("utf-8", "surrogatepass")
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        text = data.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    whole = sum(1 for char in text if ord(char) > 127) - broken  # noqa: PLR2004 - ASCII ends there
    # Two bytes that happen to be UTF-8 are common in other encodings; many are not.
    return text if whole >= 4 * broken and whole >= 4 else None  # noqa: PLR2004


def _rival(data: bytes, text: str | None, language: str | None) -> str | None:
    """Return the encoding of Chinese or Korean that may be meant by what is UTF-8 by chance.

    A character of those has two bytes, which are a letter of another alphabet in UTF-8, now and
    then: 谢谢 in GB 2312 is лл. Only where all of a file is so, it may be either.

    Args:
        data: the file.
        text: what it is as UTF-8; None if it is not.
        language: of the scene.
    """
    if text is None or text.isascii():
        return None
    encoding = _LOCAL.get(language or "")
    if encoding is None and language == "english" and _unspeakable(text):
        encoding = "gb18030"  # no English either
    if encoding is None:
        return None
    if not all(char.isascii() or char.isalpha() for char in text):
        return None  # no sign is a character by chance where it makes sense
    touching = re.search(rb"[A-Za-z][\x80-\xff]|[\x80-\xff][A-Za-z]", data)
    pairs = re.findall(rb"[\x80-\xff]+", data)
    common = all(re.fullmatch(rb"(?:%b)+" % _COMMON[encoding].pattern, run) for run in pairs)
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return encoding if common and not touching else None


def _unspeakable(text: str) -> bool:
    """Whether a text has words of Latin, Greek or Cyrillic letters, and no vowel in them."""
    if not _WORD.search(text):
        return False  # a letter alone is a sign: β
    letters = [char for char in text if char.isalpha() and not char.isascii()]
    known = all(unicodedata.name(char, "").startswith(_ALPHABETS) for char in letters)
    bare = unicodedata.normalize("NFD", text).casefold()
    return bool(letters) and known and not _VOWEL.search(bare)


def _mended(text: str, language: str | None) -> Decoded:
    """Return a text as it was before a program misread it, and saved that as UTF-8.

    ``trÃ¨s`` was très in UTF-8, taken for Windows-1252; ``浣犲ソ`` was 你好, taken for GB 18030;
    ``Ïðèâåò`` was Привет in Windows-1251. Of text that was not misread, hardly a letter can be
    traced back so, and here all of them have to be.

    Args:
        text: of a file whose encoding is certain.
        language: of the scene.
    """
    text = _plain(text)
    if text.isascii():
        return Decoded(text)
    for taken in _MISTAKEN:
        was = _traced(text, taken)
        if was is not None:
            return Decoded(was, garbled=("utf-8", taken))
    letters = [char for char in text if char.isalpha()]
    foreign = [char for char in letters if not char.isascii()]
    if len(foreign) < _LEAST_FOREIGN or len(foreign) < _MOSTLY * len(letters):
        return Decoded(text)
    try:
        was, guess = _guessed(_bytes(text, _WESTERN), language)
    except UnicodeEncodeError:
        return Decoded(text)
    return Decoded(text) if guess.startswith(_LATIN) else Decoded(was, garbled=(guess, _WESTERN))


def _traced(text: str, taken: str) -> str | None:
    """Return what a text is if its bytes in an encoding are UTF-8; None if they are not.

    Args:
        text: with letters beyond ASCII.
        taken: the encoding for which UTF-8 may have been taken.
    """
    try:
        was = _bytes(text, taken).decode("utf-8", errors="replace")
    except UnicodeEncodeError:
        return None
    broken = was.count("\ufffd")  # bytes that the encoding does not have were lost
    whole = sum(1 for char in was if not char.isascii()) - broken
    chance = 0 if taken == _WESTERN else _BY_CHANCE
    return was if whole > chance and whole >= _FEW_BROKEN * broken else None


def _bytes(text: str, encoding: str) -> bytes:
    """Return a text in an encoding; bytes that it does not have are kept as control characters."""
    return b"".join(
        bytes((ord(char),)) if "\x80" <= char <= "\x9f" else char.encode(encoding) for char in text
    )


def _guessed(data: bytes, language: str | None) -> tuple[str, str]:
    """Return the text in the likeliest encoding that has all of the bytes, and its name."""
    sample = b"\n".join(line for line in data.splitlines() if not line.isascii())[:_SAMPLE]
    for encoding in _ranked(sample, language):
        for codec in (encoding, _WIDER.get(encoding, encoding)):
            try:
                return data.decode(codec), codec
            except UnicodeDecodeError:
                continue
    return data.decode("windows-1252", errors="replace"), "windows-1252"


def _ranked(sample: bytes, language: str | None) -> list[str]:
    import chardet  # noqa: PLC0415 - most files are UTF-8, and its models take time to load

    found = chardet.detect_all(
        sample, ignore_threshold=True, compat_names=False, include_encodings=_CODECS
    )
    weights: dict[str, float] = {}
    for one in found:
        encoding = _CODECS.get(one["encoding"] or "")
        if encoding is not None:
            weight = one["confidence"] * _RARE_LANGUAGES.get(one["language"] or "", 1)
            weight *= _plausibility(sample, encoding, language)
            weights[encoding] = max(weight, weights.get(encoding, 0.0))
    # Japanese in short lines is missing from what chardet finds, now and then.
    weights["cp932"] = max(weights.get("cp932", 0.0), _kana(sample))
    return sorted(weights, key=weights.__getitem__, reverse=True)


def _kana(sample: bytes) -> float:
    """Return the share of kana in a text in Shift JIS; 0 if it is too low to prove anything."""
    try:
        text = [char for char in sample.decode("cp932") if not char.isascii()]
    except UnicodeDecodeError:
        return 0.0
    share = len(_KANA.findall("".join(text))) / max(1, len(text))
    return share if share >= _MUCH_KANA else 0.0


def _plausibility(sample: bytes, encoding: str, language: str | None) -> float:
    """Return a factor for an encoding, from what chardet does not look at."""
    factor = _PRIOR.get(encoding, 1.0)
    if language == "chinese":
        factor *= _CHINESE.get(encoding, 1.0)
    if encoding in _COMMON:
        pairs = _PAIR.findall(sample)
        common = sum(1 for pair in pairs if _COMMON[encoding].fullmatch(pair))
        return factor * (common / len(pairs)) ** 3 if pairs else factor
    text = sample.decode(encoding, errors="replace")
    if encoding == "cp874":
        text = _loose_marks(text)
    return factor * _MIXED_WEIGHT if _MIXED.search(text) else factor


def _loose_marks(text: str) -> str:
    """Return Thai text with a Latin letter before each mark that follows no letter."""
    return "".join(
        f"x{char}" if unicodedata.category(char) == "Mn" and not before.isalpha()
        and unicodedata.category(before) != "Mn" else char
        for before, char in zip(" " + text, text, strict=False)
    )  # fmt: skip
