"""Machines that are taken away, die or fall silent; killed runs; terminations that fail."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from cloudburst import EventKind, LeftRunning
from cloudburst.models import Outcome, SceneStatus
from cloudburst.runner import batch, budget
from cloudburst.runner.worker import render_loop
from cloudburst.targets.aws.resources import AwsResources
from cloudburst.targets.aws.workers import AwsWorkers
from testcloud.faults import Fault, MachineFault
from tests.support.aws import (
    ONE_ZONE,
    Watch,
    assert_cloud_empty,
    aws_job,
    codes,
    launches,
    machine_cost,
    newest,
    run_watched,
    stacks,
)
from tests.support.clouds import until
from tests.support.inputs import scenes_yaml, write_picture, write_sound
from tests.support.runs import cli_run, processes_of, state_is

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloudburst import Event, RunReport
    from testcloud.cloud import Cloud

pytestmark = [pytest.mark.stack, pytest.mark.video]

ONE_SPOT = "aws: {zones: [us-east-1a], instance_types: [c5.2xlarge], markets: [spot]}\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after machines more often than a real run has to."""
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 0.2)
    monkeypatch.setattr("cloudburst.targets.aws.fleet.FRESH", 0.2)
    monkeypatch.setattr(AwsResources, "settle", 1.5)
    monkeypatch.setattr(batch, "FIRST_PAUSE", 0.05)


def slow_scene(job_file: Callable[..., Path], seconds: float = 40) -> str:
    """Write a scene that takes a while, and give what a job says of it."""
    folder = job_file("").parent
    write_picture(folder / "big.png", (1920, 1080))
    write_sound(folder / "long.wav", seconds, rate=8000)
    return ", image: big.png, audio: long.wav, effects: [zoom_in]"


def started(event: Event) -> bool:
    return event.kind is EventKind.SCENE_STARTED


def done(event: Event) -> bool:
    return event.kind is EventKind.SCENE_DONE


def mixed_job(job_file: Callable[..., Path], more: str) -> Path:
    """Write a job of two short scenes and a long one."""
    scene = slow_scene(job_file)
    text = scenes_yaml(2, f"target: aws\n{more}")
    return job_file(text + f"  - {{name: long{scene}}}\n")


def assert_rendered_once_where_it_was_downloaded(report: RunReport) -> None:
    """No scene has an attempt after the one that brought it home."""
    for scene in report.scenes:
        assert scene.status is SceneStatus.DONE
        assert [attempt.error is None for attempt in scene.attempts][:-1] == [False] * (
            len(scene.attempts) - 1
        )


