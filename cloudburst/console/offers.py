"""The machines that a job may get, on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst import targets
from cloudburst.console.layout import Column, table
from cloudburst.console.moments import age
from cloudburst.console.report import table_console
from cloudburst.console.text import safe, titled, word
from cloudburst.language import ntr, tr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from cloudburst.models import Job, Offer


def show_offers(job: Job, found: Sequence[Offer]) -> None:
    """Print the machines that a job may get, in the order in which they are tried.

    Args:
        job: with the target.
        found: its offers; zones of one price share a row.
    """
    console = table_console()
    if not found:
        why = targets.get(job.target).unbilled
        console.print(tr("{target}: nothing is rented: {why}", target=job.target, why=tr(why)))
        return
    columns = [
        Column(tr("machine")),
        Column(tr("market"), rank=1),
        Column(tr("zones"), folds=True, rank=3),
        Column("$/h", right=True),
        Column(tr("at once"), right=True, rank=4),
        Column(tr("this job"), right=True, rank=2),
        Column(tr("cost"), right=True),
    ]
    rows = _rows(found)
    console.print(table(columns, [_cells(row) for row in rows], console.width))
    for source in dict.fromkeys(one.price.source for one in found if one.price):
        console.print(f"[dim]{safe(source)}[/]", soft_wrap=True)
    for line in _speeds(found):
        console.print(f"[dim]{safe(line)}[/]", soft_wrap=True)
    for why in dict.fromkeys(one.why for one in found if one.why):
        console.print(titled("yellow", tr("no price:"), why), soft_wrap=True)
    scenes = ntr("{count} scene", "{count} scenes", len(job.scenes))
    text = tr(
        "{scenes}; likely time and cost; the first machine that is available is taken",
        scenes=scenes,
    )
    console.print(text, soft_wrap=True)


def _speeds(found: Sequence[Offer]) -> list[str]:
    """Return where the times are from, a line for each origin: most types were never measured."""
    types: dict[tuple[str, bool], dict[str, None]] = {}
    for one in found:
        if one.price is not None:
            types.setdefault((one.speed, one.measured), {})[one.rung.type] = None
    lines = []
    for (origin, measured), names in types.items():
        values = {"types": tr(", ").join(names), "origin": origin}
        text = tr("speed of {types}: {origin}", **values)
        if not measured:
            text = tr(
                "speed of {types}: not measured by runs of this machine; {origin}, taken to be the "
                "same for every two vCPUs of any type",
                **values,
            )
        lines.append(text)
    return lines


def _rows(found: Sequence[Offer]) -> list[list[Offer]]:
    """Return offers of one type, market and price together: they differ in the zone."""
    rows: dict[object, list[Offer]] = {}
    for one in found:
        usd = one.price.usd_per_hour if one.price else None
        rows.setdefault((one.rung.type, one.rung.market, one.rung.region, usd), []).append(one)
    return list(rows.values())


def _cells(row: Sequence[Offer]) -> list[str | Text]:
    first = row[0]
    zones = tr(", ").join(one.rung.zone for one in row)
    if first.price is None:
        return [first.rung.type, word(first.rung.market), zones, "–", "–", "–", "–"]
    return [
        first.rung.type,
        word(first.rung.market),
        zones,
        f"{first.price.usd_per_hour:.4f}",
        str(first.room),
        age(first.seconds),
        f"${first.usd:.4f}",
    ]
