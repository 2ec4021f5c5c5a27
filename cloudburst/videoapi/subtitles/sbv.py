"""Read SBV, which YouTube exports, and SubViewer, from which it comes. Pure.

Both times of a cue are in one line, with a comma in between; the words are in the lines below.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cloudburst.videoapi.subtitles import markup
from cloudburst.videoapi.subtitles.cue import Draft, Findings

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIME = r"(\d{1,3}):(\d{1,2}):(\d{1,2})\.(\d{1,3})"
TIMES = re.compile(rf"\s*{_TIME}\s*,\s*{_TIME}\s*", re.ASCII)
_BREAK = re.compile(r"\[br\]|\|", re.IGNORECASE)


def read(lines: Sequence[str]) -> Findings:
    """Read the lines of an SBV or SubViewer file; what a header says is not shown."""
    found = Findings()
    heads = [(index, match) for index, line in enumerate(lines) if (match := TIMES.fullmatch(line))]
    ends = [*(index for index, _ in heads[1:]), len(lines)]
    for (index, match), end in zip(heads, ends, strict=True):
        text = markup.strip(_BREAK.sub("\n", "\n".join(lines[index + 1 : end])))
        start, stop = _seconds(*match.groups()[:4]), _seconds(*match.groups()[4:])
        found.add(Draft(start, stop, markup.tidy(text), index + 1))
    return found


def _seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")
