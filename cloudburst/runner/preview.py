"""A dry run: what a run would create, and what it would cost. Creates nothing."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudburst import targets
from cloudburst.errors import EngineError
from cloudburst.journal import lock, registry
from cloudburst.language import tr
from cloudburst.models import Event, Preview, StackPreview, WorkerLabel
from cloudburst.paths import state_folder
from cloudburst.runner import budget
from cloudburst.runner.batch import worker_spec
from cloudburst.runner.context import (
    OpenTarget,
    engine_for,
    found_engine,
    new_record,
    new_run_id,
    notes,
    with_workers,
)
from cloudburst.runner.events import Timeline
from cloudburst.runner.planner import plan
from cloudburst.stop import Stop, on_signals
from cloudburst.targets.durations import longest_timeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from cloudburst.models import Batch, Job, RunRecord, WorkerSpec


def preview(
    job: Job,
    *,
    offline: bool = False,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Preview:
    """Return what a run would create, and on rented machines what it would cost. Creates nothing.

    Args:
        job: from `load_job`.
        offline: ask neither the engine nor the provider; the notes say what is not checked.
        on_event: called with what happens.

    Raises:
        BadInput: it would cost more than `Limits.max_cost_usd`.
        InfrastructureError: the engine or the provider could not be asked, or refused.
        KeyboardInterrupt: it was asked to stop; the backend is as it was.
    """
    planned = plan(job)
    if offline:
        return Preview(planned, notes=_unchecked(job))
    stop = Stop()
    timeline = Timeline(on_event, stop.end)
    cli = found_engine(timeline)
    began = datetime.now(UTC)
    run_id = new_run_id(began)
    folder = state_folder() / "previews" / run_id
    record = new_record(
        job, run_id=run_id, folder=str(folder), began=began.isoformat(timespec="seconds")
    )
    with on_signals(stop), ExitStack() as held:
        opened = {}
        for name in sorted({batch.target for batch in planned.batches}):
            target = held.enter_context(targets.get(name).open(job.settings.get(name)))
            opened[name] = OpenTarget(target, engine_for(cli, target))
        wanted = planned
        planned, ready = with_workers(opened, wanted, run_id)
        budget.check(job, ready.values(), run_id)
        regions = [region for on in ready.values() for region in on.resources.regions]
        held.enter_context(_passing(record, tuple(regions)))
        try:
            stacks = _stacks(planned.batches, record, job, ready, stop)
        except EngineError:
            if not stop.requested:
                raise
            raise KeyboardInterrupt from None  # Ctrl-C in a terminal ends the engine, too
        estimates = [on.workers.estimate() for on in ready.values()]
        estimate = next((one for one in estimates if one is not None), None)
    if stop.requested:
        # It came while the last previews were made; they are complete, but nobody wants them.
        raise KeyboardInterrupt
    failure = timeline.close()
    if failure is not None:
        raise failure
    return Preview(planned, stacks, estimate, notes(wanted, planned, ready))


def _stacks(
    batches: Sequence[Batch],
    record: RunRecord,
    job: Job,
    ready: Mapping[str, OpenTarget],
    stop: Stop,
) -> tuple[StackPreview, ...]:
    quotes = {name: on.workers.quote(on.workers.ladder.first) for name, on in ready.items()}
    # Each looks at the sizes of all files, so once for each target and not for each batch.
    timeouts = {
        name: longest_timeout(job.scenes, job.limits, on.workers.terms)
        for name, on in ready.items()
    }

    def spec_of(batch: Batch) -> WorkerSpec:
        workers = ready[batch.target].workers
        rung = workers.ladder.first
        count = sum(other.target == batch.target for other in batches)
        room, label = workers.room(count, rung), str(WorkerLabel(batch.number))
        return worker_spec(record, timeouts[batch.target], batch.label, rung, room, label)

    def stack_preview(batch: Batch) -> StackPreview:
        if stop.requested:
            raise KeyboardInterrupt
        on, spec = ready[batch.target], spec_of(batch)
        program = on.workers.program(spec, quotes[batch.target])
        return StackPreview(batch, spec.stack, on.engine.preview(spec.stack, program))

    # Stacks of one target differ in names and tags only: the engine is asked about the first.
    firsts = list({batch.target: batch for batch in reversed(batches)}.values())
    with ThreadPoolExecutor(len(firsts)) as pool:
        made = {one.batch.target: one for one in pool.map(stack_preview, firsts)}
    return tuple(_like(made[batch.target], batch, spec_of(batch).stack) for batch in batches)


def _like(first: StackPreview, batch: Batch, stack: str) -> StackPreview:
    """Return the preview of a batch whose stack is declared as another one's."""
    resources = (replace(one, name=one.name.replace(first.stack, stack)) for one in first.resources)
    return StackPreview(batch, stack, tuple(resources))


@contextmanager
def _passing(record: RunRecord, regions: tuple[str, ...]) -> Iterator[None]:
    """Register a run of which nothing is to stay: for an audit beside it, it is going on."""
    folder = record.path
    folder.mkdir(parents=True)
    try:
        with lock.holding(folder):
            registry.register(replace(record, regions=regions))
            yield
    finally:
        registry.forget(record.run_id)
        shutil.rmtree(folder, ignore_errors=True)


def _unchecked(job: Job) -> tuple[str, ...]:
    """Return what a look at the plan alone leaves open."""
    notes = (tr("offline: the engine's preview of the stacks was not made"),)
    note = targets.get(job.target).offline_note
    return (*notes, tr("offline: {note}", note=tr(note))) if note else notes
