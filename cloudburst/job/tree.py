"""What every kind of source is read into: a document, and where its parts came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cloudburst.language import later

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 20
# The longest job there may be has 320 000: ten thousand scenes with every key.
MAX_NODES = 400_000

Path = tuple[str | int, ...]

# Where a document has text: `str`; a list of such; a mapping by key, "*" for every other key.
Shape = type[str] | list["Shape"] | dict[str, "Shape"] | None
ANY_KEY = "*"
REPEATED_KEY = later("duplicate key; expected each key once")


class SourceError(ValueError):
    """A source cannot be read as a document at all.

    Args:
        line: 1-based; 0 for the whole source.
        message: what is wrong.
    """

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


class Fault(NamedTuple):
    """Something wrong that a reader noticed, and that does not keep it from reading the rest.

    Args:
        path: of the value.
        line: 1-based, 0 for a source without lines.
        message: what was read and what was expected.
    """

    path: Path
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Written:
    """A number or a word such as ``true``, until it is known whether text is expected in its place.

    Args:
        text: as it was written: ``001``, ``1e3``.
        value: what that is where no text is expected.
    """

    text: str
    value: object

    def __repr__(self) -> str:
        return self.text


def resolved(root: object, shape: Shape) -> object:
    """Return a document without `Written`: each is its text where text is expected, or its value.

    So a scene called 001 is called that, not 1. Without recursion: aliases may nest deeper than
    Python does.

    Args:
        root: dicts, lists, scalars and `Written`; it is not changed.
        shape: where text is expected. Nothing, as a word, is nothing there too.
    """
    top: list[object] = [root]
    todo: list[tuple[Any, Any, Shape]] = [(top, 0, shape)]
    while todo:
        parent, key, expected = todo.pop()
        item = parent[key]
        if isinstance(item, Written):
            parent[key] = item.text if expected is str and item.value is not None else item.value
        elif isinstance(item, dict):
            parent[key] = dict(item)
            keyed = expected if isinstance(expected, dict) else {}
            rest = keyed.get(ANY_KEY)
            todo += [(parent[key], name, keyed.get(name, rest)) for name in item]
        elif isinstance(item, list):
            parent[key] = list(item)
            each = expected[0] if isinstance(expected, list) else None
            todo += [(parent[key], index, each) for index in range(len(item))]
    return top[0]


@dataclass(frozen=True, slots=True)
class Tree:
    """A document and the lines of its parts.

    Args:
        value: dicts, lists and scalars.
        lines: path of a value → its 1-based line; a mapping's value has its key's line.
        faults: what the reader noticed; the shape of these values is not checked again.
    """

    value: object
    lines: dict[Path, int]
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Return the line of a value, or of the innermost value around it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)
