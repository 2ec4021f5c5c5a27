"""Which strings of the source people read, and whether they pass through the catalogue."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRANSLATORS = {"tr", "ntr", "later"}
# Texts that stay English: `--help`, and the JSON Schema for editors.
_ENGLISH_ARGUMENTS = {"help", "short_help", "metavar", "epilog", "description", "pattern", "name"}
# What these are called with is shown as it is: a single word is a text there, too.
_SINKS = {"emit", "echo", "print", "confirm", "Problem", "Check", "UsageError", "report", "log"}
_SINKS |= {"show_error", "show_note", "_report"}
_WORDS = re.compile(r"[A-Za-z]{2,}[,;:]? +\(?[A-Za-z]{2,}")
_WORD = re.compile(r"(?<![\w{<.\[/-])[A-Za-z]{3,}(?![\w(.=/-])")
# Commands, HTTP, styles of rich.
_FIXED = re.compile(
    r"\[/?[\w ]*\]|cloudburst (resume|cleanup)|pulumi (stack output|destroy|cancel)[\w -]*"
    r"|(GET|POST) |eval .*|pkill .*|aws ec2 .*"
)


class Text(NamedTuple):
    """A string of the source that people may read.

    Args:
        line: where.
        text: its fixed parts.
    """

    line: int
    text: str


def called(node: ast.Call) -> str:
    """Return the last part of a called function's name."""
    function = node.func
    return getattr(function, "attr", None) or getattr(function, "id", "")


def untranslated(path: Path) -> Iterator[Text]:
    """Return the sentences of a module that no translator gets."""
    tree = ast.parse(path.read_text())
    yield from _sentences(tree, in_sink=False)


def nested_in_f_strings(path: Path) -> Iterator[Text]:
    """Return the messages inside f-strings: the extractor does not see them."""
    for outer in ast.walk(ast.parse(path.read_text())):
        if isinstance(outer, ast.JoinedStr):
            for node in ast.walk(outer):
                if isinstance(node, ast.Call) and called(node) in TRANSLATORS:
                    first = node.args[0]
                    if isinstance(first, ast.Constant):
                        yield Text(node.lineno, str(first.value))


def _sentences(node: ast.AST, *, in_sink: bool) -> Iterator[Text]:
    if isinstance(node, ast.Call):
        yield from _of_call(node, in_sink=in_sink)
    elif isinstance(node, ast.JoinedStr):
        parts = [part for part in node.values if isinstance(part, ast.Constant)]
        text = "".join(str(part.value) for part in parts)
        if _is_text(text, _WORD):
            yield Text(node.lineno, text)
        for part in node.values:
            if not isinstance(part, ast.Constant):
                yield from _sentences(part, in_sink=False)
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, str) and _is_text(node.value, _WORD if in_sink else _WORDS):
            yield Text(node.lineno, node.value)
    else:
        for child in _read(node):
            yield from _sentences(child, in_sink=False)


def _of_call(node: ast.Call, *, in_sink: bool) -> Iterator[Text]:
    name = called(node)
    if name == "compile":
        return
    sink = in_sink or name in _SINKS
    arguments = [
        *(node.args[{"ntr": 2}.get(name, 1) :] if name in TRANSLATORS else node.args),
        *(one.value for one in node.keywords if one.arg not in _ENGLISH_ARGUMENTS),
    ]
    for argument in (node.func, *arguments):
        yield from _sentences(argument, in_sink=sink and isinstance(argument, ast.Constant))


def _read(node: ast.AST) -> Iterator[ast.AST]:
    """Return the children of a node that may hold text for people: no docstrings, no types."""
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if isinstance(child, ast.AST) and not docstring:
                yield child


def _is_text(text: str, pattern: re.Pattern[str]) -> bool:
    return bool(pattern.search(_FIXED.sub("", text)))
