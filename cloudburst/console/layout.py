"""How much is shown on the room that there is: columns of a table, rows, names in a line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

# With more scenes, or more workers at a time, what goes as it should is counted instead of listed:
# about what two screens hold.
MANY_SCENES = 30
MANY_WORKERS = 12
# A column that may fold is given at least so many cells before another column goes for it.
_FOLDED = 16
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        title: as it is shown.
        right: aligned to the right.
        rank: 0 stays; of the others, the highest goes first where not all fit.
        folds: may take several lines.
    """

    title: str
    right: bool = False
    rank: int = 0
    folds: bool = False


def many(scenes: int, workers: int = 0) -> bool:
    """Whether a job is too long to list all that goes as it should."""
    return scenes > MANY_SCENES or workers > MANY_WORKERS


def kept(columns: Sequence[Column], needed: Sequence[int], width: int) -> list[int]:
    """Return which columns are shown.

    Args:
        columns: all.
        needed: cells that each column takes unfolded.
        width: cells that there are.
    """
    shown = list(range(len(columns)))
    while _least(columns, needed, shown, width) > width:
        last = max(shown, key=lambda index: columns[index].rank)
        if not columns[last].rank:
            break
        shown.remove(last)
    return shown


def _least(
    columns: Sequence[Column], needed: Sequence[int], shown: Sequence[int], width: int
) -> int:
    """Return the cells that some columns take where those that may fold do so."""
    cells = 0
    for index in shown:
        column = columns[index]
        # Names keep half of the width, so that they are whole wherever another column can go.
        most = _FOLDED if column.rank else max(_FOLDED, width // 2)
        cells += min(needed[index], most) if column.folds else needed[index]
    return cells + _GAP * (len(shown) - 1)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], width: int) -> Table:
    """Return a table of the columns that fit; names fold, nothing is cut.

    Args:
        columns: all.
        rows: a cell for each column.
        width: cells that there are.
    """
    cells = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    needed = [
        max(Text(column.title).cell_len, *(row[index].cell_len for row in cells), 1)
        for index, column in enumerate(columns)
    ]
    shown = kept(columns, needed, width)
    made = Table(box=None, pad_edge=False, header_style="dim", padding=(0, _GAP, 0, 0))
    for index in shown:
        column = columns[index]
        made.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.folds,
            overflow="fold" if column.folds or not column.rank else "ellipsis",
        )
    for row in cells:
        made.add_row(*(row[index] for index in shown))
    return made
