"""The order of a run's stages. It stands here and nowhere else."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudburst import cost, report
from cloudburst.batch import BatchLife, Site
from cloudburst.dispatch import Dispatcher
from cloudburst.engine import Engine
from cloudburst.errors import InfrastructureError, Interrupted, LeftRunning
from cloudburst.ledger import Ledger
from cloudburst.models import (
    Batch,
    BatchResult,
    Cost,
    Event,
    EventKind,
    Job,
    Outcome,
    RunReport,
    SceneStatus,
    StackPreview,
    WorkerSpec,
)
from cloudburst.places import state_folder
from cloudburst.planner import plan, spread
from cloudburst.stop import Stop, on_signals
from cloudburst.targets import make_target
from cloudburst.timeline import Timeline
from cloudburst.toolchain import find_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cloudburst.models import Scene
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
        folder = _results_folder(job.output, began)
        run_id = f"{began:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        ledger = Ledger(job.scenes)
        timeline.tell(
            EventKind.RUN_STARTED,
            f"{len(job.scenes)} scenes of {job.name}",
            run=run_id,
            scenes=len(job.scenes),
            directory=str(folder),
        )
        with _site(job, binary, folder, ledger, timeline, stop) as site:
            lives = _all_rounds(job, run_id, site)
        finished = _report(job, run_id, began, folder, ledger, lives, timeline, stop)
        report.write(finished)
        timeline.tell(
            EventKind.RUN_FINISHED,
            f"{finished.done} of {len(finished.scenes)} scenes done",
            report=report.document(finished),
        )
    return _conclude(finished, timeline)


def preview(
    job: Job, *, on_event: Callable[[Event], None] = lambda _: None
) -> tuple[StackPreview, ...]:
    """Ask the engine what each of a job's stacks would create. Nothing is created.

    Raises:
        InfrastructureError: the engine could not be found or failed.
        KeyboardInterrupt: it was asked to stop; the backend is as it was.
    """
    stop = Stop()
    timeline = Timeline(on_event, stop.request)
    planned = plan(job)
    binary = _engine(timeline)
    run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    with on_signals(stop), _ready(job, binary) as (target, engine):
        room = target.room(len(planned.batches))

        def one(batch: Batch) -> StackPreview:
            if stop.requested:
                raise KeyboardInterrupt
            spec = _spec(job, run_id, batch, room, job.output)
            return StackPreview(batch, spec.stack, engine.preview(spec.stack, target.program(spec)))

        # As many threads as batches: the engine itself bounds its operations by memory.
        with ThreadPoolExecutor(len(planned.batches)) as pool:
            previews = tuple(pool.map(one, planned.batches))
    failure = timeline.close()
    if failure is not None:
        raise failure
    return previews


# -- stages -------------------------------------------------------------------------------------


def _all_rounds(job: Job, run_id: str, site: Site) -> list[BatchLife]:
    """Live all batches; make new workers for scenes that outlived the ones they had.

    Workers that never became healthy would not the next time either. Workers that did, and died
    before any video came home, are made anew as often as a scene is tried.
    """
    lives: list[BatchLife] = []
    batches: Sequence[Batch] = plan(job).batches
    fruitless = 0
    while batches and fruitless < job.limits.attempts and not site.stop.requested:
        done_before = site.ledger.done_count()
        room = site.target.room(len(batches))
        this_round = [
            BatchLife(batch, _spec(job, run_id, batch, room, site.folder), site)
            for batch in batches
        ]
        lives += this_round
        _live_together(this_round, site)
        left = site.dispatcher.drain()
        if not any(life.was_healthy for life in this_round):
            break
        fruitless = 0 if site.ledger.done_count() > done_before else fruitless + 1
        batches = _renumbered(left, job, first=len(lives) + 1)
    return lives


def _live_together(lives: list[BatchLife], site: Site) -> None:
    site.dispatcher.add(life.batch for life in lives)
    site.stop.on_request = lambda count: _on_stop(lives, site, count)
    threads = [threading.Thread(target=life.run, name=life.batch.label) for life in lives]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    site.stop.on_request = lambda _: None


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
        if life.state == "creating":
            site.engine.interrupt(life.spec.stack, kill=count > 1)


def _renumbered(scenes: list[Scene], job: Job, first: int) -> tuple[Batch, ...]:
    fresh = spread(scenes, job.distribution)
    return tuple(Batch(number, batch.scenes) for number, batch in enumerate(fresh, start=first))


def _spec(job: Job, run_id: str, batch: Batch, room: int, folder: Path) -> WorkerSpec:
    return WorkerSpec(
        run_id=run_id,
        batch=batch.label,
        job=job.name,
        key=secrets.token_urlsafe(24),
        room=room,
        scene_timeout=job.limits.scene_timeout,
        log=folder / "logs" / f"{batch.label}.log",
    )


def _engine(timeline: Timeline) -> Binary:
    binary = find_engine(lambda text: timeline.tell(EventKind.ENGINE, text))
    timeline.tell(EventKind.ENGINE, f"Pulumi engine {binary.version} from {binary.origin}")
    return binary


@contextmanager
def _ready(job: Job, binary: Binary) -> Iterator[tuple[Target, Engine]]:
    with make_target(job.target) as target:
        yield target, Engine(binary, state_folder(), target.environment())


@contextmanager
def _site(
    job: Job, binary: Binary, folder: Path, ledger: Ledger, timeline: Timeline, stop: Stop
) -> Iterator[Site]:
    with _ready(job, binary) as (target, engine):
        yield Site(
            engine=engine,
            target=target,
            dispatcher=Dispatcher(job.limits.attempts),
            ledger=ledger,
            timeline=timeline,
            stop=stop,
            limits=job.limits,
            folder=folder,
        )


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
    job: Job,
    run_id: str,
    began: datetime,
    folder: Path,
    ledger: Ledger,
    lives: list[BatchLife],
    timeline: Timeline,
    stop: Stop,
) -> RunReport:
    scenes = ledger.results()
    batches = tuple(life.result() for life in lives)
    left = tuple(_left(life) for life in lives if not life.destroyed)
    done = sum(scene.status is SceneStatus.DONE for scene in scenes)
    return RunReport(
        run_id=run_id,
        job=job.name,
        target=job.target,
        outcome=_outcome(done, len(scenes), stopped=stop.requested),
        started_at=began.isoformat(timespec="seconds"),
        seconds=timeline.now(),
        directory=folder,
        scenes=scenes,
        batches=batches,
        phases=cost.phases(batches),
        serial_seconds=cost.serial_seconds(batches, scenes),
        cost=_cost(job, batches),
        left_running=left,
        error=next((batch.error for batch in batches if batch.error), None),
    )


def _cost(job: Job, batches: tuple[BatchResult, ...]) -> Cost:
    return make_target(job.target).cost(cost.worker_seconds(batches))


def _left(life: BatchLife) -> str:
    removal = life.site.target.removal(life.spec.stack)
    return f"{life.spec.stack}: {life.error}; remove it with: {removal}"


def _outcome(done: int, total: int, *, stopped: bool) -> Outcome:
    if done == total:
        return Outcome.COMPLETE
    if stopped:
        return Outcome.INTERRUPTED
    return Outcome.PARTIAL if done else Outcome.FAILED


def _conclude(finished: RunReport, timeline: Timeline) -> RunReport:
    failure = timeline.close()
    if finished.left_running:
        raise LeftRunning(list(finished.left_running), finished)
    if failure is not None:
        raise failure
    if finished.outcome is Outcome.INTERRUPTED:
        raise Interrupted(finished)
    if not any(scene.attempts for scene in finished.scenes):
        raise InfrastructureError(f"no worker could be used: {finished.error}")
    return finished
