"""Events → terminal. The only module that imports rich."""

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

from cloudburst.audit import so_far
from cloudburst.models import EventKind, Finding, SceneStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from rich.console import RenderableType

    from cloudburst.audit import Audit, RunFound, StackFound
    from cloudburst.cleanup import Cleaned
    from cloudburst.models import (
        Check,
        Cost,
        Estimate,
        Event,
        Launch,
        Preview,
        Remains,
        RunReport,
        SceneResult,
    )

_STYLES = {
    "waiting": "dim",
    "creating": "cyan",
    "starting": "cyan",
    "working": "bold green",
    "destroying": "yellow",
    "kept": "cyan",
    "gone": "dim",
    "failed": "bold red",
    "left running": "bold white on red",
}
_FILE_WIDTH = 140
_BUSY = {"creating", "starting", "working", "destroying"}


class Silent:
    """Says nothing while a run goes on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing was held."""

    def __call__(self, event: Event) -> None:
        """Take an event."""


class JsonLines(Silent):
    """One JSON object a line on standard output, for machines."""

    def __call__(self, event: Event) -> None:
        """Write the event."""
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
        words = _plain_words(event)
        if words:
            print(f"{event.seconds:7.1f} s  {words}", flush=True)  # noqa: T201


def _plain_words(event: Event) -> str:
    where = f"{event.batch}: " if event.batch else ""
    match event.kind:
        case EventKind.SCENE_STARTED | EventKind.RUN_FINISHED:
            return ""
        case EventKind.BATCH_STATE:
            state = str(event.data["state"])
            words = f"{state}: {event.text}" if state == "failed" else event.text or state
        case EventKind.RUN_STARTED | EventKind.RUN_RESUMED:
            words = _run_words(event)
        case EventKind.SCENE_RETRY:
            words = f"{event.scene} failed and goes on elsewhere: {event.text}"
        case EventKind.FAILOVER:
            words = f"failover: {event.text}"
        case EventKind.SCENE_FAILED:
            words = f"{event.scene} FAILED: {event.text}"
        case _:
            words = event.text
    return where + words


def _run_words(event: Event) -> str:
    run = event.data.get("run")
    return event.text if str(run) in event.text else f"run {run}: {event.text}"


@dataclass
class _Row:
    """What the live display knows about a batch."""

    state: str = "waiting"
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the changing lines away; what was printed above them stays."""
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take an event into the display."""
        with self._lock:
            if event.batch:
                self._update(self._rows.setdefault(event.batch, _Row()), event)
            self._take(event)

    def _update(self, row: _Row, event: Event) -> None:
        """Bring a batch's line up to date."""
        if event.kind is EventKind.BATCH_STATE:
            row.state, row.since = str(event.data["state"]), time.monotonic()
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
                f"{self._done} of {self._total} scenes"
                + (f", {self._failed} failed" if self._failed else ""),
                f"[dim]{elapsed:.0f} s[/]",
            )
            return Group(table, overall)

    def _cells(self, label: str, row: _Row) -> list[RenderableType]:
        doing = ", ".join(row.scenes) if row.state == "working" else row.text
        busy = row.state in _BUSY
        return [
            self._spinner if busy else Text(" "),
            Text(label),
            Text(row.state, style=_STYLES.get(row.state, "")),
            Text(f"{row.done} done", style="dim"),
            Text(doing if busy else "", overflow="ellipsis", no_wrap=True),
            Text(f"{time.monotonic() - row.since:.0f} s" if busy else "", style="dim"),
        ]


