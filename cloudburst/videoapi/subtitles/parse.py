"""Subtitle files → cues. Pure; the client and the worker read a file with the same function."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.videoapi.subtitles import formats, messages, times
from cloudburst.videoapi.subtitles.cue import Cue, Draft, Findings, Notice, SubtitleError, Subtitles
from cloudburst.videoapi.subtitles.decode import Decoded, decode
from cloudburst.videoapi.typefaces import scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MAX_BYTES", "MAX_TEXT", "Cue", "SubtitleError", "flatten", "parse", "read"]

# Half an hour, the longest narration, has some 50 000 characters even when spoken fast. Far larger
# files are not subtitles, and would keep a worker busy for hours.
MAX_BYTES = 1024**2
MAX_TEXT = 10_000
MAX_SHOWN = 500_000
_HOUR = 3600
# Seconds to read a text: a moment to notice it, and 15 characters a second (BBC subtitle
# guidelines: 160 to 180 words a minute).
_NOTICE, _PER_CHARACTER = 0.7, 1 / 15
_LEAST, _MOST = 0.5, 7.0
# Characters a second that nobody reads; one of CJK counts as two. Twice what is called fast: 20 of
# an alphabet, 9 of Chinese (Netflix, Timed Text Style Guides, English and Chinese, adult programs).
_READABLE = 40.0
# libass takes a NUL for the end of the file, and draws other control characters as boxes.
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ") | {0: None, ord("\n"): "\n"}
_BREAK = re.compile("\r\r\n|\r\n|\r|\u2028|\u2029|\x85")


def parse(data: bytes) -> list[Cue]:
    """Return the cues of a subtitle file, see `read`."""
    return list(read(data).cues)


def read(
    data: bytes,
    *,
    encoding: str | None = None,
    language: str | None = None,
    seconds: float | None = None,
) -> Subtitles:
    """Read a subtitle file of any format and encoding that docs/scenes.md lists.

    Args:
        data: the file.
        encoding: its encoding; None finds it out.
        language: of the scene, a hint at the encoding.
        seconds: length of the narration, which the times are compared with; None for any.

    Returns:
        The cues without markup and control characters, and what was repaired, guessed or left out.

    Raises:
        SubtitleError: the file is of another format, has no cues or times that cannot be read, is
            not in the encoding, or exceeds a limit on bytes or characters.
    """
    if len(data) > MAX_BYTES:
        raise SubtitleError(tr("{size} bytes; the limit is {most}", size=len(data), most=MAX_BYTES))
    formats.check_binary(data)
    decoded = decode(data, encoding=encoding, language=language)
    lines = _BREAK.sub("\n", decoded.text).translate(_CONTROLS).split("\n")
    found = formats.reader(lines)(lines)
    messages.refuse_unreadable(found)
    _note_damage(lines, found)
    cues = _timed(found, seconds)
    _check_cues(cues, found)
    notices = (*_guess(decoded, lines), *messages.notices(found))
    name = decoded.guess or (None if decoded.text.isascii() else "utf-8")
    return Subtitles(tuple(cues), notices, encoding or name, decoded.rival)


def _guess(decoded: Decoded, lines: list[str]) -> list[Notice]:
    line = next((number for number, text in enumerate(lines, 1) if not text.isascii()), 0)
    if decoded.garbled is not None:
        return [Notice(line, messages.garbled(*decoded.garbled))]
    if decoded.guess is None:
        return []
    if decoded.rival is not None:
        return [Notice(line, messages.undecided(decoded.guess, decoded.rival))]
    return [Notice(line, messages.guessed(decoded.guess))]


def _note_damage(lines: list[str], found: Findings) -> None:
    for number, line in enumerate(lines, 1):
        for _ in range(line.count("\ufffd")):
            found.note("damaged", number)


def _timed(found: Findings, seconds: float | None) -> list[Cue]:
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
    _note_fast(drafts, made, seconds, found)
    if seconds is not None:
        late = [draft for draft in drafts if draft.start >= seconds]
        for draft in sorted(late, key=lambda draft: draft.line):
            found.note("late", draft.line, total=str(len(drafts)), end=times.stamp(seconds))
    return sorted(made, key=lambda cue: (cue.start, cue.end))


def _note_fast(
    drafts: list[Draft], cues: list[Cue], seconds: float | None, found: Findings
) -> None:
    """Note the cues that are shown too briefly to be read, the fastest first."""
    fast = []
    shown_until: dict[float, str] = {}
    for draft, cue in zip(drafts, cues, strict=True):
        shown = min(cue.end, cue.end if seconds is None else seconds) - cue.start
        if cue.text in shown_until.get(round(cue.start, 3), ""):
            continue  # it goes on being shown, as in captions that scroll up
        shown_until[round(cue.end, 3)] = cue.text
        length = len(cue.text) + scripts.count_cjk(cue.text)
        if shown > 0 and length > _READABLE * shown:  # others are not shown at all
            fast.append((length / shown, draft.line, len(cue.text), shown))
    for _, line, length, shown in sorted(fast, reverse=True):
        found.note("fast", line, length=str(length), seconds=f"{shown:.2g}")


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


def _check_cues(cues: list[Cue], found: Findings) -> None:
    if not cues:
        message = (
            tr("it has times, but no text")
            if found.drafts
            else tr("no cues found (a cue is 00:00:01,000 --> 00:00:04,000, then text)")
        )
        raise SubtitleError(message)
    for cue in cues:
        if len(cue.text) > MAX_TEXT:
            raise SubtitleError(
                tr(
                    "the cue at {start:.1f} s has {count} characters; the limit is {most}",
                    start=cue.start,
                    count=len(cue.text),
                    most=MAX_TEXT,
                )
            )
    if _flattened_length(cues) > MAX_SHOWN:
        raise SubtitleError(
            tr(
                "more than {most} characters in total (overlapping cues count more than once)",
                most=MAX_SHOWN,
            )
        )


def _flattened_length(cues: list[Cue]) -> int:
    """Return the number of characters of all cues that `flatten` would return."""
    changes: dict[float, int] = {}
    for cue in cues:
        changes[cue.start] = changes.get(cue.start, 0) + len(cue.text)
        changes[cue.end] = changes.get(cue.end, 0) - len(cue.text)
    total = current = 0
    for _, change in sorted(changes.items()):
        current += change
        total += current
    return total


def flatten(cues: list[Cue]) -> list[Cue]:
    """Return cues that do not overlap: where several overlapped, one cue has all their lines.

    Two overlapping boxes are darker where they meet and hide text; one box does not.
    """
    edges = sorted({edge for cue in cues for edge in (cue.start, cue.end)})
    pending = sorted(enumerate(cues), key=lambda item: item[1].start, reverse=True)
    visible: dict[int, Cue] = {}
    flat: list[Cue] = []
    for start, end in pairwise(edges):
        visible = {index: cue for index, cue in visible.items() if cue.end > start}
        while pending and pending[-1][1].start <= start:
            index, cue = pending.pop()
            visible[index] = cue
        if not visible:
            continue
        # Files that were converted from layers have a cue several times.
        text = "\n".join(dict.fromkeys(visible[index].text for index in sorted(visible)))
        if flat and flat[-1].end == start and flat[-1].text == text:
            flat[-1] = Cue(flat[-1].start, end, text)
        else:
            flat.append(Cue(start, end, text))
    return flat
