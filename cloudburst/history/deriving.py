"""A run's journal → what it came to, and what it cost. Pure, but for the clock of its bill."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from cloudburst.errors import CloudBurstError
from cloudburst.history.values import Charge, PastRun, Rendering, RunStatus, Use
from cloudburst.language import tr
from cloudburst.models import Cost, Outcome
from cloudburst.report import moment, summary, uses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudburst.journal.state import RunState
    from cloudburst.models import Owner, Rental, RunRecord, SceneResult


def past_run(record: RunRecord, state: RunState | None, owner: Owner | None, at: float) -> PastRun:
    """Return what is known of a run at a moment.

    Args:
        record: its entry in the registry.
        state: what its journal says; None when there is none.
        owner: the process that holds it; None when nobody does.
        at: seconds since 1970.
    """
    began = _moment(record.began)
    if state is None or state.record is None:
        return _blank(record, owner, began)
    # The folder may have been moved since.
    whole = replace(state.record, folder=record.folder)
    if owner is not None:
        state = moment.as_of(state, at)
    scenes = summary.results(state)
    bill, why = _bill(state, whole, scenes)
    report = summary.summarize(
        whole,
        scenes=scenes,
        batches=state.batches,
        bill=bill,
        seconds=state.seconds,
        stopped=state.outcome in (None, str(Outcome.INTERRUPTED)),
    )
    found = uses.uses(report.batches, report.scenes, report.cost, uses.broken_off(state))
    return PastRun(
        record=whole,
        status=_status(state.outcome, owner),
        owner=owner,
        report=report,
        began=began,
        seconds=report.seconds,
        usd_per_hour=_per_hour(state, bill, at),
        workers=len(state.unfinished),
        charges=charges(whole, state, bill, at),
        uses=_uses(found),
        minimum_usd=found.minimum,
        other_usd=found.other,
        rendering=_rendering(state) if owner is not None else (),
        why=why,
        likely_usd=_likely(state, whole),
    )


def unreadable(record: RunRecord, why: str) -> PastRun:
    """Return a run whose journal or lock cannot be read."""
    return PastRun(record, RunStatus.UNREADABLE, began=_moment(record.began), why=why)


def _blank(record: RunRecord, owner: Owner | None, began: float) -> PastRun:
    """Return a run that has no journal, or one that does not say anything yet."""
    if owner is not None:
        return PastRun(record, RunStatus.RUNNING, owner, began=began)
    if not record.path.is_dir():
        why = tr("its folder is gone: {folder}", folder=record.folder)
        return PastRun(record, RunStatus.GONE, began=began, why=why)
    why = tr("it was killed before it had begun anything")
    return PastRun(record, RunStatus.KILLED, began=began, why=why)


def _moment(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _status(outcome: str | None, owner: Owner | None) -> RunStatus:
    if owner is not None:
        return RunStatus.RUNNING
    known = {str(one): RunStatus(str(one)) for one in Outcome}
    return known.get(outcome or "", RunStatus.KILLED)


def _rendering(state: RunState) -> tuple[Rendering, ...]:
    """Return what is being rendered; what a killed worker had is not."""
    there = {worker.label for worker in state.unfinished}
    flights = [(name, one) for name, one in state.inflight.items() if one.worker in there]
    return tuple(
        Rendering(name, one.worker, max(0.0, state.seconds - one.began)) for name, one in flights
    )


# -- money --------------------------------------------------------------------------------------


def _bill(state: RunState, record: RunRecord, scenes: Sequence[SceneResult]) -> tuple[Cost, str]:
    """Return a run's bill, and why it is not known if it is not."""
    try:
        return summary.settled_bill(state, scenes, {}), ""
    except CloudBurstError as error:
        return Cost(0.0, 0.0, ""), tr("the bill of {run}: {why}", run=record.run_id, why=error)


def _likely(state: RunState, record: RunRecord) -> float:
    """Return what a run was estimated to cost in all, by the plan of its first session."""
    if state.planned is None:
        return 0.0
    likely = sum(estimate.likely for estimate in state.planned.estimates.values())
    return likely if record.max_cost_usd is None else min(likely, record.max_cost_usd)


def charges(record: RunRecord, state: RunState, bill: Cost, at: float) -> tuple[Charge, ...]:
    """Return the lines of a bill, each with its machine's type and market, and when it was.

    Args:
        record: which run it is.
        state: what its journal says.
        bill: of the run.
        at: now, seconds since 1970.
    """
    rented = {rental.machine: rental for rental in state.rentals}
    targets = {batch.stack: batch.launches[-1].target for batch in state.batches}
    ended = max((_ended(rental, at) for rental in state.rentals), default=at)
    made = []
    for line in bill.lines:
        rental = rented.get(line.machine) if line.kind != "egress" else None
        began = rental.since if rental else ended
        made.append(
            Charge(
                run_id=record.run_id,
                job=record.job,
                target=targets.get(rental.stack, record.target) if rental else record.target,
                type=rental.rung.type if rental else "",
                market=rental.rung.market if rental else "",
                machine=line.machine,
                kind=line.kind,
                began=began,
                until=max(began, _ended(rental, at)) if rental else ended,
                usd=line.usd,
            )
        )
    return tuple(made)


def _ended(rental: Rental, at: float) -> float:
    """Return when a machine ended, or until when it is billed so far."""
    return rental.until if rental.until is not None else min(at, rental.expires)


def _per_hour(state: RunState, bill: Cost, at: float) -> float:
    """Return what the machines cost now that are not noted as gone, in USD/h."""
    running = {
        one.machine
        for one in state.rentals
        if one.until is None and one.machine and one.expires > at
    }
    hours = {line.machine: line.quantity for line in bill.lines if line.kind == "machine"}
    return sum(
        line.usd / hours[line.machine]
        for line in bill.lines
        if line.machine in running and hours.get(line.machine)
    )


def _uses(found: uses.Uses) -> tuple[Use, ...]:
    """Return what workers were used for, as the report's page says it."""
    return tuple(
        Use(str(use), seconds, found.usd.get(use, 0.0)) for use, seconds in found.seconds.items()
    )
