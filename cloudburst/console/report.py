"""What a run came to, what a dry run found and what the doctor says, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cloudburst.console.text import safe, titled, word
from cloudburst.journal.state import KILLED
from cloudburst.language import later, ntr, tr
from cloudburst.models import Finding, SceneStatus

if TYPE_CHECKING:
    from cloudburst.models import (
        Check,
        Cost,
        Estimate,
        Launch,
        Plan,
        Preview,
        RunReport,
        SceneResult,
    )

_FILE_WIDTH = 140
_SCENE_COLUMNS = (
    later("scene"),
    later("video"),
    later("size"),
    later("render"),
    later("on"),
    later("scenario"),
)
_LAUNCH_COLUMNS = (
    later("worker"),
    later("machine"),
    "$/h",
    later("took"),
    later("billed"),
    later("videos"),
    later("end"),
)


def table_console(*, stderr: bool = False) -> Console:
    """Return a console for tables."""
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)  # a file has no edge to fold lines at
    return console


def show_report(report: RunReport) -> None:
    """Print a run's summary."""
    console = table_console()
    console.print()
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in _SCENE_COLUMNS:
        right = name in ("video", "size", "render")
        table.add_column(tr(name), justify="right" if right else "left", no_wrap=name != "scene")
    for scene in report.scenes:
        if scene.status is SceneStatus.DONE:
            table.add_row(*_scene_cells(scene))
    if report.done:
        console.print(table)
        console.print()
    _print_failures(report, console)
    for line in _warnings(report):
        console.print(titled("yellow", tr("warning:"), line), soft_wrap=True)
    style = "bold green" if report.done == len(report.scenes) else "bold red"
    count = tr("{done} of {total} videos", done=report.done, total=len(report.scenes))
    where = tr(
        "{count} in {folder}", count=f"[{style}]{count}[/]", folder=safe(str(report.directory))
    )
    console.print(where, soft_wrap=True)
    phases = " · ".join(f"{word(name)} {seconds:.1f} s" for name, seconds in report.phases.items())
    took = tr("{seconds:.1f} s in all; {phases}", seconds=report.seconds, phases=phases)
    console.print(took, soft_wrap=True)
    if report.done:
        console.print(_speedup(report), soft_wrap=True)
    _print_launches(report, console)
    _print_cost(report.cost, console)
    _print_what_remains(report, console)
    file = safe(str(report.directory / "report.json"))
    written = tr("report: {file}", file=file)
    console.print(f"[dim]{written}[/]", soft_wrap=True)


def _speedup(report: RunReport) -> str:
    times, serial = report.speedup, report.serial_seconds
    if report.cost.lines:
        return tr(
            "{times:.1f}x as fast as one after the other on one worker ({serial:.1f} s)",
            times=times,
            serial=serial,
        )
    return tr(
        "{times:.1f}x as fast as one after the other on one worker ({serial:.1f} s; workers shared "
        "this machine's cores)",
        times=times,
        serial=serial,
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
            )
        )


def _print_launches(report: RunReport, console: Console) -> None:
    """Print the machines that were rented, and the rungs that gave none."""
    launches = [launch for batch in report.batches for launch in batch.launches]
    if not report.cost.lines and all(launch.price is None for launch in launches):
        return
    billed = {line.machine: line for line in report.cost.lines if line.kind == "machine"}
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in _LAUNCH_COLUMNS:
        right = name in ("$/h", "took", "billed", "videos")
        fixed = name not in ("machine", "end")
        table.add_column(tr(name), justify="right" if right else "left", no_wrap=fixed)
    for launch in launches:
        # A machine that was asked for and not seen is billed too, and is no launch's worker.
        line = billed.get(launch.worker) if launch.worker else None
        table.add_row(
            launch.label,
            launch.rung.shown,
            f"{launch.price.usd_per_hour:.4f}" if launch.price else "",
            f"{_seconds(launch):.0f} s",
            f"{line.quantity * 3600:.0f} s" if line else "–",
            str(launch.scenes_done),
            _end(launch),
        )
    console.print(table)
    console.print()


def _seconds(launch: Launch) -> float:
    """Return the time from the beginning of `up` to the verified teardown, in seconds."""
    return launch.spans[-1].end - launch.spans[0].start if launch.spans else 0.0


def _end(launch: Launch) -> Text:
    if not launch.destroyed:
        return Text(tr("LEFT RUNNING"), style="bold red")
    if launch.error is None:
        return Text(tr("destroyed"))
    why = launch.code or tr(KILLED if launch.error == KILLED else "failed")
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
    usd = f"[bold]${cost.usd:.4f}[/]" if parts else f"${cost.usd:.2f}"
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
    _print_failures(report, Console(stderr=True, highlight=False))


