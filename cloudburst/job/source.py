"""Where a job comes from: scenes.yaml, CSV, JSON Lines, a folder, or values of a program."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cloudburst import media, userpath
from cloudburst.errors import BadInput
from cloudburst.job import csvfile, jsonlines, located, records, schema, yamltree
from cloudburst.job.files import reason
from cloudburst.job.folder import scan
from cloudburst.job.folder.scan import JOB_FILE
from cloudburst.job.problems import one_line
from cloudburst.job.tree import MAX_BYTES, SourceError, Tree
from cloudburst.language import later, tr
from cloudburst.models import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

JobSource = str | os.PathLike[str] | Mapping[str, Any] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """A source that has been read, before anything in it is checked.

    Args:
        tree: its document.
        shown: how the user named it.
        path: the file or folder; for values of a program, a name to show.
        base: the folder where relative paths start.
        warnings: what was noticed while reading, a line each.
        in_memory: whether it is values of a program, which no later process can read again.
    """

    tree: Tree
    shown: str
    path: Path
    base: Path
    warnings: tuple[str, ...] = ()
    in_memory: bool = False

    @property
    def base_name(self) -> str:
        """What relative paths are relative to, for people."""
        return tr("the current folder") if self.in_memory else self.path.name


class _Kind(NamedTuple):
    """A kind of file: how it is parsed, and what is expected of it."""

    parse: Callable[[str], Tree]
    empty: str
    encoding: str = later("save the file as UTF-8")


_YAML = _Kind(
    lambda text: yamltree.parse(text, schema.text_shape()), later("expected version: 1 and scenes:")
)
_TABLE = _Kind(csvfile.parse, csvfile.EXPECTED, later("save the file as UTF-8 (Excel: CSV UTF-8)"))
_LINES = _Kind(lambda text: jsonlines.parse(text, schema.text_shape()), jsonlines.EXPECTED)
_EXPECTED = later("a scenes.yaml, a table (.csv), JSON Lines (.jsonl) or a folder")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD = 64
_KINDS = {".csv": _TABLE, ".tsv": _TABLE, ".jsonl": _LINES, ".ndjson": _LINES}


def read(source: object) -> Source:
    """Read a job's source into a document.

    Args:
        source: a `JobSource`: a file (CSV and JSON Lines by their suffix, YAML otherwise), a
            folder, a mapping as in scenes.yaml, or a sequence of scenes.

    Raises:
        BadInput: it cannot be read.
        TypeError: it is nothing of these.
    """
    if isinstance(source, str | os.PathLike):
        return _read_path(_place(source), str(source))
    if isinstance(source, Mapping | Sequence) and not isinstance(source, bytes | bytearray):
        try:
            tree = records.tree(source, schema.text_shape())
        except SourceError as error:
            raise BadInput([Problem("scenes", 0, "", str(error))]) from error
        return Source(tree, "scenes", Path("scenes"), Path.cwd(), in_memory=True)
    kind = type(source).__name__
    raise TypeError(f"got {kind}; expected a path, a mapping or a sequence of mappings")


def _place(source: str | os.PathLike[str]) -> Path:
    """Return the path that a user named; one of a program's is as it is."""
    if not isinstance(source, str):
        return Path(source)
    try:
        return Path(userpath.expanded(source))
    except userpath.NoHomeError as error:
        raise _refusal(source, str(error)) from error


def _read_path(path: Path, shown: str) -> Source:
    try:
        if not path.is_dir():
            return Source(_read_file(path, shown), shown, path, path.parent)
        if (path / JOB_FILE).is_file():
            return _read_path(path / JOB_FILE, str(Path(shown) / JOB_FILE))
    except (OSError, ValueError) as error:
        raise _refusal(shown, tr("cannot be read: {reason}", reason=reason(error))) from error
    scanned = scan.scan(path)
    document = scanned.document()
    lines = tuple(str(skipped) for skipped in scanned.skipped)
    return Source(Tree(document, {(): 0}), shown, path.resolve(), path, lines)


def _refusal(shown: str, message: str, line: int = 0) -> BadInput:
    return BadInput([Problem(shown, line, "", one_line(message))])


def _check_text(data: bytes, shown: str) -> None:
    """Refuse a file that is no text, and name what it is: a workbook of Excel, a video."""
    if data.startswith(_WORKBOOKS):
        raise _refusal(
            shown,
            tr(
                "{what}; expected {sources}; in Excel, save it as CSV UTF-8",
                what=media.describe_bytes(data),
                sources=tr(_EXPECTED),
            ),
        )
    if 0 in data[:_HEAD] and not data.startswith(_UTF_16):
        what = media.describe_bytes(data)
        raise _refusal(shown, tr("{what}; expected {sources}", what=what, sources=tr(_EXPECTED)))


def _read_file(path: Path, shown: str) -> Tree:
    kind = _KINDS.get(path.suffix.casefold(), _YAML)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            text = tr("{size} bytes; expected at most {most}", size=size, most=MAX_BYTES)
            raise _refusal(shown, text)
        data = path.read_bytes()
        _check_text(data, shown)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        text = tr("file not found; expected {sources}", sources=tr(_EXPECTED))
        hint = located.hint(Path(), shown)
        if hint:
            text = tr("{problem}; {hint}", problem=text, hint=hint)
        raise _refusal(shown, text) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        advice = tr(kind.encoding)
        raise _refusal(shown, tr("not UTF-8; {advice}", advice=advice), line) from error
    except (OSError, ValueError) as error:
        raise _refusal(shown, tr("cannot be read: {reason}", reason=reason(error))) from error
    if not text.strip():
        raise _refusal(shown, tr("the file is empty; {expected}", expected=tr(kind.empty)))
    try:
        return kind.parse(text)
    except SourceError as error:
        raise _refusal(shown, str(error), error.line) from error
