"""What a run ends with: its report, or what has to be known before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.errors import InfrastructureError, Interrupted, JournalFailed, LeftRunning
from cloudburst.language import tr
from cloudburst.models import Outcome

if TYPE_CHECKING:
    from cloudburst.models import RunReport


def conclude(report: RunReport, failure: Exception | None, *, idle: bool) -> RunReport:
    """Return the report, or raise what has to be known first.

    Args:
        report: what became of the run.
        failure: of the journal, the report's file, or whoever watches.
        idle: no worker got any scene.
    """
    if report.left_running:
        raise LeftRunning(list(report.left_running), report)
    if isinstance(failure, JournalFailed):
        raise JournalFailed(_unwritable(report, failure)) from failure
    if failure is not None:
        raise failure
    if report.outcome is Outcome.INTERRUPTED:
        raise Interrupted(report)
    if idle and report.done < len(report.scenes):
        raise InfrastructureError(tr("no worker could be used: {why}", why=report.error))
    return report


def _unwritable(report: RunReport, failure: JournalFailed) -> str:
    return tr(
        "{failure}; so nothing new was begun, and what ran is destroyed; {done} of {total} videos "
        "were downloaded; when it can be written again: cloudburst resume {run}",
        failure=failure,
        done=report.done,
        total=len(report.scenes),
        run=report.run_id,
    )
