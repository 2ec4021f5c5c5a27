"""What was noticed in a subtitle file, as one sentence for each kind. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import ntr, tr
from cloudburst.videoapi.subtitles.cue import Findings, Notice, SubtitleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOST_QUOTED = 60
_MOST_LINES = 5


def quoted(text: str) -> str:
    """Return a text of the file as a message can show it: short, on one line, printable."""
    shown = "".join(char if char.isprintable() else " " for char in text[:_MOST_QUOTED])
    return shown.strip() + ("…" if len(text) > _MOST_QUOTED else "")


def notices(found: Findings) -> list[Notice]:
    """Return a notice for each kind of oddity, in the order of their first lines."""
    made = []
    for kind, count in found.counts.items():
        line, values = found.first[kind]
        shown = {name: quoted(value) for name, value in values.items()}
        made.append(Notice(line, _MESSAGES[kind](count, shown)))
    return sorted(made, key=lambda notice: notice.line)


def refuse_unreadable(found: Findings) -> None:
    """Check that all times were read.

    Raises:
        SubtitleError: names the lines whose times cannot be.
    """
    if not found.unreadable:
        return
    line, text = found.unreadable[0]
    message = tr(
        "line {line}: the time {text} cannot be read; expected 00:00:01,000 --> 00:00:04,000",
        line=line,
        text=quoted(text),
    )
    if others := found.unreadable[1:]:
        numbers = ", ".join(str(number) for number, _ in others[:_MOST_LINES])
        more = "…" if len(others) > _MOST_LINES else ""
        message = tr(
            "{message} (so it is in lines {numbers})", message=message, numbers=numbers + more
        )
    raise SubtitleError(message)


def _repaired(count: int, values: Mapping[str, str]) -> str:
    return ntr(
        "{count} time was repaired: {was} was read as {now}",
        "{count} times were repaired; the first, {was}, was read as {now}",
        count,
        **values,
    )


def _joined(count: int, _: Mapping[str, str]) -> str:
    return ntr(
        "in {count} place the numbers start again at 1 and the time goes back, as in joined files; "
        "both parts are shown together",
        "in {count} places the numbers start again at 1 and the time goes back, as in joined "
        "files; all parts are shown together",
        count,
    )


def _entities(count: int, _: Mapping[str, str]) -> str:
    return ntr(
        "HTML entities such as &amp; were read as characters in {count} cue",
        "HTML entities such as &amp; were read as characters in {count} cues",
        count,
    )


def _outside(count: int, values: Mapping[str, str]) -> str:
    return ntr(
        "{count} line of text without a time is not shown: {text}",
        "{count} lines of text without a time are not shown; the first: {text}",
        count,
        **values,
    )


def _no_length(count: int, values: Mapping[str, str]) -> str:
    return ntr(
        "{count} cue has no end or no length; it is shown until {end}",
        "{count} cues have no end or no length; they are shown for a moment, the first until {end}",
        count,
        **values,
    )


def _reversed(count: int, values: Mapping[str, str]) -> str:
    return ntr(
        "{count} cue ends before it starts; it is shown from {start} to {end}",
        "{count} cues end before they start; they are shown from their start, the first from "
        "{start} to {end}",
        count,
        **values,
    )


def _damaged(count: int, _: Mapping[str, str]) -> str:
    return ntr(
        "{count} character is damaged in the file (U+FFFD)",
        "{count} characters are damaged in the file (U+FFFD)",
        count,
    )


def _shifted(_: int, values: Mapping[str, str]) -> str:
    return tr("all cues start {hours} h late; they are shown that much earlier", **values)


def _late(count: int, values: Mapping[str, str]) -> str:
    return ntr(
        "{count} of {total} cues starts after the narration has ended, at {end}; it is not shown",
        "{count} of {total} cues start after the narration has ended, at {end}; they are not shown",
        count,
        **values,
    )


def _fast(count: int, values: Mapping[str, str]) -> str:
    return ntr(
        "{count} cue is shown too briefly to be read: {length} characters in {seconds} s",
        "{count} cues are shown too briefly to be read; the fastest has {length} characters in "
        "{seconds} s",
        count,
        **values,
    )


def guessed(encoding: str) -> str:
    """Return the message about an encoding that is a guess."""
    return tr(
        "the encoding is not UTF-8; {encoding} is a guess, so look at the text, and set "
        "subtitle_encoding if it is wrong",
        encoding=encoding,
    )


def garbled(was: str, taken: str) -> str:
    """Return the message about a text that had been misread before it was saved."""
    return tr(
        "the text had been garbled before the file was saved: it was {was}, taken for {taken}; "
        "that is undone, so look at the text, and set subtitle_encoding to utf-8 if it is wrong",
        was=was,
        taken=taken,
    )


def undecided(encoding: str, rival: str) -> str:
    """Return the message about an encoding where another one fits as well."""
    return tr(
        "the text may be {encoding} or {rival}; {encoding} is a guess, so look at the text, and "
        "set subtitle_encoding if it is wrong",
        encoding=encoding,
        rival=rival,
    )


_MESSAGES: dict[str, Callable[[int, Mapping[str, str]], str]] = {
    "repaired": _repaired,
    "joined": _joined,
    "entities": _entities,
    "outside": _outside,
    "no_length": _no_length,
    "reversed": _reversed,
    "damaged": _damaged,
    "shifted": _shifted,
    "late": _late,
    "fast": _fast,
}
