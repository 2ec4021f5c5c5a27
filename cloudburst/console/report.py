"""What a run came to and what the doctor says, on the terminal."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from cloudburst.console.layout import Column, many, table
from cloudburst.console.text import first_of, safe, titled, word
from cloudburst.journal.state import KILLED
from cloudburst.language import ntr, tr
from cloudburst.models import Finding, SceneStatus, label_order
from cloudburst.report import phases
from cloudburst.report.beside import PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudburst.models import (
        Check,
        Cost,
        CostLine,
        Launch,
        RunReport,
        SceneResult,
    )

_FILE_WIDTH = 100_000
# A video is slow that took twice as long, for its length, as most.
_SLOW = 2.0
_MOST_ROWS = 20
# More scenes that failed for one reason share a line.
_ALIKE = 5
_NAMES = 3


def _scene_columns() -> tuple[Column, ...]:
    return (
        Column(tr("scene"), folds=True),
        Column(tr("video"), right=True, rank=1),
        Column(tr("size"), right=True, rank=3),
        Column(tr("render"), right=True, rank=2),
        Column(tr("on"), rank=4),
        Column(tr("scenario"), rank=5),
    )


def _launch_columns() -> tuple[Column, ...]:
    return (
        Column(tr("worker")),
        Column(tr("machine"), folds=True, rank=1),
        Column("$/h", right=True, rank=4),
        Column(tr("took"), right=True, rank=3),
        Column(tr("billed"), right=True, rank=5),
        Column(tr("videos"), right=True, rank=2),
        Column(tr("end"), folds=True),
    )


def table_console(*, stderr: bool = False) -> Console:
    """Return a console for tables."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)  # a file has no edge to fold lines at
    return console


def show_report(report: RunReport, *, verbose: bool = False, running: bool = False) -> None:
    """Print a run's summary.

    Args:
        report: of the run.
        verbose: every scene and every worker, however many there are.
        running: the run goes on.
    """
    console = table_console()
    console.print()
    listed = verbose or not many(len(report.scenes), len(report.batches))
    _print_videos(report, console, listed=listed)
    if not running:
        _print_failures(report, console, listed=listed)
    for line in _warnings(report, listed=listed):
        console.print(titled("yellow", tr("warning:"), line), soft_wrap=True)
    style = "bold green" if report.done == len(report.scenes) else "bold red"
    count = ntr(
        "{done} of {count} video", "{done} of {count} videos", len(report.scenes), done=report.done
    )
    where = tr(
        "{count} in {folder}", count=f"[{style}]{count}[/]", folder=safe(str(report.directory))
    )
    console.print(where, soft_wrap=True)
    parts = [f"{phases.name(code)} {seconds:.1f} s" for code, seconds in report.phases.items()]
    took = tr("{seconds:.1f} s in all; {phases}", seconds=report.seconds, phases=" · ".join(parts))
    console.print(took, soft_wrap=True)
    if report.done and report.cost.lines:
        # Where workers share this machine's cores, each is slower than it would be alone: how many
        # times as fast as one of them a run was says nothing.
        console.print(_speedup(report), soft_wrap=True)
    if report.cost.lines:
        console.print(_traffic(report), soft_wrap=True)
    _print_launches(report, console, listed=listed, running=running)
    _print_cost(report.cost, console)
    if running:
        return
    _print_what_remains(report, console)
    page = report.directory / PAGE
    if page.exists():
        shown = tr("page: {file}", file=safe(str(page)))
        console.print(f"[dim]{shown}[/]", soft_wrap=True)
    file = safe(str(report.directory / "report.json"))
    written = tr("report: {file}", file=file)
    console.print(f"[dim]{written}[/]", soft_wrap=True)


def _print_videos(report: RunReport, console: Console, *, listed: bool) -> None:
    """Print the videos as a table: all, or the slow ones and how many there are besides."""
    done = [scene for scene in report.scenes if scene.status is SceneStatus.DONE]
    rows = done if listed else _noteworthy(done)
    if rows:
        cells = [_scene_cells(scene) for scene in rows]
        console.print(table(_scene_columns(), cells, console.width))
    if len(done) > len(rows):
        seconds = median(_render_seconds(scene) for scene in done)
        text = ntr(
            "{count} more video, rendered in {seconds:.1f} s (median); --verbose lists all",
            "{count} more videos, each rendered in {seconds:.1f} s (median); --verbose lists all",
            len(done) - len(rows),
            seconds=seconds,
        )
        console.print(f"[dim]{text}[/]" if rows else text, soft_wrap=True)
    if done:
        console.print()