def _lasting(event: Event) -> str:
    """Give the line that an event leaves on a terminal, nothing for most."""
    text = _safe(event.text)
    state = str(event.data.get("state", ""))
    colors = {"failed": "red", "kept": "cyan"}
    if event.kind is EventKind.BATCH_STATE and state in colors:
        return f"[{colors[state]}]{event.batch}: {text}[/]"
    return {
        EventKind.RUN_STARTED: f"[dim]{_safe(_run_words(event))}[/]",
        EventKind.RUN_RESUMED: f"[dim]{_safe(_run_words(event))}[/]",
        EventKind.SCENE_DONE: f"[green]✓[/] {text} [dim]on {event.data.get('worker')}[/]",
        EventKind.SCENE_RETRY: f"[yellow]↻ {event.scene}: {text}[/]",
        EventKind.FAILOVER: f"[yellow]↷[/] {event.batch}: {text}",
        EventKind.SCENE_FAILED: f"[red]✗ {event.scene}: {text}[/]",
        EventKind.STOPPING: f"[bold yellow]{text}[/]",
        EventKind.RECOVERY: f"[yellow]⟲[/] {text}",
    }.get(event.kind, "")


def _safe(text: str) -> str:
    return text.replace("[", r"\[")


def watcher(*, json_lines: bool, quiet: bool) -> Silent:
    """Choose how to show a run: for machines, not at all, live on a terminal, else plainly."""
    if json_lines:
        return JsonLines()
    if quiet:
        return Silent()
    return LiveLines() if sys.stdout.isatty() else Plain()


# -- after --------------------------------------------------------------------------------------


