"""Read SRT, as people and tools write it; write it as every tool reads it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cloudburst.videoapi.subtitles import markup, times
from cloudburst.videoapi.subtitles.cue import MAX_CUES, Cue, Draft, Findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"[#№]?\s*(\d{1,9})\s*[.:)]?")
_LONGEST_NUMBER = 20
# What stands around a file and is no part of it: of Markdown, as of chatbots, and of Avid.
_FRAME = re.compile(r"\s*(?:`{3,}\w*|~{3,}\w*|<(?:begin|end) subtitles>)\s*", re.IGNORECASE)


def read(lines: Sequence[str]) -> Findings:
    """Read the lines of an SRT file; its numbers may be missing, wrong or repeated."""
    found = Findings()
    heads = _heads(lines, found)
    numbering = _Numbering.of(lines, [index for index, _ in heads])
    _note_text_before(lines, heads, found)
    latest = 0
    for place, (index, head) in enumerate(heads):
        number = numbering.number(index, latest + 1)
        if number is not None and number.value == 1 and latest > 1 and _goes_back(head, found):
            found.note("joined", index + 1)
        latest = latest if number is None else number.value
        stop = len(lines)
        if place + 1 < len(heads):
            following = numbering.number(heads[place + 1][0], latest + 1)
            stop = heads[place + 1][0] if following is None else following.line
        text = _text(head, lines[index + 1 : max(stop, index + 1)], index + 1, found)
        found.add(Draft(head.start, head.end, text, index + 1))
    return found


def to_srt(cues: Iterable[Cue]) -> str:
    """Return cues as a file of SRT."""
    blocks = (
        f"{number}\n{times.line(times.Times(cue.start, cue.end))}\n{cue.text}\n"
        for number, cue in enumerate(cues, start=1)
    )
    return "\n".join(blocks)


def _goes_back(head: times.Times, found: Findings) -> bool:
    return bool(found.drafts) and head.start < found.drafts[-1].start


def _heads(lines: Sequence[str], found: Findings) -> list[tuple[int, times.Times]]:
    """Return the lines with times; note those that were repaired or cannot be."""
    heads: list[tuple[int, times.Times]] = []
    separate = True
    for index, line in enumerate(lines):
        head = times.read(line, separate=separate) if line.strip() else None
        separate = not line.strip() or _match_number(line) is not None
        if isinstance(head, times.Unreadable):
            found.unreadable.append((index + 1, line.strip()))
        elif head is not None:
            heads.append((index, head))
            if head.repaired:
                found.note("repaired", index + 1, was=line.strip(), now=times.line(head))
        if max(len(heads), len(found.unreadable)) > MAX_CUES:
            break
    return heads


class _Number(NamedTuple):
    """The number of a cue: its line's index, and its value."""

    line: int
    value: int


@dataclass(frozen=True, slots=True)
class _Numbering:
    """Which lines of a file are the numbers of its cues, and not their words.

    Args:
        lines: of the file.
        adjacent: most cues have a number in the line before their times.
        spaced: the first cue has a number, then an empty line, as in files whose line breaks were
            doubled.
    """

    lines: Sequence[str]
    adjacent: bool
    spaced: bool

    @classmethod
    def of(cls, lines: Sequence[str], heads: Sequence[int]) -> _Numbering:
        """Return the numbering of a file with the times in these lines."""
        count = sum(_number_in(lines, index - 1) is not None for index in heads)
        first = heads[0] - 1 if heads else 0
        while first > 0 and not lines[first].strip():
            first -= 1
        return cls(lines, 2 * count >= len(heads), _number_in(lines, first) is not None)

    def number(self, head: int, expected: int) -> _Number | None:
        """Return the number of the cue whose times are in a line; None if it has none."""
        if self.adjacent and (number := _number_in(self.lines, head - 1)) is not None:
            return number
        index = head - 1
        while index > 0 and not self.lines[index].strip():
            index -= 1
        number = _number_in(self.lines, index) if self.adjacent or self.spaced else None
        return number if number is not None and number.value == expected else None


def _number_in(lines: Sequence[str], index: int) -> _Number | None:
    match = _match_number(lines[index]) if index >= 0 else None
    return _Number(index, int(match[1])) if match else None


def _match_number(line: str) -> re.Match[str] | None:
    """Return the match of a line that is only a number; in linear time, however long the line."""
    text = line.strip()
    return _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None


def _text(head: times.Times, body: Sequence[str], line: int, found: Findings) -> str:
    body = [words for words in body if not _FRAME.fullmatch(words)]
    text = "\n".join((head.rest, *body) if head.rest else body)
    text = markup.strip(text)
    if markup.has_entities(text):
        found.note("entities", line)
        text = markup.unescape(text)
    return markup.tidy(text)


def _note_text_before(
    lines: Sequence[str], heads: Sequence[tuple[int, times.Times]], found: Findings
) -> None:
    first = heads[0][0] if heads else 0
    for index, line in enumerate(lines[:first]):
        if line.strip() and not _match_number(line) and not _FRAME.fullmatch(line):
            found.note("outside", index + 1, text=line.strip())