def _noteworthy(done: Sequence[SceneResult]) -> list[SceneResult]:
    """Return the videos that were slow, or needed another try; the slowest first."""
    if not done:
        return []
    usual = median(_slowness(scene) for scene in done)
    some = [scene for scene in done if _slowness(scene) >= _SLOW * usual or len(scene.attempts) > 1]
    return sorted(some, key=_render_seconds, reverse=True)[:_MOST_ROWS]


def _render_seconds(scene: SceneResult) -> float:
    return scene.attempts[-1].span.seconds if scene.attempts else 0.0


def _slowness(scene: SceneResult) -> float:
    """Return the seconds of rendering for one second of video."""
    seconds = scene.artifact.seconds if scene.artifact else 0.0
    return _render_seconds(scene) / max(seconds, 1.0)


def _speedup(report: RunReport) -> str:
    return tr(
        "{times:.1f}x as fast as one after the other on one worker ({serial:.1f} s)",
        times=report.speedup,
        serial=report.serial_seconds,
    )


def _traffic(report: RunReport) -> str:
    return tr(
        "{sent:.1f} MB sent, {received:.1f} MB of videos received",
        sent=report.bytes_sent / 1e6,
        received=report.bytes_received / 1e6,
    )


def _print_what_remains(report: RunReport, console: Console) -> None:
    """Print what is kept, what is still to do, or that nothing is left running."""
    for line in report.kept:
        console.print(titled("cyan", tr("kept:"), line), soft_wrap=True)
    if report.kept:
        show = "pulumi stack output key --show-secrets --stack STACK"
        end = f"cloudburst cleanup {report.run_id}"
        for line in (
            tr("each has a key of its own: {command}", command=show),
            tr("end them with: {command}", command=end),
        ):
            console.print(f"      {line}", soft_wrap=True)
    if report.done < len(report.scenes):
        resume = f"cloudburst resume {report.run_id}"
        console.print(tr("go on with the rest: {command}", command=resume), soft_wrap=True)
    if report.batches and all(batch.destroyed for batch in report.batches):
        console.print(
            ntr(
                "{count} stack destroyed and verified; nothing is left running",
                "{count} stacks destroyed and verified; nothing is left running",
                len(report.batches),
            ),
            soft_wrap=True,
        )


def _print_launches(report: RunReport, console: Console, *, listed: bool, running: bool) -> None:
    """Print the machines that were rented, and the rungs that gave none."""
    # Journals have the batches in the order in which they began.
    ordered = sorted(report.batches, key=lambda batch: label_order(batch.label))
    launches = [launch for batch in ordered for launch in batch.launches]
    if not report.cost.lines and all(launch.price is None for launch in launches):
        return
    rows = launches
    if not listed:
        rows = [one for one in launches if one.error or not (one.destroyed or running)]
    billed = {line.machine: line for line in report.cost.lines if line.kind == "machine"}
    if rows:
        cells = [_launch_cells(launch, billed, running=running) for launch in rows]
        console.print(table(_launch_columns(), cells, console.width))
    _print_other_launches([one for one in launches if one not in rows], console)
    console.print()


def _print_other_launches(launches: Sequence[Launch], console: Console) -> None:
    """Print how many workers are not listed: those that are gone, and those that run."""
    gone = [one for one in launches if one.destroyed]
    running = [one for one in launches if not one.destroyed]
    lines = []
    if gone:
        lines.append(
            ntr(
                "{count} more worker, {videos}, destroyed",
                "{count} more workers, {videos}, destroyed",
                len(gone),
                videos=_videos(gone),
            )
        )
    if running:
        lines.append(
            ntr(
                "{count} more worker, {videos}, running",
                "{count} more workers, {videos}, running",
                len(running),
                videos=_videos(running),
            )
        )
    for line in lines:
        console.print(f"[dim]{line}[/]", soft_wrap=True)


def _videos(launches: Sequence[Launch]) -> str:
    return ntr("{count} video", "{count} videos", sum(one.scenes_done for one in launches))


def _launch_cells(
    launch: Launch, billed: Mapping[str, CostLine], *, running: bool
) -> list[str | Text]:
    # A machine that was asked for and not seen is billed too, and is no launch's worker.
    line = billed.get(launch.worker) if launch.worker else None
    return [
        launch.label,
        launch.rung.shown,
        f"{launch.price.usd_per_hour:.4f}" if launch.price else "",
        f"{_seconds(launch):.0f} s",
        f"{line.quantity * 3600:.0f} s" if line else "–",
        str(launch.scenes_done),
        _end(launch, running=running),
    ]


def _seconds(launch: Launch) -> float:
    """Return the time from the beginning of `up` to the verified teardown, in seconds."""
    return launch.spans[-1].end - launch.spans[0].start if launch.spans else 0.0


