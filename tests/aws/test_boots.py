"""Machines that boot, or cannot, as the run tells it, and their logs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cloudburst import EventKind
from cloudburst.errors import InfrastructureError
from cloudburst.models import Outcome
from cloudburst.recovery.machinelogs import MachineLogs
from testcloud.faults import MachineFault
from tests.support.aws import ONE_ZONE, Watch, assert_cloud_empty, aws_job, run_watched
from tests.support.runs import command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testcloud.cloud import Cloud

pytestmark = [pytest.mark.stack, pytest.mark.video]


@pytest.mark.slow
def test_a_machine_tells_how_it_boots_and_what_it_writes(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    watch = Watch()
    # It stays: it can be asked for its logs when nobody else does.
    report, _ = run_watched(aws_job(job_file, 1, ONE_ZONE + "auto_terminate: false\n"), watch)
    assert report.outcome is Outcome.COMPLETE
    boots = [event.data["boot"] for event in watch.events if event.data.get("boot")]
    assert boots == list(dict.fromkeys(boots)), "each state once"
    assert boots[-1] == "ready"
    assert {"pulling", "starting"} & set(boots)
    logs = report.directory / "logs"
    told = command("logs", report.run_id, "b01", "--kind", "boot", "--kind", "worker")
    assert told.returncode == 0, told.stderr
    for words in ("dead-man switch: off in", "ready: 4 at once", "== video-api-1"):
        assert words in told.stdout
    assert "dead-man switch: off in" in (logs / "b01.boot.log").read_text()
    assert command("cleanup", report.run_id, "--yes").returncode == 0
    assert MachineLogs(report.directory).refresh() == [], "nobody is left to be asked"
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_pull_that_fails_is_told_with_its_reason_and_the_log_is_kept(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    cloud.machine_faults.append(MachineFault("pull_fails", times=None))
    job, watch = aws_job(job_file, 1, ONE_ZONE), Watch()
    with pytest.raises(InfrastructureError, match="request canceled while waiting") as caught:
        run_watched(job, watch)
    assert str(caught.value).count("check that machines in aws.subnet reach") == 1
    (folder,) = job.output.glob("batch_*")
    report = json.loads((folder / "report.json").read_text())
    launches = report["batches"][0]["launches"]
    assert [launch["code"] for launch in launches] == ["pull_failed"] * 2, "one other is tried"
    assert len(watch.texts(EventKind.FAILOVER)) == 1
    assert "the pull failed; again in 2 s" in (folder / "logs/b01.boot.log").read_text()
    assert_cloud_empty(cloud, state)
