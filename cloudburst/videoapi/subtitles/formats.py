"""Which format a subtitle file has, by its content: names are often wrong. Pure."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING

from cloudburst.language import later, tr
from cloudburst.videoapi.subtitles import lrc, sbv, srt, ssa, vtt
from cloudburst.videoapi.subtitles.cue import Findings, SubtitleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# What is not read, by how it begins or by its lines. The first that fits wins.
_OTHERS = (
    (re.compile(r"\{\\rtf"), later("a document in RTF")),
    (re.compile(r"(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<tt[\s:>]", re.DOTALL), later("TTML")),
    (re.compile(r"(?:<\?xml[^>]*>\s*)?<(?:transcript|timedtext)\b"), later("YouTube's XML")),
    (re.compile(r"<SAMI\b", re.IGNORECASE), later("SAMI")),
    (re.compile(r"(?:<!doctype html|<html)\b", re.IGNORECASE), later("a web page (HTML)")),
    (re.compile(r"<\?xml|<[a-zA-Z]+\s+xmlns"), later("XML")),
    (re.compile(r"Scenarist_SCC"), later("Scenarist closed captions (SCC)")),
    (re.compile(r"# VobSub index"), later("VobSub, which are pictures")),
    (re.compile(r"\s*[\[{]\s*[\"{\[]"), later("JSON")),
    (re.compile(r"\{\d+\}\{\d*\}"), later("MicroDVD, which counts frames")),
    (re.compile(r"\[\d+\]\[\d*\]"), later("MPL2")),
    (re.compile(r"\d{1,2}:\d\d:\d\d[:=](?!\d\d\s).*\n"), later("TMPlayer")),
    (re.compile(r"start\s+end\s+text\s"), later("a table of times (TSV)")),
    (re.compile(r"\"?start\w*\"?\s*[,;]\s*\"?end", re.IGNORECASE), later("a table of times (CSV)")),
    (re.compile(r"\d+\.\d+\s\d+\.\d+\s"), later("a list of Audacity's labels")),
    (re.compile(r"<[a-zA-Z][\w:.-]{0,40}(?:\s[^<>]{0,400})?>\s*<"), later("XML")),
)
_BINARY = (
    (b"PK\x03\x04", later("an archive or an office document (ZIP)")),
    (b"%PDF", later("a PDF")),
    (b"\x89PNG", later("a picture (PNG)")),
    (b"\xff\xd8\xff", later("a picture (JPEG)")),
    (b"\x1aE\xdf\xa3", later("a Matroska or WebM video")),
    (b"ID3", later("a sound (MP3)")),
    (b"RIFF", later("a sound or video (RIFF)")),
    (b"\x1f\x8b", later("an archive (gzip)")),
    (b"\xd0\xcf\x11\xe0", later("an office document")),
    (b"\x00\x00\x01\xba", later("VobSub, which are pictures")),
)
_ARROW = re.compile(r"[-\u2010-\u2015\uff0d=~]{0,4}\s?(?:>|\uff1e|\u2192|&gt;)")
# Where a format shows itself.
_HEAD = 4096


def check_binary(data: bytes) -> None:
    """Check that a file may be text.

    Raises:
        SubtitleError: it is something else, which the message names.
    """
    for magic, name in _BINARY:
        if data.startswith(magic):
            raise _refusal(tr(name))
    if data[4:8] == b"ftyp":
        raise _refusal(tr("an MP4 file"))
    if data[3:6] == b"STL" and data[6:8].isdigit():
        raise _refusal(tr("EBU STL"))


def reader(lines: Sequence[str]) -> Callable[[Sequence[str]], Findings]:
    """Return what reads the lines of a file.

    Raises:
        SubtitleError: it is a format that is not read, which the message names.
    """
    first = next((line.strip() for line in lines if line.strip()), "")
    if vtt.HEADER.match(first) or _is_headless_vtt(lines):
        return vtt.read
    if any(line.casefold().strip() in ("[script info]", "[events]") for line in lines[:2000]):
        return ssa.read
    if first.casefold().startswith("dialogue:"):
        return ssa.read
    if any(map(lrc.STAMP.match, lines)) and not any(map(_is_time, lines)):
        return lrc.read
    if any(map(sbv.TIMES.fullmatch, lines)) and not any(map(_is_time, lines)):
        return sbv.read
    head = "\n".join(lines[:200])[:_HEAD].lstrip()
    other = next((name for pattern, name in _OTHERS if pattern.match(head)), None)
    if other is not None and not any(map(_is_time, lines)):
        raise _refusal(tr(other))
    return srt.read


def _is_headless_vtt(lines: Sequence[str]) -> bool:
    """Whether a file that has lost its first line is WebVTT: remarks, and times with dots alone."""
    remarks = any(
        vtt.HIDDEN.match(line) and not before.strip() for before, line in pairwise(["", *lines])
    )
    heads = [line for line in lines if _is_time(line)] if remarks else []
    return bool(heads) and all("." in line and "," not in line for line in heads)


def _is_time(line: str) -> bool:
    """Whether a line may have the times of a cue in SRT: digits, an arrow, digits."""
    start = line.strip()[:40]
    return start[:1].isdecimal() and _ARROW.search(start) is not None


def _refusal(name: str) -> SubtitleError:
    return SubtitleError(
        tr("it is {format}; convert it to SRT or WebVTT, which are read", format=name)
    )
