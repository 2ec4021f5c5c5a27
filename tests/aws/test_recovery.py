"""After a crash on rented machines: nothing is forgotten, nothing is billed twice, all ends."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.journal import store as journal
from testcloud.cloud import Cloud, Fault
from tests.support.aws import ONE_ZONE, assert_cloud_empty, renders, stacks
from tests.support.clouds import administrator, until
from tests.support.inputs import scenes_yaml
from tests.support.patience import SOON
from tests.support.runs import (
    cli_run,
    command,
    homes,
    jumping,
    killed,
    processes_of,
    run_id,
    scene_done,
    scene_started,
    state_is,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.stack, pytest.mark.video]
SLOW_API = Path(__file__).parents[1] / "support/slow_videoapi.py"


def small_job(job_file: Callable[..., Path], scenes: int = 2, more: str = "") -> Path:
    return job_file(scenes_yaml(scenes, f"target: aws\n{ONE_ZONE}{more}"))


def long_job(job_file: Callable[..., Path], seconds: float = 30) -> Path:
    """Write a job of one short scene and one that takes a while."""
    from tests.support.inputs import write_picture, write_sound

    text = scenes_yaml(2, f"target: aws\n{ONE_ZONE}", ", effects: [zoom_in]")
    path = job_file(
        text.replace("s01, image: p.png, audio: a.wav", "s01, image: big.png, audio: long.wav")
    )
    write_picture(path.parent / "big.png", (1920, 1080))
    write_sound(path.parent / "long.wav", seconds, rate=8000)
    return path


def printed_cleanup(said: str) -> list[str]:
    """Give the command that an audit tells a person to type."""
    (line,) = (line for line in said.splitlines() if "remove what is left: " in line)
    return shlex.split(line.partition("remove what is left: cloudburst ")[2])


def machine_usd(folder: Path) -> float:
    report = json.loads((folder / "report.json").read_text())
    return sum(line["usd"] for line in report["cost"]["lines"] if line["kind"] == "machine")


def assert_bill_is_the_clouds(cloud: Cloud, folder: Path) -> None:
    """Report, journal and AWS's own ledger agree to the cent."""
    assert machine_usd(folder) == pytest.approx(sum(b.usd for b in cloud.bills()), abs=0.005)
    history = journal.read(folder)
    assert history is not None
    assert {one.machine for one in history.rentals} == {bill.machine for bill in cloud.bills()}
    assert all(one.until is not None for one in history.rentals)


