"""Plans, previews and reports as HTML for notebooks. Pure; every text is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from cloudburst.language import ntr, tr

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from cloudburst.models.job import Plan
    from cloudburst.models.money import Cost, Estimate
    from cloudburst.models.results import Preview, RunReport, SceneResult

_CELL = "vertical-align:top;padding:0.2em 1.2em 0.2em 0"
_TEXT, _NUMBER = f"{_CELL};text-align:left", f"{_CELL};text-align:right"


def plan_html(plan: Plan) -> str:
    """Return a table of a plan's batches: scenes and narration in seconds."""
    job, scenes = plan.job, [scene for batch in plan.batches for scene in batch.scenes]
    summary = tr(
        "{job} on {target}: {workers} for {scenes}",
        job=f"<b>{escape(job.name)}</b>",
        target=escape(job.target),
        workers=ntr("{count} worker", "{count} workers", len(plan.batches)),
        scenes=ntr("{count} scene", "{count} scenes", len(scenes)),
    )
    rows = [
        (
            batch.label,
            str(len(batch.scenes)),
            f"{batch.seconds:.1f} s",
            tr(", ").join(scene.name for scene in batch.scenes),
        )
        for batch in plan.batches
    ]
    total = sum(batch.seconds for batch in plan.batches)
    last = (tr("all"), str(len(scenes)), f"{total:.1f} s", "")
    names = (tr("batch"), tr("scenes"), tr("narration"), tr("names"))
    return _block(summary, _table(names, rows, last, numbers={1, 2}))


def preview_html(preview: Preview) -> str:
    """Return a preview's plan, with what would be created and what it would cost."""
    created = sum(len(stack.resources) for stack in preview.stacks)
    lines = []
    if preview.stacks:
        lines.append(ntr("{count} resource to create", "{count} resources to create", created))
    if preview.estimate is not None:
        lines.append(_estimate_line(preview.estimate))
    lines += [escape(note) for note in preview.notes]
    return _block(plan_html(preview.plan), *lines)


def report_html(report: RunReport) -> str:
    """Return a table of a report's scenes, with the outcome and the cost."""
    summary = ntr(
        "{job} on {target}: {outcome}, {done} of {count} video in {seconds:.1f} s",
        "{job} on {target}: {outcome}, {done} of {count} videos in {seconds:.1f} s",
        len(report.scenes),
        job=f"<b>{escape(report.job)}</b>",
        target=escape(report.target),
        outcome=escape(tr(report.outcome)),
        done=report.done,
        seconds=report.seconds,
    )
    names = (tr("scene"), tr("status"), tr("video"), tr("size"), tr("attempts"), tr("notes"))
    table = _table(names, [_scene_cells(scene) for scene in report.scenes], numbers={2, 4})
    folder = f"<code>{escape(str(report.directory))}</code>"
    lines = [_cost_line(report.cost), tr("in {folder}", folder=folder)]
    title = tr("LEFT RUNNING:")
    lines += [f"<b>{title}</b> {escape(line)}" for line in report.left_running]
    lines += [tr("kept: {line}", line=escape(line)) for line in report.kept]
    return _block(summary, table, *lines)


def _scene_cells(scene: SceneResult) -> tuple[str, ...]:
    video = scene.artifact
    return (
        scene.name,
        tr(scene.status),
        f"{video.seconds:.1f} s" if video else "",
        f"{video.width}x{video.height}" if video else "",
        str(len(scene.attempts)),
        tr("; ").join((*scene.warnings, *((scene.error,) if scene.error else ()))),
    )


def _cost_line(cost: Cost) -> str:
    """Return what a run cost, and where the figure is from."""
    text = tr(
        "cost: {usd} for {seconds:.0f} worker-seconds: {basis}",
        usd=f"<b>{cost.shown}</b>",
        seconds=cost.worker_seconds,
        basis=escape(cost.shown_basis),
    )
    parts: dict[tuple[str, str], float] = {}
    for line in cost.lines:
        kind = (line.kind, str(line.basis))
        parts[kind] = parts.get(kind, 0.0) + line.usd
    items = " + ".join(escape(_item(*kind, usd)) for kind, usd in parts.items())
    return f"{text}<br>{items}" if items else text


def _item(kind: str, basis: str, usd: float) -> str:
    """Return what one kind of thing cost in all."""
    return tr("{kind} {usd} ({basis})", kind=tr(kind), usd=f"${usd:.4f}", basis=tr(basis))


def _estimate_line(estimate: Estimate) -> str:
    return tr(
        "cost: {likely} likely, {low} low, {worst} worst; first choice: {rung} at {price}/h "
        "({source})",
        likely=f"<b>${estimate.likely:.4f}</b>",
        low=f"${estimate.low:.4f}",
        worst=f"${estimate.worst:.4f}",
        rung=escape(estimate.first.shown),
        price=f"${estimate.price.usd_per_hour:.4f}",
        source=escape(estimate.price.source),
    )


def _block(*parts: str) -> str:
    return "".join(f"<div>{part}</div>" for part in parts)


def _table(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    last: Sequence[str] = (),
    *,
    numbers: Collection[int],
) -> str:
    """Return a table of plain texts.

    Args:
        names: of the columns.
        rows: cells of each row.
        last: cells of a row of totals, if there is one.
        numbers: indexes of the columns that hold numbers.
    """
    styles = [_NUMBER if index in numbers else _TEXT for index in range(len(names))]
    head = _row("th", names, styles)
    body = "".join(_row("td", row, styles) for row in rows)
    foot = f"<tfoot>{_row('th', last, styles)}</tfoot>" if last else ""
    return f"<table><thead>{head}</thead><tbody>{body}</tbody>{foot}</table>"


def _row(tag: str, cells: Sequence[str], styles: Sequence[str]) -> str:
    columns = zip(cells, styles, strict=True)
    row = "".join(f'<{tag} style="{style}">{escape(cell)}</{tag}>' for cell, style in columns)
    return f"<tr>{row}</tr>"