def _print_failures(report: RunReport, console: Console) -> None:
    for scene in report.scenes:
        if scene.status is not SceneStatus.DONE:
            why = safe(scene.error or tr("the run ended before it was done"))
            status = f"[red]{word(scene.status)}[/]"
            line = tr("{scene}: {status}: {why}", scene=scene.name, status=status, why=why)
            console.print(line, soft_wrap=True)


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


def _warnings(report: RunReport) -> list[str]:
    return [f"{scene.name}: {warning}" for scene in report.scenes for warning in scene.warnings]


def show_preview(preview: Preview) -> None:
    """Print what a run would do, and cost."""
    console = Console(highlight=False)
    plan, stacks = preview.plan, {one.batch.number: one for one in preview.stacks}
    for batch in plan.batches:
        size = tr(
            "{scenes} scenes, {seconds:.1f} s of narration",
            scenes=len(batch.scenes),
            seconds=batch.seconds,
        )
        console.print(f"[bold]{batch.label}[/]  {size}")
        for scene in batch.scenes:
            console.print(
                f"      {safe(scene.name)}  [dim]{scene.seconds:.1f} s[/]", soft_wrap=True
            )
        for resource in stacks[batch.number].resources if batch.number in stacks else ():
            what = f"{word(resource.operation)} {resource.type} [dim]{resource.name}[/]"
            console.print(f"   [green]+[/] {what}")
    _print_waves(plan, console)
    if preview.estimate is not None:
        _print_estimate(preview.estimate, plan.job.limits.max_cost_usd, console)
    for note in preview.notes:
        console.print(titled("yellow", tr("not checked:"), note), soft_wrap=True)
    console.print(_planned(preview))


def _planned(preview: Preview) -> str:
    stacks, target = len(preview.plan.batches), preview.plan.job.target
    if not preview.stacks:
        return tr(
            "{stacks} stacks, {stacks} to come on {target}; nothing was created",
            stacks=stacks,
            target=target,
        )
    return tr(
        "{stacks} stacks, {resources} resources to create on {target}; nothing was created",
        stacks=stacks,
        resources=sum(len(one.resources) for one in preview.stacks),
        target=target,
    )


def _print_waves(plan: Plan, console: Console) -> None:
    """Print when workers start, where not all of them start at once."""
    distribution = plan.job.distribution
    last = distribution.last_launch(len(plan.batches))
    if last:
        console.print(
            tr(
                "launches: {wave} at once, then a pause of {pause:g} s; the last worker starts "
                "{last:g} s after the first (distribution.launch_pause)",
                wave=distribution.launches_per_wave,
                pause=distribution.launch_pause,
                last=last,
            ),
            soft_wrap=True,
        )


def _print_estimate(estimate: Estimate, most: float | None, console: Console) -> None:
    console.print()
    choice = tr(
        "first choice: {rung} at {price}/h",
        rung=estimate.first.shown,
        price=f"${estimate.price.usd_per_hour:.4f}",
    )
    source = tr(" ({bases})", bases=safe(estimate.price.source))
    console.print(f"{choice}[dim]{source}[/]", soft_wrap=True)
    phases = " · ".join(
        f"{word(name)} {seconds:.0f} s" for name, seconds in estimate.phases.items()
    )
    console.print(tr("likely: {phases}", phases=phases))
    console.print(_cost_line(estimate, most), soft_wrap=True)
    for line in estimate.assumptions:
        console.print(f"      [dim]{safe(line)}[/]", soft_wrap=True)
    console.print()


def _cost_line(estimate: Estimate, most: float | None) -> str:
    likely = f"[bold]${estimate.likely:.4f}[/]"
    low, worst = f"${estimate.low:.4f}", f"${estimate.worst:.4f}"
    if most is None:
        return tr(
            "cost: {likely} likely, {low} low, {worst} worst", likely=likely, low=low, worst=worst
        )
    return tr(
        "cost: {likely} likely, {low} low, {worst} worst, of at most {most} (limits.max_cost_usd)",
        likely=likely,
        low=low,
        worst=worst,
        most=f"${most:g}",
    )


_FINDINGS = {Finding.OK: "green", Finding.WARNING: "yellow", Finding.ERROR: "bold red"}


def show_check(check: Check) -> None:
    """Print one finding of the doctor, and how to fix it."""
    style = _FINDINGS[check.finding]
    finding, name = _padded(word(check.finding), 8), _padded(tr(check.name), 18)
    line = f"[{style}]{finding}[/]{name}{safe(check.text)}"
    if check.finding is not Finding.OK:
        line += f"\n{'':26}[dim]→ {safe(check.fix)}[/]"
    Console(highlight=False).print(line, soft_wrap=True)


def _padded(text: str, cells: int) -> str:
    """Return a text with spaces up to a width: a Chinese character takes two cells."""
    return text + " " * (cells - cell_len(text))


def show_note(text: str) -> None:
    """Print, on standard error, what is no error but should be known."""
    line = titled("yellow", tr("note:"), text)
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


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
