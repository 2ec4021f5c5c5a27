"""Tables that a chaos run writes into docs/reliability.md."""

from __future__ import annotations

from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"


def write(name: str, rows: list[list[str]], words: str) -> None:
    """Put a table, and a line below it, between the marks that carry its name.

    Args:
        name: of the table; the document has ``<!-- name -->`` and ``<!-- end of name -->``.
        rows: the header first.
        words: under what circumstances it came to be.

    Raises:
        ValueError: the document has no such place.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = DOCUMENT.read_text("utf-8")
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{DOCUMENT} has no {begin} … {end}")
    lines = "\n".join(markdown(rows))
    DOCUMENT.write_text(f"{before}{begin}\n{lines}\n\n{words}\n{end}{after}", "utf-8")


def markdown(rows: list[list[str]]) -> list[str]:
    """Write a table in Markdown; columns that hold numbers are aligned to the right."""
    numbers = [all(cell.isdigit() for cell in column[1:]) for column in zip(*rows, strict=True)]
    rule = ["--:" if number else "---" for number in numbers]
    return [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]
