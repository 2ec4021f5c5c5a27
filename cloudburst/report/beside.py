"""What is written beside report.json: the page, the trace, the tables. None of it can fail a run.

They are for people and for other programs to look at a run; the run itself never reads them. So
whatever goes wrong with one of them is a warning.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from cloudburst import files
from cloudburst.errors import CloudBurstError
from cloudburst.language import tr
from cloudburst.report import tables, trace
from cloudburst.report.uses import broken_off, uses

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.journal.state import RunState
    from cloudburst.models import RunReport
    from cloudburst.report.uses import Uses

PAGE = "report.html"
# Seconds for pictures of videos: at the end of a run somebody waits for its summary.
AT_THE_END = 5.0


def write(
    report: RunReport,
    journal: Callable[[], RunState] | None,
    *,
    hurried: Callable[[], bool] = lambda: False,
    going_on: bool = False,
    patience: float = AT_THE_END,
) -> tuple[str, ...]:
    """Write all that is written beside report.json, each file whole or not at all.

    Args:
        report: of the run.
        journal: reads what its journal says; the page has less where it cannot be read.
        hurried: whether somebody waits who does not want to: then videos are not opened for their
            first pictures.
        going_on: the run has not ended.
        patience: seconds that taking pictures of the videos may last.

    Returns:
        What could not be written, and why, a line each.
    """
    problems = []

    @functools.cache
    def state() -> RunState | None:
        return _state(journal)

    @functools.cache
    def known() -> Uses:
        return uses(report.batches, report.scenes, report.cost, broken_off(state()))

    def page() -> str:
        # The template engine and the decoder are only for this.
        from cloudburst.report.page import page as html  # noqa: PLC0415

        return html.document(
            report, state(), known(), hurried=hurried, going_on=going_on, patience=patience
        )

    makers: dict[str, Callable[[], str]] = {
        PAGE: page,
        trace.NAME: lambda: json.dumps(trace.document(report, known()), ensure_ascii=False),
        tables.SCENES: lambda: tables.scenes_csv(report, known()),
        tables.LAUNCHES: lambda: tables.launches_csv(known()),
    }
    for name, make in makers.items():
        path = report.directory / name
        try:
            # A worker's text may hold half of a character.
            files.write_whole(path, make().encode(errors="backslashreplace"), durable=False)
        except Exception as error:  # noqa: BLE001 - nothing here is worth a run
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            problems.append(tr("{file} cannot be written: {reason}", file=path, reason=reason))
    return tuple(problems)


def _state(journal: Callable[[], RunState] | None) -> RunState | None:
    if journal is None:
        return None
    try:
        return journal()
    except CloudBurstError:
        return None
