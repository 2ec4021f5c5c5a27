"""JSON Lines: a scene a line, as one JSON object."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any, NoReturn

from cloudburst.job import records
from cloudburst.job.tree import (
    MAX_NODES,
    REPEATED_KEY,
    Fault,
    Shape,
    SourceError,
    Tree,
    Written,
    resolved,
)
from cloudburst.language import later, tr
from cloudburst.section import show

# No placeholders: whoever shows it has no values for its braces.
EXPECTED = later(
    'expected a scene a line, such as {"name": "s1", "image": "1.png", "audio": "1.mp3"}'
)


class _Pairs(list[tuple[str, Any]]):
    """An object as it was written: a repeated key is still there."""


def parse(text: str, shape: Shape = None) -> Tree:
    """Parse scenes, a line each; blank lines are passed over.

    Args:
        text: of the file.
        shape: where the document has text: a number there is text, as it is written.

    Raises:
        SourceError: there is no line, or it is too large.
    """
    scenes: list[object] = []
    tree = Tree({"version": 1, "scenes": scenes}, {(): 1})
    nodes = 0
    # Not `splitlines`: a text in JSON may hold a line separator of Unicode.
    for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
        if not line.strip():
            continue
        scenes.append(_scene(line, number, len(scenes), tree))
        nodes += 1 + line.count(",")
        if nodes > MAX_NODES:
            raise SourceError(number, tr("more than {count} values", count=MAX_NODES))
    if not scenes:
        raise SourceError(0, tr("the file is empty; {expected}", expected=tr(EXPECTED)))
    return replace(tree, value=resolved(tree.value, shape))


def _scene(line: str, number: int, index: int, tree: Tree) -> dict[str, Any] | None:
    """Return the scene of a line; None, with a fault, when there is none."""
    place = ("scenes", index)
    tree.lines[place] = number
    try:
        value = json.loads(
            line.rstrip("\r\n"),
            object_pairs_hook=_Pairs,
            parse_constant=_refuse,
            parse_int=lambda text: Written(text, int(text)),
            parse_float=lambda text: Written(text, float(text)),
        )
    except json.JSONDecodeError as error:
        message = tr(
            "invalid JSON: {reason} at character {column}", reason=error.msg, column=error.colno
        )
        tree.faults.append(Fault(place, number, message))
        return None
    except (ValueError, RecursionError) as error:
        tree.faults.append(Fault(place, number, tr("invalid JSON: {reason}", reason=error)))
        return None
    if not isinstance(value, _Pairs):
        message = tr("got {value}; {problem}", value=show(value), problem=tr(EXPECTED))
        tree.faults.append(Fault(place, number, message))
        return None
    record: dict[str, Any] = {}
    for key, item in value:
        if key in record:
            tree.faults.append(Fault((*place, key), number, tr(REPEATED_KEY)))
        if isinstance(item, str) and not records.is_unicode(item):
            message = tr("got {value}; expected text in Unicode", value=show(item))
            tree.faults.append(Fault((*place, key), number, message))
        record[key] = dict(item) if isinstance(item, _Pairs) else item
    scene, wrong = records.scene(record)
    tree.faults.extend(Fault((*place, key), number, message) for key, message in wrong)
    return scene


def _refuse(constant: str) -> NoReturn:
    raise ValueError(tr("{constant} is no number of JSON", constant=constant))
