"""What an audit found and what a cleanup did, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from cloudburst.console.text import safe
from cloudburst.report.cost import so_far

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.models import Resource
    from cloudburst.recovery.cleanup import Cleaned
    from cloudburst.recovery.findings import Audit, RunFound, StackFound

# From here on, people count in minutes, and in hours.
_MINUTES_FROM = 90.0
_HOURS_FROM = 5400.0


def show_audit(found: Audit) -> None:
    """Print what is left, of which run, what it costs, and what removes it."""
    console = Console(highlight=False)
    for run in found.runs:
        _print_run(run, found.at, console)
    for line in found.unseen:
        console.print(f"[bold red]could not be asked:[/] {safe(line)}", soft_wrap=True)
    asked = ", ".join(found.asked)
    console.print(f"[dim]asked: {safe(asked)}; {found.finished} finished runs[/]", soft_wrap=True)
    console.print(_verdict(found), soft_wrap=True)


def _verdict(found: Audit) -> str:
    count = len(found.orphaned)
    if count:
        costs = f", ${found.usd_per_hour:.4f}/h" if found.usd_per_hour else ""
        what = f"{count} stack{'s' * (count != 1)}{costs}"
        return f"[bold red]LEFT: {what}[/]; remove it with: {_removal(found)}"
    if found.unseen:
        return "[bold yellow]nothing was seen, but not everything could be asked: not clean[/]"
    return "[bold green]clean:[/] nothing is left"


def _removal(found: Audit) -> str:
    """Return the command that removes all of it, if one does."""
    runs = [run for run in found.runs if run.orphaned]
    if len(runs) == 1:
        return runs[0].removal
    if all(run.known for run in runs):
        return "cloudburst cleanup --all"
    return "the command shown with each run"


def _print_run(run: RunFound, at: float, console: Console) -> None:
    console.print(" · ".join(_run_parts(run)), soft_wrap=True)
    for stack in run.stacks:
        _print_stack(stack, at, console)
    if run.owner:
        return
    if run.unfinished and run.known:
        console.print(f"   go on with it: cloudburst resume {run.run_id}", soft_wrap=True)
    if run.orphaned:
        console.print(f"   remove what is left: {run.removal}", soft_wrap=True)


def _run_parts(run: RunFound) -> list[str]:
    parts = [f"[bold]{run.run_id or 'of no run'}[/]"]
    if run.known:
        parts.append(f"{safe(run.known.job)} on {run.known.target}")
    if run.scenes:
        parts.append(f"{run.done} of {run.scenes} videos")
    if run.owner:
        parts.append(f"[green]running[/], {run.owner}")
    elif run.begun_by:
        parts.append(f"[yellow]begun by {safe(run.begun_by)}[/], may be going on there")
    else:
        parts.append(run.outcome or "[yellow]it did not finish[/]")
    return parts


def _print_stack(stack: StackFound, at: float, console: Console) -> None:
    console.print(f"   {stack.name}  {' · '.join(_stack_parts(stack))}", soft_wrap=True)
    for line in stack.state.resources:
        console.print(f"      [dim]{safe(line)}[/]", soft_wrap=True)
    for resource in stack.resources:
        orphan = "[bold red]no stack knows of it[/] · " if resource in stack.orphans else ""
        console.print(f"      {orphan}{_resource_line(resource, at)}", soft_wrap=True)


def _stack_parts(stack: StackFound) -> list[str]:
    parts = ["not in the backend"]
    if stack.in_backend:
        count = len(stack.state.resources)
        parts = [f"{count} resource{'s' * (count != 1)}"]
    if stack.kept and stack.launch:
        parts.append(f"[cyan]kept on purpose[/] at {stack.launch.endpoint}")
    if stack.state.pending:
        parts.append(f"[yellow]broke off: {safe(', '.join(stack.state.pending))}[/]")
    for lock, lives in stack.locks:
        how = {True: "[green]living[/]", False: "dead", None: "unseen"}[lives]
        parts.append(f"locked by {how} process {lock.pid} on {safe(lock.host)}")
    return parts


def _resource_line(resource: Resource, at: float) -> str:
    parts = [
        f"{resource.kind} [bold]{safe(resource.id)}[/] {safe(resource.what)}".strip(),
        f"{safe(resource.state)} in {safe(resource.place)}",
    ]
    if resource.since is not None:
        parts.append(f"for {_age(at - resource.since)}")
    if resource.usd_per_hour:
        spent = so_far(resource, at)
        parts.append(f"${resource.usd_per_hour:.4f}/h, ${spent or 0.0:.4f} so far")
    elif resource.usd_per_hour is None and resource.kind == "machine":
        parts.append("price unknown")
    if resource.expires is not None:
        rest = resource.expires - at
        parts.append(f"ends itself in {_age(rest)}" if rest > 0 else "its lease is over")
    return " · ".join(parts)


def _age(seconds: float) -> str:
    """Return a length of time in the unit that people would use."""
    seconds = max(0.0, seconds)
    if seconds < _MINUTES_FROM:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < _HOURS_FROM else f"{seconds / 3600:.1f} h"


def show_choice(chosen: Sequence[tuple[RunFound, Sequence[StackFound]]], at: float) -> None:
    """Print what a cleanup would end."""
    console = Console(highlight=False)
    for run, stacks in chosen:
        console.print(f"[bold]{run.run_id or 'of no run'}[/]")
        for stack in stacks:
            _print_stack(stack, at, console)


def show_step(stack: str, text: str) -> None:
    """Print a step of a cleanup."""
    Console(highlight=False).print(f"[dim]{stack}:[/] {safe(text)}", soft_wrap=True)


def show_cleaned(done: Cleaned) -> None:
    """Print what a cleanup came to; on standard error, what it could not end."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    for line in done.skipped:
        errors.print(f"[yellow]not touched:[/] {safe(line)}", soft_wrap=True)
    for failed in done.failed:
        costs = f" at ${failed.usd_per_hour:.4f}/h" if failed.usd_per_hour else ""
        errors.print(f"[bold red]LEFT RUNNING{costs}:[/] {failed.stack}")
        for line in (failed.why, f"remove it with: {failed.removal}"):
            errors.print(f"   {safe(line)}", soft_wrap=True)
    count = len(done.removed)
    if count:
        stacks = f"{count} stack{'s' * (count != 1)}"
        console.print(f"[green]{stacks} gone, verified with the provider[/]")
