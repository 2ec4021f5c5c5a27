"""What a run cost, as tables of the page: every figure with what it is made of. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import later, tr
from cloudburst.report import phases
from cloudburst.report.page import text
from cloudburst.report.page.model import Table
from cloudburst.report.uses import Use

if TYPE_CHECKING:
    from cloudburst.models import Basis, Cost, PlannedRun, RunReport
    from cloudburst.report.uses import Uses

# The least ratio of CPU seconds of the public image's server to those of the bundled one, over 16
# pictures with motion, 8 s each: docs/performance.md, "Size by content". With stills it is more.
LEAST_RATIO = 9.4
# Hours of a month as AWS's pricing calculator counts them: 365 days of 24 hours, by 12.
MONTH = 730.0
# USD that floating-point arithmetic makes of nothing.
_NOTHING = 1e-9

_KINDS = (later("machine"), later("disk"), later("address"), later("credits"), later("egress"))


def tables(report: RunReport, went: Uses, planned: PlannedRun | None) -> tuple[Table, ...]:
    """Return the bill, what it went to, and what other ways would have cost.

    Args:
        report: of the run.
        went: what its time and money went to.
        planned: what it set out to do; None where that was not noted.
    """
    rented = bool(report.cost.lines)
    every = (
        _bill(report.cost) if rented else None,
        _uses(report.cost, went, rented=rented) if went.workers else None,
        _others(report, went, planned) if rented else None,
    )
    return tuple(table for table in every if table is not None)


def _bill(cost: Cost) -> Table:
    parts: dict[tuple[str, str, Basis], tuple[float, float]] = {}
    for line in cost.lines:
        key = (line.kind, line.unit, line.basis)
        quantity, usd = parts.get(key, (0.0, 0.0))
        parts[key] = (quantity + line.quantity, usd + line.usd)
    rows = tuple(
        (tr(kind), f"{quantity:.4g} {unit}", tr(str(basis)), text.usd(usd))
        for (kind, unit, basis), (quantity, usd) in parts.items()
    )
    total = tr("at most {usd}", usd=text.usd(cost.usd)) if cost.at_most else text.usd(cost.usd)
    return Table(
        title=tr("The bill"),
        columns=(
            (tr("part"), False),
            (tr("measured"), True),
            (tr("where its rate is from"), False),
            ("USD", True),
        ),
        rows=rows,
        last=(tr("all"), "", "", total),
        notes=tuple(tr(basis) for basis in cost.basis.split("; ")),
    )


def _uses(cost: Cost, went: Uses, *, rented: bool) -> Table:
    whole = sum(went.seconds.values())
    rows = []
    for use, name in phases.USES.items():
        seconds = went.seconds[use]
        share = f"{100 * seconds / whole:.0f} %" if whole else ""
        money = (text.usd(went.usd[use]),) if rented else ()
        rows.append((tr(name), text.seconds(seconds), share, *money))
    if went.minimum > 0:
        beyond = tr("minimum: billed beyond that, since a machine is billed for 60 s at least")
        rows.append((beyond, "", "", text.usd(went.minimum)))
    if rented and went.other > _NOTHING:
        rows.append(
            (
                tr("of no worker: egress, and machines that no launch names"),
                "",
                "",
                text.usd(went.other),
            )
        )
    money = (text.usd(cost.usd),) if rented else ()
    # The bill has its own.
    notes = [] if rented else [tr(basis) for basis in cost.basis.split("; ")]
    if rented:
        notes.append(tr("A machine's bill is divided by the seconds that each use took of it."))
    if rented and went.unshared > _NOTHING:
        notes.append(
            tr(
                "{usd} are in no scene's share: machines on which nothing was rendered, and what "
                "is billed for no machine.",
                usd=text.usd(went.unshared),
            )
        )
    head = ((tr("use"), False), (tr("worker time"), True), (tr("share"), True))
    return Table(
        title=tr("What the workers' time went to"),
        columns=(*head, ("USD", True)) if rented else head,
        rows=tuple(rows),
        last=(tr("all"), text.seconds(whole), "", *money),
        notes=tuple(notes),
    )


def _others(report: RunReport, went: Uses, planned: PlannedRun | None) -> Table | None:
    """Return what other ways would have cost, each as far as there is a figure with a source."""
    rows = [
        row
        for row in (_original(went, planned), _always_on(report, went))
        if row is not None and report.done
    ]
    if not rows:
        return None
    return Table(
        title=tr("Beside other ways"),
        columns=((tr("way"), False), ("USD", True), (tr("how it is computed"), False)),
        rows=((tr("this run"), report.cost.shown, tr("the bill above")), *rows),
    )


def _original(went: Uses, planned: PlannedRun | None) -> tuple[str, ...] | None:
    """Return what rendering by the original tool's image would have cost, at the least.

    None where that is what rendered, or where it is not known what did.
    """
    renderers = planned.renderers if planned else {}
    rented = {worker.launch.target for worker in went.workers if worker.usd is not None}
    if not rented or not all(_is_bundled(renderers.get(name, "")) for name in rented):
        return None
    rendering = went.usd.get(Use.RENDER, 0.0)
    return (
        tr("the original tool's renderer on the same machines"),
        tr("at least {usd}", usd=text.usd(rendering * LEAST_RATIO)),
        tr(
            "an estimate: {usd} for rendering, times {ratio}, the least ratio of CPU seconds in "
            "docs/performance.md; without starts, ends and idle time",
            usd=text.usd(rendering),
            ratio=LEAST_RATIO,
        ),
    )


def _is_bundled(renderer: str) -> bool:
    """Whether the bundled video API rendered, by its name and version; an image has no space."""
    return renderer.startswith("cloudburst ")


def _always_on(report: RunReport, went: Uses) -> tuple[str, ...] | None:
    """Return what one machine of the run's first kind costs that is never ended."""
    billed = [one.launch for one in went.workers if one.usd is not None and one.launch.price]
    if not billed or billed[0].price is None:
        return None
    first, price = billed[0], billed[0].price
    month = price.usd_per_hour * MONTH
    runs = int(month / report.cost.usd) if report.cost.usd else 0
    return (
        tr("one such machine, always on, a month"),
        text.usd(month),
        tr(
            "{rung} at ${price:.4f}/h ({source}) for {hours:.0f} hours; as much as {runs} runs "
            "like this one",
            rung=first.rung.shown,
            price=price.usd_per_hour,
            source=price.source,
            hours=MONTH,
            runs=f"{runs:,}",
        ),
    )
