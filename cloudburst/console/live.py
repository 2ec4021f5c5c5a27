"""Events on a terminal, in a pipe or for a machine, while a run goes on."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from cloudburst.console.text import safe, word
from cloudburst.language import tr
from cloudburst.models import EventKind, WorkerState

if TYPE_CHECKING:
    from rich.console import RenderableType

    from cloudburst.models import Event

_STYLES = {
    WorkerState.WAITING: "dim",
    WorkerState.CREATING: "cyan",
    WorkerState.STARTING: "cyan",
    WorkerState.WORKING: "bold green",
    WorkerState.DESTROYING: "yellow",
    WorkerState.KEPT: "cyan",
    WorkerState.GONE: "dim",
    WorkerState.FAILED: "bold red",
    WorkerState.LEFT_RUNNING: "bold white on red",
}
_BUSY = {
    WorkerState.CREATING,
    WorkerState.STARTING,
    WorkerState.WORKING,
    WorkerState.DESTROYING,
}
_LASTING = {WorkerState.FAILED: "red", WorkerState.KEPT: "cyan"}


class Silent:
    """Shows nothing while a run goes on.

    Attributes:
        began: whether the run has reported that it began.
    """

    began = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was held."""

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self.began = self.began or event.kind in (EventKind.RUN_STARTED, EventKind.RUN_RESUMED)


class JsonLines(Silent):
    """One JSON object a line on standard output, for machines."""

    def __call__(self, event: Event) -> None:
        """Write the event."""
        super().__call__(event)
        line = {
            "event": str(event.kind),
            "seconds": round(event.seconds, 3),
            "batch": event.batch,
            "scene": event.scene,
            "text": event.text,
            **event.data,
        }
        print(json.dumps(line, ensure_ascii=False), flush=True)  # noqa: T201


class Plain(Silent):
    """One line for what matters, for pipes and log files."""

    def __call__(self, event: Event) -> None:
        """Write the event, if it matters."""
        super().__call__(event)
        line = _plain_line(event)
        if line:
            print(f"{event.seconds:7.1f} s  {line}", flush=True)  # noqa: T201


def _plain_line(event: Event) -> str:
    where = f"{event.batch}: " if event.batch else ""
    match event.kind:
        case EventKind.SCENE_STARTED | EventKind.RUN_FINISHED:
            return ""
        case EventKind.BATCH_STATE:
            state = WorkerState(str(event.data["state"]))
            failed = state is WorkerState.FAILED
            reason = tr("failed: {reason}", reason=event.text)
            line = reason if failed else event.text or word(state)
        case EventKind.RUN_STARTED | EventKind.RUN_RESUMED:
            line = _run_line(event)
        case EventKind.SCENE_RETRY:
            line = tr(
                "{scene} failed and goes on elsewhere: {reason}",
                scene=event.scene,
                reason=event.text,
            )
        case EventKind.FAILOVER:
            line = tr("failover: {text}", text=event.text)
        case EventKind.SCENE_FAILED:
            line = tr("{scene} FAILED: {reason}", scene=event.scene, reason=event.text)
        case _:
            line = event.text
    return where + line


def _run_line(event: Event) -> str:
    run = event.data.get("run")
    named = str(run) in event.text
    return event.text if named else tr("run {run}: {text}", run=run, text=event.text)


@dataclass
class _Row:
    """The state of a batch in the live display."""

    state: WorkerState = WorkerState.WAITING
    since: float = 0.0
    done: int = 0
    scenes: list[str] = field(default_factory=list)
    text: str = ""


