"""Lines about what stays when a run ends: what is left running, and what was kept on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.language import tr
from cloudburst.runner.worker.takeover import removal_line
from cloudburst.runner.worker.worker_run import clock_time

if TYPE_CHECKING:
    from cloudburst.runner.batch import BatchRunner
    from cloudburst.runner.context import RunContext


def remaining_line(context: RunContext, batch: BatchRunner) -> str:
    """Return what is left running of a batch, why, and the command that removes it."""
    problem = batch.error or tr("its teardown was not waited for")
    expires = batch.on.workers.expires(batch.stack)
    return removal_line(context, batch.on.name, batch.stack, problem, expires)


def kept_line(batch: BatchRunner) -> str:
    """Return where the worker is that a batch keeps, and until when."""
    kept = batch.kept
    if kept is None or kept.worker is None:
        return batch.stack
    return stays(batch.stack, kept.worker.endpoint, kept.kept_until)


def stays(stack: str, endpoint: str | None, until: float | None) -> str:
    """Return where the worker of a stack is.

    Args:
        stack: its name.
        endpoint: its address, as a URL.
        until: when it ends itself, in seconds since the epoch; None for one that does not.
    """
    if not until:
        return stack
    return tr(
        "{stack} at {endpoint} until {time}", stack=stack, endpoint=endpoint, time=clock_time(until)
    )
