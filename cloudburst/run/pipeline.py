"""The order of a run's stages. It stands here and nowhere else."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import (
    BadInput,
    CloudBurstError,
    InfrastructureError,
    Interrupted,
    JournalFailed,
    LeftRunning,
)
from cloudburst.journal import registry
from cloudburst.journal.state import KEPT, RunState
from cloudburst.journal.store import Journal, holding
from cloudburst.models import (
    Batch,
    Event,
    EventKind,
    Job,
    Outcome,
    Plan,
    Preview,
    Problem,
    RunReport,
    StackPreview,
)
from cloudburst.paths import state_folder
from cloudburst.report import json as report
from cloudburst.report import summary
from cloudburst.run.batch import BatchRunner, worker_spec
from cloudburst.run.budget import Budget
from cloudburst.run.context import RunContext
from cloudburst.run.events import Timeline
from cloudburst.run.planner import plan
from cloudburst.run.queue import SceneQueue
from cloudburst.run.results import SceneResults
from cloudburst.run.resume import Past, renderer, take_stock
from cloudburst.run.takeover import EarlierWorkers
from cloudburst.run.worker_run import clock_time
from cloudburst.stop import Stop, on_signals
from cloudburst.targets import make_target
from cloudburst.targets.failover import Ladder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cloudburst.engine.toolchain import Engine as Binary
    from cloudburst.targets.base import Target


def run(
    job: Job,
    *,
    resume: Path | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    stop: Stop | None = None,
) -> RunReport:
    """Turn a job's scenes into videos, and leave nothing running.

    In the main thread, SIGINT, SIGTERM and SIGHUP are requests to stop for as long as this runs.

    Args:
        job: from `load_job`.
        resume: folder of an earlier run of the job, to go on with; see `cloudburst.run.resume`.
        on_event: is told what happens, one event at a time, from any thread.
        stop: through which another thread may ask the run to stop.

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
    stop = stop or Stop()
    timeline = Timeline(on_event, stop.end)
    if resume is None:
        # Nothing runs yet: until it does, Ctrl-C may simply end the program.
        binary = _engine(timeline)
        timeline.restart()  # making the engine, once in a machine's life, is not the run's time
        with on_signals(stop), make_target(job.target, job.aws) as target:
            return _fresh(job, binary, target, timeline, stop)
    with Journal(resume, timeline.now) as journal:
        past = take_stock(job, resume, journal)
        if past.finished:
            return _as_it_is(job, journal, past, timeline)
        binary = _engine(timeline)
        timeline.restart(past.history.seconds)
        with on_signals(stop), make_target(job.target, job.aws) as target:
            return _resumed(job, binary, target, journal, past, timeline, stop)


