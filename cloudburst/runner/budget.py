"""Cost limits: refused before a run when it would cost more, stopped in time while it runs.

`max_cost_usd` is of one run, `max_cost_usd_month` of all runs of this machine in a calendar month,
by their journals. A month is UTC's, as on AWS's bill. Before a run, what the others that are going
on are likely to cost yet counts as well; while it runs, what they have cost, and what ending costs.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from cloudburst import clock
from cloudburst.errors import BadInput
from cloudburst.history.month import OtherRuns, Others
from cloudburst.history.spending import day, month_began
from cloudburst.language import tr
from cloudburst.models import EventKind, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudburst.models import Job
    from cloudburst.runner.context import OpenTarget, RunContext

LOOK_EVERY = 1.0
# Seconds for which the journals of the other runs are not read again.
MONTH_EVERY = 30.0
# Seconds for which the machines cost while they finish and end: so much earlier the run is stopped.
WIND_DOWN = 60.0
_RUN, _MONTH = "limits.max_cost_usd", "limits.max_cost_usd_month"


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
        self._runs = OtherRuns(context.run_id)
        self._others = Others(0.0, 0.0, 0.0)
        self._read = float("-inf")
        self.reached = ""

    def __enter__(self) -> Self:
        limits = self._context.limits
        if limits.max_cost_usd is not None or limits.max_cost_usd_month is not None:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        limits = self._context.limits
        while not self._done.wait(LOOK_EVERY):
            spent, per_hour = accrued(self._context.targets.values())
            ending = per_hour * WIND_DOWN / 3600
            if limits.max_cost_usd is not None and spent + ending >= limits.max_cost_usd:
                self._stop(_reached(_RUN, spent, limits.max_cost_usd))
                return
            if limits.max_cost_usd_month is not None:
                others = self._other_runs()
                month = spent + others.spent
                ending += others.per_hour * WIND_DOWN / 3600
                if month + ending >= limits.max_cost_usd_month:
                    self._stop(_reached(_MONTH, month, limits.max_cost_usd_month))
                    return

    def _other_runs(self) -> Others:
        if time.monotonic() - self._read > MONTH_EVERY:
            self._others = self._runs.read()
            self._read = time.monotonic()
        return self._others

    def _stop(self, why: str) -> None:
        context = self._context
        finish = context.limits.on_max_cost == "finish"
        rest = tr("what renders is finished") if finish else tr("what renders is cancelled")
        self.reached = tr("{why}, and ending costs too; {rest}", why=why, rest=rest)
        context.timeline.emit(EventKind.STOPPING, self.reached, count=0)
        context.stop_launching(self.reached)
        if finish:
            context.queue.stop()
        else:
            context.stop.end()


def _reached(limit: str, spent: float, most: float) -> str:
    values = {"spent": f"${spent:.4f}", "limit": f"${most:g}"}
    if limit == _RUN:
        return tr("limits.max_cost_usd: {spent} of {limit} are spent", **values)
    return tr(
        "limits.max_cost_usd_month: {spent} of {limit} are spent this month by the runs of this "
        "machine",
        **values,
    )


def accrued(targets: Iterable[OpenTarget]) -> tuple[float, float]:
    """Return what a run has cost so far, in USD, and what it costs now, in USD/h."""
    spent = per_hour = 0.0
    for opened in targets:
        if opened.billing is not None:
            usd, rate = opened.billing.accrued()
            spent, per_hour = spent + usd, per_hour + rate
    return spent, per_hour


def check(job: Job, targets: Iterable[OpenTarget], run_id: str) -> None:
    """Refuse a job that will likely cost more than it may.

    Args:
        job: with its limits.
        targets: on which it is to run.
        run_id: of the run.

    Raises:
        BadInput: it would cost more than a limit allows; nothing was created.
    """
    limits, opened = job.limits, list(targets)
    estimates = [one.source.estimate() for one in opened if one.source is not None]
    billed = [estimate for estimate in estimates if estimate is not None]
    if not billed:
        return
    spent, _ = accrued(opened)
    likely, low = sum(one.likely for one in billed), sum(one.low for one in billed)
    problems = []
    if limits.max_cost_usd is not None and spent + likely > limits.max_cost_usd:
        message = _too_dear(limits.max_cost_usd, spent, likely, low)
        problems.append(Problem(*job.place(_RUN), _RUN, message))
    if limits.max_cost_usd_month is not None:
        others = OtherRuns(run_id).read()
        month = spent + others.spent
        if month + others.to_come + likely > limits.max_cost_usd_month:
            limit = limits.max_cost_usd_month
            message = _month_too_dear(limit, month, others.to_come, likely, low)
            problems.append(Problem(*job.place(_MONTH), _MONTH, message))
    if problems:
        raise BadInput(problems)


def _month_too_dear(limit: float, spent: float, to_come: float, likely: float, low: float) -> str:
    values = {
        "limit": f"{limit:g}",
        "day": day(month_began(clock.now())),
        "spent": f"${spent:.4f}",
        "left": f"${max(0.0, limit - spent - to_come):.4f}",
        "likely": f"${likely:.4f}",
        "low": f"${low:.4f}",
    }
    if to_come:
        return tr(
            "got {limit}; since {day} (UTC) the runs of this machine have cost {spent}, and those "
            "that are going on will likely cost {to_come} more, so {left} is left; the run will "
            "likely cost {likely} ({low} if all goes well); expected more, or fewer scenes; "
            "`cloudburst cost --since {day}` shows what it was spent for, `cloudburst ps` what is "
            "going on",
            to_come=f"${to_come:.4f}",
            **values,
        )
    return tr(
        "got {limit}; since {day} (UTC) the runs of this machine have cost {spent}, so {left} is "
        "left; the run will likely cost {likely} ({low} if all goes well); expected more, or fewer "
        "scenes; `cloudburst cost --since {day}` shows what it was spent for",
        **values,
    )


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