def _end(launch: Launch, *, running: bool) -> Text:
    if running and not launch.destroyed:
        return Text(word("running"), style="green")
    if not launch.destroyed:
        return Text(tr("LEFT RUNNING"), style="bold red")
    if launch.error is None:
        return Text(tr("destroyed"))
    why = launch.code or tr(KILLED if launch.error == KILLED else "failed")
    if not launch.worker:  # as far as anybody knows, there never was a machine to destroy
        return Text(tr("{why}, nothing left", why=why), style="yellow")
    return Text(tr("{why}, destroyed", why=why), style="yellow")


def _print_cost(cost: Cost, console: Console) -> None:
    kinds = list(dict.fromkeys(line.kind for line in cost.lines))
    parts = []
    for kind in kinds:
        lines = [line for line in cost.lines if line.kind == kind]
        bases = tr(", ").join(dict.fromkeys(word(line.basis) for line in lines))
        usd = f"${sum(line.usd for line in lines):.4f}"
        basis = tr(" ({bases})", bases=bases)
        parts.append(f"{word(kind)} {usd}[dim]{basis}[/]")
    if parts:
        console.print(" + ".join(parts), soft_wrap=True)
    usd = f"[bold]{cost.shown}[/]" if parts else cost.shown
    console.print(
        tr(
            "{usd} for {seconds:.0f} worker-seconds: {basis}",
            usd=usd,
            seconds=cost.worker_seconds,
            basis=cost.shown_basis,
        ),
        soft_wrap=True,
    )


def show_failures(report: RunReport) -> None:
    """Print the scenes without a video, and why, on standard error."""
    _print_failures(report, Console(stderr=True, highlight=False), listed=True)


def _print_failures(report: RunReport, console: Console, *, listed: bool) -> None:
    reasons: dict[tuple[SceneStatus, str], list[str]] = {}
    for scene in report.scenes:
        if scene.status is not SceneStatus.DONE:
            why = scene.error or tr("the run ended before it was done")
            reasons.setdefault((scene.status, why), []).append(scene.name)
    for (status, why), names in reasons.items():
        for name in _shown_names(names, listed=listed):
            state = f"[red]{word(status)}[/]"
            line = tr("{scene}: {status}: {why}", scene=safe(name), status=state, why=safe(why))
            console.print(line, soft_wrap=True)


def _shown_names(names: Sequence[str], *, listed: bool) -> list[str]:
    """Return names with a line each, or in one line if many have the same to say."""
    if listed or len(names) <= _ALIKE:
        return list(names)
    return [first_of(names, _NAMES)]


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
        _worker(last.worker, len(scene.attempts)),
        scene.scenario or "",
    ]


def _worker(label: str, tries: int) -> str:
    if tries == 1:
        return label
    return tr("{worker} (try {number})", worker=label, number=tries)


def _warnings(report: RunReport, *, listed: bool) -> list[str]:
    same: dict[str, list[str]] = {}
    for scene in report.scenes:
        for warning in scene.warnings:
            same.setdefault(warning, []).append(scene.name)
    return [
        f"{name}: {warning}"
        for warning, names in same.items()
        for name in _shown_names(names, listed=listed)
    ]


_FINDINGS = {Finding.OK: "green", Finding.WARNING: "yellow", Finding.ERROR: "bold red"}


# The longest name of a check, and a gap; they are printed as they are made, so nobody can look.
_NAME = len("ap-southeast-1 firewall") + 2


def show_check(check: Check) -> None:
    """Print one finding of the doctor, and how to fix it."""
    style = _FINDINGS[check.finding]
    finding, name = _padded(word(check.finding), 8), _padded(tr(check.name), _NAME)
    line = f"[{style}]{finding}[/]{name}{safe(check.text)}"
    if check.finding is not Finding.OK:
        line += f"\n{'':{8 + _NAME}}[dim]→ {safe(check.fix)}[/]"
    Console(highlight=False).print(line, soft_wrap=True)


def _padded(text: str, cells: int) -> str:
    """Return a text with spaces up to a width: a Chinese character takes two cells."""
    return text + " " * (cells - cell_len(text))


def show_note(text: str) -> None:
    """Print, on standard error, what is no error but should be known."""
    line = titled("yellow", tr("note:"), text)
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def show_hint(text: str) -> None:
    """Print, on standard error, what may be done next."""
    Console(stderr=True, highlight=False).print(f"[dim]{safe(text)}[/]", soft_wrap=True)


def show_error(text: str) -> None:
    """Print an error on standard error."""
    line = titled("bold red", tr("error:"), text)
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def show_interruption(text: str) -> None:
    """Print, on standard error, that Ctrl-C ended the command, below the terminal's ``^C``."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        console.print()
    console.print(safe(text), soft_wrap=True)
