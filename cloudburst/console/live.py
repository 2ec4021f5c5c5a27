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

from cloudburst.console.eta import Outlook
from cloudburst.console.layout import Column, kept
from cloudburst.console.moments import age
from cloudburst.console.progress import Pace, Progress, counts, tally
from cloudburst.console.text import safe, titled, word
from cloudburst.journal.eventlog import document
from cloudburst.language import ntr, tr
from cloudburst.models import EventKind, WorkerState, label_order

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


_TROUBLED = {WorkerState.FAILED, WorkerState.LEFT_RUNNING}
# A name of a scene may be cut, but not below what `kept` leaves it; then other columns go.
_LIVE_COLUMNS = (
    Column("label"),
    Column("state", rank=1),
    Column("done", rank=3),
    Column("doing", folds=True),
    Column("seconds", rank=2),
)
_STATE, _DOING = 1, 3
_SPINNER_CELLS = 3
_BAR_CELLS, _BAR_LEAST = 30, 5
_GAP = 2
# Below the batches: what is counted of them, and how far the run is; and the cursor's line.
_OTHER_LINES = 3
# For terminals that have no such characters.
_PLAIN_MARKS = str.maketrans({"✓": "+", "↻": "~", "↷": ">", "✗": "x", "⟲": "<"})


def _has_symbols(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


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
        print(json.dumps(document(event), ensure_ascii=False), flush=True)  # noqa: T201


class Plain(Silent):
    """One line for what matters, for pipes and log files.

    Of a run with many scenes or workers, failures, failovers and warnings have their lines; the
    rest is counted in a line from time to time.

    Args:
        verbose: a line for everything, however many there are.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self._progress, self._pace, self._outlook = Progress(), Pace(), Outlook()
        self._offset = 0.0
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def __exit__(self, *_: object) -> None:
        """Print no further line."""
        with self._lock:
            self._ended.set()

    def __call__(self, event: Event) -> None:
        """Write the event, if it matters."""
        super().__call__(event)
        with self._lock:
            self._progress.take(event)
            self._outlook.take(event)
            counted = self._progress.many and not self._verbose
            line = "" if counted and counts(event) else plain_line(event)
            if line:
                self._print(event.seconds, line)
            if not counted:
                return
            if event.kind in (EventKind.RUN_STARTED, EventKind.RUN_RESUMED):
                self._begin(event.seconds)
            self._print_due(event.seconds, last=event.kind is EventKind.RUN_FINISHED)

    def _begin(self, seconds: float) -> None:
        self._offset = seconds - time.monotonic()
        self._pace.begin(seconds, self._progress)
        threading.Thread(target=self._tick, name="progress", daemon=True).start()

    def _tick(self) -> None:
        """Print what is due while no event comes."""
        while not self._ended.wait(1):
            with self._lock:
                if self._ended.is_set():
                    return
                self._print_due(time.monotonic() + self._offset)

    def _print_due(self, seconds: float, *, last: bool = False) -> None:
        line = self._pace.due(seconds, self._progress, last=last)
        if line:
            parts = [line, *outlook_parts(self._outlook, seconds)]
            self._print(seconds, tr("; ").join(parts))

    def _print(self, seconds: float, line: str) -> None:
        print(f"{seconds:7.1f} s  {line}", flush=True)  # noqa: T201


def plain_line(event: Event, *, all_of_them: bool = False) -> str:
    """Return an event as a line, empty for one that is not worth one.

    Args:
        event: what happened.
        all_of_them: also what a pipe is not told, such as the beginning of a scene.
    """
    where = f"{event.batch}: " if event.batch else ""
    match event.kind:
        case EventKind.COST:
            return ""
        case EventKind.SCENE_STARTED | EventKind.RUN_FINISHED if not all_of_them:
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
                "{scene} failed and is tried again: {reason}",
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


def outlook_parts(outlook: Outlook, now: float) -> list[str]:
    """Return when the last video is likely to be there, and what the run costs, as far as known.

    Args:
        outlook: of the run.
        now: seconds since the run began.
    """
    parts = []
    seconds, total = outlook.seconds(now), outlook.usd_in_all(now)
    if seconds is not None:
        parts.append(tr("about {time} left", time=age(seconds)))
    if outlook.usd is not None:
        usd = f"${outlook.usd:.2f}" if outlook.usd >= 1 else f"${outlook.usd:.4f}"
        if total is None:
            parts.append(tr("{usd} so far", usd=usd))
        else:
            parts.append(tr("{usd} so far, likely ${total:.2f} in all", usd=usd, total=total))
    return parts


@dataclass
class _Row:
    """The state of a batch in the live display; `since` is in seconds since the run began."""

    state: WorkerState = WorkerState.WAITING
    since: float = 0.0
    scenes: list[str] = field(default_factory=list)
    done: int = 0
    text: str = ""

    @property
    def order(self) -> tuple[bool, bool, float]:
        """What is shown first where not every batch fits: trouble, then what changed last."""
        idle = self.state not in _BUSY
        return (self.state not in _TROUBLED, idle, -self.since)

    @property
    def doing(self) -> str:
        """What the worker does, in words or as the names of its scenes."""
        if self.state is WorkerState.WORKING:
            return tr(", ").join(self.scenes)
        return self.text if self.state in _BUSY or self.state is WorkerState.WAITING else ""


class LiveLines(Silent):
    """A line for every batch that changes in place, and the lines that should stay above it.

    It never takes more than the screen: batches that do not fit are counted in a line, columns that
    do not fit are left out.

    Args:
        console: None for standard output.
        verbose: a lasting line for every video, however many there are.
    """

    def __init__(self, console: Console | None = None, *, verbose: bool = False) -> None:
        self._console = console or Console()
        self._verbose = verbose
        self._rows: dict[str, _Row] = {}
        self._progress, self._outlook = Progress(), Outlook()
        self._zero = time.monotonic()
        self._note = ""
        self._spinner = Spinner("dots" if _has_symbols(self._console) else "line")
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

    def __call__(self, event: Event, late: float = 0.0) -> None:
        """Take an event into the display.

        Args:
            event: what happened.
            late: seconds since then, for who reads of it afterwards.
        """
        super().__call__(event)
        with self._lock:
            self._zero = time.monotonic() - event.seconds - late
            if event.batch:
                self._update(self._rows.setdefault(event.batch, _Row()), event)
            self._take(event)

    def _update(self, row: _Row, event: Event) -> None:
        """Bring a batch's line up to date."""
        if event.kind is EventKind.BATCH_STATE:
            row.state, row.since = WorkerState(str(event.data["state"])), event.seconds
            row.text = event.text
        elif event.kind is EventKind.SCENE_STARTED and event.scene:
            row.scenes.append(event.scene)
        elif event.scene in row.scenes:
            row.scenes.remove(event.scene)
            row.done += event.kind is EventKind.SCENE_DONE

    def _take(self, event: Event) -> None:
        """Count, and print what stays."""
        self._progress.take(event)
        self._outlook.take(event)
        match event.kind:
            case EventKind.RUN_STARTED | EventKind.RUN_RESUMED:
                self._note = ""
            case EventKind.ENGINE:
                self._note = event.text
        if self._progress.many and not self._verbose and counts(event):
            return
        markup = _lasting(event)
        if markup:
            self._print(markup)

    def _print(self, markup: str) -> None:
        if not _has_symbols(self._console):
            markup = markup.translate(_PLAIN_MARKS)
        self._console.print(markup, highlight=False, soft_wrap=True)

    def _draw(self) -> RenderableType:
        with self._lock:
            width = self._console.width
            if not self._progress.total:
                return Text(self._note, style="dim", no_wrap=True, overflow="ellipsis")
            shown, rest = self._fitting()
            lines: list[RenderableType] = [self._table(shown, width)] if shown else []
            if rest:
                more = ntr("{count} more worker", "{count} more workers", len(rest))
                states = tally(row.state for row in rest)
                text = tr("{workers}: {states}", workers=more, states=states)
                lines.append(Text(f"   {text}", style="dim", no_wrap=True, overflow="ellipsis"))
            return Group(*lines, self._overall(width))

    def _fitting(self) -> tuple[list[tuple[str, _Row]], list[_Row]]:
        """Return the batches that have a line, and those that are counted."""
        rows = sorted(self._rows.items(), key=lambda item: label_order(item[0]))
        outlook = bool(outlook_parts(self._outlook, self._now()))
        room = max(1, self._console.height - _OTHER_LINES - outlook)
        if len(rows) <= room:
            return rows, []
        rows.sort(key=lambda item: item[1].order)
        return rows[: room - 1], [row for _, row in rows[room - 1 :]]

    def _table(self, rows: list[tuple[str, _Row]], width: int) -> Table:
        cells = [self._cells(label, row) for label, row in rows]
        needed = [max(row[index].cell_len for row in cells) for index in range(len(_LIVE_COLUMNS))]
        shown = kept(_LIVE_COLUMNS, needed, width - _SPINNER_CELLS)
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, width=1)
        taken = sum(needed[index] + 2 for index in shown if not _LIVE_COLUMNS[index].folds)
        for index in shown:
            # Only the names are cut; rich would cut all columns alike.
            most = width - _SPINNER_CELLS - taken if _LIVE_COLUMNS[index].folds else None
            table.add_column(no_wrap=True, overflow="ellipsis", max_width=most and max(most, 1))
        for (_, row), line in zip(rows, cells, strict=True):
            if _STATE not in shown and row.state is not WorkerState.WORKING:
                line[_DOING] = line[_STATE]
            busy = self._spinner if row.state in _BUSY else Text(" ")
            table.add_row(busy, *(line[index] for index in shown))
        return table

    def _cells(self, label: str, row: _Row) -> list[Text]:
        seconds = age(self._now() - row.since) if row.state in _BUSY else ""
        return [
            Text(label),
            Text(word(row.state), style=_STYLES[row.state]),
            Text(tr("{done} done", done=row.done), style="dim"),
            Text(row.doing),
            Text(seconds, style="dim"),
        ]

    def _now(self) -> float:
        """Return the seconds since the run began."""
        return time.monotonic() - self._zero

    def _overall(self, width: int) -> RenderableType:
        """Return what is below the batches: a bar, how far the run is, its end, its cost."""
        now = self._now()
        count = Text(self._progress.scenes(), no_wrap=True, overflow="ellipsis")
        elapsed = Text(age(now), style="dim", no_wrap=True)
        parts = outlook_parts(self._outlook, now)
        outlook = Text("  ".join(parts), no_wrap=True, overflow="ellipsis")
        room = width - count.cell_len - elapsed.cell_len - 2 * _GAP
        beside = bool(parts) and room - outlook.cell_len - _GAP >= _BAR_LEAST
        cells: list[RenderableType] = [count, elapsed]
        if beside:
            cells.append(outlook)
            room -= outlook.cell_len + _GAP
        bar = min(_BAR_CELLS, room)
        if bar >= _BAR_LEAST:
            finished = self._progress.done + self._progress.failed
            cells.insert(0, ProgressBar(total=self._progress.total, completed=finished, width=bar))
        line = Table.grid(padding=(0, _GAP))
        line.add_row(*cells)
        return Group(line, outlook) if parts and not beside else line


