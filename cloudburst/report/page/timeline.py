"""Spans → the timeline of the page: where each block begins and how wide it is. Pure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst.language import later, tr
from cloudburst.models import Phase
from cloudburst.report import phases
from cloudburst.report.page import text
from cloudburst.report.page.model import Block, Mark, Timeline, TimelineRow
from cloudburst.report.uses import end_of, lanes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudburst.models import Attempt, Launch, Span
    from cloudburst.report.uses import Uses, WorkerUse

LANE, GAP = 18, 8
# Classes of blocks with their names, in the order of the legend.
KINDS = {
    **{kind: phases.PHASES[kind] for kind in ("up", "health", "render", "download")},
    "failed": later("failed attempt"),
    "broken": later("broken off"),
    **{kind: phases.PHASES[kind] for kind in ("idle", "destroy")},
    "renewal": later("lease renewed: the machine was reached, and does not end itself yet"),
}
_PHASES = {Phase.UP: "up", Phase.HEALTH: "health", Phase.DRIVE: "idle", Phase.DESTROY: "destroy"}
FAILED, SPOT = "✕", "⚡"
_STEPS = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    43200,
    86400,
)
_TICKS = 8
# Of one page, so that it stays small: more than can be told apart. trace.json has all.
_RENEWALS = 2000
# 0.3 / 0.1 is a little less than 3.
_ROUNDING = 1e-6


def timeline(
    went: Uses, ids: Mapping[str, str], seconds: float, *, going_on: bool = False
) -> Timeline | None:
    """Return the timeline of a run, None when no worker was asked for.

    Args:
        went: what its time went to.
        ids: by scene, the id of its row in the table.
        seconds: that the run took.
        going_on: the run has not ended: what lasts until now is being rendered.
    """
    whole = max([seconds, *(span.end for one in went.workers for span in one.launch.spans)])
    if not went.workers or whole <= 0:
        return None
    rows, y = [], GAP // 2
    step = _renewal_step(went, whole)
    for number, worker in enumerate(went.workers):
        followed = any(other.batch == worker.batch for other in went.workers[number + 1 :])
        now = seconds if going_on else math.inf
        row = _row(worker, ids, whole, y, followed=followed, now=now)
        row = replace(row, renewals=tuple(_renewals(worker.launch, whole, step)))
        rows.append(row)
        y += row.height + GAP
    kinds = {block.kind for row in rows for block in row.blocks}
    kinds |= {"renewal" for row in rows if row.renewals}
    return Timeline(
        seconds=whole,
        height=y,
        rows=tuple(rows),
        legend=tuple((kind, tr(name)) for kind, name in KINDS.items() if kind in kinds),
        text=tr(
            "Timeline of {workers} workers over {seconds}; the tables of workers and scenes below "
            "have the same as text",
            workers=len(rows),
            seconds=text.seconds(whole),
        ),
        ticks=ticks(whole),
    )


def ticks(whole: float) -> tuple[tuple[float, str], ...]:
    """Return the marks of an axis, (percent, text) of each."""
    step = next((one for one in _STEPS if whole / one <= _TICKS), _STEPS[-1])
    count = int(whole / step + _ROUNDING)
    return tuple((round(100 * i * step / whole, 4), tick(i * step)) for i in range(count + 1))


def tick(seconds: float) -> str:
    """Return a moment of the axis: ``0.5``, ``45``, ``2:30``, ``1:02:30``."""
    if seconds < 60:  # noqa: PLR2004
        return f"{round(seconds, 1):g}"
    whole = round(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{minutes.zfill(5)}" if whole >= 3600 else minutes  # noqa: PLR2004


def _unended(scene: str, span: Span, lane: int, row: str, whole: float, now: float) -> Block:
    """Return the block of an attempt that goes on, or whose end nobody saw."""
    took = text.seconds(span.seconds)
    if span.end >= now:
        kind, tip = "render", tr("{scene}: being rendered for {took}", scene=scene, took=took)
    else:
        kind, tip = "broken", tr("{scene}: broken off after {took}", scene=scene, took=took)
    return _block(kind, span.start, span.end, tip, whole, lane, scene, row)


def _row(
    worker: WorkerUse,
    ids: Mapping[str, str],
    whole: float,
    y: int,
    *,
    followed: bool,
    now: float,
) -> TimelineRow:
    launch = worker.launch
    tries = (*worker.attempts, *worker.broken)
    at = lanes([(attempt.span.start, end_of(attempt)) for _, attempt in tries])
    blocks = list(_phases(launch, whole))
    count = len(worker.attempts)
    for (scene, attempt), lane in zip(worker.attempts, at[:count], strict=True):
        blocks += _attempt(scene, attempt, lane, ids.get(scene, ""), whole)
    for (scene, attempt), lane in zip(worker.broken, at[count:], strict=True):
        blocks.append(_unended(scene, attempt.span, lane, ids.get(scene, ""), whole, now))
    return TimelineRow(
        label=launch.label,
        note=text.machine(launch),
        y=y,
        height=LANE * (max(at, default=0) + 1) + 2,
        blocks=tuple(blocks),
        marks=tuple(_marks(launch, whole, followed=followed)),
    )


def _phases(launch: Launch, whole: float) -> Iterable[Block]:
    for span in launch.spans:
        kind = _PHASES.get(Phase(span.phase), "idle") if span.phase in set(Phase) else "idle"
        tip = tr(
            "{worker}, {phase}: {took}, from {start} to {end}",
            worker=launch.label,
            phase=phases.name(span.phase),
            took=text.seconds(span.seconds),
            start=text.seconds(span.start),
            end=text.seconds(span.end),
        )
        yield _block(kind, span.start, span.end, tip, whole)


def _attempt(scene: str, attempt: Attempt, lane: int, row: str, whole: float) -> Iterable[Block]:
    span, download = attempt.span, attempt.download
    if attempt.error is not None:
        tip = tr(
            "{scene} on {worker}: failed after {took}: {why}",
            scene=scene,
            worker=attempt.worker,
            took=text.seconds(span.seconds),
            why=text.short(attempt.error),
        )
        yield _block("failed", span.start, end_of(attempt), tip, whole, lane, scene, row)
        return
    tip = tr(
        "{scene} on {worker}: rendered in {took}",
        scene=scene,
        worker=attempt.worker,
        took=text.seconds(span.seconds),
    )
    yield _block("render", span.start, span.end, tip, whole, lane, scene, row)
    if download is not None:
        tip = tr(
            "{scene}: downloaded and verified in {took}",
            scene=scene,
            took=text.seconds(download.seconds),
        )
        yield _block("download", download.start, download.end, tip, whole, lane, "", row)


def _marks(launch: Launch, whole: float, *, followed: bool) -> Iterable[Mark]:
    """Return the moment at which a worker was lost or given up, or its rung refused."""
    if launch.error is None or not launch.spans:
        return
    destroys = [span.start for span in launch.spans if span.phase == Phase.DESTROY]
    at = destroys[0] if destroys else launch.spans[-1].end
    lost = is_spot_loss(launch)
    why = f"{launch.code}: {launch.error}" if launch.code else launch.error
    if lost:
        tip = tr("{worker}: the spot machine was reclaimed: {why}", worker=launch.label, why=why)
    elif followed:
        tip = tr("{worker}: left for another machine: {why}", worker=launch.label, why=why)
    else:
        tip = tr("{worker}: failed: {why}", worker=launch.label, why=why)
    yield Mark(_percent(at, whole), SPOT if lost else FAILED, text.short(tip))


def _renewal_step(went: Uses, whole: float) -> float:
    """Return the seconds that two renewals of a row must lie apart, where there are very many."""
    count = sum(len(worker.launch.renewals) for worker in went.workers)
    return whole * len(went.workers) / _RENEWALS if count > _RENEWALS else 0.0


def _renewals(launch: Launch, whole: float, step: float) -> Iterable[Mark]:
    """Return when a machine's lease was renewed, no two closer than `step` seconds."""
    last = -math.inf
    for renewal in launch.renewals:
        if renewal.at - last < step:
            continue
        last = renewal.at
        tip = tr(
            "{worker}: lease renewed after {at}; without a request, the machine would end itself "
            "after {until}",
            worker=launch.label,
            at=text.seconds(renewal.at),
            until=text.seconds(renewal.until),
        )
        yield Mark(_percent(renewal.at, whole), "", tip)


def is_spot_loss(launch: Launch) -> bool:
    """Whether a launch ended because its spot machine was reclaimed, by the provider's code."""
    return launch.rung.market == "spot" and (launch.code or "").startswith("Server.SpotInstance")


def _block(
    kind: str,
    start: float,
    end: float,
    tip: str,
    whole: float,
    lane: int = -1,
    name: str = "",
    target: str = "",
) -> Block:
    x = _percent(start, whole)
    width = max(0.0, _percent(end, whole) - x)
    return Block(kind, x, round(width, 4), tip, lane, name, target)


def _percent(seconds: float, whole: float) -> float:
    return round(100 * max(0.0, seconds) / whole, 4)
