"""The order of a run's stages: prepare, start, finish. It is written here and nowhere else."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudburst import targets
from cloudburst.errors import (
    BadInput,
    CloudBurstError,
    InfrastructureError,
)
from cloudburst.journal import registry
from cloudburst.journal.eventlog import EventLog
from cloudburst.journal.store import Journal
from cloudburst.language import ntr, tr
from cloudburst.models import Event, EventKind, Plan, RunRecord, WorkerLabel
from cloudburst.pace import LaunchPace
from cloudburst.report import beside, json, summary
from cloudburst.runner import budget
from cloudburst.runner.batch import BatchRunner, run_all
from cloudburst.runner.context import (
    LOGS,
    OpenTarget,
    RunContext,
    engine_for,
    found_engine,
    new_record,
    new_run_id,
    notes,
    planned_run,
    results_folder,
    with_workers,
    write_job,
)
from cloudburst.runner.ending import hooks
from cloudburst.runner.ending.conclusion import conclude
from cloudburst.runner.ending.remaining import kept_line, remaining_line, stays
from cloudburst.runner.ending.results import SceneResults
from cloudburst.runner.events import Timeline
from cloudburst.runner.meter import Meter
from cloudburst.runner.planner import plan
from cloudburst.runner.queue import SceneQueue
from cloudburst.runner.resume import StartingPoint, take_stock
from cloudburst.runner.worker.takeover import EarlierWorkers
from cloudburst.stop import Stop, on_signals
from cloudburst.targets.base import Earlier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cloudburst.engine.toolchain import PulumiCli
    from cloudburst.models import BatchResult, Cost, Job, Rental, RunReport, SceneResult


def run(
    job: Job,
    *,
    resume: Path | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    stop: Stop | None = None,
    on_begun: Callable[[RunRecord], None] = lambda _: None,
) -> RunReport:
    """Turn a job's scenes into videos, and leave nothing running.

    In the main thread, SIGINT, SIGTERM and SIGHUP are requests to stop for as long as this runs.

    Args:
        job: from `load_job`.
        resume: folder of the run to resume; see `cloudburst.runner.resume`.
        on_event: called with one event at a time, from any thread.
        stop: through which another thread may ask the run to stop.
        on_begun: called in this thread once the run has its journal, before anything is created.

    Returns:
        What became of it, also written to ``report.json`` beside the videos. Scenes that failed
        are in it; they raise nothing. A run that is finished already starts nothing.

    Raises:
        BadInput: it would cost more than `Limits.max_cost_usd`; nothing was started.
        RunBusy: another process works on the run that is to be resumed.
        Interrupted: it was asked to stop; all is torn down; carries the report.
        InfrastructureError: no worker could be used at all, or the journal cannot be written.
        LeftRunning: something could not be verified as gone; says what removes it.
    """
    with ExitStack() as held:
        current = Run(job, held, on_event, stop or Stop(), resume, on_begun)
        prepared = current.prepare()
        started = current.start(prepared)
        return current.finish(prepared, started)


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a run needs, and that costs nothing.

    Args:
        record: which run it is.
        planned: which scenes go to which batch.
        targets: by name, open.
        refused: why no new work starts; what earlier sessions have left is still destroyed.
    """

    record: RunRecord
    planned: Plan
    targets: Mapping[str, OpenTarget] = field(default_factory=dict)
    refused: CloudBurstError | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """What has been running, once it has ended.

    Args:
        record: which run it is, with the regions it may have used.
        context: what its batches shared; None when everything was done already.
        batches: of this session.
        earlier: workers of earlier sessions.
        over_budget: why the run was stopped for its cost; empty if it was not.
    """

    record: RunRecord
    context: RunContext | None = None
    batches: tuple[BatchRunner, ...] = ()
    earlier: EarlierWorkers | None = None
    over_budget: str = ""


