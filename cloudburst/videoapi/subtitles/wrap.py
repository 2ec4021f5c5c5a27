"""Break a text into lines of about the same width. Pure.

libass breaks only at spaces, which many scripts do not have, and does not say how many lines it
makes. All widths here are in em, so that they hold at any font size.
"""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from cloudburst.videoapi.subtitles import breaks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# A line may be narrower than the others by this share of the room, to need no more lines.
_STEPS = 16
# Where a text is best divided: after one of its own lines, a sentence, a clause; worst within.
WITHIN, CLAUSE, SENTENCE, LINE = range(4)
_CLAUSES = tuple(",;:،؛،，、；：—–।၊")


class Piece(NamedTuple):
    """What a line is not broken within.

    Args:
        text: ends with the spaces that follow.
        width: em, with those spaces.
        inked: em, without them.
    """

    text: str
    width: float
    inked: float


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text in pieces, with their places on one endless line.

    Args:
        pieces: the pieces.
        starts: where each piece begins, in em.
        ends: where the ink of each piece ends, in em.
        lasts: for each piece, the index of the last one of its line of the text.
        room: width of a line, in em.
    """

    pieces: Sequence[Piece]
    starts: Sequence[float]
    ends: Sequence[float]
    lasts: Sequence[int]
    room: float

    def borders(self) -> list[int]:
        """Return how good the end of each piece is as the end of a part of the text."""
        borders = [CLAUSE if piece.text.rstrip().endswith(_CLAUSES) else WITHIN
                   for piece in self.pieces]  # fmt: skip
        for start, stop in self._paragraphs(0, len(self.pieces)):
            texts = [piece.text for piece in self.pieces[start:stop]]
            places = dict(zip(accumulate(map(len, texts)), range(start, stop), strict=True))
            for end in accumulate(map(len, breaks.sentences("".join(texts)))):
                if end in places:
                    borders[places[end]] = SENTENCE
            borders[stop - 1] = LINE
        return borders

    def lines(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return the lines of pieces `first` to `last` (exclusive): few, and of alike widths."""
        return [
            line
            for start, stop in self._paragraphs(first, last)
            for line in self._balanced(start, stop)
        ]

    def reach(self, first: int, lines: int) -> int:
        """Return the index after the pieces that `lines` lines can hold from piece `first` on."""
        for _ in range(lines):
            if first == len(self.pieces):
                break
            first = self._fill(first, self.lasts[first] + 1, self.room)
        return first

    def text(self, first: int, last: int) -> str:
        """Return the text of pieces `first` to `last` (exclusive), without spaces around it."""
        return "".join(piece.text for piece in self.pieces[first:last]).strip()

    def _paragraphs(self, first: int, last: int) -> list[tuple[int, int]]:
        paragraphs = []
        while first < last:
            stop = min(self.lasts[first] + 1, last)
            paragraphs.append((first, stop))
            first = stop
        return paragraphs

    def _balanced(self, first: int, last: int) -> list[tuple[int, int]]:
        best = self._filled(first, last, self.room)
        whole = self.ends[last - 1] - self.starts[first]
        low = whole / len(best)
        # The narrowest goal that needs no more lines makes their widths most alike.
        goals = [low + (self.room - low) * step / _STEPS for step in range(_STEPS)]
        found = bisect_left(
            goals, -len(best), key=lambda goal: -len(self._filled(first, last, goal))
        )
        return self._filled(first, last, goals[found]) if found < len(goals) else best

    def _filled(self, first: int, last: int, goal: float) -> list[tuple[int, int]]:
        lines = []
        while first < last:
            stop = self._fill(first, last, goal)
            lines.append((first, stop))
            first = stop
        return lines

    def _fill(self, first: int, last: int, goal: float) -> int:
        """Return the index after the pieces that fit on a line, at least one of them."""
        # Widths are sums: what fits exactly must not be lost to the last bit of one.
        return max(
            bisect_right(self.ends, self.starts[first] + goal + 1e-6, first, last), first + 1
        )


@dataclass(frozen=True, slots=True)
class Text:
    """A text whose pieces have been measured, for any width of a line.

    Args:
        paragraphs: the pieces of each of its lines.
        measure: returns the width of a text, in em.
        language: BCP 47 tag.
    """

    paragraphs: Sequence[Sequence[Piece]]
    measure: Callable[[str], float]
    language: str

    @classmethod
    def of(cls, text: str, measure: Callable[[str], float], language: str = "en") -> Text:
        """Measure a text: lines, separated by line breaks."""
        lines = (line.strip() for line in text.split("\n"))
        piece = functools.cache(functools.partial(_piece, measure=measure))
        paragraphs = [
            [piece(part) for part in breaks.phrases(line, language)] for line in lines if line
        ]
        return cls(paragraphs, measure, language)

    def within(self, room: float) -> Pieces:
        """Return pieces none of which is wider than a line, where that is possible.

        Args:
            room: width of a line, in em.
        """
        paragraphs = [self._narrow(paragraph, room) for paragraph in self.paragraphs]
        every = [piece for paragraph in paragraphs for piece in paragraph]
        starts = list(accumulate((piece.width for piece in every), initial=0.0))[:-1]
        ends = [start + piece.inked for start, piece in zip(starts, every, strict=True)]
        stops = [0, *accumulate(map(len, paragraphs))]
        lasts = [stop - 1 for start, stop in pairwise(stops) for _ in range(start, stop)]
        return Pieces(every, starts, ends, lasts, room)

    def _narrow(self, paragraph: Sequence[Piece], room: float) -> Sequence[Piece]:
        """Break what is wider than a line: a phrase into its words, a word into its graphemes."""
        if all(piece.inked <= room for piece in paragraph):
            return paragraph
        narrow: list[Piece] = []
        for piece in paragraph:
            if piece.inked <= room:
                narrow.append(piece)
                continue
            for word in breaks.words(piece.text, self.language):
                fits = self.measure(word.rstrip()) <= room
                parts = [word] if fits else breaks.graphemes(word)
                narrow += [_piece(part, self.measure) for part in parts]
        return narrow


def wrap(
    line: str, width: Callable[[str], float], usable: float, language: str = "en"
) -> list[str]:
    """Break a line into as few pieces as possible, of about the same width.

    Args:
        line: text without line breaks.
        width: returns the width of a text, in any unit.
        usable: width available for a line, in the same unit.
        language: BCP 47 tag.
    """
    divided = Text.of(line, width, language).within(usable)
    return [divided.text(*ends) for ends in divided.lines(0, len(divided.pieces))]


def _piece(text: str, measure: Callable[[str], float]) -> Piece:
    bare = text.rstrip()
    inked = measure(bare)
    return Piece(text, inked + measure(" ") * (len(text) - len(bare)), inked)
