"""What every kind of source is read into: a document, and where its parts came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 20
# The longest job there may be has 320 000: ten thousand scenes with every key.
MAX_NODES = 400_000

Path = tuple[str | int, ...]
REPEATED_KEY = "duplicate key; expected each key once"


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
