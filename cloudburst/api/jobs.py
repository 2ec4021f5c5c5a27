"""Plan, preview, run and resume a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudburst.job.loader import load_job
from cloudburst.models import Event, Job
from cloudburst.runner import pipeline, planner
from cloudburst.runner import preview as dry_run
from cloudburst.runner import resume as earlier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.job.source import JobSource
    from cloudburst.models import Plan, Preview, RunReport
    from cloudburst.stop import Stop


def ignore(_event: Event) -> None:
    """Do nothing about an event."""


def as_job(job: Job | JobSource) -> Job:
    """Return a job as it is, and load anything else with `load_job`."""
    return job if isinstance(job, Job) else load_job(job)


def plan(job: Job | JobSource) -> Plan:
    """Decide how many workers a job gets and which scenes each starts with.

    Scenes go to batches by length: the longest first, each to the batch with the least narration
    so far (Graham's LPT rule).

    Args:
        job: a job, or what `load_job` accepts.

    Returns:
        The batches. Nothing is asked and nothing is created.

    Raises:
        BadInput: the job file cannot be used.
    """
    return planner.plan(as_job(job))


def preview(
    job: Job | JobSource,
    *,
    offline: bool = False,
    on_event: Callable[[Event], None] | None = None,
) -> Preview:
    """Return what a run would create and, where machines are rented, what it would cost.

    Args:
        job: a job, or what `load_job` accepts.
        offline: ask neither the engine nor the provider; its ``notes`` say what is not checked.
        on_event: called with one event at a time, from another thread.

    Returns:
        The plan, the engine's preview of each stack, and the estimate. Nothing is created.

    Raises:
        BadInput: the job file cannot be used, or the job would cost more than
            ``limits.max_cost_usd``.
        InfrastructureError: the engine or the provider could not be asked, or refused.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP arrived; the backend is as it was.
    """
    return dry_run.preview(as_job(job), offline=offline, on_event=on_event or ignore)


def run(
    job: Job | JobSource,
    *,
    resume: str | Path | None = None,
    on_event: Callable[[Event], None] | None = None,
    stop: Stop | None = None,
) -> RunReport:
    """Turn a job's scenes into videos, and leave nothing running.

    In the main thread, SIGINT, SIGTERM and SIGHUP request a stop for as long as this runs: the
    first lets downloads finish, the second hurries, the third does not wait for the teardown.

    Args:
        job: a job, or what `load_job` accepts.
        resume: an earlier run of the job to go on with: its id, the beginning of its id, or its
            folder. None starts a new run.
        on_event: called with one event at a time, from another thread. If it raises, the run is
            stopped and torn down, and the exception is raised from here.
        stop: through which another thread requests a stop.

    Returns:
        What became of the run, also written to ``report.json`` beside the videos. Failed scenes
        are part of it and raise nothing.

    Raises:
        BadInput: the job file cannot be used, or the job would cost more than
            ``limits.max_cost_usd``; nothing was started.
        RunUnknown: there is no such run to resume.
        RunBusy: another process works on the run to resume.
        Interrupted: a stop was requested; everything is destroyed. Carries the report.
        InfrastructureError: no worker could be used, or the journal cannot be written.
        LeftRunning: something could not be verified as gone. Names it and what removes it.
    """
    folder = earlier.find_folder(str(resume)) if resume is not None else None
    return pipeline.run(as_job(job), resume=folder, on_event=on_event or ignore, stop=stop)


def resume(
    run: str | Path,
    *,
    max_cost_usd: float | None = None,
    on_event: Callable[[Event], None] | None = None,
    stop: Stop | None = None,
) -> RunReport:
    """Go on with an earlier run: render what has no video yet, end what is still running.

    Videos that were downloaded, and are still what the job file asks for, are kept. A finished run
    starts nothing.

    Args:
        run: the run's id, the beginning of its id, or its folder.
        max_cost_usd: the most that the whole run may cost, in USD; wins over the job file's limit,
            which wins over the run's own.
        on_event: see `run`.
        stop: see `run`.

    Returns:
        What became of the run, with the videos of its earlier sessions.

    Raises:
        RunUnknown: there is no such run, or nothing is known of it any more.
        RunBusy: another process works on it.
        BadInput: the job file has changed in a way that cannot be used.
        Interrupted: a stop was requested; everything is destroyed. Carries the report.
        InfrastructureError: no worker could be used, or the journal cannot be written.
        LeftRunning: something could not be verified as gone. Names it and what removes it.
    """
    job, folder = earlier.load(str(run), max_cost_usd=max_cost_usd)
    return pipeline.run(job, resume=folder, on_event=on_event or ignore, stop=stop)
