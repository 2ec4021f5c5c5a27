"""Read WebVTT, as https://www.w3.org/TR/webvtt1/#file-parsing says, and leniently. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudburst.videoapi.subtitles import markup, times
from cloudburst.videoapi.subtitles.cue import Draft, Findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEADER = re.compile(r"WEBVTT(?:\s|$)", re.IGNORECASE)
HIDDEN = re.compile(r"(NOTE|STYLE|REGION)(\s|$)|X-TIMESTAMP-MAP")


def read(lines: Sequence[str]) -> Findings:
    """Read the lines of a WebVTT file: notes, styles, regions and identifiers are not shown."""
    found = Findings()
    for start, block in _blocks(lines):
        first = block[0].strip()
        if not HEADER.match(first) and not HIDDEN.match(first):
            _read_block(start, block, found)
    return found


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Return what stands between empty lines, with the index of its first line."""
    start, block = 0, list[str]()
    for index, line in enumerate([*lines, ""]):
        if line.strip() or (block and line and not _ends(lines, index)):
            start = start if block else index
            block.append(line)
        elif block:
            yield start, block
            block = []


def _ends(lines: Sequence[str], index: int) -> bool:
    """Whether a line of spaces ends a cue; YouTube has one above the line that is spoken."""
    following = lines[index + 1 : index + 3]
    return any(
        HIDDEN.match(line.strip()) or isinstance(times.read(line, separate=False), times.Times)
        for line in following
    )


def _read_block(start: int, block: Sequence[str], found: Findings) -> None:
    heads: list[tuple[int, times.Times]] = []
    for index, line in enumerate(block):
        # The identifier, then the times; later in a block, only clear times begin a cue. Times
        # between angle brackets are those of words.
        head = times.read(markup.untimed(line), separate=index <= 1)
        if isinstance(head, times.Unreadable):
            found.unreadable.append((start + index + 1, line.strip()))
            return
        if head is not None:
            heads.append((index, head))
            if head.repaired:
                found.note("repaired", start + index + 1, was=line.strip(), now=times.line(head))
    if not heads:
        _note_outside(start, block, found)
    for place, (index, head) in enumerate(heads):
        following = heads[place + 1][0] if place + 1 < len(heads) else len(block)
        body = list(block[index + 1 : following])
        if place + 1 < len(heads) and body and body[-1].strip().isdecimal():
            body.pop()  # the next cue's identifier, without an empty line before it
        text = "\n".join((head.rest, *body) if head.rest else body)
        text = markup.tidy(markup.unescape(markup.strip(text)))
        found.add(Draft(head.start, head.end, text, start + index + 1))


def _note_outside(start: int, block: Sequence[str], found: Findings) -> None:
    """Note a block without times: an identifier alone is nothing, words are."""
    if len(block) > 1 or not block[0].strip().isdecimal():
        found.note("outside", start + 1, text=block[0].strip())