def _lasting(event: Event) -> str:
    """Return the line that an event leaves on a terminal, empty for most."""
    text, scene = safe(event.text), safe(event.scene or "")
    on = tr("on {worker}", worker=event.data.get("worker"))
    if event.kind is EventKind.BATCH_STATE:
        color = _LASTING.get(WorkerState(str(event.data["state"])))
        return f"[{color}]{event.batch}: {text}[/]" if color else ""
    return {
        EventKind.RUN_STARTED: f"[dim]{safe(_run_line(event))}[/]",
        EventKind.RUN_RESUMED: f"[dim]{safe(_run_line(event))}[/]",
        EventKind.SCENE_DONE: f"[green]✓[/] {text} [dim]{on}[/]",
        EventKind.SCENE_RETRY: f"[yellow]↻ {scene}: {text}[/]",
        EventKind.FAILOVER: f"[yellow]↷[/] {event.batch}: {text}",
        EventKind.SCENE_FAILED: f"[red]✗ {scene}: {text}[/]",
        EventKind.STOPPING: f"[bold yellow]{text}[/]",
        EventKind.RECOVERY: f"[yellow]⟲[/] {text}",
        EventKind.NOTE: titled("yellow", tr("note:"), event.text),
    }.get(event.kind, "")


def watcher(*, json_lines: bool, quiet: bool, verbose: bool = False, plain: bool = False) -> Silent:
    """Return how to show a run: for machines, not at all, live on a terminal, else plainly.

    Args:
        json_lines: for machines.
        quiet: not at all.
        verbose: everything, however much.
        plain: also on a terminal.
    """
    if json_lines:
        return JsonLines()
    if quiet:
        return Silent()
    console = Console()
    if not plain and sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return LiveLines(console, verbose=verbose)
    return Plain(verbose=verbose)
