"""Lines of logs, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from cloudburst.console.live import plain_line
from cloudburst.console.moments import clock
from cloudburst.console.text import safe

if TYPE_CHECKING:
    from cloudburst.history.logs import Line


def show_line(line: Line) -> None:
    """Print a line of a log: an event with its time, any other with whose it is."""
    text = line.text
    if line.event is not None:
        text = plain_line(line.event, all_of_them=True)
        if not text:
            return
        text = f"[dim]{clock(line.at)}[/]  {safe(text)}"
    else:
        text = f"[dim]{safe(line.source)}:[/] {safe(text)}"
    Console(highlight=False).print(text, soft_wrap=True)