@pytest.mark.slow
def test_a_spot_machine_that_is_taken_back_is_replaced_and_nothing_is_rendered_twice(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    from cloudburst import load_job

    path = mixed_job(job_file, ONE_SPOT)
    watch = Watch()
    watch.when(done, lambda: cloud.spot_notice(newest(cloud), seconds=0.5))
    report, _ = run_watched(load_job(path, output=path.parent / "out"), watch)
    assert report.outcome is Outcome.COMPLETE
    assert codes(report) == ["Server.SpotInstanceTermination", None]
    assert [launch.label for launch in launches(report)] == ["b01", "b01.2"]
    assert_rendered_once_where_it_was_downloaded(report)
    long = report.scenes[2]
    assert [attempt.worker for attempt in long.attempts] == ["b01", "b01.2"]
    assert "Server.SpotInstanceTermination" in str(long.attempts[0].error)
    assert len(cloud.machines) == 2
    assert machine_cost(report) >= sum(bill.usd for bill in cloud.bills())
    page = (report.directory / "report.html").read_text("utf-8")
    assert "b01: the spot machine was reclaimed: Server.SpotInstanceTermination: " in page
    assert "AWS price list of " in page or "spot price of " in page
    assert "the spot machine was reclaimed, destroyed" in page
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_notice_lets_what_renders_finish_and_hands_out_nothing_more(
    cloud: Cloud, job_file: Callable[..., Path], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AwsWorkers, "room", lambda *_: 1)
    watch = Watch()
    watch.when(done, lambda: cloud.spot_notice(newest(cloud), seconds=60))
    scene = slow_scene(job_file, 12).replace(", image: big.png, audio: long.wav", "")
    job = aws_job(job_file, 6, ONE_SPOT, scene=scene)
    report, _ = run_watched(job, watch)
    assert report.outcome is Outcome.COMPLETE
    assert all(attempt.error is None for scene in report.scenes for attempt in scene.attempts)
    first, second = launches(report)
    assert 0 < first.scenes_done < 6
    assert first.scenes_done + second.scenes_done == 6
    assert first.code == "Server.SpotInstanceTermination"
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_machine_whose_hardware_fails_is_replaced(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    scene = slow_scene(job_file)
    watch = Watch()
    watch.when(started, lambda: cloud.kill(newest(cloud)))
    path = job_file(f"version: 1\ntarget: aws\n{ONE_ZONE}scenes:\n  - {{name: long{scene}}}\n")
    from cloudburst import load_job

    report, _ = run_watched(load_job(path, output=path.parent / "out"), watch)
    assert report.outcome is Outcome.COMPLETE
    assert codes(report) == ["Server.InternalError", None]
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_machine_that_ends_before_it_is_healthy_is_replaced(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    cloud.machine_faults.append(MachineFault("slow_boot", seconds=30))
    watch = Watch()
    watch.when(
        lambda event: event.data.get("state") == "starting", lambda: cloud.kill(newest(cloud))
    )
    more = "aws: {zones: [us-east-1a, us-east-1b], instance_types: [c5.2xlarge]}\n"
    report, _ = run_watched(aws_job(job_file, 1, more), watch)
    assert report.outcome is Outcome.COMPLETE
    assert codes(report) == ["Server.InternalError", None]
    assert "ended before it was healthy" in str(launches(report)[0].error)
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_machine_that_falls_silent_is_given_up(
    cloud: Cloud, job_file: Callable[..., Path], state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough that on a busy machine the second worker is not given up, too.
    monkeypatch.setattr(render_loop, "SILENCE", 6.0)
    monkeypatch.setattr(render_loop, "ASK_EVERY", 0.3)
    monkeypatch.setattr(render_loop, "ASK_TIMEOUT", 3.0)
    scene = slow_scene(job_file)
    path = job_file(f"version: 1\ntarget: aws\n{ONE_ZONE}scenes:\n  - {{name: long{scene}}}\n")
    from cloudburst import load_job

    def fall_silent() -> None:
        cloud.machines[0].freeze()

    watch = Watch()
    # Not before it is healthy: then it would be given up for another reason, minutes later.
    watch.when(started, fall_silent)
    report, _ = run_watched(load_job(path, output=path.parent / "out"), watch)
    assert report.outcome is Outcome.COMPLETE
    first, second = launches(report)
    assert "has not answered for" in str(first.error)
    assert second.error is None
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_dead_man_switch_that_fires_early_costs_no_scene(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    scene = slow_scene(job_file)
    path = job_file(f"version: 1\ntarget: aws\n{ONE_ZONE}scenes:\n  - {{name: long{scene}}}\n")
    from cloudburst import load_job

    watch = Watch()
    watch.when(
        lambda event: event.kind is EventKind.SCENE_STARTED,
        lambda: cloud.end_lease(cloud.machines[0]),
    )
    report, _ = run_watched(load_job(path, output=path.parent / "out"), watch)
    assert report.outcome is Outcome.COMPLETE
    assert codes(report) == ["Client.InstanceInitiatedShutdown", None]
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_after_kill_9_the_machine_ends_itself(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    """Nobody is there to tear down: the first line of the machine's user-data ends the bill."""
    scene = slow_scene(job_file)
    path = job_file(f"version: 1\ntarget: aws\n{ONE_ZONE}scenes:\n  - {{name: long{scene}}}\n")
    with cli_run(path, tmp_path / "out") as running:
        running.until(lambda event: event["event"] == "scene_started")
        running.process.kill()
        running.process.communicate()
    (machine,) = cloud.machines
    assert machine.state == "running"
    cloud.end_lease(machine)
    until(lambda: machine.state == "terminated")
    assert machine.alive() == []
    until(lambda: not processes_of(state))
    assert len(stacks(state)) == 1, "what stays is the record, for audit and cleanup"
    cloud.expect_remaining = True


@pytest.mark.parametrize(
    ("moment", "times"),
    [("creating", 1), ("creating", 2), ("starting", 1), ("working", 1)],
)
@pytest.mark.slow
def test_ctrl_c_at_any_moment_leaves_nothing(
    cloud: Cloud,
    job_file: Callable[..., Path],
    tmp_path: Path,
    state: Path,
    moment: str,
    times: int,
) -> None:
    cloud.boot_seconds = 1.0
    scene = slow_scene(job_file, 400)  # longer than any teardown takes
    path = job_file(f"version: 1\ntarget: aws\n{ONE_ZONE}scenes:\n  - {{name: long{scene}}}\n")
    with cli_run(path, tmp_path / "out") as running:
        running.until(state_is(moment))
        if moment == "creating":
            until(lambda: cloud.machines)  # in the middle of the call that creates it
        for _ in range(times):
            os.killpg(running.process.pid, signal.SIGINT)
        code, err = running.finish()
    assert code == 130, err
    assert running.events[-1]["report"]["left_running"] == []
    assert_cloud_empty(cloud, state)
    assert all(machine.ended for machine in cloud.machines)


@pytest.mark.slow
def test_a_termination_that_fails_is_repeated(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    cloud.faults.add(Fault("TerminateInstances", "InternalError", times=6))
    report, _ = run_watched(aws_job(job_file, 1, ONE_ZONE))
    assert report.outcome is Outcome.COMPLETE
    assert report.left_running == ()
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_what_aws_will_not_end_is_told_with_its_price_and_the_command(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    cloud.faults.add(Fault("TerminateInstances", "UnauthorizedOperation", times=None))
    with pytest.raises(LeftRunning) as caught:
        run_watched(aws_job(job_file, 1, ONE_ZONE))
    (machine,) = cloud.machines
    (line,) = caught.value.left
    assert f"{machine.id} (c5.2xlarge, running, $0.340/h) in us-east-1" in line
    command = f"aws ec2 terminate-instances --region us-east-1 --instance-ids {machine.id}"
    cleanup, _, rest = line.partition("; remove it with: ")[2].partition(", or: ")
    assert cleanup == f"cloudburst cleanup {caught.value.report.run_id}"
    told = rest.split(" && ")
    assert told[0] == command
    assert told[1].startswith("aws ec2 wait instance-terminated --region us-east-1 ")
    # Its disk goes with it.
    assert [words.split()[2] for words in told[2:]] == ["delete-security-group"]
    assert caught.value.report.done == 1, "the video is home all the same"
    assert caught.value.exit_code == 4
    cloud.expect_remaining = True


@pytest.mark.parametrize("policy", ["finish", "cancel"])
@pytest.mark.slow
def test_a_run_that_becomes_too_dear_ends_in_time(
    cloud: Cloud,
    job_file: Callable[..., Path],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
) -> None:
    # As if ending took most of an hour: the first look finds the money gone.
    monkeypatch.setattr(budget, "WIND_DOWN", 3000.0)
    monkeypatch.setattr(AwsWorkers, "room", lambda *_: 1)
    scene = slow_scene(job_file, 20).replace(", image: big.png, audio: long.wav", "")
    more = f"{ONE_ZONE}limits: {{max_cost_usd: 0.2, on_max_cost: {policy}}}\n"
    path = aws_job(job_file, 4, more, scene=scene)
    report, watch = run_watched(path)
    assert report.outcome in (Outcome.PARTIAL, Outcome.FAILED)
    assert report.error is not None
    assert report.error.startswith("limits.max_cost_usd: $0.0")
    assert len(watch.texts(EventKind.STOPPING)) >= 1
    assert report.done < 4
    assert_cloud_empty(cloud, state)
