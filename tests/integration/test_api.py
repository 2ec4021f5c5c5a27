"""The Python API on the local target: real engine, real videos; nothing left however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

import cloudburst
from cloudburst import Event, EventKind, Outcome, media
from tests.support.inputs import scenes_yaml
from tests.support.marks import but_the_first_slow
from tests.support.runs import assert_nothing_left, killed, run_id, scene_done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import Job

pytestmark = [pytest.mark.stack, pytest.mark.video]

TWO_BATCHES = "distribution: {scenes_per_batch: 2, min_scenes_per_batch: 1}\n"


@pytest.fixture
def job(job_file: Callable[..., Path], tmp_path: Path) -> Job:
    return cloudburst.load_job(job_file(scenes_yaml(4, TWO_BATCHES)), output=tmp_path / "out")


def assert_clean(state: Path) -> None:
    audit = cloudburst.audit()
    assert (audit.orphaned, audit.unseen, audit.exit_code) == ((), (), 0)
    assert all(run.owner is None for run in audit.runs)
    assert_nothing_left(state)


def test_events_are_iterated_to_verified_videos(job: Job, state: Path) -> None:
    with cloudburst.events(job) as stream:
        kinds = [event.kind for event in stream]
    report = stream.report
    assert report.outcome is Outcome.COMPLETE
    assert kinds.count(EventKind.SCENE_DONE) == report.done == 4
    for scene in job.scenes:
        video = media.inspect_video(report.directory / f"{scene.name}.mp4")
        assert abs(video.seconds - scene.seconds) <= 0.1
    assert_clean(state)


@pytest.mark.slow
def test_a_loop_that_is_left_leaves_nothing_and_can_be_resumed(job: Job, state: Path) -> None:
    with cloudburst.events(job) as stream:
        for event in stream:
            if event.kind is EventKind.SCENE_STARTED:
                break
    assert stream.report.outcome is Outcome.INTERRUPTED
    assert stream.report.batches
    assert all(batch.destroyed for batch in stream.report.batches)
    assert_clean(state)

    report = cloudburst.resume(stream.report.run_id[:-2])
    assert report.run_id == stream.report.run_id
    assert report.outcome is Outcome.COMPLETE
    assert_clean(state)


@pytest.mark.slow
def test_an_exception_in_the_loop_comes_out_when_all_is_destroyed(job: Job, state: Path) -> None:
    seen: list[Event] = []

    def consume() -> None:
        with cloudburst.events(job) as stream:
            for event in stream:
                seen.append(event)
                if event.data.get("state") == "working":
                    raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        consume()
    assert seen[-1].kind is EventKind.BATCH_STATE
    assert_clean(state)


@pytest.mark.slow
def test_an_exception_in_a_callback_comes_out_when_all_is_destroyed(job: Job, state: Path) -> None:
    def watch(event: Event) -> None:
        if event.kind is EventKind.SCENE_DONE:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        asyncio.run(cloudburst.arun(job, on_event=watch))
    assert_clean(state)


@pytest.mark.slow
def test_cancelled_arun_ends_when_all_is_destroyed(job: Job, state: Path) -> None:
    kinds: list[EventKind] = []

    async def program() -> None:
        started = asyncio.Event()

        async def watch(event: Event) -> None:
            assert threading.current_thread() is threading.main_thread()
            kinds.append(event.kind)
            if event.kind is EventKind.SCENE_STARTED:
                started.set()

        task = asyncio.create_task(cloudburst.arun(job, on_event=watch))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(program())
    assert kinds[-1] is EventKind.RUN_FINISHED
    assert_clean(state)


ARUN = """
import asyncio, sys, cloudburst
report = asyncio.run(cloudburst.arun(sys.argv[1], on_event=lambda e: print(e.kind, flush=True)))
"""
EVENTS = """
import sys, cloudburst
with cloudburst.events(sys.argv[1]) as stream:
    for event in stream:
        print(event.kind, flush=True)
"""


@pytest.mark.parametrize("program", but_the_first_slow([ARUN, EVENTS]), ids=["arun", "events"])
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_program_that_gets_a_signal_ends_and_leaves_nothing(
    job: Job, state: Path, tmp_path: Path, program: str, number: signal.Signals
) -> None:
    script = tmp_path / "program.py"
    script.write_text(program)
    with subprocess.Popen(
        [sys.executable, str(script), str(job.source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "RESULTS_DIR": str(tmp_path / "out")},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert any(line == "scene_started\n" for line in process.stdout)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    last = errors.splitlines()[-1]
    if number == signal.SIGINT:
        assert process.returncode == -signal.SIGINT
        assert last == "KeyboardInterrupt"
    else:
        assert process.returncode == 1
        assert last.startswith("cloudburst.errors.Interrupted: interrupted: ")
        assert output.endswith("run_finished\n")
    assert_clean(state)


@pytest.mark.slow
def test_what_a_killed_run_left_is_found_and_removed(job: Job, tmp_path: Path, state: Path) -> None:
    killed(job.source, tmp_path / "killed", scene_done, state)
    audit = cloudburst.audit(targets=["local"])
    (run,) = audit.runs
    assert run.run_id == run_id(state)
    assert audit.exit_code == 4
    steps: list[tuple[str, str]] = []
    cleaned = cloudburst.cleanup(
        run.run_id, found=audit, log=lambda stack, text: steps.append((stack, text))
    )
    assert cleaned.clean
    assert set(cleaned.removed) == {stack.name for stack in run.orphaned}
    assert {stack for stack, _ in steps} == set(cleaned.removed)
    assert_clean(state)
    assert cloudburst.cleanup(everything=True).removed == ()
