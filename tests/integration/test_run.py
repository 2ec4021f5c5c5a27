"""Whole runs on the local target: real engine, real workers, real videos."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from cloudburst import (
    Event,
    EventKind,
    Interrupted,
    Stop,
    load_job,
    media,
    run,
)
from cloudburst.errors import InfrastructureError
from cloudburst.models import Outcome, SceneStatus
from cloudburst.targets.local import provider
from tests.support.inputs import EXAMPLE, scenes_yaml
from tests.support.runs import assert_nothing_left, cli_run, state_is

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst.models import Job

pytestmark = [pytest.mark.stack, pytest.mark.video]

TWO_BATCHES = "distribution: {scenes_per_batch: 2, min_scenes_per_batch: 1}\n"


@pytest.mark.slow
def test_the_example_becomes_six_verified_videos(tmp_path: Path, state: Path) -> None:
    events: list[Event] = []
    job = load_job(EXAMPLE, output=tmp_path / "out")
    report = run(job, on_event=events.append)
    assert report.outcome is Outcome.COMPLETE
    assert report.done == 6
    for scene, result in zip(job.scenes, report.scenes, strict=True):
        video = media.inspect_video(report.directory / f"{scene.name}.mp4")
        portrait = scene.name == "05-two-dogs"
        assert (video.width, video.height) == ((1080, 1920) if portrait else (1920, 1080))
        assert (video.fps, video.video_codec, video.audio_codec) == (30, "h264", "aac")
        assert abs(video.seconds - scene.seconds) <= 0.1
        assert result.artifact is not None
        assert result.artifact.size == video.size
    assert {result.scenario for result in report.scenes} == {
        "baseline",
        "subtitles_only",
        "effects_only",
        "full_featured",
    }
    assert len(report.batches) == 2
    assert all(batch.destroyed for batch in report.batches)
    assert sum(batch.scenes_done for batch in report.batches) == 6
    assert report.cost.usd == 0
    assert report.cost.worker_seconds > 0
    assert report.directory.parent == tmp_path / "out"
    assert sorted(path.name for path in report.directory.iterdir()) == sorted(
        [f"{scene.name}.mp4" for scene in job.scenes]
        + ["events.jsonl", "journal.db", "journal.lock", "logs", "report.json"]
        + ["report.html", "trace.json", "scenes.csv", "launches.csv"]
    )

    written = json.loads((report.directory / "report.json").read_text())
    assert (written["done"], written["total"], written["outcome"]) == (6, 6, "complete")
    assert written["speedup"] == pytest.approx(report.speedup, abs=0.01)
    assert set(written["phases"]) == {"up", "health", "drive", "destroy"}
    assert events[-1].kind is EventKind.RUN_FINISHED
    # Stacks of different batches come up together, and one does not wait for the other's end.
    ups = [batch.spans[0] for batch in report.batches]
    assert max(span.start for span in ups) < min(span.end for span in ups)
    assert_nothing_left(state)


def bad_scene_job(job_file: Callable[..., Path], tmp_path: Path) -> Job:
    """Make a job whose second scene's picture is cut after it was checked, before it is sent."""
    path = job_file(
        scenes_yaml(1, TWO_BATCHES)
        + "  - {name: broken, image: broken.png, audio: a.wav}\n"
        + "  - {name: last, image: p.png, audio: a.wav}\n"
    )
    whole = (path.parent / "p.png").read_bytes()
    (path.parent / "broken.png").write_bytes(whole)
    job = load_job(path, output=tmp_path / "out")
    (path.parent / "broken.png").write_bytes(whole[: len(whole) // 2])
    return job


def test_a_failed_scene_is_named_with_its_reason_and_the_others_go_on(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    report = run(bad_scene_job(job_file, tmp_path))
    assert report.outcome is Outcome.PARTIAL
    status = {scene.name: scene.status for scene in report.scenes}
    assert status == {
        "s01": SceneStatus.DONE,
        "broken": SceneStatus.FAILED,
        "last": SceneStatus.DONE,
    }
    broken = report.scenes[1]
    assert broken.error is not None
    assert "not a usable picture" in broken.error
    assert len(broken.attempts) == 1, "a scene that is refused is not tried again"
    assert not list(report.directory.glob("*.part"))
    assert_nothing_left(state)


@pytest.mark.slow
def test_scenes_of_a_worker_that_dies_are_rendered_elsewhere(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    killed: list[str] = []

    def kill_first(event: Event) -> None:
        if event.kind is EventKind.SCENE_STARTED and not killed and event.batch:
            killed.append(event.batch)
            for identity, stack in provider.workers():
                process = provider.find(identity, stack)
                if stack.endswith(event.batch) and stack.startswith(run_ids[0]) and process:
                    os.killpg(process.pid, signal.SIGKILL)

    run_ids: list[str] = []

    def watch(event: Event) -> None:
        if event.kind is EventKind.RUN_STARTED:
            run_ids.append(str(event.data["run"]))
        kill_first(event)

    job = load_job(job_file(scenes_yaml(4, TWO_BATCHES)), output=tmp_path / "out")
    report = run(job, on_event=watch)
    assert report.outcome is Outcome.COMPLETE
    launches = [launch for batch in report.batches for launch in batch.launches]
    (dead,) = [launch for launch in launches if launch.error]
    assert dead.label == killed[0]
    assert "the worker is gone: process" in str(dead.error)
    retried = [scene for scene in report.scenes if len(scene.attempts) > 1]
    assert retried
    for scene in retried:
        assert scene.attempts[0].worker == killed[0]
        assert scene.attempts[0].error is not None
        assert scene.attempts[-1].worker != killed[0]
    assert_nothing_left(state)


def test_when_the_only_worker_dies_another_one_is_made(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    killed: list[str] = []
    run_ids: list[str] = []

    def watch(event: Event) -> None:
        if event.kind is EventKind.RUN_STARTED:
            run_ids.append(str(event.data["run"]))
        if event.kind is EventKind.SCENE_STARTED and not killed:
            for identity, stack in provider.workers():
                process = provider.find(identity, stack)
                if stack.startswith(run_ids[0]) and process:
                    killed.append(stack)
                    os.killpg(process.pid, signal.SIGKILL)

    report = run(load_job(job_file(scenes_yaml(2)), output=tmp_path / "out"), on_event=watch)
    assert report.outcome is Outcome.COMPLETE
    (batch,) = report.batches
    assert [launch.label for launch in batch.launches] == ["b01", "b01.2"]
    assert batch.error is None
    assert [bool(launch.error) for launch in batch.launches] == [True, False]
    assert_nothing_left(state)


@pytest.mark.slow
def test_a_render_that_takes_too_long_fails_its_scene_by_name(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    from tests.support.inputs import write_picture, write_sound

    more = "limits: {scene_timeout: 1, attempts: 1}\n"
    path = job_file(
        scenes_yaml(1, more)
        + "  - {name: long, image: big.png, audio: long.wav, effects: [zoom_in]}\n"
    )
    write_picture(path.parent / "big.png", (1920, 1080))
    write_sound(path.parent / "long.wav", 120, rate=8000)
    report = run(load_job(path, output=tmp_path / "out"))
    failed = {scene.name: scene.error for scene in report.scenes if scene.error}
    assert set(failed) <= {"long", "s01"}
    assert failed["long"] is not None
    assert "took longer than 1 s" in failed["long"]
    assert_nothing_left(state)


def test_a_worker_that_does_not_start_is_told_with_its_own_last_words(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    # Where the worker wants its folder is a file: it starts, and fails for a reason of its own.
    state.mkdir()
    (state / "workers").write_text("in the way")
    job = load_job(
        job_file(scenes_yaml(1, "limits: {health_timeout: 3}\n")), output=tmp_path / "out"
    )
    with pytest.raises(InfrastructureError, match=r"no worker could be used.*log lines.*Error"):
        run(job)
    (directory,) = (tmp_path / "out").iterdir()
    written = json.loads((directory / "report.json").read_text())
    assert written["outcome"] == "failed"
    assert written["scenes"][0]["status"] == "unfinished"
    assert_nothing_left(state)


@pytest.mark.slow
def test_an_exception_in_the_watcher_tears_down_and_comes_out(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    def watch(event: Event) -> None:
        if event.kind is EventKind.SCENE_STARTED:
            raise RuntimeError("the watcher is broken")

    job = load_job(job_file(scenes_yaml(2)), output=tmp_path / "out")
    with pytest.raises(RuntimeError, match="the watcher is broken"):
        run(job, on_event=watch)
    assert_nothing_left(state)


@pytest.mark.slow
def test_another_thread_may_stop_a_run(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    stop = Stop()
    caught: list[Interrupted] = []
    job = load_job(slow_job(job_file), output=tmp_path / "out")

    def watch(event: Event) -> None:
        if event.kind is EventKind.SCENE_STARTED:
            stop.request()

    def work() -> None:
        try:
            run(job, stop=stop, on_event=watch)
        except Interrupted as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    (error,) = caught
    assert error.report.outcome is Outcome.INTERRUPTED
    assert error.report.done == 0
    assert {scene.status for scene in error.report.scenes} == {SceneStatus.UNFINISHED}
    assert_nothing_left(state)


# -- the command, ended by real signals ---------------------------------------------------------


def slow_job(job_file: Callable[..., Path]) -> Path:
    """Write a job that would take minutes."""
    from tests.support.inputs import write_picture, write_sound

    path = job_file(
        scenes_yaml(6, TWO_BATCHES.replace("2,", "3,"), ", effects: [zoom_in]")
        .replace("p.png", "big.png")
        .replace("a.wav", "long.wav")
    )
    write_picture(path.parent / "big.png", (1920, 1080))
    write_sound(path.parent / "long.wav", 60, rate=8000)
    return path


def quick_job(job_file: Callable[..., Path]) -> Path:
    return job_file(scenes_yaml(2))


def scene_started(event: dict[str, object]) -> bool:
    return event["event"] == "scene_started"


@pytest.mark.parametrize(
    ("make", "moment", "number", "times"),
    [
        pytest.param(slow_job, state_is("creating"), signal.SIGINT, 1, id="while-creating"),
        pytest.param(
            slow_job,
            state_is("starting"),
            signal.SIGINT,
            1,
            id="while-starting",
            marks=pytest.mark.slow,
        ),
        pytest.param(slow_job, scene_started, signal.SIGINT, 1, id="while-rendering"),
        pytest.param(
            quick_job,
            state_is("destroying"),
            signal.SIGINT,
            1,
            id="while-destroying",
            marks=pytest.mark.slow,
        ),
        pytest.param(slow_job, state_is("creating"), signal.SIGINT, 2, id="twice-while-creating"),
        pytest.param(
            slow_job,
            scene_started,
            signal.SIGINT,
            2,
            id="twice-while-rendering",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            slow_job, scene_started, signal.SIGTERM, 1, id="sigterm", marks=pytest.mark.slow
        ),
        pytest.param(
            slow_job, scene_started, signal.SIGHUP, 1, id="closed-terminal", marks=pytest.mark.slow
        ),
    ],
)
def test_a_signal_at_any_moment_leaves_nothing(
    job_file: Callable[..., Path],
    tmp_path: Path,
    state: Path,
    make: Callable[[Callable[..., Path]], Path],
    moment: Callable[[dict[str, object]], bool],
    number: signal.Signals,
    times: int,
) -> None:
    with cli_run(make(job_file), tmp_path / "out") as running:
        running.until(moment)
        for _ in range(times):
            time.sleep(0.3)  # into the moment, not at its edge
            os.killpg(running.process.pid, number)
        code, err = running.finish()
    assert_nothing_left(state)
    finished = running.events[-1]
    assert finished["event"] == "run_finished", err
    assert finished["report"]["left_running"] == []
    if make is slow_job:
        assert code == 130, err
        assert finished["report"]["outcome"] == "interrupted"
    else:
        # All videos were home: being asked to stop while tidying up takes nothing away.
        assert code == 0
        assert finished["report"]["outcome"] == "complete"


def test_a_killed_run_leaves_no_worker(
    job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    """After SIGKILL nobody can tear down: the workers end themselves."""
    from tests.support.runs import processes_of

    with cli_run(slow_job(job_file), tmp_path / "out") as running:
        running.until(scene_started)
        assert processes_of(state)
        running.process.kill()
        running.process.communicate()
        deadline = time.monotonic() + 10
        while (left := processes_of(state)) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert left == []
