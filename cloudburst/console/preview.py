"""What a dry run found, on the terminal: the plan, the engine's preview, the estimate."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console

from cloudburst.console.layout import MANY_WORKERS, many
from cloudburst.console.text import safe, titled, word
from cloudburst.language import later, ntr, tr
from cloudburst.report import phases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.models import Batch, Estimate, Hooks, Plan, PlannedResource, Preview


def show_preview(preview: Preview, *, verbose: bool = False) -> None:
    """Print what a run would do, and cost.

    Args:
        preview: from a dry run.
        verbose: every scene and every stack, however many there are.
    """
    console = Console(highlight=False)
    plan = preview.plan
    if verbose or not many(len(plan.job.scenes), len(plan.batches)):
        _print_batches(preview, console)
    else:
        _print_sums(preview, console)
    _print_waves(plan, console)
    if preview.estimate is not None:
        _print_estimate(preview.estimate, plan.job.limits.max_cost_usd, console)
    _print_hooks(plan.job.hooks, console)
    # A look at the plan alone says what it leaves open; any other one, what it has noticed.
    title = tr("note:") if preview.stacks else tr("not checked:")
    for note in preview.notes:
        console.print(titled("yellow", title, note), soft_wrap=True)
    console.print(_planned(preview))


# What happens when a hook is called, in the order in which they are.
_ENDS = {
    "budget": later("if it is stopped at a cost limit"),
    "done": later("if every scene has its video"),
    "failed": later("if not every scene has its video"),
    "left_running": later("if something cannot be verified as gone"),
}


def _print_hooks(hooks: Hooks, console: Console) -> None:
    """Print what the run's end would call."""
    for name, happened in _ENDS.items():
        what = getattr(hooks, name)
        if not what:
            continue
        values = {"end": tr(happened), "name": f"on.{name}", "what": what}
        if hooks.is_url(name):
            line = tr("{end}: report.json would be sent to {what} ({name})", **values)
        else:
            line = tr("{end}: it would run `{what}` ({name})", **values)
        console.print(safe(line), soft_wrap=True)


def _print_batches(preview: Preview, console: Console) -> None:
    """Print every batch with its scenes and resources."""
    stacks = {one.batch.number: one for one in preview.stacks}
    for batch in preview.plan.batches:
        console.print(_batch_line(batch), soft_wrap=True)
        for scene in batch.scenes:
            seconds = f"[dim]{scene.seconds:.1f} s[/]"
            console.print(f"      {safe(scene.name)}  {seconds}", soft_wrap=True)
        for resource in stacks[batch.number].resources if batch.number in stacks else ():
            _print_resource(resource, console)


def _print_sums(preview: Preview, console: Console) -> None:
    """Print the first batches, the sum of the others, and each kind of resource once."""
    batches = preview.plan.batches
    shown = batches if len(batches) <= MANY_WORKERS else batches[: MANY_WORKERS - 2]
    for batch in shown:
        console.print(_batch_line(batch), soft_wrap=True)
    others = batches[len(shown) :]
    if others:
        more = ntr("… and {count} more batch", "… and {count} more batches", len(others))
        console.print(f"{more}  {_size(others)}", soft_wrap=True)
    kinds = Counter(
        (one.operation, one.type) for stack in preview.stacks for one in stack.resources
    )
    for (operation, kind), count in kinds.items():
        console.print(f"   [green]+[/] {word(operation)} {kind} [dim]({count})[/]", soft_wrap=True)
    hint = tr("--verbose lists every scene and every stack")
    console.print(f"[dim]{hint}[/]", soft_wrap=True)


def _batch_line(batch: Batch) -> str:
    return f"[bold]{batch.label}[/]  {_size([batch])}"


def _size(batches: Sequence[Batch]) -> str:
    scenes = sum(len(batch.scenes) for batch in batches)
    return ntr(
        "{count} scene, {seconds:.1f} s of narration",
        "{count} scenes, {seconds:.1f} s of narration",
        scenes,
        seconds=sum(batch.seconds for batch in batches),
    )


def _print_resource(resource: PlannedResource, console: Console) -> None:
    what = f"{word(resource.operation)} {resource.type} [dim]{resource.name}[/]"
    console.print(f"   [green]+[/] {what}", soft_wrap=True)


def _planned(preview: Preview) -> str:
    target = preview.plan.job.target
    stacks = ntr("{count} stack", "{count} stacks", len(preview.plan.batches))
    if not preview.stacks:
        return tr("{stacks} to come on {target}; nothing was created", stacks=stacks, target=target)
    count = sum(len(one.resources) for one in preview.stacks)
    return tr(
        "{stacks}, {resources} to create on {target}; nothing was created",
        stacks=stacks,
        resources=ntr("{count} resource", "{count} resources", count),
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
    parts = [f"{phases.name(code)} {seconds:.0f} s" for code, seconds in estimate.phases.items()]
    console.print(tr("likely: {phases}", phases=" · ".join(parts)), soft_wrap=True)
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
