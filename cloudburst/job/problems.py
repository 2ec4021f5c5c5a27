"""What is wrong with a source, in its order and with its lines, as it can be shown."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.models import Problem
from cloudburst.models.job import MAX_PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudburst.job.tree import Path, Tree

# Control characters, lone surrogates, line and paragraph separators: what acts on a terminal.
_HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
_MAX_FIELD = 200
_MAX_MESSAGE = 5000


def ordered(wrong: Iterable[tuple[Path, str]], tree: Tree, shown: str) -> list[Problem]:
    """Return problems in the order of the source, with lines; not more than anybody can read.

    Args:
        wrong: as (path, message); the tree's own faults come on top.
        tree: what was read.
        shown: the source as the user named it.
    """
    lined = [(tree.line(path), path, message) for path, message in wrong]
    lined += [(fault.line, fault.path, fault.message) for fault in tree.faults]
    lined.sort(key=lambda problem: (problem[0], _index(problem[1])))
    problems = list(
        dict.fromkeys(
            Problem(shown, line, dotted(path), one_line(message))
            for line, path, message in lined[:MAX_PROBLEMS]
        )
    )
    if len(lined) > MAX_PROBLEMS:
        message = tr("only the first {count} problems are shown", count=MAX_PROBLEMS)
        problems.append(Problem(shown, 0, "", message))
    return problems


def _index(path: Path) -> int:
    """Return which scene a path is of: in a source without lines, the only order there is."""
    return next((part for part in path if isinstance(part, int)), -1)


def dotted(path: Path) -> str:
    """Return a path as users read it, such as ``scenes[3].audio``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return one_line(text.removeprefix("."), _MAX_FIELD)


def one_line(text: str, most: int = _MAX_MESSAGE) -> str:
    """Return a file's text as it can be shown: nothing acts on a terminal, nothing is endless."""
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[-most // 2 :]}"
    return "".join(
        char if unicodedata.category(char) not in _HIDDEN else ascii(char)[1:-1] for char in text
    )
