"""Read LRC, the format of song texts: a time before each line, no ends. Pure."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from cloudburst.videoapi.subtitles import markup
from cloudburst.videoapi.subtitles.cue import Draft, Findings

if TYPE_CHECKING:
    from collections.abc import Sequence

STAMP = re.compile(r"\s*\[(\d{1,3}):(\d{1,2})(?:[.:,](\d{1,3}))?\]", re.ASCII)
_WORD = re.compile(r"<\d{1,3}:\d{1,2}(?:[.:,]\d{1,3})?>", re.ASCII)
_ATTRIBUTE = re.compile(r"\s*\[([a-zA-Z#]{1,20}):([^\]]*)\]\s*")


def read(lines: Sequence[str]) -> Findings:
    """Read the lines of an LRC file; each is shown until one with a later time begins.

    Lines of one time, mostly in two languages, are shown together.
    """
    found = Findings(open_ended=True)
    offset = 0.0
    stamped: list[tuple[float, str, int]] = []
    for number, line in enumerate(lines, start=1):
        starts, text = _line(line)
        if starts:
            stamped += [(start, text, number) for start in starts]
        elif match := _ATTRIBUTE.fullmatch(line):
            offset = _offset(match, offset)
        elif line.strip():
            found.note("outside", number, text=line.strip())
    stamped.sort(key=lambda one: (one[0], one[2]))
    later = dict(itertools.pairwise(dict.fromkeys(start for start, _, _ in stamped)))
    for start, text, number in stamped:
        end = later.get(start)
        until = None if end is None else max(0.0, end - offset)
        found.add(Draft(max(0.0, start - offset), until, text, number))
    return found


def _line(line: str) -> tuple[list[float], str]:
    """Return the times before a line, and its words."""
    starts: list[float] = []
    at = 0
    while match := STAMP.match(line, at):
        minutes, seconds, fraction = match.groups()
        starts.append(int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}"))
        at = match.end()
    return starts, markup.tidy(_WORD.sub("", line[at:]))


def _offset(match: re.Match[str], before: float) -> float:
    """Return the seconds that everything is shown earlier, from ``[offset:+500]``."""
    if match[1].casefold() != "offset":
        return before
    try:
        return int(match[2]) / 1000
    except ValueError:
        return before