@pytest.mark.slow
def test_a_machine_that_was_being_created_when_its_run_was_killed_is_found(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    """Its state never heard of it, and a refresh would forget that it was ever asked for."""
    cloud.boot_seconds = 3.0
    with cli_run(small_job(job_file), tmp_path / "out") as running:
        running.until(state_is("creating"))
        until(lambda: cloud.machines)
        running.process.kill()
        running.process.communicate()
    until(lambda: not processes_of(state))
    (folder,) = (tmp_path / "out").iterdir()
    (machine,) = cloud.machines
    told = json.loads(command("audit", "--json").stdout)
    (stack,) = told["runs"][0]["stacks"]
    assert any("aws:ec2/instance:Instance" in line for line in stack["pending_operations"])
    orphans = [one for one in stack["remains"] if one["orphan"]]
    assert [one["id"] for one in orphans] == [machine.id]
    done = command("cleanup", "--orphans", "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert_cloud_empty(cloud, state)
    assert machine.state == "terminated"
    assert command("audit").returncode == 0
    assert_bill_is_the_clouds(cloud, folder)


@pytest.mark.slow
def test_a_machine_that_still_works_is_taken_over(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    folder = killed(long_job(job_file), tmp_path / "out", scene_done, state)
    before = homes(folder)
    (machine,) = cloud.running()
    done = command("resume", run_id(state))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"going on with {machine.id}, which still works" in done.stdout
    assert [one.id for one in cloud.machines] == [machine.id], "no other was rented"
    after = homes(folder)
    assert len(after) == 2
    assert {name: after[name] for name in before} == before
    assert_cloud_empty(cloud, state)
    assert_bill_is_the_clouds(cloud, folder)


@pytest.mark.slow
@pytest.mark.slow
def test_a_machine_with_the_public_image_is_taken_over_and_ends_what_it_was_doing(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    """It does not stop what was given up: new scenes would wait, or be rendered beside that."""
    place = ["--host", "{address}", "--port", "{port}"]
    program = [sys.executable, str(SLOW_API), "12", "public", *place]
    cloud.images["betashow/video-generation-api:latest"] = program

    def rendering(event: dict[str, Any]) -> bool:
        return scene_started(event) and bool(until(lambda: renders(cloud.machines[0])))

    folder = killed(small_job(job_file), tmp_path / "out", rendering, state)
    (machine,) = cloud.running()
    first = machine.container_pids
    assert len(first) == 4, "one for each scene that it takes at once"
    done = command("resume", run_id(state))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"going on with {machine.id}, which still works" in done.stdout
    assert [one.id for one in cloud.machines] == [machine.id], "no other was rented"
    jobs = re.findall(r"job \S+: (\d+)", machine.boot_log())
    assert jobs.count("200") == 2
    assert 1 <= jobs.count("499") <= 2, "those of the killed session"
    assert len(homes(folder)) == 2
    assert_cloud_empty(cloud, state)
    assert_bill_is_the_clouds(cloud, folder)


@pytest.mark.slow
def test_a_resume_that_is_refused_ends_what_the_killed_run_has_left(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    folder = killed(long_job(job_file, 10), tmp_path / "out", scene_done, state)
    before = homes(folder)
    refused = command("resume", run_id(state), "--max-cost-usd", "0.0001")
    assert refused.returncode == 2, refused.stdout + refused.stderr
    assert "limits.max_cost_usd: got 0.0001" in refused.stderr
    assert_cloud_empty(cloud, state)
    assert [one.state for one in cloud.machines] == ["terminated"]
    assert command("audit").returncode == 0
    assert_bill_is_the_clouds(cloud, folder)
    done = command("resume", run_id(state), "--max-cost-usd", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    after = homes(folder)
    assert {name: after[name] for name in before} == before


@pytest.mark.slow
def test_a_machine_that_does_not_answer_is_ended_and_replaced(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    folder = killed(long_job(job_file), tmp_path / "out", scene_done, state)
    (machine,) = cloud.running()
    cloud.kill(machine)
    done = command("resume", run_id(state))
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(cloud.machines) == 2
    assert_cloud_empty(cloud, state)
    assert len(homes(folder)) == 2
    assert_bill_is_the_clouds(cloud, folder)


@pytest.mark.slow
def test_a_machine_that_ended_itself_long_ago_is_not_billed_until_today(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    path = long_job(job_file)
    path.write_text(path.read_text().replace("c5.2xlarge]", "c5.2xlarge], lease_minutes: 5"))
    folder = killed(path, tmp_path / "out", scene_started, state)
    (machine,) = cloud.machines
    cloud.end_lease(machine)
    until(lambda: machine.state == "terminated")
    # The cleanup comes an hour after the lease was over.
    with journal.sqlite3.connect(folder / "journal.db") as db:
        db.execute("UPDATE rental SET since = since - 7200, expires = expires - 7200")
    assert command("cleanup", "--all", "--yes").returncode == 0
    assert_cloud_empty(cloud, state)
    (rental,) = journal.read(folder).rentals  # type: ignore[union-attr]
    assert rental.until is not None
    assert rental.until - rental.since == pytest.approx(300, abs=10), "its lease, and no more"


@pytest.mark.slow
def test_where_aws_cannot_be_asked_nothing_is_called_clean(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path
) -> None:
    with cli_run(small_job(job_file), tmp_path / "out") as running:
        assert running.finish()[0] == 0
    assert command("audit").returncode == 0
    cloud.faults.add(Fault("DescribeInstances", "UnauthorizedOperation", times=None))
    told = command("audit")
    assert told.returncode == 3
    assert "could not be asked: AWS in us-east-1" in told.stdout
    assert "not clean" in told.stdout
    cleaned = command("cleanup", "--all", "--yes")
    assert cleaned.returncode == 3
    cloud.faults.clear()


@pytest.mark.slow
def test_a_cleanup_that_fails_is_loud_and_may_be_repeated(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    killed(long_job(job_file), tmp_path / "out", scene_started, state)
    (machine,) = cloud.running()
    cloud.faults.add(Fault("TerminateInstances", "UnauthorizedOperation", times=None))
    cleaned = command("cleanup", "--all", "--yes")
    assert cleaned.returncode == 4
    assert "LEFT RUNNING at $0.3400/h" in cleaned.stderr
    assert machine.id in cleaned.stderr
    assert f"aws ec2 terminate-instances --region us-east-1 --instance-ids {machine.id}" in (
        cleaned.stderr
    )
    assert stacks(state), "what knows of it stays as long as it does"
    assert command("audit").returncode == 4
    cloud.faults.clear()
    assert command("cleanup", "--all", "--yes").returncode == 0
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_machines_of_a_lost_laptop_are_found_by_their_tags(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    """Neither journal nor backend nor note is left: AWS alone knows."""
    killed(long_job(job_file), tmp_path / "out", scene_started, state)
    shutil.rmtree(state)
    shutil.rmtree(tmp_path / "out")
    (machine,) = cloud.running()
    assert command("audit").returncode == 0, "AWS is not asked unasked"
    told = command("audit", "--target", "aws")
    assert told.returncode == 4
    assert "no stack knows of it" in told.stdout
    assert machine.id in told.stdout
    cleaned = command(*printed_cleanup(told.stdout), "--yes")
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert_cloud_empty(cloud, state)
    assert command("audit", "--all-regions").returncode == 0


@pytest.mark.slow
def test_what_others_have_begun_elsewhere_is_ended_only_by_its_name(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    killed(long_job(job_file), tmp_path / "out", scene_started, state)
    shutil.rmtree(state)
    (machine,) = cloud.running()
    ec2 = administrator()
    theirs = [{"Key": "cloudburst:owner", "Value": "somebody@elsewhere"}]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    things = [machine.id, *(item["GroupId"] for item in groups)]
    ec2.create_tags(Resources=things, Tags=theirs)
    told = command("audit", "--target", "aws")
    assert told.returncode == 4
    assert "begun by somebody@elsewhere" in told.stdout
    refused = command("cleanup", "--all", "--yes", "--target", "aws")
    assert "somebody@elsewhere" in refused.stderr
    assert refused.stdout == "nothing of this machine's is left to remove\n"
    assert machine.state == "running", "it may be going on there"
    cleaned = command(*printed_cleanup(told.stdout), "--yes")
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_who_asks_three_times_is_told_what_is_left(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    cloud.shutdown_seconds = SOON
    with cli_run(long_job(job_file), tmp_path / "out") as running:
        running.until(scene_started)
        for _ in range(3):
            os.killpg(running.process.pid, signal.SIGINT)
            time.sleep(1.0)
        asked = time.monotonic()
        code, err = running.finish()
    assert time.monotonic() - asked < SOON / 2, "it did not wait for the teardown"
    assert code == 4, err
    assert f"cloudburst cleanup {run_id(state)}" in err
    cloud.shutdown_seconds = 0.1
    until(lambda: not processes_of(state))
    done = command("cleanup", run_id(state), "--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: not cloud.remaining())
    assert_cloud_empty(cloud, state)


@pytest.mark.parametrize("by", [7200.0, -7200.0])
@pytest.mark.slow
def test_a_clock_that_is_set_while_machines_are_rented_changes_no_bill(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path, by: float
) -> None:
    jump, environment = jumping(tmp_path, by)
    with cli_run(small_job(job_file), tmp_path / "out", **environment) as running:
        running.until(scene_started)
        jump.touch()
        code, err = running.finish()
    assert code == 0, err
    (folder,) = (tmp_path / "out").iterdir()
    assert_bill_is_the_clouds(cloud, folder)
    assert [one.error for one in journal.read(folder).batches[0].launches] == [None]  # type: ignore[union-attr]
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_network_that_is_gone_for_a_while_costs_nothing_but_time(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    """Every call to AWS goes unanswered, from the first render until well after the last."""
    everything = Fault("*", drop=True, times=None)

    with cli_run(small_job(job_file, 3), tmp_path / "out") as running:
        running.until(scene_started)
        cloud.faults.add(everything)
        running.until(state_is("destroying"))
        time.sleep(15)
        cloud.faults.clear()
        code, err = running.finish()
    assert code == 0, err
    report: dict[str, Any] = running.events[-1]["report"]
    assert report["done"] == 3
    assert report["left_running"] == []
    assert_cloud_empty(cloud, state)
