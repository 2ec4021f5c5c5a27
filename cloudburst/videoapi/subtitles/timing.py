"""The times of cues, checked: no cue without length, none after the narration. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from cloudburst.videoapi.subtitles import times
from cloudburst.videoapi.subtitles.cue import Cue, Draft, Findings

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOUR = 3600
# Seconds to read a text: a moment to notice it, and 15 characters a second (BBC subtitle
# guidelines: 160 to 180 words a minute).
_NOTICE, _PER_CHARACTER = 0.7, 1 / 15
_LEAST, _MOST = 0.5, 7.0


def cues(found: Findings, seconds: float | None) -> list[Cue]:
    """Return the cues of a file in order of time; note what was done to their times.

    Args:
        found: what its reader found.
        seconds: length of the narration; None if it is not known.
    """
    drafts = [draft for draft in found.drafts if draft.text]
    drafts.sort(key=lambda draft: draft.start)
    drafts = _shifted(drafts, seconds, found)
    starts = [draft.start for draft in drafts]
    made = [_cue(draft, starts, found) for draft in drafts]
    if seconds is not None:
        late = [draft for draft in drafts if draft.start >= seconds]
        for draft in sorted(late, key=lambda draft: draft.line):
            found.note("late", draft.line, total=str(len(drafts)), end=times.stamp(seconds))
    return sorted(made, key=lambda cue: (cue.start, cue.end))


def _cue(draft: Draft, starts: Sequence[float], found: Findings) -> Cue:
    if draft.end is not None and draft.end > draft.start:
        return Cue(draft.start, draft.end, draft.text)
    end = _readable_until(draft, starts)
    if draft.end is not None and draft.end < draft.start:
        shown = {"start": times.stamp(draft.start), "end": times.stamp(end)}
        found.note("reversed", draft.line, **shown)
    elif draft.end is not None or not found.open_ended:
        found.note("no_length", draft.line, end=times.stamp(end))
    return Cue(draft.start, end, draft.text)


def _readable_until(draft: Draft, starts: Sequence[float]) -> float:
    """Return when a cue without an end ends: when it has been read, or the next one starts."""
    needed = min(max(_LEAST, _NOTICE + len(draft.text) * _PER_CHARACTER), _MOST)
    after = bisect_right(starts, draft.start)
    following = starts[after] if after < len(starts) else draft.start + needed
    return draft.start + max(_LEAST, min(needed, following - draft.start))


def _shifted(drafts: list[Draft], seconds: float | None, found: Findings) -> list[Draft]:
    """Return cues that all start whole hours late, as video editors count them, without those.

    Only where nothing would be shown otherwise, and the first is then within the narration.
    """
    if seconds is None or not drafts or drafts[0].start < seconds:
        return drafts
    hours = int(drafts[0].start // _HOUR)
    offset = hours * _HOUR
    if hours == 0 or drafts[0].start - offset >= seconds:
        return drafts
    found.note("shifted", drafts[0].line, hours=str(hours))
    return [
        Draft(
            draft.start - offset,
            None if draft.end is None else max(0.0, draft.end - offset),
            draft.text,
            draft.line,
        )
        for draft in drafts
    ]
