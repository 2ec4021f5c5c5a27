"""Only `cloudburst.targets` may tell targets apart by their names: elsewhere they are data."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cloudburst import targets

PACKAGE = Path(targets.__file__).parents[1]
OUTSIDE = sorted(
    path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / "targets")
)


def comparisons(source: str) -> list[int]:
    """Return the lines that compare with, match or look up by a target's name."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Compare(left=left, comparators=others):
                operands = [left, *others]
            case ast.MatchValue(value=value) | ast.Subscript(slice=value):
                operands = [value]
            case _:
                continue
        names = {part.value for one in operands for part in ast.walk(one) if is_text(part)}
        if names & set(targets.names()):
            lines.append(node.lineno)
    return lines


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_outside_compares_with_a_targets_name(path: Path) -> None:
    assert comparisons(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        'a == "aws"',
        'a in ("local", b)',
        'a != {"x": "aws"}',
        'match a:\n case "aws":\n  pass',
        'a["aws"]',
    ],
)
def test_a_comparison_is_seen(source: str) -> None:
    assert comparisons(source)


def test_a_name_that_is_only_data_is_not_a_comparison() -> None:
    assert comparisons('a = "local"\nb("aws")') == []
