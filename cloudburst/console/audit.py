"""What an audit found and a cleanup did → terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from cloudburst.console.text import safe
from cloudburst.report.cost import so_far

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.models import Resource
    from cloudburst.recovery.audit import Audit, RunFound, StackFound
    from cloudburst.recovery.cleanup import Cleaned


def show_audit(found: Audit) -> None:
    """Print what is left, of which run, what it costs, and what removes it."""
    console = Console(highlight=False)
    for run in found.runs:
        _print_run(run, found.at, console)
    for line in found.unseen:
        console.print(f"[bold red]could not be asked:[/] {safe(line)}", soft_wrap=True)
    asked = ", ".join(found.looked)
    console.print(f"[dim]asked: {safe(asked)}; {found.finished} finished runs[/]", soft_wrap=True)
    console.print(_verdict(found), soft_wrap=True)


def _verdict(found: Audit) -> str:
    count = len(found.left)
    if count:
        costs = f", ${found.usd_per_hour:.4f}/h" if found.usd_per_hour else ""
        what = f"{count} stack{'s' * (count != 1)}{costs}"
        return f"[bold red]LEFT: {what}[/]; remove it with: {_removal(found)}"
    if found.unseen:
        return "[bold yellow]nothing was seen, but not everything could be asked: not clean[/]"
    return "[bold green]clean:[/] nothing is left"


def _removal(found: Audit) -> str:
    """Give the command that removes all, if there is one."""
    runs = [run for run in found.runs if run.left]
    if len(runs) == 1:
        return runs[0].removal
    if all(run.known for run in runs):
        return "cloudburst cleanup --all"
    return "what stands with each run"


def _print_run(run: RunFound, at: float, console: Console) -> None:
    known = run.known
    words = [f"[bold]{run.run_id or 'of no run'}[/]"]
    if known:
        words.append(f"{safe(known.job)} on {known.target}")
    if run.scenes:
        words.append(f"{run.done} of {run.scenes} videos")
    if run.owner:
        words.append(f"[green]running[/], {run.owner}")
    elif run.begun_by:
        words.append(f"[yellow]begun by {safe(run.begun_by)}[/], may be going on there")
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
        console.print(f"   remove what is left: {run.removal}", soft_wrap=True)


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
        words.append(f"[yellow]broke off: {safe(', '.join(stack.state.pending))}[/]")
    for lock, lives in stack.locks:
        how = {True: "[green]living[/]", False: "dead", None: "unseen"}[lives]
        words.append(f"locked by {how} process {lock.pid} on {safe(lock.host)}")
    console.print(f"   {stack.name}  {' · '.join(words)}", soft_wrap=True)
    for line in stack.state.resources:
        console.print(f"      [dim]{safe(line)}[/]", soft_wrap=True)
    for one in stack.remains:
        orphan = "[bold red]no stack knows of it[/] · " if one in stack.orphans else ""
        console.print(f"      {orphan}{_remains_words(one, at)}", soft_wrap=True)


def _remains_words(one: Resource, at: float) -> str:
    words = [f"{one.kind} [bold]{safe(one.id)}[/] {safe(one.what)}".strip()]
    words.append(f"{safe(one.state)} in {safe(one.place)}")
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
    Console(highlight=False).print(f"[dim]{stack}:[/] {safe(text)}", soft_wrap=True)


def show_cleaned(done: Cleaned) -> None:
    """Print what a cleanup came to; loudly, what it could not end."""
    console, loud = Console(highlight=False), Console(stderr=True, highlight=False)
    for line in done.skipped:
        loud.print(f"[yellow]not touched:[/] {safe(line)}", soft_wrap=True)
    for one in done.failed:
        costs = f" at ${one.usd_per_hour:.4f}/h" if one.usd_per_hour else ""
        loud.print(f"[bold red]LEFT RUNNING{costs}:[/] {one.stack}")
        for line in (one.why, f"remove it with: {one.removal}"):
            loud.print(f"   {safe(line)}", soft_wrap=True)
    count = len(done.removed)
    if count:
        plural = f"{count} stack{'s' * (count != 1)}"
        console.print(f"[green]{plural} gone, checked with the provider[/]")