def show_report(report: RunReport) -> None:
    """Print a run's summary."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)  # a file has no edge to fold lines at
    console.print()
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("scene", "video", "size", "render", "on", "scenario"):
        right = name in ("video", "size", "render")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "scene")
    for scene in report.scenes:
        if scene.status is SceneStatus.DONE:
            table.add_row(*_scene_cells(scene))
    if report.done:
        console.print(table)
        console.print()
    _print_failures(report, console)
    for line in _warnings(report):
        console.print(f"[yellow]warning:[/] {_safe(line)}", soft_wrap=True)
    style = "bold green" if report.done == len(report.scenes) else "bold red"
    count = f"[{style}]{report.done} of {len(report.scenes)} videos[/]"
    console.print(f"{count} in {_safe(str(report.directory))}", soft_wrap=True)
    phases = " · ".join(f"{name} {seconds:.1f} s" for name, seconds in report.phases.items())
    console.print(f"{report.seconds:.1f} s in all; {phases}", soft_wrap=True)
    if report.done:
        shared = "; workers shared this machine's cores" if report.target == "local" else ""
        console.print(
            f"{report.speedup:.1f}x as fast as one after the other on one worker "
            f"({report.serial_seconds:.1f} s{shared})",
            soft_wrap=True,
        )
    _print_launches(report, console)
    _print_cost(report.cost, console)
    _print_what_stays(report, console)
    console.print(f"[dim]report: {_safe(str(report.directory / 'report.json'))}[/]", soft_wrap=True)


def _print_what_stays(report: RunReport, console: Console) -> None:
    """Say what is kept, what is still to do, or that nothing is left running."""
    for line in report.kept:
        console.print(f"[cyan]kept:[/] {_safe(line)}", soft_wrap=True)
    if report.kept:
        show = "pulumi stack output key --show-secrets --stack STACK"
        console.print(f"      each has a key of its own: {show}", soft_wrap=True)
        console.print(f"      end them with: cloudburst cleanup {report.run_id}", soft_wrap=True)
    if report.done < len(report.scenes):
        console.print(f"go on with the rest: cloudburst resume {report.run_id}", soft_wrap=True)
    if report.batches and all(batch.destroyed for batch in report.batches):
        stacks = len(report.batches)
        plural = "s" * (stacks != 1)
        console.print(f"{stacks} stack{plural} destroyed and checked; nothing is left running")


def _print_launches(report: RunReport, console: Console) -> None:
    """Show the machines that were rented, and the rungs that gave none."""
    launches = [launch for batch in report.batches for launch in batch.launches]
    if not report.cost.lines and all(launch.price is None for launch in launches):
        return
    billed = {line.what.split()[0]: line for line in report.cost.lines if line.kind == "machine"}
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("worker", "machine", "$/h", "took", "billed", "videos", "end"):
        right = name in ("$/h", "took", "billed", "videos")
        fixed = name not in ("machine", "end")
        table.add_column(name, justify="right" if right else "left", no_wrap=fixed)
    for launch in launches:
        line = billed.get(launch.worker or "")
        table.add_row(
            launch.label,
            str(launch.rung),
            f"{launch.price.usd_per_hour:.4f}" if launch.price else "",
            f"{_seconds(launch):.0f} s",
            f"{line.quantity * 3600:.0f} s" if line else "–",
            str(launch.scenes_done),
            _ended(launch),
        )
    console.print(table)
    console.print()


def _seconds(launch: Launch) -> float:
    """Give the time from the beginning of `up` to the verified teardown, in seconds."""
    return launch.spans[-1].end - launch.spans[0].start if launch.spans else 0.0


def _ended(launch: Launch) -> Text:
    if not launch.destroyed:
        return Text("LEFT RUNNING", style="bold red")
    if launch.error is None:
        return Text("destroyed")
    return Text(f"{launch.code or 'failed'}, destroyed", style="yellow")


def _print_cost(cost: Cost, console: Console) -> None:
    kinds = list(dict.fromkeys(line.kind for line in cost.lines))
    parts = []
    for kind in kinds:
        lines = [line for line in cost.lines if line.kind == kind]
        bases = ", ".join(dict.fromkeys(str(line.basis) for line in lines))
        parts.append(f"{kind} ${sum(line.usd for line in lines):.4f} [dim]({bases})[/]")
    if parts:
        console.print(" + ".join(parts), soft_wrap=True)
    usd = f"[bold]${cost.usd:.4f}[/]" if parts else f"${cost.usd:.2f}"
    console.print(
        f"{usd} for {cost.worker_seconds:.0f} worker-seconds: {cost.basis}", soft_wrap=True
    )


def show_failures(report: RunReport) -> None:
    """Print the scenes without a video, and why, on standard error."""
    _print_failures(report, Console(stderr=True, highlight=False))


def _print_failures(report: RunReport, console: Console) -> None:
    for scene in report.scenes:
        if scene.status is not SceneStatus.DONE:
            why = _safe(scene.error or "the run ended before it was done")
            console.print(f"{scene.name}: [red]{scene.status}[/]: {why}", soft_wrap=True)


def _scene_cells(scene: SceneResult) -> list[str]:
    artifact = scene.artifact
    if artifact is None:
        return [scene.name]
    last = scene.attempts[-1]
    return [
        scene.name,
        f"{artifact.seconds:.1f} s {artifact.width}x{artifact.height}",
        f"{artifact.size / 1e6:.1f} MB",
        f"{last.span.seconds:.1f} s",
        last.worker + (f" (try {len(scene.attempts)})" if len(scene.attempts) > 1 else ""),
        scene.scenario or "",
    ]


def _warnings(report: RunReport) -> list[str]:
    return [f"{scene.name}: {warning}" for scene in report.scenes for warning in scene.warnings]


def show_preview(preview: Preview) -> None:
    """Print what a run would do, and cost."""
    console = Console(highlight=False)
    plan, stacks = preview.plan, {one.batch.number: one for one in preview.stacks}
    for batch in plan.batches:
        size = f"{len(batch.scenes)} scenes, {batch.seconds:.1f} s of narration"
        console.print(f"[bold]{batch.label}[/]  {size}")
        for scene in batch.scenes:
            console.print(
                f"      {_safe(scene.name)}  [dim]{scene.seconds:.1f} s[/]", soft_wrap=True
            )
        for resource in stacks[batch.number].resources if batch.number in stacks else ():
            words = f"{resource.operation} {resource.type} [dim]{resource.name}[/]"
            console.print(f"   [green]+[/] {words}")
    if preview.estimate is not None:
        _print_estimate(preview.estimate, plan.job.limits.max_cost_usd, console)
    for note in preview.notes:
        console.print(f"[yellow]not checked:[/] {_safe(note)}", soft_wrap=True)
    count = sum(len(one.resources) for one in preview.stacks)
    resources = f"{count} resources to create" if preview.stacks else f"{len(plan.batches)} to come"
    console.print(
        f"{len(plan.batches)} stacks, {resources} on {plan.job.target}; nothing was created"
    )


def _print_estimate(estimate: Estimate, most: float | None, console: Console) -> None:
    console.print()
    console.print(
        f"first choice: {estimate.first} at ${estimate.price.usd_per_hour:.4f}/h "
        f"[dim]({_safe(estimate.price.source)})[/]",
        soft_wrap=True,
    )
    likely = " · ".join(f"{name} {seconds:.0f} s" for name, seconds in estimate.phases.items())
    console.print(f"likely: {likely}")
    against = f", of at most ${most:g} (limits.max_cost_usd)" if most is not None else ""
    console.print(
        f"cost: [bold]${estimate.likely:.4f}[/] likely, ${estimate.low:.4f} low, "
        f"${estimate.worst:.4f} worst{against}",
        soft_wrap=True,
    )
    for line in estimate.assumptions:
        console.print(f"      [dim]{_safe(line)}[/]", soft_wrap=True)
    console.print()


# -- audit and cleanup --------------------------------------------------------------------------


def show_audit(found: Audit) -> None:
    """Print what is left, of which run, what it costs, and what removes it."""
    console = Console(highlight=False)
    for run in found.runs:
        _print_run(run, found.at, console)
    for line in found.unseen:
        console.print(f"[bold red]could not be asked:[/] {_safe(line)}", soft_wrap=True)
    asked = ", ".join(found.looked)
    console.print(f"[dim]asked: {_safe(asked)}; {found.finished} finished runs[/]", soft_wrap=True)
    console.print(_verdict(found), soft_wrap=True)


def _verdict(found: Audit) -> str:
    count = len(found.left)
    if count:
        costs = f", ${found.usd_per_hour:.4f}/h" if found.usd_per_hour else ""
        what = f"{count} stack{'s' * (count != 1)}{costs}"
        return f"[bold red]LEFT: {what}[/]; remove it with: cloudburst cleanup --all"
    if found.unseen:
        return "[bold yellow]nothing was seen, but not everything could be asked: not clean[/]"
    return "[bold green]clean:[/] nothing is left"


def _print_run(run: RunFound, at: float, console: Console) -> None:
    known = run.known
    words = [f"[bold]{run.run_id or 'of no run'}[/]"]
    if known:
        words.append(f"{_safe(known.job)} on {known.target}")
    if run.scenes:
        words.append(f"{run.done} of {run.scenes} videos")
    if run.owner:
        words.append(f"[green]running[/], {run.owner}")
    elif run.begun_by:
        words.append(f"[yellow]begun by {_safe(run.begun_by)}[/], may be going on there")
    else:
        words.append(run.outcome or "[yellow]it did not come to its end[/]")
    console.print(" · ".join(words), soft_wrap=True)
    for stack in run.stacks:
        _print_stack(stack, at, console)
    if run.owner:
        return
    if run.unfinished and known:
        console.print(f"   go on with it: cloudburst resume {run.run_id}", soft_wrap=True)
    if run.left:
        wanted = run.run_id or "--all"
        console.print(f"   remove what is left: cloudburst cleanup {wanted}", soft_wrap=True)


def _print_stack(stack: StackFound, at: float, console: Console) -> None:
    words = []
    if stack.in_backend:
        count = len(stack.state.resources)
        words.append(f"{count} resource{'s' * (count != 1)}")
    else:
        words.append("not in the backend")
    if stack.kept and stack.launch:
        words.append(f"[cyan]kept on purpose[/] at {stack.launch.endpoint}")
    if stack.state.pending:
        words.append(f"[yellow]broke off: {_safe(', '.join(stack.state.pending))}[/]")
    for lock, lives in stack.locks:
        how = {True: "[green]living[/]", False: "dead", None: "unseen"}[lives]
        words.append(f"locked by {how} process {lock.pid} on {_safe(lock.host)}")
    console.print(f"   {stack.name}  {' · '.join(words)}", soft_wrap=True)
    for line in stack.state.resources:
        console.print(f"      [dim]{_safe(line)}[/]", soft_wrap=True)
    for one in stack.remains:
        orphan = "[bold red]no stack knows of it[/] · " if one in stack.orphans else ""
        console.print(f"      {orphan}{_remains_words(one, at)}", soft_wrap=True)


def _remains_words(one: Remains, at: float) -> str:
    words = [f"{one.kind} [bold]{_safe(one.id)}[/] {_safe(one.what)}".strip()]
    words.append(f"{_safe(one.state)} in {_safe(one.place)}")
    if one.since is not None:
        words.append(f"for {_age(at - one.since)}")
    if one.usd_per_hour:
        spent = so_far(one, at)
        words.append(f"${one.usd_per_hour:.4f}/h, ${spent or 0.0:.4f} so far")
    elif one.usd_per_hour is None and one.kind == "machine":
        words.append("price unknown")
    if one.expires is not None:
        rest = one.expires - at
        words.append(f"ends itself in {_age(rest)}" if rest > 0 else "its lease is over")
    return " · ".join(words)


def _age(seconds: float) -> str:
    """Give a length of time in the unit that a person would use."""
    seconds = max(0.0, seconds)
    if seconds < 90:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004


def show_choice(chosen: Sequence[tuple[RunFound, Sequence[StackFound]]], at: float) -> None:
    """Print what a cleanup would end."""
    console = Console(highlight=False)
    for run, stacks in chosen:
        console.print(f"[bold]{run.run_id or 'of no run'}[/]")
        for stack in stacks:
            _print_stack(stack, at, console)


def show_step(stack: str, text: str) -> None:
    """Print a step of a cleanup."""
    Console(highlight=False).print(f"[dim]{stack}:[/] {_safe(text)}", soft_wrap=True)


def show_cleaned(done: Cleaned) -> None:
    """Print what a cleanup came to; loudly, what it could not end."""
    console, loud = Console(highlight=False), Console(stderr=True, highlight=False)
    for line in done.skipped:
        loud.print(f"[yellow]not touched:[/] {_safe(line)}", soft_wrap=True)
    for one in done.failed:
        costs = f" at ${one.usd_per_hour:.4f}/h" if one.usd_per_hour else ""
        loud.print(
            f"[bold red]LEFT RUNNING{costs}:[/] {one.stack}: {_safe(one.why)}; "
            f"remove it with: {_safe(one.removal)}",
            soft_wrap=True,
        )
    count = len(done.removed)
    if count:
        plural = f"{count} stack{'s' * (count != 1)}"
        console.print(f"[green]{plural} gone, checked with the provider[/]")


_FINDINGS = {Finding.OK: "green", Finding.WARNING: "yellow", Finding.ERROR: "bold red"}


def show_check(check: Check) -> None:
    """Print one finding of the doctor, and how to mend it."""
    style = _FINDINGS[check.finding]
    line = f"[{style}]{check.finding:<8}[/]{check.name:<18}{_safe(check.text)}"
    if check.finding is not Finding.OK:
        line += f"\n{'':26}[dim]→ {_safe(check.fix)}[/]"
    Console(highlight=False).print(line, soft_wrap=True)


def show_error(text: str) -> None:
    """Print an error on standard error."""
    Console(stderr=True, highlight=False).print(
        f"[bold red]error:[/] {_safe(text)}", soft_wrap=True
    )
