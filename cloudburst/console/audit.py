"""What an audit found and what a cleanup did, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from cloudburst.console.text import safe, titled, word
from cloudburst.language import ntr, tr
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
        console.print(titled("bold red", tr("could not be asked:"), line), soft_wrap=True)
    asked = tr(", ").join(tr(source) for source in found.asked)
    line = tr("asked: {sources}; {count} finished runs", sources=asked, count=found.finished)
    console.print(f"[dim]{safe(line)}[/]", soft_wrap=True)
    console.print(_verdict(found), soft_wrap=True)


def _verdict(found: Audit) -> str:
    count = len(found.orphaned)
    if count:
        costs = f", ${found.usd_per_hour:.4f}/h" if found.usd_per_hour else ""
        what = ntr("LEFT: {count} stack", "LEFT: {count} stacks", count)
        return tr(
            "{what}; remove it with: {command}",
            what=f"[bold red]{what}{costs}[/]",
            command=_removal(found),
        )
    if found.unseen:
        unsure = tr("nothing was seen, but not everything could be asked: not clean")
        return f"[bold yellow]{unsure}[/]"
    return titled("bold green", tr("clean:"), tr("nothing is left"))


def _removal(found: Audit) -> str:
    """Return the command that removes all of it, if one does."""
    runs = [run for run in found.runs if run.orphaned]
    if len(runs) == 1:
        return runs[0].removal
    if all(run.known for run in runs):
        return "cloudburst cleanup --all"
    return tr("the command shown with each run")


def _print_run(run: RunFound, at: float, console: Console) -> None:
    console.print(" · ".join(_run_parts(run)), soft_wrap=True)
    for stack in run.stacks:
        _print_stack(stack, at, console)
    if run.owner:
        return
    if run.unfinished and run.known:
        resume = tr("go on with it: {command}", command=f"cloudburst resume {run.run_id}")
        console.print(f"   {resume}", soft_wrap=True)
    if run.orphaned:
        removal = tr("remove what is left: {command}", command=run.removal)
        console.print(f"   {removal}", soft_wrap=True)


def _run_name(run: RunFound) -> str:
    name = run.run_id or tr("of no run")
    return f"[bold]{name}[/]"


def _run_parts(run: RunFound) -> list[str]:
    parts = [_run_name(run)]
    if run.known:
        parts.append(tr("{job} on {target}", job=safe(run.known.job), target=run.known.target))
    if run.scenes:
        parts.append(
            ntr("{done} of {count} video", "{done} of {count} videos", run.scenes, done=run.done)
        )
    if run.owner:
        parts.append(f"[green]{word('running')}[/], {run.owner}")
    elif run.begun_by:
        begun = tr("begun by {whom}", whom=safe(run.begun_by))
        parts.append(tr("{begun}, may be going on there", begun=f"[yellow]{begun}[/]"))
    elif run.outcome:
        parts.append(word(run.outcome))
    else:
        unfinished = tr("it did not finish")
        parts.append(f"[yellow]{unfinished}[/]")
    return parts


def _print_stack(stack: StackFound, at: float, console: Console) -> None:
    console.print(f"   {stack.name}  {' · '.join(_stack_parts(stack))}", soft_wrap=True)
    for line in stack.state.resources:
        console.print(f"      [dim]{safe(line)}[/]", soft_wrap=True)
    for resource in stack.resources:
        unknown = tr("no stack knows of it")
        orphan = f"[bold red]{unknown}[/] · " if resource in stack.orphans else ""
        console.print(f"      {orphan}{_resource_line(resource, at)}", soft_wrap=True)


def _stack_parts(stack: StackFound) -> list[str]:
    parts = [tr("not in the backend")]
    if stack.in_backend:
        parts = [ntr("{count} resource", "{count} resources", len(stack.state.resources))]
    if stack.kept and stack.launch:
        kept = tr("kept on purpose")
        endpoint = stack.launch.endpoint
        parts.append(tr("{kept} at {endpoint}", kept=f"[cyan]{kept}[/]", endpoint=endpoint))
    if stack.state.pending:
        pending = tr("broke off: {operations}", operations=safe(", ".join(stack.state.pending)))
        parts.append(f"[yellow]{pending}[/]")
    for lock, lives in stack.locks:
        parts.append(
            tr(
                "locked by {how} process {pid} on {host}",
                how=_liveliness(lives),
                pid=lock.pid,
                host=safe(lock.host),
            )
        )
    return parts


def _liveliness(lives: bool | None) -> str:
    if lives is None:
        return tr("unseen")
    living = tr("living")
    return f"[green]{living}[/]" if lives else tr("dead")


def _resource_line(resource: Resource, at: float) -> str:
    parts = [
        f"{word(resource.kind)} [bold]{safe(resource.id)}[/] {safe(tr(resource.what))}".strip(),
        tr(
            "{state} in {place}",
            state=safe(word(resource.state)),
            place=safe(tr(resource.place)),
        ),
    ]
    if resource.since is not None:
        parts.append(tr("for {age}", age=_age(at - resource.since)))
    if resource.usd_per_hour:
        rate, spent = f"${resource.usd_per_hour:.4f}/h", f"${so_far(resource, at) or 0.0:.4f}"
        parts.append(tr("{rate}, {spent} so far", rate=rate, spent=spent))
    elif resource.usd_per_hour is None and resource.kind == "machine":
        parts.append(tr("price unknown"))
    if resource.expires is not None:
        rest = resource.expires - at
        ends = tr("ends itself in {age}", age=_age(rest))
        parts.append(ends if rest > 0 else tr("its lease is over"))
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
        console.print(_run_name(run))
        for stack in stacks:
            _print_stack(stack, at, console)


def show_step(stack: str, text: str) -> None:
    """Print a step of a cleanup."""
    Console(highlight=False).print(f"[dim]{stack}:[/] {safe(text)}", soft_wrap=True)


def show_cleaned(done: Cleaned) -> None:
    """Print what a cleanup came to; on standard error, what it could not end."""
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    for line in done.skipped:
        errors.print(titled("yellow", tr("not touched:"), line), soft_wrap=True)
    for failed in done.failed:
        costs = tr("LEFT RUNNING at {rate}:", rate=f"${failed.usd_per_hour:.4f}/h")
        title = costs if failed.usd_per_hour else tr("LEFT RUNNING:")
        if not failed.runs:
            title = tr("nothing of it runs any more, but its record is left:")
        errors.print(f"[bold red]{title}[/] {failed.stack}")
        for line in (failed.why, tr("remove it with: {command}", command=failed.removal)):
            errors.print(f"   {safe(line)}", soft_wrap=True)
    if done.removed:
        gone = ntr(
            "{count} stack gone, verified with the provider",
            "{count} stacks gone, verified with the provider",
            len(done.removed),
        )
        console.print(f"[green]{gone}[/]")