class Run:
    """One run. A resumed run, and one that is done already, differ in where they start from.

    Args:
        job: what is to be rendered.
        held: what the run holds until it ends: its journal, its targets, the signals.
        on_event: see `run`.
        stop: see `run`.
        resume: folder of an earlier session, None for a run that begins.
        on_begun: see `run`.
    """

    def __init__(
        self,
        job: Job,
        held: ExitStack,
        on_event: Callable[[Event], None],
        stop: Stop,
        resume: Path | None,
        on_begun: Callable[[RunRecord], None] = lambda _: None,
    ) -> None:
        self._job = job
        self._on_begun = on_begun
        self._held = held
        self._stop = stop
        self._log = EventLog()
        held.callback(self._log.close)
        self._timeline = Timeline(self._log.before(on_event), stop.end)
        self._journal: Journal | None = None
        self._point = StartingPoint(job.scenes)
        if resume is not None:
            self._journal = held.enter_context(Journal(resume, self._timeline.now))
            self._point = take_stock(job, self._journal)

    # -- prepare --------------------------------------------------------------------------------

    def prepare(self) -> Prepared:
        """Get everything ready that costs nothing, and check that the estimate fits the budget."""
        record, planned = self._record(), self._planned()
        if self._point.finished:
            return Prepared(record, planned)
        # Nothing runs yet: until it does, Ctrl-C may simply end the program.
        cli = found_engine(self._timeline)
        # Building the engine, once in a machine's life, is not the run's time.
        self._timeline.restart(self._point.state.seconds)
        self._held.enter_context(on_signals(self._stop))
        opened = self._open(record, planned, cli)
        try:
            wanted = planned
            planned, ready = with_workers(opened, wanted, record.run_id)
            for note in notes(wanted, planned, ready):
                self._timeline.emit(EventKind.NOTE, note)
            budget.check(self._job, ready.values(), record.run_id)
        except (BadInput, InfrastructureError) as error:
            if self._point.only_kept:
                raise
            # What an earlier session has left costs money, and is ended all the same.
            return Prepared(record, replace(planned, batches=()), opened, error)
        return Prepared(record, planned, ready)

    def _record(self) -> RunRecord:
        earlier, job = self._point.state.record, self._job
        began = datetime.now(UTC)
        return new_record(
            job,
            run_id=earlier.run_id if earlier else new_run_id(began),
            # The folder may have been moved since.
            folder=str(self._journal.folder) if self._journal else "",
            began=earlier.began if earlier else began.isoformat(timespec="seconds"),
        )

    def _planned(self) -> Plan:
        rest = self._point.rest
        batches = plan(replace(self._job, scenes=rest)).batches if rest else ()
        return Plan(self._job, batches)

    def _open(self, record: RunRecord, planned: Plan, cli: PulumiCli) -> dict[str, OpenTarget]:
        state, job = self._point.state, self._job
        names = {job.target, *state.targets, *(batch.target for batch in planned.batches)}
        opened = {}
        for name in sorted(names):
            kind, settings = targets.get(name), job.settings.get(name)
            before = Earlier(record.run_id, state.regions(name), state.rentals_on(name))
            target = self._held.enter_context(kind.open(settings, before, self._note_rental))
            opened[name] = OpenTarget(target, engine_for(cli, target), kind.renderer(settings))
        return opened

    def _note_rental(self, rental: Rental) -> None:
        if self._journal is not None:
            self._journal.rental(rental)

    # -- start ----------------------------------------------------------------------------------

    def start(self, prepared: Prepared) -> Started:
        """Note the run where an audit looks, then run every batch to its verified end."""
        if self._point.finished:
            self._report_start(prepared.record, 0)
            return Started(prepared.record)
        journal, record = self._noted(prepared)
        self._on_begun(record)
        context = self._context(record, prepared, journal)
        self._report_start(record, len(prepared.planned.batches))
        if prepared.refused is not None:
            text = tr("not going on: {why}; what is left is ended", why=prepared.refused)
            self._timeline.emit(EventKind.RECOVERY, text)
        journal.on_failure = self._stop.end
        with budget.Budget(context) as watch, Meter(context):
            earlier = EarlierWorkers(self._point.state, context, _wanted(prepared.planned))
            batches = self._batches(prepared.planned, context, earlier)
            run_all(batches, earlier, context)
        return Started(record, context, tuple(batches), earlier, watch.reached)

    def _noted(self, prepared: Prepared) -> tuple[Journal, RunRecord]:
        """Write down, before anything is created, that the run exists and where it may create."""
        record = prepared.record
        journal = self._journal
        if journal is None:
            folder = results_folder(self._job.output, datetime.fromisoformat(record.began))
            journal = self._held.enter_context(Journal(folder, self._timeline.now))
            self._journal = journal
            record = new_record(
                self._job, run_id=record.run_id, folder=str(folder), began=record.began
            )
        write_job(self._job, journal.folder)
        record = replace(record, regions=self._regions(prepared))
        registry.register(record)
        journal.begin(record)
        journal.planned(planned_run(prepared.planned, prepared.targets))
        self._log.open(journal.folder)
        for opened in prepared.targets.values():
            opened.engine.logs = journal.folder / LOGS
        return journal, record

    def _regions(self, prepared: Prepared) -> tuple[str, ...]:
        """Return the regions in which the run has created machines, or may create some."""
        before = registry.registered(prepared.record.run_id)
        regions: dict[str, None] = {}
        for name, opened in prepared.targets.items():
            if targets.get(name).has_regions:
                used = self._point.state.regions(name).values()
                regions |= dict.fromkeys(opened.resources.regions)
                regions |= dict.fromkeys(region for some in used for region in some)
                regions |= dict.fromkeys(before.regions if before else ())
        return tuple(regions)

    def _context(self, record: RunRecord, prepared: Prepared, journal: Journal) -> RunContext:
        point, job = self._point, self._job
        return RunContext(
            record=record,
            limits=job.limits,
            timeline=self._timeline,
            stop=self._stop,
            journal=journal,
            queue=SceneQueue(job.limits.attempts),
            results=SceneResults(job.scenes, journal, point.state.attempts, point.videos),
            targets=prepared.targets,
            keep=not job.auto_terminate,
            shrink=job.shrink_pictures,
            pace=LaunchPace(job.distribution.launches_per_wave, job.distribution.launch_pause),
            scenes=job.scenes,
        )

    def _report_start(self, record: RunRecord, batches: int) -> None:
        scenes, done = len(self._job.scenes), len(self._point.videos)
        resumed = self._point.state.record is not None
        kind = EventKind.RUN_RESUMED if resumed else EventKind.RUN_STARTED
        text = _resumed_text(record, scenes, done) if resumed else _started_text(record, scenes)
        self._timeline.emit(
            kind,
            text,
            run=record.run_id,
            scenes=scenes,
            done=done,
            batches=batches,
            directory=record.folder,
            narration=round(sum(scene.seconds for scene in self._point.rest), 3),
        )

    def _batches(
        self, planned: Plan, context: RunContext, earlier: EarlierWorkers
    ) -> list[BatchRunner]:
        """Return one runner per batch; as many as possible adopt an earlier worker."""
        adopted, number = list(earlier.adopted), self._point.state.highest_batch
        counts, runners = _wanted(planned), []
        for batch in planned.batches:
            mine = next((one for one in adopted if one.launch.target == batch.target), None)
            if mine is not None:
                adopted.remove(mine)
                here = replace(batch, number=WorkerLabel.parse(mine.launch.batch).batch)
            else:
                # A number of its own, also in this run: no two stacks ever have the same name.
                number += 1
                here = replace(batch, number=number)
            before = earlier.launches_before(mine) if mine else ()
            on = context.targets[batch.target]
            runners.append(BatchRunner(here, counts[batch.target], context, on, mine, before))
        return runners

    # -- finish ---------------------------------------------------------------------------------

    def finish(self, prepared: Prepared, started: Started) -> RunReport:
        """Report the run, and return or raise what became of it."""
        report, text = self._report(started)
        if started.context is not None:
            started.context.journal.end(str(report.outcome))
        unwritten = _write(report)
        read = self._journal.state if self._journal else None
        for line in beside.write(report, read, hurried=lambda: self._stop.hurried):
            self._timeline.emit(EventKind.NOTE, line)
        if started.context is not None:
            self._call_hooks(report, over_budget=bool(started.over_budget))
        self._timeline.emit(EventKind.RUN_FINISHED, text, report=json.document(report))
        # Whoever has given up waiting does not wait for a blocked terminal, either.
        failure: Exception | None = self._timeline.close(lambda: self._stop.abandoned)
        if started.context is not None:
            failure = failure or started.context.journal.failure
        idle = _is_idle(started)
        if prepared.refused is None:
            return conclude(report, failure or unwritten, idle=idle)
        with contextlib.suppress(InfrastructureError):
            conclude(report, failure or unwritten, idle=idle)
        raise prepared.refused

    def _call_hooks(self, report: RunReport, *, over_budget: bool) -> None:
        """Call what the job wants called; what fails is a note, and changes nothing."""
        source = self._job.source
        for failure in hooks.call(
            self._job.hooks,
            report,
            json.document(report),
            source if source.is_dir() else source.absolute().parent,
            over_budget=over_budget,
            hurried=self._stop.hurried,
        ):
            self._timeline.emit(EventKind.NOTE, failure)

    def _report(self, started: Started) -> tuple[RunReport, str]:
        context = started.context
        if context is None or started.earlier is None:
            text = tr("everything is done already; nothing was started")
            return self._report_done(started.record), text
        scenes = context.results.all()
        stacks = {batch.stack for batch in started.batches}
        batches = (
            *started.earlier.batches(stacks),
            *(batch.result() for batch in started.batches),
        )
        kept = [kept_line(batch) for batch in started.batches if batch.kept]
        remaining = [
            remaining_line(context, batch)
            for batch in started.batches
            if not (batch.destroyed or batch.kept)
        ]
        remaining += started.earlier.remaining
        if not remaining and not kept:
            # The last look: it catches what no stack knows of. Kept workers have the run's tag too,
            # and a region that does not answer counts as left running.
            remaining = [
                line
                for opened in context.targets.values()
                for line in opened.resources.final_sweep()
            ]
        report = summary.summarize(
            started.record,
            scenes=scenes,
            batches=batches,
            bill=_bill(context, scenes, batches),
            seconds=self._timeline.now(),
            stopped=self._stop.requested and not started.over_budget,
            remaining=remaining,
            kept=kept,
            # Of this session: why an earlier one ended is not why this one did.
            error=started.over_budget
            or next((batch.error for batch in started.batches if batch.error), ""),
        )
        text = ntr(
            "{done} of {count} scene done",
            "{done} of {count} scenes done",
            len(report.scenes),
            done=report.done,
        )
        return report, text

    def _report_done(self, record: RunRecord) -> RunReport:
        """Return the report of a run of which everything is done: nothing costs anything."""
        point, state = self._point, self._point.state
        scenes = summary.scene_results(record.scenes, state.attempts, point.videos)
        return summary.summarize(
            record,
            scenes=scenes,
            batches=state.batches,
            bill=summary.settled_bill(state, scenes, self._job.settings),
            seconds=state.seconds,
            stopped=False,
            kept=[stays(one.stack, one.endpoint, one.expires) for one in state.unfinished],
        )


