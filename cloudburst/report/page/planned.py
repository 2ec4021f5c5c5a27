"""The plan beside what happened, as a table of the page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.report import phases
from cloudburst.report.page import text
from cloudburst.report.page.model import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudburst.models import Estimate, PlannedRun, RunReport
    from cloudburst.report.uses import Uses

Row = tuple[str, str, str]


def table(planned: PlannedRun | None, report: RunReport, went: Uses) -> Table | None:
    """Return what was planned and what happened; None when the plan was not noted.

    Args:
        planned: what the run's first session set out to do.
        report: of the run, with all its sessions.
        went: what its time and money went to.
    """
    if planned is None:
        return None
    notes = [line for estimate in planned.estimates.values() for line in estimate.assumptions]
    return Table(
        title=tr("Plan and outcome"),
        columns=((tr("what"), False), (tr("planned"), True), (tr("happened"), True)),
        rows=tuple(_rows(planned, report, went)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _rows(planned: PlannedRun, report: RunReport, went: Uses) -> Iterator[Row]:
    batches = planned.batches
    used = [one for one in went.workers if one.launch.worker is not None]
    yield (
        tr("scenes"),
        str(sum(batch.scenes for batch in batches)),
        tr("{done} done", done=report.done),
    )
    yield tr("workers"), str(len(batches)), str(len(used))
    failed = len(went.workers) - len(used)
    if failed:
        yield tr("launches that gave no worker"), "0", str(failed)
    if batches:
        narrations = [batch.seconds for batch in batches]
        yield (
            tr("narration of a worker, least and most"),
            f"{text.seconds(min(narrations))} – {text.seconds(max(narrations))}",
            "",
        )
    rendered = [one.launch.scenes_done for one in used]
    if batches and rendered:
        yield (
            tr("scenes of a worker, least and most"),
            f"{min(one.scenes for one in batches)} – {max(one.scenes for one in batches)}",
            f"{min(rendered)} – {max(rendered)}",
        )
    for estimate in planned.estimates.values():
        yield from _estimated(estimate, report)
    if not planned.estimates:
        yield tr("time"), "", text.seconds(report.seconds)


def _estimated(estimate: Estimate, report: RunReport) -> Iterator[Row]:
    likely = sum(estimate.phases.values())
    yield tr("time"), text.seconds(likely), text.seconds(report.seconds)
    happened = {
        "boot": report.phases.get("up", 0.0) + report.phases.get("health", 0.0),
        "drive": report.phases.get("drive"),
        "destroy": report.phases.get("destroy"),
    }
    for phase, seconds in estimate.phases.items():
        value = happened.get(phase)
        yield (
            phases.name(phase),
            text.seconds(seconds),
            "" if value is None else text.seconds(value),
        )
    yield tr("cost, likely"), text.usd(estimate.likely), report.cost.shown
    yield (
        tr("cost, from low to worst"),
        f"{text.usd(estimate.low)} – {text.usd(estimate.worst)}",
        "",
    )
