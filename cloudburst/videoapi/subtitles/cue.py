"""What reading a subtitle file gives: cues, and what people should know about it. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cloudburst.language import tr

# A cue every fifth of a second, for the longest narration there may be, half an hour.
MAX_CUES = 10_000


class SubtitleError(ValueError):
    """The bytes are not a subtitle file that can be shown."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle.

    Args:
        start: seconds.
        end: seconds.
        text: lines, without markup.
    """

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A cue as it is written, before its times are checked.

    Args:
        start: seconds.
        end: seconds; None if the file has none.
        text: lines, without markup.
        line: 1-based line of its time.
    """

    start: float
    end: float | None
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Notice:
    """One kind of thing that was noticed in a file.

    Args:
        line: 1-based line of the first of its kind, 0 for the whole file.
        message: for people, without the line.
    """

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Subtitles:
    """A subtitle file that has been read.

    Args:
        cues: in order of time; they may overlap, see `flatten`.
        notices: what was repaired, guessed or left out, one for each kind.
        encoding: of the file; None if it has nothing but ASCII.
        rival: an encoding that fits as well; None for most files.
    """

    cues: tuple[Cue, ...]
    notices: tuple[Notice, ...] = ()
    encoding: str | None = None
    rival: str | None = None


@dataclass
class Findings:
    """What a reader of one format finds: the cues, and what is odd.

    Args:
        drafts: in the order of the file.
        counts: how often a kind of oddity occurs.
        first: its first line, and the values that its message needs.
        unreadable: lines of times that cannot be read, with what they say.
        open_ended: whether the format has no ends, so that a missing one is not odd.
    """

    drafts: list[Draft] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    open_ended: bool = False

    def add(self, draft: Draft) -> None:
        """Add a cue.

        Raises:
            SubtitleError: there are more than anybody can read.
        """
        self.drafts.append(draft)
        if len(self.drafts) > MAX_CUES:
            raise SubtitleError(tr("more than {most} cues; the limit is that many", most=MAX_CUES))

    def note(self, kind: str, line: int, **values: str) -> None:
        """Count an oddity; remember the first of its kind.

        Args:
            kind: a key of `messages`.
            line: 1-based.
            values: for the message.
        """
        self.counts[kind] += 1
        self.first.setdefault(kind, (line, values))
