"""The scenes of a folder, what is in none of them, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from cloudburst.console.text import safe
from cloudburst.job.problems import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.job.scan import Scan

_FILE_WIDTH = 140
_MAX_WARNINGS = 50


def show_scan(scan: Scan, *, next_command: str, stderr: bool = False) -> None:
    """Print the scenes of a folder, the files that are in none with the reason, and what is next.

    Args:
        scan: what was found.
        next_command: for the last line; empty for none.
        stderr: print on standard error.
    """
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)  # a file has no edge to fold lines at
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("scene", "picture", "sound", "subtitles", "language"):
        table.add_column(name, overflow="fold")
    for scene in scan.scenes:
        cells = (scene.name, scene.image, scene.audio, scene.subtitle, scene.language)
        table.add_row(*(safe(one_line(cell or "–")) for cell in cells))
    console.print(table)
    console.print()
    for skipped in scan.skipped:
        console.print(f"[yellow]not used:[/] {safe(one_line(str(skipped)))}", soft_wrap=True)
    count = f"[bold]{_counted(len(scan.scenes), 'scene')}[/]"
    unused = f"; {_counted(len(scan.skipped), 'file')} not used" if scan.skipped else ""
    console.print(f"{count} in {safe(one_line(str(scan.folder)))}{unused}", soft_wrap=True)
    if next_command:
        console.print(f"next: {safe(next_command)}", soft_wrap=True)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def show_warnings(lines: Sequence[str]) -> None:
    """Print, on standard error, what was noticed while a job was read."""
    console = Console(stderr=True, highlight=False)
    for line in lines[:_MAX_WARNINGS]:
        console.print(f"[yellow]not used:[/] {safe(one_line(line))}", soft_wrap=True)
    if len(lines) > _MAX_WARNINGS:
        more = f"… and {len(lines) - _MAX_WARNINGS} more; `cloudburst scan FOLDER -o -` lists all"
        console.print(f"[yellow]not used:[/] {more}", soft_wrap=True)
