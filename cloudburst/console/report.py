"""What a run came to, what a dry run found and what the doctor says, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cloudburst.console.text import safe
from cloudburst.journal.state import KILLED
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
        console.print(f"[yellow]warning:[/] {safe(line)}", soft_wrap=True)
    style = "bold green" if report.done == len(report.scenes) else "bold red"
    count = f"[{style}]{report.done} of {len(report.scenes)} videos[/]"
    console.print(f"{count} in {safe(str(report.directory))}", soft_wrap=True)
    phases = " · ".join(f"{name} {seconds:.1f} s" for name, seconds in report.phases.items())
    console.print(f"{report.seconds:.1f} s in all; {phases}", soft_wrap=True)
    if report.done:
        shared = "" if report.cost.lines else "; workers shared this machine's cores"
        console.print(
            f"{report.speedup:.1f}x as fast as one after the other on one worker "
            f"({report.serial_seconds:.1f} s{shared})",
            soft_wrap=True,
        )
    _print_launches(report, console)
    _print_cost(report.cost, console)
    _print_what_remains(report, console)
    console.print(f"[dim]report: {safe(str(report.directory / 'report.json'))}[/]", soft_wrap=True)


def _print_what_remains(report: RunReport, console: Console) -> None:
    """Print what is kept, what is still to do, or that nothing is left running."""
    for line in report.kept:
        console.print(f"[cyan]kept:[/] {safe(line)}", soft_wrap=True)
    if report.kept:
        show = "pulumi stack output key --show-secrets --stack STACK"
        console.print(f"      each has a key of its own: {show}", soft_wrap=True)
        console.print(f"      end them with: cloudburst cleanup {report.run_id}", soft_wrap=True)
    if report.done < len(report.scenes):
        console.print(f"go on with the rest: cloudburst resume {report.run_id}", soft_wrap=True)
    if report.batches and all(batch.destroyed for batch in report.batches):
        stacks = len(report.batches)
        plural = "s" * (stacks != 1)
        console.print(f"{stacks} stack{plural} destroyed and verified; nothing is left running")


def _print_launches(report: RunReport, console: Console) -> None:
    """Print the machines that were rented, and the rungs that gave none."""
    launches = [launch for batch in report.batches for launch in batch.launches]
    if not report.cost.lines and all(launch.price is None for launch in launches):
        return
    billed = {line.machine: line for line in report.cost.lines if line.kind == "machine"}
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("worker", "machine", "$/h", "took", "billed", "videos", "end"):
        right = name in ("$/h", "took", "billed", "videos")
        fixed = name not in ("machine", "end")
        table.add_column(name, justify="right" if right else "left", no_wrap=fixed)
    for launch in launches:
        # A machine that was asked for and not seen is billed too, and is no launch's worker.
        line = billed.get(launch.worker) if launch.worker else None
        table.add_row(
            launch.label,
            str(launch.rung),
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
        return Text("LEFT RUNNING", style="bold red")
    if launch.error is None:
        return Text("destroyed")
    why = KILLED if launch.error == KILLED else "failed"
    return Text(f"{launch.code or why}, destroyed", style="yellow")


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
            why = safe(scene.error or "the run ended before it was done")
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
                f"      {safe(scene.name)}  [dim]{scene.seconds:.1f} s[/]", soft_wrap=True
            )
        for resource in stacks[batch.number].resources if batch.number in stacks else ():
            what = f"{resource.operation} {resource.type} [dim]{resource.name}[/]"
            console.print(f"   [green]+[/] {what}")
    _print_waves(plan, console)
    if preview.estimate is not None:
        _print_estimate(preview.estimate, plan.job.limits.max_cost_usd, console)
    for note in preview.notes:
        console.print(f"[yellow]not checked:[/] {safe(note)}", soft_wrap=True)
    count = sum(len(one.resources) for one in preview.stacks)
    resources = f"{count} resources to create" if preview.stacks else f"{len(plan.batches)} to come"
    console.print(
        f"{len(plan.batches)} stacks, {resources} on {plan.job.target}; nothing was created"
    )


def _print_waves(plan: Plan, console: Console) -> None:
    """Print when workers start, where not all of them start at once."""
    distribution = plan.job.distribution
    last = distribution.last_launch(len(plan.batches))
    if last:
        console.print(
            f"launches: {distribution.launches_per_wave} at once, then a pause of "
            f"{distribution.launch_pause:g} s; the last worker starts {last:g} s after the first "
            "(distribution.launch_pause)",
            soft_wrap=True,
        )


def _print_estimate(estimate: Estimate, most: float | None, console: Console) -> None:
    console.print()
    console.print(
        f"first choice: {estimate.first} at ${estimate.price.usd_per_hour:.4f}/h "
        f"[dim]({safe(estimate.price.source)})[/]",
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
        console.print(f"      [dim]{safe(line)}[/]", soft_wrap=True)
    console.print()


_FINDINGS = {Finding.OK: "green", Finding.WARNING: "yellow", Finding.ERROR: "bold red"}


def show_check(check: Check) -> None:
    """Print one finding of the doctor, and how to fix it."""
    style = _FINDINGS[check.finding]
    line = f"[{style}]{check.finding:<8}[/]{check.name:<18}{safe(check.text)}"
    if check.finding is not Finding.OK:
        line += f"\n{'':26}[dim]→ {safe(check.fix)}[/]"
    Console(highlight=False).print(line, soft_wrap=True)


def show_note(text: str) -> None:
    """Print, on standard error, what is no error but should be known."""
    Console(stderr=True, highlight=False).print(f"[yellow]note:[/] {safe(text)}", soft_wrap=True)


def show_error(text: str) -> None:
    """Print an error on standard error."""
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {safe(text)}", soft_wrap=True)
