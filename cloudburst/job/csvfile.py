"""A CSV table of scenes, a scene a row, with the line of every cell."""

from __future__ import annotations

import csv
import difflib
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from cloudburst.job import records
from cloudburst.job.schema import SCENE_ALIASES, SceneSection
from cloudburst.job.tree import MAX_NODES, Fault, Path, SourceError, Tree
from cloudburst.language import later, tr
from cloudburst.section import show

if TYPE_CHECKING:
    from collections.abc import Iterator

_DELIMITERS = ",;\t"
_LINE_END = re.compile(r"\r\n|\r|\n")
# How Excel is told the delimiter, in a line before the header.
_TOLD = re.compile(r"sep=([,;\t])\r?\n", re.IGNORECASE)
_REQUIRED = ("name", "image", "audio")
_COLUMNS = (*SceneSection.model_fields, "enable_zoom")
_WORDS = {"true": True, "false": False}
_NUMBERS = ("background_opacity", "font_size")
_TRUTHS = ("background_box", "is_portrait", "enable_zoom")
EXPECTED = later("expected a header such as name,image,audio,subtitle")


class _Row(NamedTuple):
    line: int
    cells: list[str]

    @property
    def columns(self) -> list[str]:
        """The names of the columns, if this is the header."""
        return [cell.strip().casefold() for cell in self.cells]

    def lines(self) -> Iterator[int]:
        """Return the line of each cell: a quoted one may hold line ends."""
        line = self.line
        for cell in self.cells:
            yield line
            line += len(_LINE_END.findall(cell))


def parse(text: str) -> Tree:
    """Parse a table with a header.

    The delimiter, a comma, a semicolon or a tab, is the one with which the header makes sense. An
    empty cell is a key that is not given.

    Raises:
        SourceError: it is not CSV, has no header, or is too large.
    """
    told = _TOLD.match(text)
    rows = _rows(text, told[1] if told else _delimiter(text))
    if told:
        next(rows)
    header = next(rows, None)
    if header is None:
        raise SourceError(0, tr("the file is empty; {expected}", expected=tr(EXPECTED)))
    columns = header.columns
    faults = list(_header_faults(columns, header.line))
    if faults:
        # What the rows mean is not known.
        return Tree(None, {}, faults)
    scenes: list[object] = []
    tree = Tree({"version": 1, "scenes": scenes}, {(): header.line})
    for index, row in enumerate(rows):
        scenes.append(_scene(columns, row, index, tree))
    return tree


def _rows(text: str, delimiter: str) -> Iterator[_Row]:
    """Return the rows that are not blank, with the line on which each begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line, cells = 1, 0
    try:
        for row in reader:
            cells += len(row)
            if cells > MAX_NODES:
                raise SourceError(line, tr("more than {count} cells", count=MAX_NODES))
            if any(cell.strip() for cell in row):
                yield _Row(line, row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise SourceError(line, tr("invalid CSV: {reason}", reason=error)) from error


def _delimiter(text: str) -> str:
    """Return the delimiter with which most columns of the header are known."""

    def known(delimiter: str) -> tuple[int, int]:
        try:
            header = next(_rows(text, delimiter), None)
        except SourceError:
            return (-1, 0)
        columns = header.columns if header else []
        return sum(_ours(column) in _COLUMNS for column in columns), len(columns)

    return max(_DELIMITERS, key=known)


def _ours(column: str) -> str:
    return SCENE_ALIASES.get(column, column)


def _header_faults(columns: list[str], line: int) -> Iterator[Fault]:
    if not any(_ours(column) in _COLUMNS for column in columns):
        message = tr("the first line names no known column; {expected}", expected=tr(EXPECTED))
        yield Fault((), line, message)
        return
    seen: dict[str, str] = {}
    for column in filter(None, columns):
        ours = records.effective_key(column)
        if ours in seen:
            message = tr(
                "this column and {other} are the same; expected one of them", other=seen[ours]
            )
            yield Fault((column,), line, message)
        elif ours not in _COLUMNS:
            yield Fault((column,), line, _unknown(column))
        seen[ours] = column
    for column in _REQUIRED:
        if column not in seen:
            message = tr("missing column; expected name, image and audio at least")
            yield Fault((column,), line, message)


def _unknown(column: str) -> str:
    former = SceneSection.former_keys.get(column)
    names = [*_COLUMNS, *SCENE_ALIASES]
    close = [former] if former in _COLUMNS else difflib.get_close_matches(column, names, n=1)
    if close:
        return tr("unknown column; did you mean {column}?", column=close[0])
    return tr("unknown column; expected one of: {columns}", columns=", ".join(_COLUMNS))


def _scene(columns: list[str], row: _Row, index: int, tree: Tree) -> dict[str, object]:
    """Return a row as a scene; note its lines and what is wrong with its cells."""
    place: Path = ("scenes", index)
    tree.lines[place] = row.line
    record: dict[str, object] = {}
    for column, text, line in zip(columns, row.cells, row.lines(), strict=False):
        cell = text.strip()
        if cell and column:
            record[column] = _value(_ours(column), cell)
            tree.lines[*place, _ours(column)] = tree.lines[*place, column] = line
        elif cell:
            message = tr("got {value} in a column without a name", value=show(cell))
            tree.faults.append(Fault(place, line, message))
    if any(cell.strip() for cell in row.cells[len(columns) :]):
        message = tr(
            "got {count} cells; expected {columns}, as in the header "
            "(a cell with the delimiter in it has to be quoted)",
            count=len(row.cells),
            columns=len(columns),
        )
        tree.faults.append(Fault(place, row.line, message))
    scene, wrong = records.scene(record)
    tree.faults.extend(
        Fault((*place, key), tree.line((*place, key)), message) for key, message in wrong
    )
    return scene


def _value(column: str, cell: str) -> object:
    """Return a cell's value by its column; what cannot be one stays text, for its error."""
    if column == "effects":
        return [effect.strip() for effect in re.split(r"[;|,]", cell) if effect.strip()]
    if column in _TRUTHS:
        return _WORDS.get(cell.casefold(), cell)
    if column in _NUMBERS:
        for kind in (int, float):
            try:
                return kind(cell)
            except ValueError:
                continue
    return cell
