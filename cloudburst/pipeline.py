"""The order of a run's stages. It stands here and nowhere else."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudburst import cost, report
from cloudburst.batch import BatchLife, worker_spec
from cloudburst.budget import Budget
from cloudburst.dispatch import Dispatcher
from cloudburst.engine import Engine
from cloudburst.errors import BadInput, InfrastructureError, Interrupted, LeftRunning
from cloudburst.ledger import Ledger
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
    SceneStatus,
    StackPreview,
)
from cloudburst.places import state_folder
from cloudburst.planner import plan
from cloudburst.site import Site
from cloudburst.stop import Stop, on_signals
from cloudburst.targets import make_target
from cloudburst.timeline import Timeline
from cloudburst.toolchain import find_engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.ladder import Ladder
    from cloudburst.targets.base import Target
    from cloudburst.toolchain import Engine as Binary


def run(
    job: Job,
    *,
    on_event: Callable[[Event], None] = lambda _: None,
    stop: Stop | None = None,
) -> RunReport:
    """Turn a job's scenes into videos, and leave nothing running.

    In the main thread, SIGINT, SIGTERM and SIGHUP are requests to stop for as long as this runs.

    Args:
        job: from `load_job`.
        on_event: is told what happens, one event at a time, from any thread.
        stop: through which another thread may ask the run to stop.

    Returns:
        What became of it, also written to ``report.json`` beside the videos. Scenes that failed
        are in it; they raise nothing.

    Raises:
        BadInput: it would cost more than `Limits.max_cost_usd`; nothing was started.
        Interrupted: it was asked to stop; all is torn down; carries the report.
        InfrastructureError: no worker could be used at all.
        LeftRunning: something could not be verified as gone; says what removes it.
    """
    stop = stop or Stop()
    timeline = Timeline(on_event, stop.request)
    # Nothing runs yet: until it does, Ctrl-C may simply end the program.
    binary = _engine(timeline)
    timeline.restart()  # making the engine, once in a machine's life, is not the run's time
    began = datetime.now(UTC)
    with on_signals(stop):
        run_id = _run_id(began)
        with make_target(job) as target:
            planned = plan(job)
            ladder = _prepared(target, planned, run_id)
            folder = _results_folder(job.output, began)
            timeline.tell(
                EventKind.RUN_STARTED,
                f"{len(job.scenes)} scenes of {job.name}",
                run=run_id,
                scenes=len(job.scenes),
                directory=str(folder),
            )
            site = Site(
                engine=_engine_for(binary, target),
                target=target,
                ladder=ladder,
                dispatcher=Dispatcher(job.limits.attempts),
                ledger=Ledger(job.scenes),
                timeline=timeline,
                stop=stop,
                limits=job.limits,
                folder=folder,
            )
            with Budget(site) as budget:
                lives = _live_together(planned, run_id, site)
            finished = _report(planned, run_id, began, site, lives, budget.reached)
        unwritten = _written(finished)
        timeline.tell(
            EventKind.RUN_FINISHED,
            f"{finished.done} of {len(finished.scenes)} scenes done",
            report=report.document(finished),
        )
    return _conclude(finished, timeline, unwritten, limited=bool(budget.reached))


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
    timeline = Timeline(on_event, stop.request)
    binary = _engine(timeline)
    run_id = _run_id(datetime.now(UTC))
    with on_signals(stop), make_target(job) as target:
        ladder = _prepared(target, planned, run_id)
        engine = _engine_for(binary, target)
        rung = ladder.rungs[0]
        target.price(rung)

        def one(batch: Batch) -> StackPreview:
            if stop.requested:
                raise KeyboardInterrupt
            spec = worker_spec(
                run_id=run_id,
                batch=batch,
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


# -- stages -------------------------------------------------------------------------------------


def _prepared(target: Target, planned: Plan, run_id: str) -> Ladder:
    """Get everything ready that costs nothing, and see that the budget will do."""
    ladder = target.prepare(planned, run_id)
    most, job = planned.job.limits.max_cost_usd, planned.job
    if most is not None:
        estimate = target.estimate()
        if estimate is not None and estimate.likely > most:
            message = (
                f"got {most:g}; the run will likely cost ${estimate.likely:.4f} "
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


def _live_together(planned: Plan, run_id: str, site: Site) -> list[BatchLife]:
    """Live all batches, each in a thread of its own."""
    batches = planned.batches
    lives = [BatchLife(batch, run_id, planned.job.name, len(batches), site) for batch in batches]
    site.dispatcher.add(batches)
    site.stop.on_request = lambda count: _on_stop(lives, site, count)
    threads = [threading.Thread(target=life.run, name=life.batch.label) for life in lives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.stop.on_request = lambda _: None
    return lives


def _on_stop(lives: list[BatchLife], site: Site, count: int) -> None:
    """Hand out nothing more and end what is being created; in a hurry, end it at once."""
    site.dispatcher.stop()
    words = (
        "stopping: destroying what runs; ask again to hurry"
        if count == 1
        else "hurrying; what runs is still destroyed and checked"
    )
    site.timeline.tell(EventKind.STOPPING, words, count=count)
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
    planned: Plan,
    run_id: str,
    began: datetime,
    site: Site,
    lives: list[BatchLife],
    reached: str,
) -> RunReport:
    scenes = site.ledger.results()
    batches = tuple(life.result() for life in lives)
    left = tuple(_left(life) for life in lives if not life.destroyed)
    if not left:
        left = tuple(site.target.last_look())
    done = sum(scene.status is SceneStatus.DONE for scene in scenes)
    downloaded = sum(scene.artifact.size for scene in scenes if scene.artifact)
    stopped = site.stop.requested and not reached
    return RunReport(
        run_id=run_id,
        job=planned.job.name,
        target=planned.job.target,
        outcome=_outcome(done, len(scenes), stopped=stopped),
        started_at=began.isoformat(timespec="seconds"),
        seconds=site.timeline.now(),
        directory=site.folder,
        scenes=scenes,
        batches=batches,
        phases=cost.phases(batches),
        serial_seconds=cost.serial_seconds(batches, scenes),
        cost=site.target.cost(batches, downloaded),
        left_running=left,
        error=reached or next((batch.error for batch in batches if batch.error), None),
    )


def _left(life: BatchLife) -> str:
    removal = life.site.target.removal(life.stack)
    return f"{life.stack}: {life.error}; remove it with: {removal}"


def _outcome(done: int, total: int, *, stopped: bool) -> Outcome:
    if done == total:
        return Outcome.COMPLETE
    if stopped:
        return Outcome.INTERRUPTED
    return Outcome.PARTIAL if done else Outcome.FAILED


def _written(finished: RunReport) -> InfrastructureError | None:
    """Write the report; a full disk must not hide what is left running."""
    try:
        report.write(finished)
    except InfrastructureError as error:
        return error
    return None


def _conclude(
    finished: RunReport,
    timeline: Timeline,
    unwritten: InfrastructureError | None,
    *,
    limited: bool,
) -> RunReport:
    failure = timeline.close() or unwritten
    if finished.left_running:
        raise LeftRunning(list(finished.left_running), finished)
    if failure is not None:
        raise failure
    if finished.outcome is Outcome.INTERRUPTED:
        raise Interrupted(finished)
    if not limited and not any(scene.attempts for scene in finished.scenes):
        raise InfrastructureError(f"no worker could be used: {finished.error}")
    return finished
