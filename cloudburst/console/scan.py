"""The scenes of a folder, what is in none of them, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from cloudburst.console.layout import Column, many, table
from cloudburst.console.report import table_console
from cloudburst.console.text import safe, titled
from cloudburst.job.problems import one_line
from cloudburst.language import later, ntr, tr

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cloudburst.job.folder.scan import Scan

_MAX_WARNINGS = 50
# Of many scenes: enough to see whether the right files pair.
_FIRST = 10
_COLUMNS = (later("scene"), later("picture"), later("sound"), later("subtitles"), later("language"))


def show_scan(
    scan: Scan, *, next_command: str, stderr: bool = False, verbose: bool = False
) -> None:
    """Print the scenes of a folder, the files that are in none with the reason, and what is next.

    Args:
        scan: what was found.
        next_command: for the last line; empty for none.
        stderr: print on standard error.
        verbose: every scene, however many there are.
    """
    console = table_console(stderr=stderr)
    shown = scan.scenes if verbose or not many(len(scan.scenes)) else scan.scenes[:_FIRST]
    rows = [
        [
            one_line(cell or "–")
            for cell in (scene.name, scene.image, scene.audio, scene.subtitle, scene.language)
        ]
        for scene in shown
    ]
    columns = [Column(tr(name), rank=rank, folds=True) for rank, name in enumerate(_COLUMNS)]
    console.print(table(columns, rows, console.width))
    if len(shown) < len(scan.scenes):
        more = tr("… and {count} more; --verbose lists all", count=len(scan.scenes) - len(shown))
        console.print(f"[dim]{more}[/]", soft_wrap=True)
    console.print()
    for skipped in scan.skipped:
        console.print(_unused(str(skipped)), soft_wrap=True)
    console.print(_total(scan), soft_wrap=True)
    if next_command:
        console.print(tr("next: {command}", command=safe(next_command)), soft_wrap=True)


def _unused(line: str) -> str:
    return titled("yellow", tr("not used:"), one_line(line))


def _total(scan: Scan) -> str:
    scenes = ntr("{count} scene", "{count} scenes", len(scan.scenes))
    folder = safe(one_line(str(scan.folder)))
    text = tr("{count} in {folder}", count=f"[bold]{scenes}[/]", folder=folder)
    if not scan.skipped:
        return text
    return ntr(
        "{scenes}; {count} file not used",
        "{scenes}; {count} files not used",
        len(scan.skipped),
        scenes=text,
    )


def show_warnings(lines: Sequence[str], unused: Collection[str]) -> None:
    """Print, on standard error, what was noticed while a job was read.

    Args:
        lines: of all kinds.
        unused: those that name a file which is in no scene.
    """
    console = Console(stderr=True, highlight=False)
    for line in lines[:_MAX_WARNINGS]:
        console.print(_unused(line) if line in unused else _warning(line), soft_wrap=True)
    if len(lines) <= _MAX_WARNINGS:
        return
    count = len(lines) - _MAX_WARNINGS
    if lines[-1] in unused:
        more = tr("… and {count} more; `cloudburst scan FOLDER -o -` lists all", count=count)
        console.print(titled("yellow", tr("not used:"), more), soft_wrap=True)
    else:
        console.print(_warning(tr("… and {count} more; --json lists all", count=count)))


def _warning(line: str) -> str:
    return titled("yellow", tr("warning:"), one_line(line))