class LiveLines(Silent):
    """A line for every batch that changes in place, and the lines that should stay above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._rows: dict[str, _Row] = {}
        self._total = self._done = self._failed = 0
        self._began = time.monotonic()
        self._note = ""
        self._spinner = Spinner("dots")
        self._lock = threading.RLock()
        self._live = Live(
            get_renderable=self._draw, console=self._console, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the changing lines away; what was printed above them stays."""
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take an event into the display."""
        super().__call__(event)
        with self._lock:
            if event.batch:
                self._update(self._rows.setdefault(event.batch, _Row()), event)
            self._take(event)

    def _update(self, row: _Row, event: Event) -> None:
        """Bring a batch's line up to date."""
        if event.kind is EventKind.BATCH_STATE:
            row.state, row.since = WorkerState(str(event.data["state"])), time.monotonic()
            row.text = event.text
        elif event.kind is EventKind.SCENE_STARTED and event.scene:
            row.scenes.append(event.scene)
        elif event.scene in row.scenes:
            row.scenes.remove(event.scene)
            row.done += event.kind is EventKind.SCENE_DONE

    def _take(self, event: Event) -> None:
        """Count, and print what stays."""
        match event.kind:
            case EventKind.RUN_STARTED | EventKind.RUN_RESUMED:
                self._total = int(str(event.data["scenes"]))
                self._done = int(str(event.data["done"]))
                self._began = time.monotonic() - event.seconds
                self._note = ""
            case EventKind.SCENE_DONE:
                self._done += 1
            case EventKind.SCENE_FAILED:
                self._failed += 1
            case EventKind.ENGINE:
                self._note = event.text
        markup = _lasting(event)
        if markup:
            self._print(markup)

    def _print(self, markup: str) -> None:
        self._console.print(markup, highlight=False, soft_wrap=True)

    def _draw(self) -> RenderableType:
        with self._lock:
            if not self._total:
                return Text.assemble(self._note, style="dim")
            table = Table.grid(padding=(0, 2))
            for label, row in sorted(self._rows.items()):
                table.add_row(*self._cells(label, row))
            elapsed = time.monotonic() - self._began
            overall = Table.grid(padding=(0, 2))
            overall.add_row(
                ProgressBar(total=self._total, completed=self._done + self._failed, width=30),
                self._count(),
                f"[dim]{elapsed:.0f} s[/]",
            )
            return Group(table, overall)

    def _count(self) -> str:
        if self._failed:
            return tr(
                "{done} of {total} scenes, {failed} failed",
                done=self._done,
                total=self._total,
                failed=self._failed,
            )
        return tr("{done} of {total} scenes", done=self._done, total=self._total)

    def _cells(self, label: str, row: _Row) -> list[RenderableType]:
        doing = ", ".join(row.scenes) if row.state is WorkerState.WORKING else row.text
        busy = row.state in _BUSY
        return [
            self._spinner if busy else Text(" "),
            Text(label),
            Text(word(row.state), style=_STYLES[row.state]),
            Text(tr("{done} done", done=row.done), style="dim"),
            Text(
                doing if busy or row.state is WorkerState.WAITING else "",
                overflow="ellipsis",
                no_wrap=True,
            ),
            Text(f"{time.monotonic() - row.since:.0f} s" if busy else "", style="dim"),
        ]


def _lasting(event: Event) -> str:
    """Return the line that an event leaves on a terminal, empty for most."""
    text = safe(event.text)
    on = tr("on {worker}", worker=event.data.get("worker"))
    if event.kind is EventKind.BATCH_STATE:
        color = _LASTING.get(WorkerState(str(event.data["state"])))
        return f"[{color}]{event.batch}: {text}[/]" if color else ""
    return {
        EventKind.RUN_STARTED: f"[dim]{safe(_run_line(event))}[/]",
        EventKind.RUN_RESUMED: f"[dim]{safe(_run_line(event))}[/]",
        EventKind.SCENE_DONE: f"[green]✓[/] {text} [dim]{on}[/]",
        EventKind.SCENE_RETRY: f"[yellow]↻ {event.scene}: {text}[/]",
        EventKind.FAILOVER: f"[yellow]↷[/] {event.batch}: {text}",
        EventKind.SCENE_FAILED: f"[red]✗ {event.scene}: {text}[/]",
        EventKind.STOPPING: f"[bold yellow]{text}[/]",
        EventKind.RECOVERY: f"[yellow]⟲[/] {text}",
    }.get(event.kind, "")


def watcher(*, json_lines: bool, quiet: bool) -> Silent:
    """Return how to show a run: for machines, not at all, live on a terminal, else plainly."""
    if json_lines:
        return JsonLines()
    if quiet:
        return Silent()
    return LiveLines() if sys.stdout.isatty() else Plain()
