"""Whole runs whose machines, networks or runner fail, with the agent in between."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudburst import EventKind
from cloudburst.errors import InfrastructureError
from cloudburst.models import Outcome, SceneStatus
from cloudburst.recovery.audit import audit
from cloudburst.runner import batch
from cloudburst.runner.worker import render_loop
from cloudburst.targets.aws import workers
from cloudburst.targets.aws.resources import AwsResources
from cloudburst.workers import agent, client
from testcloud.faults import MachineFault
from testcloud.machines.hypervisor import kill_services
from tests.support.aws import (
    ONE_ZONE,
    Watch,
    assert_cloud_empty,
    aws_job,
    launches,
    renders,
    run_watched,
    stacks,
)
from tests.support.clouds import until
from tests.support.inputs import scenes_yaml
from tests.support.runs import command

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst import Event, RunReport
    from testcloud.cloud import Cloud
    from testcloud.machines.machine import Machine

pytestmark = [pytest.mark.stack, pytest.mark.video]

IMAGE = "example/slow:1"
SLOW = ONE_ZONE.replace("}", ", image: 'example/slow:1'}")
SLOW_API = Path(__file__).parents[1] / "support/slow_videoapi.py"
EACH_ALONE = "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1}\n"
# As `cloudburst-run`, with a lease that a test can wait for.
VICTIM = """
import sys
from cloudburst.targets.aws import workers
workers.LEASE_SECONDS = int(sys.argv.pop(1))
from cloudburst.__main__ import run_command
sys.exit(run_command())
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after machines more often than a real run has to."""
    monkeypatch.setattr(render_loop, "WATCH_EVERY", 0.2)
    monkeypatch.setattr("cloudburst.targets.aws.fleet.FRESH", 0.2)
    monkeypatch.setattr(AwsResources, "settle", 1.5)
    monkeypatch.setattr(batch, "FIRST_PAUSE", 0.05)


def slow(cloud: Cloud, seconds: float, slots: int = 2) -> None:
    """Let each scene take so many seconds more."""
    program = [sys.executable, str(SLOW_API), str(seconds)]
    cloud.images[IMAGE] = [
        *program,
        "--host",
        "{address}",
        "--port",
        "{port}",
        "--slots",
        str(slots),
    ]


def scene_started(event: Event) -> bool:
    return event.kind is EventKind.SCENE_STARTED


def tries(report: RunReport) -> list[int]:
    """Return how often each scene was tried."""
    return [len(scene.attempts) for scene in report.scenes]


def assert_at_the_first_try(report: RunReport) -> None:
    """Assert that nothing was lost: no machine more than planned, each scene rendered once."""
    assert report.outcome is Outcome.COMPLETE, report.error
    assert tries(report) == [1] * len(report.scenes)
    assert len(launches(report)) == len(report.batches)


# -- nobody is there any more -------------------------------------------------------------------


@pytest.mark.slow
def test_after_kill_9_every_machine_ends_within_its_lease(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    lease = 20.0
    slow(cloud, 600, slots=1)
    path = job_file(scenes_yaml(2, f"target: aws\n{SLOW}{EACH_ALONE}"))
    process = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(int(lease)), str(path), "--output", tmp_path / "out"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: sum("ready: " in machine.boot_log() for machine in cloud.machines) == 2)
    time.sleep(2)
    process.kill()
    killed = time.time()
    process.wait()
    assert len(cloud.running()) == 2
    found = audit()
    assert len([one for one in found.orphaned if "i-" in str(one)]) >= 2, "audit sees them"
    for machine in cloud.machines:
        until(lambda: machine.state == "terminated")  # noqa: B023 - called here
        assert machine.reason == "Client.InstanceInitiatedShutdown"
        assert "nobody has asked" in machine.boot_log()
        assert machine.alive() == []
        assert machine.ended is not None
        assert machine.ended - killed < lease + 10, "with nobody's help"
    assert len(stacks(state)) == 2, "what stays is the record, for audit and cleanup"
    assert command("cleanup", "--all", "--yes").returncode == 0
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_cleanup_ends_the_machines_of_a_killed_run(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    slow(cloud, 600)
    path = job_file(scenes_yaml(1, f"target: aws\n{SLOW}"))
    process = subprocess.Popen(
        [sys.executable, "-c", VICTIM, "600", str(path), "--output", tmp_path / "out"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: any("ready: " in machine.boot_log() for machine in cloud.machines))
    process.kill()
    process.wait()
    done = command("cleanup", "--all", "--yes")
    assert done.returncode == 0, done.stderr
    assert_cloud_empty(cloud, state)
    assert audit().exit_code == 0


# -- the network --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_network_that_is_cut_and_comes_back_loses_nothing(
    cloud: Cloud,
    job_file: Callable[..., Path],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """60 s of a lease of 600, scaled: 6 of 60. Requests are given up and asked again meanwhile."""
    monkeypatch.setattr(workers, "LEASE_SECONDS", 60)
    monkeypatch.setattr(agent, "LONG_POLL", agent.LONG_POLL / 10)
    monkeypatch.setattr(agent, "WAY", agent.WAY / 10)
    cloud.wired = True
    slow(cloud, 8)
    watch = Watch()

    def cut() -> None:
        until(lambda: [machine for machine in cloud.machines if renders(machine)])
        for machine in cloud.running():
            for wire in cloud.wires(machine):
                wire.cut(6)

    cutting = threading.Thread(target=cut)
    watch.when(scene_started, cutting.start)
    report, _ = run_watched(aws_job(job_file, 2, SLOW), watch)
    cutting.join()
    assert_at_the_first_try(report)
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_render_is_longer_than_what_a_nat_remembers(
    cloud: Cloud,
    job_file: Callable[..., Path],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten minutes behind a NAT that forgets after five, scaled by 30: 20 s and 10 s."""
    monkeypatch.setattr(agent, "LONG_POLL", agent.LONG_POLL / 30)
    cloud.machine_faults.append(MachineFault("nat", times=None, seconds=10))
    slow(cloud, 20)
    report, _ = run_watched(aws_job(job_file, 1, SLOW))
    assert_at_the_first_try(report)
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_machine_that_hears_nothing_any_more_ends_itself_and_is_replaced(
    cloud: Cloud,
    job_file: Callable[..., Path],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The renewals of its lease are lost, and EC2 says that it runs."""
    monkeypatch.setattr(workers, "LEASE_SECONDS", 10)
    monkeypatch.setattr(render_loop, "SILENCE", 600.0)
    cloud.wired = True
    slow(cloud, 5)
    watch = Watch()
    watch.when(scene_started, lambda: [w.cut(600) for w in cloud.wires(cloud.machines[0])][:0])
    report, _ = run_watched(aws_job(job_file, 1, SLOW), watch)
    assert report.outcome is Outcome.COMPLETE, report.error
    assert cloud.machines[0].reason == "Client.InstanceInitiatedShutdown"
    assert "nobody has asked" in cloud.machines[0].boot_log()
    assert len(cloud.machines) == 2
    assert_cloud_empty(cloud, state)


def test_another_certificate_on_the_way_gets_no_key(
    cloud: Cloud,
    job_file: Callable[..., Path],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent, "_IMPOSTOR", 1.0)
    cloud.machine_faults.append(MachineFault("intercepted", times=None))
    with pytest.raises(InfrastructureError) as failed:
        run_watched(aws_job(job_file, 1, ONE_ZONE))
    assert "another certificate" in str(failed.value)
    assert "proxy" in str(failed.value), "and what that may be"
    wires = cloud.all_wires()
    assert any(wire.flows for wire in wires)
    assert all(wire.recorded == b"" for wire in wires), "refused before anything was sent"
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_run_between_ears_tells_nothing(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    cloud.wired = True
    report, _ = run_watched(aws_job(job_file, 1, ONE_ZONE))
    assert_at_the_first_try(report)
    recorded = b"".join(bytes(wire.recorded) for wire in cloud.all_wires())
    assert len(recorded) > 10_000, "pictures, sounds and videos"
    for text in ("HTTP/1", "Authentication", "health", "RIFF", "ftyp", "s00", "s01"):
        assert text.encode() not in recorded
    assert_cloud_empty(cloud, state)


# -- machines -----------------------------------------------------------------------------------

ALIKE = [
    ("image_not_found", "manifest unknown"),
    ("wrong_architecture", "no matching manifest"),
    ("exec_format", "exec format error"),
]
ITS_OWN = [
    ("pull_limited", "toomanyrequests"),
    ("pull_fails", "request canceled while waiting for connection"),
    ("disk_full", "no space left on device"),
]


# The next one begins in ten minutes, unless that is known to be in vain.
ONE_AFTER_THE_OTHER = (
    "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1, launches_per_wave: 1, "
    "launch_pause: 600}\n"
)
# Five seconds, and the longest pause between two looks, on a machine that is as busy as can be.
SCALE, TOLD = 6, 5.0


@pytest.mark.slow
@pytest.mark.parametrize("case", [*ALIKE, *ITS_OWN])
def test_a_failed_boot_ends_its_machine_and_is_told_with_its_reason(
    cloud: Cloud,
    job_file: Callable[..., Path],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[str, str],
) -> None:
    kind, words = case
    monkeypatch.setattr(client, "LONGEST_PAUSE", client.LONGEST_PAUSE * SCALE)
    cloud.machine_faults.append(MachineFault(kind, times=None))
    waves = ONE_AFTER_THE_OTHER if case in ALIKE else ""
    watch, delays = Watch(), list[float]()

    def note() -> None:
        log = cloud.machines[0].root / "var/log/cloudburst.log"
        assert "failed: " in log.read_text().splitlines()[-1]
        delays.append(time.time() - log.stat().st_mtime)

    watch.when(lambda event: event.data.get("boot") == "failed", note)
    with pytest.raises(InfrastructureError) as failed:
        run_watched(aws_job(job_file, 2 if waves else 1, ONE_ZONE + waves), watch)
    assert words in str(failed.value)
    (delay,) = delays
    assert delay < TOLD * SCALE, "from what the machine has noted to the run's event"
    (event,) = [each for each in watch.events if each.data.get("boot") == "failed"][:1]
    assert words in event.text
    if waves:
        assert len(cloud.machines) == 1, "the next machine would fail alike"
        creating = {e.batch for e in watch.events if e.data.get("state") == "creating"}
        assert creating == {"b01"}
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        MachineFault("reboot", seconds=3.0),
        MachineFault("late_docker"),
        MachineFault("logind_away"),
    ],
    ids=lambda fault: fault.kind,
)
def test_a_run_survives_what_befalls_its_machine(
    cloud: Cloud, job_file: Callable[..., Path], state: Path, fault: MachineFault
) -> None:
    cloud.machine_faults.append(fault)
    slow(cloud, 4)
    # Another zone: a machine that is slow to boot is rebooted before it renders, and left.
    zones = SLOW.replace("[us-east-1a]", "[us-east-1a, us-east-1b]")
    report, _ = run_watched(aws_job(job_file, 2, zones))
    assert report.outcome is Outcome.COMPLETE, report.error
    assert all(scene.status is SceneStatus.DONE for scene in report.scenes)
    if fault.kind == "reboot":
        assert "this machine has been rebooted" in cloud.machines[0].boot_log()
    else:
        assert len(launches(report)) == len(report.batches) == 1
        assert tries(report) == [1, 1]
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_an_agent_that_is_killed_while_scenes_render_costs_no_attempt(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    slow(cloud, 4)
    watch, again = Watch(), []

    def pids(machine: Machine) -> set[int]:
        return {int(service["pid"] or 0) for service in machine.services.values()}

    def kill() -> None:
        machine = until(lambda: next((one for one in cloud.machines if renders(one)), None))
        before = pids(machine)
        kill_services(machine)
        again.append(until(lambda: pids(machine) - before - {0}))

    killing = threading.Thread(target=kill)
    watch.when(scene_started, killing.start)
    report, _ = run_watched(aws_job(job_file, 2, SLOW), watch)
    killing.join()
    assert again, "systemd has started it again"
    assert_at_the_first_try(report)
    assert_cloud_empty(cloud, state)
