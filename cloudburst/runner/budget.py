"""`max_cost_usd`: refused before a run when it would cost more, stopped in time while it runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from cloudburst.errors import BadInput
from cloudburst.language import tr
from cloudburst.models import EventKind, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudburst.models import Job
    from cloudburst.runner.context import OpenTarget, RunContext

LOOK_EVERY = 1.0
# Seconds for which the machines cost while they finish and end: so much earlier the run is stopped.
WIND_DOWN = 60.0


class Budget:
    """Watches what a run has cost, in a thread of its own, for as long as it is entered.

    Args:
        context: the run's.

    Attributes:
        reached: why the run was stopped; empty if it was not.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="budget", daemon=True)
        self.reached = ""

    def __enter__(self) -> Self:
        if self._context.limits.max_cost_usd is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        limit = self._context.limits.max_cost_usd or 0.0
        while not self._done.wait(LOOK_EVERY):
            spent, per_hour = accrued(self._context.targets.values())
            if spent + per_hour * WIND_DOWN / 3600 >= limit:
                self._stop(spent, limit)
                return

    def _stop(self, spent: float, limit: float) -> None:
        context = self._context
        finish = context.limits.on_max_cost == "finish"
        rest = tr("what renders is finished") if finish else tr("what renders is cancelled")
        self.reached = tr(
            "limits.max_cost_usd: {spent} of {limit} are spent, and ending costs too; {rest}",
            spent=f"${spent:.4f}",
            limit=f"${limit:g}",
            rest=rest,
        )
        context.timeline.emit(EventKind.STOPPING, self.reached, count=0)
        context.stop_launching(self.reached)
        if finish:
            context.queue.stop()
        else:
            context.stop.end()


def accrued(targets: Iterable[OpenTarget]) -> tuple[float, float]:
    """Return what a run has cost so far, in USD, and what it costs now, in USD/h."""
    spent = per_hour = 0.0
    for opened in targets:
        if opened.billing is not None:
            usd, rate = opened.billing.accrued()
            spent, per_hour = spent + usd, per_hour + rate
    return spent, per_hour


def check(job: Job, targets: Iterable[OpenTarget]) -> None:
    """Refuse a job that will likely cost more than it may.

    Raises:
        BadInput: it would cost more than `Limits.max_cost_usd`; nothing was created.
    """
    limit, opened = job.limits.max_cost_usd, list(targets)
    estimates = [one.source.estimate() for one in opened if one.source is not None]
    billed = [estimate for estimate in estimates if estimate is not None]
    if limit is None or not billed:
        return
    spent, _ = accrued(opened)
    likely, low = sum(one.likely for one in billed), sum(one.low for one in billed)
    if spent + likely > limit:
        message = _too_dear(limit, spent, likely, low)
        raise BadInput([Problem(str(job.source), 0, "limits.max_cost_usd", message)])


def _too_dear(limit: float, spent: float, likely: float, low: float) -> str:
    figures = {"limit": f"{limit:g}", "likely": f"${likely:.4f}", "low": f"${low:.4f}"}
    if spent:
        return tr(
            "got {limit}; the run has cost {spent} and will likely cost {likely} "
            "({low} if all goes well); expected more, or fewer scenes",
            spent=f"${spent:.4f}",
            **figures,
        )
    return tr(
        "got {limit}; the run will likely cost {likely} ({low} if all goes well); "
        "expected more, or fewer scenes",
        **figures,
    )