def preview(
    job: Job,
    *,
    offline: bool = False,
    on_event: Callable[[Event], None] = lambda _: None,
) -> Preview:
    """Say what a run would create, and on rented machines what it would cost. Creates nothing.

    Args:
        job: from `load_job`.
        offline: ask neither the engine nor the provider; the notes say what is not checked.
        on_event: is told what happens.

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
    binary = _engine(timeline)
    run_id = _run_id(datetime.now(UTC))
    with on_signals(stop), make_target(job.target, job.aws) as target, ExitStack() as held:
        ladder = _prepared(target, planned, run_id)
        engine = _engine_for(binary, target)
        rung = ladder.rungs[0]
        target.price(rung)
        held.enter_context(_passing(job, run_id, target))

        def one(batch: Batch) -> StackPreview:
            if stop.requested:
                raise KeyboardInterrupt
            spec = worker_spec(
                run_id=run_id,
                batch=batch.label,
                job=job.name,
                rung=rung,
                room=target.room(len(planned.batches), rung),
                limits=job.limits,
                log=job.output / "logs" / f"{batch.label}.log",
            )
            return StackPreview(batch, spec.stack, engine.preview(spec.stack, target.program(spec)))

        # As many threads as batches: the engine itself bounds its operations by memory.
        with ThreadPoolExecutor(len(planned.batches)) as pool:
            previews = tuple(pool.map(one, planned.batches))
        estimate = target.estimate()
    failure = timeline.close()
    if failure is not None:
        raise failure
    return Preview(planned, previews, estimate)


@contextmanager
def _passing(job: Job, run_id: str, target: Target) -> Iterator[None]:
    """Hold a run of which nothing is to stay: for an audit beside it, it is going on."""
    folder = state_folder() / "previews" / run_id
    folder.mkdir(parents=True)
    try:
        with holding(folder):
            header = summary.header(job, run_id, folder, datetime.now(UTC))
            _announce(header, target.regions)
            yield
    finally:
        registry.forget(run_id)
        shutil.rmtree(folder, ignore_errors=True)


# -- stages -------------------------------------------------------------------------------------


def _prepared(target: Target, planned: Plan, run_id: str) -> Ladder:
    """Get everything ready that costs nothing, and see that the budget will do."""
    ladder = target.prepare(planned, run_id)
    most, job = planned.job.limits.max_cost_usd, planned.job
    if most is not None:
        estimate, (spent, _) = target.estimate(), target.accrued()
        if estimate is not None and spent + estimate.likely > most:
            before = f"has cost ${spent:.4f} and " if spent else ""
            message = (
                f"got {most:g}; the run {before}will likely cost ${estimate.likely:.4f} "
                f"(${estimate.low:.4f} if all goes well); expected more, or fewer scenes"
            )
            raise BadInput([Problem(str(job.source), 0, "limits.max_cost_usd", message)])
    return ladder


def _unchecked(job: Job) -> tuple[str, ...]:
    """Say what a look at the plan alone leaves open."""
    notes = ["offline: the engine's preview of the stacks was not made"]
    if job.target == "aws":
        notes.append(
            "offline: credentials, zones that offer the types, quotas, machine image, network and "
            "prices were not asked for, so there is no estimate of the cost"
        )
    return tuple(notes)


def _fresh(job: Job, binary: Binary, target: Target, timeline: Timeline, stop: Stop) -> RunReport:
    """Run a job from its beginning."""
    began = datetime.now(UTC)
    run_id = _run_id(began)
    planned = plan(job)
    ladder = _prepared(target, planned, run_id)
    folder = _results_folder(job.output, began)
    header = summary.header(job, run_id, folder, began)
    with Journal(folder, timeline.now) as journal:
        _announce(header, target.regions)
        journal.begin(header)
        target.know(run_id, {}, (), journal.rental)
        site = _site(job, binary, target, ladder, timeline, stop, journal, folder)
        _tell_start(timeline, EventKind.RUN_STARTED, header, len(job.scenes), 0)
        return _run_to_its_end(planned, header, site, Past(RunState(header, None, None, 0.0)))


def _resumed(
    job: Job,
    binary: Binary,
    target: Target,
    journal: Journal,
    past: Past,
    timeline: Timeline,
    stop: Stop,
) -> RunReport:
    """Go on with a run: take over or end what an earlier session left, render the rest."""
    history = past.history
    began = datetime.fromisoformat(history.header["began"])
    folder = Path(journal.folder)
    header = summary.header(job, history.header["run"], folder, began)
    rest = replace(job, scenes=past.rest)
    planned = Plan(job, plan(rest).batches if past.rest else ())
    target.know(header["run"], _places(history), history.rentals, journal.rental)
    refused: CloudBurstError | None = None
    ladder = Ladder((), time.monotonic)  # when all is home: what is left has to end, no more
    if past.rest:
        try:
            ladder = _prepared(target, replace(planned, job=rest), header["run"])
        except (BadInput, InfrastructureError) as error:
            if all(one.state == KEPT for one in history.open):
                raise
            refused = error
            planned = replace(planned, batches=())
    journal.begin(header)
    site = _site(job, binary, target, ladder, timeline, stop, journal, folder, past)
    before = registry.noted(header["run"])
    used = {one.rung.region for batch in history.batches for one in batch.launches}
    used |= {*target.regions, *(before.regions if before else ())}
    _announce(header, sorted(used) if target.regions else ())
    _tell_start(timeline, EventKind.RUN_RESUMED, header, len(job.scenes), len(past.home))
    if refused is None:
        return _run_to_its_end(planned, header, site, past)
    # The run does not go on; what an earlier session has left costs money, and ends all the same.
    timeline.tell(EventKind.RECOVERY, f"not going on: {refused}; what is left is ended")
    with contextlib.suppress(InfrastructureError):
        _run_to_its_end(planned, header, site, past)
    raise refused


def _run_to_its_end(
    planned: Plan, header: dict[str, str], site: RunContext, past: Past
) -> RunReport:
    site.journal.on_failure = site.stop.end
    with Budget(site) as budget:
        leftovers = EarlierWorkers(past.history.open, header["run"], site)
        lives = _lives(planned, header["run"], site, past, leftovers)
        _live_together(lives, leftovers, site)
    finished = _report(header, site, past, lives, leftovers, budget.reached)
    site.journal.end(str(finished.outcome))
    unwritten = _written(finished)
    site.timeline.tell(
        EventKind.RUN_FINISHED,
        f"{finished.done} of {len(finished.scenes)} scenes done",
        report=report.document(finished),
    )
    # Who has asked to leave does not wait for a terminal that has stopped, either.
    failure = site.timeline.close(lambda: site.stop.abandoned)
    failure = failure or site.journal.failure or unwritten
    idle = not bool(budget.reached) and not site.ledger.begun
    return _conclude(finished, failure, idle=idle)


def _as_it_is(job: Job, journal: Journal, past: Past, timeline: Timeline) -> RunReport:
    """Report on a run of which everything is done: nothing is started, nothing costs anything."""
    # The folder may have been moved since.
    header = {**past.history.header, "folder": str(journal.folder)}
    target = make_target(job.target, job.aws)
    target.know(header["run"], _places(past.history), past.history.rentals, journal.rental)
    scenes = SceneResults(job.scenes, journal, past.history.attempts, past.home).results()
    finished = summary.summarize(
        header,
        scenes=scenes,
        batches=past.history.batches,
        bill=target.cost(past.history.batches, summary.downloaded(scenes)),
        seconds=past.history.seconds,
        stopped=False,
        kept=[_stays(one.stack, one.endpoint, one.expires) for one in past.history.open],
    )
    _tell_start(timeline, EventKind.RUN_RESUMED, header, len(scenes), finished.done)
    unwritten = _written(finished)
    timeline.tell(
        EventKind.RUN_FINISHED,
        "everything is done already; nothing was started",
        report=report.document(finished),
    )
    return _conclude(finished, timeline.close() or unwritten, idle=False)


def _site(
    job: Job,
    binary: Binary,
    target: Target,
    ladder: Ladder,
    timeline: Timeline,
    stop: Stop,
    journal: Journal,
    folder: Path,
    past: Past | None = None,
) -> RunContext:
    attempts = past.history.attempts if past else {}
    return RunContext(
        engine=_engine_for(binary, target),
        target=target,
        ladder=ladder,
        queue=SceneQueue(job.limits.attempts),
        ledger=SceneResults(job.scenes, journal, attempts, past.home if past else {}),
        timeline=timeline,
        stop=stop,
        limits=job.limits,
        folder=folder,
        journal=journal,
        renderer=renderer(job),
        keep=not job.auto_terminate,
    )


def _announce(header: dict[str, str], regions: Sequence[str]) -> None:
    """Leave a note where an audit looks, before anything is started."""
    registry.remember(
        registry.RunRecord(
            run_id=header["run"],
            job=header["job"],
            source=header["source"],
            folder=header["folder"],
            target=header["target"],
            regions=tuple(regions),
            began=header["began"],
        )
    )


def _tell_start(
    timeline: Timeline, kind: EventKind, header: dict[str, str], scenes: int, done: int
) -> None:
    text = f"{scenes} scenes of {header['job']}"
    if kind is EventKind.RUN_RESUMED:
        text = f"going on with {header['run']}: {done} of {text} are done"
        text += "; nothing is started" if done == scenes else ""
    timeline.tell(
        kind, text, run=header["run"], scenes=scenes, done=done, directory=header["folder"]
    )


def _places(history: RunState) -> dict[str, tuple[str, ...]]:
    """Give the regions in which each stack of a run may have something."""
    places: dict[str, tuple[str, ...]] = {}
    for batch in history.batches:
        regions = tuple(dict.fromkeys(one.rung.region for one in batch.launches))
        places[batch.stack] = regions
    return places


def _lives(
    planned: Plan, run_id: str, site: RunContext, past: Past, leftovers: EarlierWorkers
) -> list[BatchRunner]:
    """Give every batch its life; those that can take over a worker of an earlier session do."""
    adopted = leftovers.adopt(len(planned.batches))
    lives = []
    number = past.history.highest_batch
    for index, batch in enumerate(planned.batches):
        if index < len(adopted):
            mine = adopted[index]
            before = leftovers.launches_before(past.history, mine)
            here = replace(batch, number=int(mine.launch.batch.removeprefix("b")))
        else:
            # A number of its own, also in this run: no two stacks ever have the same name.
            number += 1
            mine, before, here = None, (), replace(batch, number=number)
        lives.append(
            BatchRunner(here, run_id, planned.job.name, len(planned.batches), site, mine, before)
        )
    return lives


def _live_together(lives: list[BatchRunner], leftovers: EarlierWorkers, site: RunContext) -> None:
    """Live all batches, each in a thread of its own, while leftovers are ended."""
    site.queue.add([life.batch for life in lives])
    site.stop.on_request = lambda count: _on_stop(lives, site, count)
    # Daemons: who asks three times to stop does not wait for them.
    threads = [
        threading.Thread(target=life.run, name=life.batch.label, daemon=True) for life in lives
    ]
    threads += leftovers.threads()
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not site.stop.abandoned:
        next(thread for thread in threads if thread.is_alive()).join(0.1)
    site.stop.on_request = lambda _: None


def _on_stop(lives: list[BatchRunner], site: RunContext, count: int) -> None:
    """Hand out nothing more and end what is being created; in a hurry, end it at once."""
    site.queue.stop()
    words = {
        1: "stopping: videos on their way come home, then what runs is destroyed; ask again to "
        "hurry",
        2: "hurrying; what runs is still destroyed and checked; ask again to leave it",
    }
    if count:
        text = words.get(count, "leaving; what is left is told below")
        site.timeline.tell(EventKind.STOPPING, text, count=count)
    for life in lives:
        life.interrupt(kill=count > 1)


def _run_id(began: datetime) -> str:
    return f"{began:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def _engine_for(binary: Binary, target: Target) -> Engine:
    return Engine(binary, state_folder(), target.environment(), target.operation_bytes)


def _engine(timeline: Timeline) -> Binary:
    binary = find_engine(lambda text: timeline.tell(EventKind.ENGINE, text))
    timeline.tell(EventKind.ENGINE, f"Pulumi engine {binary.version} from {binary.origin}")
    return binary


def _results_folder(output: Path, began: datetime) -> Path:
    """Make a folder for this run alone, called by local time as users of the original expect."""
    name = f"batch_{began.astimezone():%Y%m%d_%H%M%S}"
    for number in range(1, 100):
        folder = output / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise InfrastructureError(
                f"the results folder {folder} cannot be made: {error.strerror}"
            ) from error
        return folder
    raise InfrastructureError(f"{output / name} and 99 more are taken")


# -- the end ------------------------------------------------------------------------------------


def _report(
    header: dict[str, str],
    site: RunContext,
    past: Past,
    lives: list[BatchRunner],
    leftovers: EarlierWorkers,
    reached: str,
) -> RunReport:
    scenes = site.ledger.results()
    batches = (*leftovers.batches(past.history, lives), *(life.result() for life in lives))
    kept = [_kept(life) for life in lives if life.kept]
    left = [_left(life, header["run"]) for life in lives if not (life.destroyed or life.kept)]
    left += leftovers.left
    if not left and not kept:
        left = list(site.target.final_sweep())
    return summary.summarize(
        header,
        scenes=scenes,
        batches=batches,
        bill=site.target.cost(batches, summary.downloaded(scenes)),
        seconds=site.timeline.now(),
        stopped=site.stop.requested and not reached,
        left=left,
        kept=kept,
        error=reached,
    )


def _left(life: BatchRunner, run_id: str) -> str:
    removal = life.site.target.removal(life.stack)
    why = life.error or "its teardown was not waited for"
    return f"{life.stack}: {why}; remove it with: cloudburst cleanup {run_id}, or: {removal}"


def _kept(life: BatchRunner) -> str:
    kept = life.kept
    if kept is None or kept.worker is None:
        return life.stack
    return _stays(life.stack, kept.worker.endpoint, kept.kept_until)


def _stays(stack: str, endpoint: str | None, until: float | None) -> str:
    return f"{stack} at {endpoint} until {clock_time(until)}" if until else stack


def _written(finished: RunReport) -> InfrastructureError | None:
    """Write the report; a full disk must not hide what is left running."""
    try:
        report.write(finished)
    except InfrastructureError as error:
        return error
    return None


def _conclude(finished: RunReport, failure: Exception | None, *, idle: bool) -> RunReport:
    """Give the report, or raise what is to be known first; idle: no worker got any scene."""
    if finished.left_running:
        raise LeftRunning(list(finished.left_running), finished)
    if isinstance(failure, JournalFailed):
        raise JournalFailed(
            f"{failure}; so nothing new was begun, and what ran is destroyed; {finished.done} of "
            f"{len(finished.scenes)} videos are home; when it can be written again: "
            f"cloudburst resume {finished.run_id}"
        ) from failure
    if failure is not None:
        raise failure
    if finished.outcome is Outcome.INTERRUPTED:
        raise Interrupted(finished)
    if idle and finished.done < len(finished.scenes):
        raise InfrastructureError(f"no worker could be used: {finished.error}")
    return finished
