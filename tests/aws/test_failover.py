"""The ladder on the test cloud: what AWS refuses, and which rung is tried then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudburst import EventKind
from cloudburst.errors import InfrastructureError
from cloudburst.models import Basis, Outcome
from cloudburst.runner import batch
from cloudburst.targets.aws.resources import AwsResources
from testcloud.faults import Fault, MachineFault
from testcloud.provider import groups
from tests.support.aws import (
    ONE_ZONE,
    assert_cloud_empty,
    aws_job,
    codes,
    launches,
    machine_cost,
    run_watched,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testcloud.cloud import Cloud

pytestmark = [pytest.mark.stack, pytest.mark.video]

# terraform's provider, and the double of it, ask so often before they give up.
TRIES = 3


def test_a_full_zone_is_left_for_the_next_one_after_a_verified_teardown(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    full = {"zone": "us-east-1a"}
    cloud.faults.add(Fault("RunInstances", "InsufficientInstanceCapacity", times=None, where=full))
    more = "aws: {zones: [us-east-1a, us-east-1b], instance_types: [c5.2xlarge]}\n"
    report, watch = run_watched(aws_job(job_file, 1, more))
    assert report.outcome is Outcome.COMPLETE
    assert codes(report) == ["InsufficientInstanceCapacity", None]
    assert [str(launch.rung) for launch in launches(report)] == [
        "c5.2xlarge on-demand in us-east-1a",
        "c5.2xlarge on-demand in us-east-1b",
    ]
    assert [launch.price.usd_per_hour for launch in launches(report) if launch.price] == [0.34] * 2
    assert [launch.scenes_done for launch in launches(report)] == [0, 1]
    (told,) = watch.texts(EventKind.FAILOVER)
    assert told == (
        "c5.2xlarge on-demand in us-east-1a: InsufficientInstanceCapacity; "
        "next: c5.2xlarge on-demand in us-east-1b"
    )
    # Nothing of the first rung was there any more when the second one began.
    order = [
        call.action
        for call in cloud.calls
        if call.action in ("CreateSecurityGroup", "DeleteSecurityGroup", "RunInstances")
    ]
    first = ["CreateSecurityGroup", *["RunInstances"] * TRIES, "DeleteSecurityGroup"]
    assert order == [*first, "CreateSecurityGroup", "RunInstances", "DeleteSecurityGroup"]
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_types_that_cannot_fit_a_quota_are_not_tried(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    cloud.quotas["L-1216C47A"] = 1.0
    more = (
        "aws: {zones: [us-east-1a], instance_types: [c5.2xlarge, m5.xlarge, g4dn.xlarge, t3.large]}"
    )
    report, _ = run_watched(aws_job(job_file, 1, f"{more}\n"))
    assert report.outcome is Outcome.COMPLETE
    assert codes(report) == [None]
    assert [launch.rung.type for launch in launches(report)] == ["g4dn.xlarge"]
    assert_cloud_empty(cloud, state)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("UnauthorizedOperation", "give the caller the policy in docs/aws.md"),
        ("InvalidParameterValue", "RunInstances"),
    ],
)
@pytest.mark.slow
def test_what_no_rung_can_mend_stops_at_once_with_awss_words(
    cloud: Cloud, job_file: Callable[..., Path], state: Path, code: str, words: str
) -> None:
    cloud.faults.add(Fault("RunInstances", code, times=None))
    job = aws_job(job_file, 2, "distribution: {scenes_per_batch: 2}\n")
    with pytest.raises(InfrastructureError, match=code) as caught:
        run_watched(job)
    assert words in str(caught.value)
    assert [call.action for call in cloud.calls].count("RunInstances") == 1
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_throttling_waits_and_tries_the_same_rung(
    cloud: Cloud,
    job_file: Callable[..., Path],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(AwsResources, "settle", 0.1)
    cloud.faults.add(Fault("RunInstances", "RequestLimitExceeded", times=TRIES))
    report, watch = run_watched(aws_job(job_file, 1, ONE_ZONE))
    assert report.outcome is Outcome.COMPLETE
    assert codes(report) == ["RequestLimitExceeded", None]
    assert len({launch.rung for launch in launches(report)}) == 1
    (told,) = watch.texts(EventKind.FAILOVER)
    assert told.startswith("c5.2xlarge on-demand in us-east-1a: RequestLimitExceeded; again in ")
    assert_cloud_empty(cloud, state)


@pytest.mark.parametrize(
    ("hidden", "settle"),
    [
        pytest.param(1.0, 2.0, id="seen-by-the-teardown"),
        pytest.param(3.0, 0.1, id="seen-later-still"),
    ],
)
@pytest.mark.slow
def test_a_machine_that_was_made_although_the_call_broke_off_is_found_ended_and_billed(
    cloud: Cloud,
    job_file: Callable[..., Path],
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    hidden: float,
    settle: float,
) -> None:
    """The answer is lost, and descriptions show the machine only later."""
    monkeypatch.setattr(batch, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(AwsResources, "settle", settle)
    # Until it is seen, it keeps its firewall from being deleted; nobody waits so long for it here.
    monkeypatch.setattr(groups, "_DELETE_WITHIN", 10.0)
    cloud.hide(hidden)
    cloud.faults.add(Fault("RunInstances", drop=True, after=True, times=TRIES))
    report, _ = run_watched(aws_job(job_file, 1, ONE_ZONE))
    assert report.outcome is Outcome.COMPLETE
    assert len(cloud.machines) == 2
    assert_cloud_empty(cloud, state)
    orphan, worker = cloud.machines
    assert launches(report)[-1].worker == worker.id
    billed = {line.machine for line in report.cost.lines if line.kind == "machine"}
    assert billed == {orphan.id, worker.id}
    assert machine_cost(report) >= sum(bill.usd for bill in cloud.bills())


@pytest.mark.slow
def test_spot_is_tried_before_on_demand_when_asked(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    spot = {"market": "spot"}
    cloud.faults.add(Fault("RunInstances", "MaxSpotInstanceCountExceeded", times=None, where=spot))
    more = (
        "aws: {zones: [us-east-1a], instance_types: [c5.2xlarge, m5.xlarge], "
        "markets: [spot, on-demand]}\n"
    )
    report, _ = run_watched(aws_job(job_file, 1, more))
    assert report.outcome is Outcome.COMPLETE
    # The smaller type might have fitted.
    assert codes(report) == ["MaxSpotInstanceCountExceeded"] * 2 + [None]
    assert [launch.rung.market for launch in launches(report)] == ["spot", "spot", "on-demand"]
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_spot_machine_is_billed_at_the_zones_price_at_launch(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    more = "aws: {zones: [us-east-1b], instance_types: [c5.2xlarge], markets: [spot]}\n"
    report, _ = run_watched(aws_job(job_file, 1, more))
    (line,) = [line for line in report.cost.lines if line.kind == "machine"]
    (bill,) = cloud.bills()
    assert bill.market == "spot"
    assert line.rate == pytest.approx(bill.usd_per_hour)
    assert 0.05 < line.rate < 0.2, "a spot machine is cheaper than the list says"
    assert line.basis is Basis.SPOT
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_when_no_rung_is_left_the_run_says_which_were_tried(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    cloud.faults.add(Fault("RunInstances", "InsufficientInstanceCapacity", times=None))
    more = "aws: {zones: [us-east-1a, us-east-1b], instance_types: [c5.2xlarge]}\n"
    tried = (
        "no rung is left; tried "
        "c5.2xlarge on-demand in us-east-1a: InsufficientInstanceCapacity; "
        "c5.2xlarge on-demand in us-east-1b: InsufficientInstanceCapacity"
    )
    with pytest.raises(InfrastructureError, match=tried):
        run_watched(aws_job(job_file, 1, more))
    assert cloud.machines == []
    assert_cloud_empty(cloud, state)


@pytest.mark.parametrize("kind", ["never_healthy", "pull_fails"])
@pytest.mark.slow
def test_a_worker_that_never_answers_is_told_with_its_boot_log_and_ended(
    cloud: Cloud, job_file: Callable[..., Path], state: Path, kind: str
) -> None:
    cloud.machine_faults.append(MachineFault(kind, times=None))
    job = aws_job(job_file, 1, f"{ONE_ZONE}limits: {{health_timeout: 4}}\n")
    with pytest.raises(InfrastructureError, match="not healthy within 4 s") as caught:
        run_watched(job)
    assert "its last log lines: " in str(caught.value)
    assert ("the pull failed" in str(caught.value)) == (kind == "pull_fails")
    assert len(cloud.machines) == 1, "the next machine would do the same"
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_nobody_else_reaches_a_worker(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    """A firewall for somebody else's address keeps even this machine out."""
    more = (
        "aws: {zones: [us-east-1a], instance_types: [c5.2xlarge], ingress: 203.0.113.7/32}\n"
        "limits: {health_timeout: 3}\n"
    )
    with pytest.raises(InfrastructureError, match="not healthy within 3 s"):
        run_watched(aws_job(job_file, 1, more))
    assert_cloud_empty(cloud, state)