def _started_text(record: RunRecord, scenes: int) -> str:
    return ntr("{count} scene of {job}", "{count} scenes of {job}", scenes, job=record.job)


def _resumed_text(record: RunRecord, scenes: int, done: int) -> str:
    values = {"run": record.run_id, "done": done, "job": record.job}
    if done == scenes:
        return ntr(
            "going on with {run}: {done} of {count} scene of {job} is done; nothing is started",
            "going on with {run}: {done} of {count} scenes of {job} are done; nothing is started",
            scenes,
            **values,
        )
    return ntr(
        "going on with {run}: {done} of {count} scene of {job} is done",
        "going on with {run}: {done} of {count} scenes of {job} are done",
        scenes,
        **values,
    )


def _wanted(planned: Plan) -> dict[str, int]:
    """Return the number of workers that a plan wants on each target."""
    counts: dict[str, int] = {}
    for batch in planned.batches:
        counts[batch.target] = counts.get(batch.target, 0) + 1
    return counts


# -- the end ------------------------------------------------------------------------------------


def _bill(
    context: RunContext, scenes: Sequence[SceneResult], batches: Sequence[BatchResult]
) -> Cost:
    charges = {
        name: opened.billing.cost if opened.billing else _nothing
        for name, opened in context.targets.items()
    }
    return summary.bill(scenes, batches, charges)


def _nothing(_downloaded: int) -> None:
    """Return the bill of a target that rents nothing."""


def _write(report: RunReport) -> InfrastructureError | None:
    """Write the report; a full disk must not hide what is left running."""
    try:
        json.write(report)
    except InfrastructureError as error:
        return error
    return None


def _is_idle(started: Started) -> bool:
    """Whether no worker got any scene, for no reason of the run's own."""
    context = started.context
    return context is not None and not started.over_budget and not context.results.begun
