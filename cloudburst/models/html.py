"""Plans, previews and reports as HTML for notebooks. Pure; every text is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudburst.models.job import Plan
    from cloudburst.models.money import Cost, Estimate
    from cloudburst.models.results import Preview, RunReport, SceneResult

_CELL = "vertical-align:top;padding:0.2em 1.2em 0.2em 0"
_TEXT, _NUMBER = f"{_CELL};text-align:left", f"{_CELL};text-align:right"


def plan_html(plan: Plan) -> str:
    """Return a table of a plan's batches: scenes and narration in seconds."""
    job, scenes = plan.job, [scene for batch in plan.batches for scene in batch.scenes]
    summary = (
        f"<b>{escape(job.name)}</b> on {escape(job.target)}: {_count(len(plan.batches), 'worker')} "
        f"for {_count(len(scenes), 'scene')}"
    )
    rows = [
        (
            batch.label,
            str(len(batch.scenes)),
            f"{batch.seconds:.1f} s",
            ", ".join(scene.name for scene in batch.scenes),
        )
        for batch in plan.batches
    ]
    total = sum(batch.seconds for batch in plan.batches)
    last = ("all", str(len(scenes)), f"{total:.1f} s", "")
    return _block(summary, _table(("batch", "#scenes", "#narration", "names"), rows, last))


def preview_html(preview: Preview) -> str:
    """Return a preview's plan, with what would be created and what it would cost."""
    created = sum(len(stack.resources) for stack in preview.stacks)
    lines = [_count(created, "resource") + " to create"] if preview.stacks else []
    if preview.estimate is not None:
        lines.append(_estimate_line(preview.estimate))
    lines += [escape(note) for note in preview.notes]
    return _block(plan_html(preview.plan), *lines)


def report_html(report: RunReport) -> str:
    """Return a table of a report's scenes, with the outcome and the cost."""
    done = f"{report.done} of {_count(len(report.scenes), 'video')}"
    summary = (
        f"<b>{escape(report.job)}</b> on {escape(report.target)}: {escape(report.outcome)}, "
        f"{done} in {report.seconds:.1f} s"
    )
    table = _table(
        ("scene", "status", "#video", "size", "#attempts", "notes"),
        [_scene_cells(scene) for scene in report.scenes],
    )
    lines = [_cost_line(report.cost), f"in <code>{escape(str(report.directory))}</code>"]
    lines += [f"<b>LEFT RUNNING:</b> {escape(line)}" for line in report.left_running]
    lines += [f"kept: {escape(line)}" for line in report.kept]
    return _block(summary, table, *lines)


def _scene_cells(scene: SceneResult) -> tuple[str, ...]:
    video = scene.artifact
    return (
        scene.name,
        str(scene.status),
        f"{video.seconds:.1f} s" if video else "",
        f"{video.width}x{video.height}" if video else "",
        str(len(scene.attempts)),
        "; ".join((*scene.warnings, *((scene.error,) if scene.error else ()))),
    )


def _cost_line(cost: Cost) -> str:
    """Return what a run cost, and where the figure is from."""
    usd = f"${cost.usd:.4f}" if cost.lines else f"${cost.usd:.2f}"
    text = f"cost: <b>{usd}</b> for {cost.worker_seconds:.0f} worker-seconds: {escape(cost.basis)}"
    parts: dict[tuple[str, str], float] = {}
    for line in cost.lines:
        kind = (line.kind, str(line.basis))
        parts[kind] = parts.get(kind, 0.0) + line.usd
    items = " + ".join(
        escape(f"{kind} ${usd:.4f} ({basis})") for (kind, basis), usd in parts.items()
    )
    return f"{text}<br>{items}" if items else text


def _estimate_line(estimate: Estimate) -> str:
    return (
        f"cost: <b>${estimate.likely:.4f}</b> likely, ${estimate.low:.4f} low, "
        f"${estimate.worst:.4f} worst; first choice: {escape(str(estimate.first))} at "
        f"${estimate.price.usd_per_hour:.4f}/h ({escape(estimate.price.source)})"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _block(*parts: str) -> str:
    return "".join(f"<div>{part}</div>" for part in parts)


def _table(names: Sequence[str], rows: Iterable[Sequence[str]], last: Sequence[str] = ()) -> str:
    """Return a table of plain texts.

    Args:
        names: of the columns; a column whose name begins with ``#`` holds numbers.
        rows: cells of each row.
        last: cells of a row of totals, if there is one.
    """
    styles = [_NUMBER if name.startswith("#") else _TEXT for name in names]
    head = _row("th", [name.removeprefix("#") for name in names], styles)
    body = "".join(_row("td", row, styles) for row in rows)
    foot = f"<tfoot>{_row('th', last, styles)}</tfoot>" if last else ""
    return f"<table><thead>{head}</thead><tbody>{body}</tbody>{foot}</table>"


def _row(tag: str, cells: Sequence[str], styles: Sequence[str]) -> str:
    columns = zip(cells, styles, strict=True)
    row = "".join(f'<{tag} style="{style}">{escape(cell)}</{tag}>' for cell, style in columns)
    return f"<tr>{row}</tr>"
