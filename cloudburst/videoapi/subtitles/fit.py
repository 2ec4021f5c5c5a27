"""Choose lines, font size and, for a cue that fills the picture, parts shown in turn. Pure.

People turn a whole script into one cue. Such a cue is drawn smaller, down to what can be read; if
that is not enough, its parts follow each other within its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from cloudburst.language import ntr
from cloudburst.videoapi.subtitles import wrap
from cloudburst.videoapi.typefaces import scripts

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.videoapi.subtitles.parse import Cue

# Of the height of the picture: seven lines at the default size in landscape, twelve in portrait.
SHARE = 0.4
# Of the shorter side: 40 pixels in 1080p, two thirds of the default.
_SMALLEST = 1 / 27
_SHRINK = 0.9
# Seconds; parts that change faster are not read at all, so letters get smaller instead.
_PART = 1.5
# What the end of a part is worth: by this share of its length the part may miss the goal for it.
_MERIT = {wrap.WITHIN: 0.0, wrap.CLAUSE: 0.15, wrap.SENTENCE: 0.4, wrap.LINE: 0.5}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A cue as it is drawn.

    Args:
        start: seconds.
        end: seconds.
        lines: text of each line, and whether it runs from right to left.
        size: font size, in pixels.
        part: number of this part of the cue, from 0.
    """

    start: float
    end: float
    lines: tuple[tuple[str, bool], ...]
    size: int
    part: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """The part of the picture that subtitles may fill.

    Args:
        width: pixels.
        height: pixels.
        size: font size where nothing speaks against it, in pixels.
        smallest: font size below which letters cannot be read, in pixels.
    """

    width: int
    height: int
    size: int
    smallest: int

    @property
    def sizes(self) -> list[int]:
        """Font sizes to try, the largest first."""
        sizes = [self.size]
        while (smaller := int(sizes[-1] * _SHRINK)) > self.smallest:
            sizes.append(smaller)
        return sizes if self.smallest >= sizes[-1] else [*sizes, self.smallest]


def room(width: int, height: int, margin: int, size: int) -> Room:
    """Return the room for subtitles in a picture.

    Args:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        margin: left and right of the text, in pixels.
        size: font size where nothing speaks against it, in pixels.
    """
    smallest = min(size, round(min(width, height) * _SMALLEST))
    return Room(width - 2 * margin, int(height * SHARE), size, smallest)


def fit(
    cues: list[Cue],
    where: Room,
    measure: Callable[[str], float],
    tallness: Callable[[str], float],
    language: str = "en",
) -> list[Fitted]:
    """Lay out cues so that none fills more of the picture than it may.

    Args:
        cues: without overlaps.
        where: room for them.
        measure: returns the width of a text, in em of the font size.
        tallness: returns the height of a line of a text, in font sizes.
        language: of the text, as a BCP 47 tag.
    """
    return [
        fitted for cue in cues for fitted in _fit(cue, where, measure, tallness(cue.text), language)
    ]


def _fit(
    cue: Cue, where: Room, measure: Callable[[str], float], tall: float, language: str
) -> list[Fitted]:
    text = wrap.Text.of(cue.text, measure, language)
    if not text.paragraphs:
        return []
    tried: list[tuple[int, int, wrap.Pieces]] = []
    for size in where.sizes:
        divided = text.within(where.width / size)
        lines = max(1, int(where.height / (size * tall)))
        if divided.reach(0, lines) == len(divided.pieces):
            return _shown(cue, divided, [len(divided.pieces)], size)
        tried.append((size, lines, divided))
    # Even at the smallest size it is too long: as large as leaves each part time to be read.
    most = (cue.end - cue.start) / _PART
    patient = (each for each in tried if _count(each[2], each[1]) <= most)
    size, lines, divided = next(patient, tried[-1])
    return _shown(cue, divided, _parts(divided, lines), size)


def _count(divided: wrap.Pieces, lines: int) -> int:
    """Return how many parts of so many lines a text has at least."""
    count = first = 0
    while first < len(divided.pieces):
        first, count = divided.reach(first, lines), count + 1
    return count


def _parts(divided: wrap.Pieces, lines: int) -> list[int]:
    """Return where each part of a text ends: as few parts as possible, of about the same length."""
    count, total = _count(divided, lines), len(divided.pieces)
    borders = divided.borders()
    stops: list[int] = []
    first = 0
    while first < total:
        stop = divided.reach(first, lines)
        if stop < total:
            rest = divided.ends[-1] - divided.starts[first]
            goal = divided.starts[first] + rest / max(2, count - len(stops))
            stop = _best(divided, borders, range(first, stop), goal)
        stops.append(stop)
        first = stop
    return stops


def _best(divided: wrap.Pieces, borders: list[int], part: range, goal: float) -> int:
    """Return the best end of a part: one of the best borders that is not far from the goal.

    Args:
        divided: the text.
        borders: of its pieces.
        part: the pieces that have room.
        goal: where the part would end if all were equally long, in em.
    """
    span = max(goal - divided.starts[part.start], 1e-6)

    def badness(index: int) -> float:
        return abs(divided.ends[index] - goal) / span - _MERIT[borders[index]]

    return min(part, key=badness) + 1


def _shown(cue: Cue, divided: wrap.Pieces, stops: list[int], size: int) -> list[Fitted]:
    """Give each part of a cue its share of the time, by the length of its text."""
    directions = [scripts.is_rtl(line) for line in cue.text.split("\n") if line.strip()]
    paragraph = _paragraphs(divided)
    length = divided.ends[-1] or 1.0
    seconds = cue.end - cue.start
    shown, first, start = [], 0, cue.start
    for part, stop in enumerate(stops):
        read = divided.ends[stop - 1] / length
        end = cue.end if stop == stops[-1] else cue.start + seconds * read
        lines = tuple(
            (divided.text(*line), directions[paragraph[line[0]]])
            for line in divided.lines(first, stop)
        )
        shown.append(Fitted(start, end, lines, size, part))
        first, start = stop, end
    return shown


def _paragraphs(divided: wrap.Pieces) -> list[int]:
    """Return for each piece the number of its line of the text."""
    numbers, number = [], 0
    for index, last in enumerate(divided.lasts):
        numbers.append(number)
        number += index == last
    return numbers


def notes(fitted: list[Fitted], where: Room, *, chosen: bool) -> list[str]:
    """Return warnings about cues that are not shown as they were written.

    Args:
        fitted: what `fit` made of them.
        where: the room that they had.
        chosen: whether the user chose the font size.
    """
    smaller = [one for one in fitted if one.size < where.size and not one.part]
    split = [first for first, second in pairwise(fitted) if second.part == 1]
    found = []
    if chosen and smaller:
        found.append(_smaller_note(smaller, where.size))
    if split:
        found.append(
            ntr(
                "{count} subtitle would fill the picture, at {first}; it is shown in parts, one "
                "after the other",
                "{count} subtitles would fill the picture, the first at {first}; they are shown "
                "in parts, one after the other",
                len(split),
                first=_clock(split[0].start),
            )
        )
    return found


def _smaller_note(smaller: list[Fitted], size: int) -> str:
    return ntr(
        "{count} subtitle is too long for font_size {size}, at {first}; it is drawn at {least}",
        "{count} subtitles are too long for font_size {size}, the first at {first}; they are "
        "drawn smaller, down to {least}",
        len(smaller),
        size=size,
        first=_clock(smaller[0].start),
        least=min(one.size for one in smaller),
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}:{rest:04.1f}"
