"""Quotas, zones and regions: what cannot work is not tried, and said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloudburst import EventKind, preview
from cloudburst.errors import InfrastructureError
from testcloud.faults import Fault
from tests.support.aws import Watch, aws_job, run_watched
from tests.support.clouds import administrator, run_parameters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testcloud.cloud import Cloud

STANDARD, GRAPHICS = "L-1216C47A", "L-DB2E81BA"
FIVE = (
    "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1, max_parallel_instances: 5}\n"
    "aws: {zones: [us-east-1a]}\n"
)


def refused_launches(cloud: Cloud) -> list[str]:
    calls = [call for call in cloud.calls if call.action == "RunInstances"]
    return [call.error for call in calls if call.error and call.error != "DryRunOperation"]


def set_quotas(cloud: Cloud, standard: float, graphics: float = 0.0) -> None:
    cloud.quotas[STANDARD], cloud.quotas[GRAPHICS] = standard, graphics


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.video
def test_a_new_accounts_quota_renders_on_the_machine_that_fits(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    set_quotas(cloud, 5.0)
    report, _ = run_watched(aws_job(job_file, 1))
    assert report.done == 1
    assert [machine.type for machine in cloud.machines] == ["m5.xlarge"]
    assert refused_launches(cloud) == []


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.slow
def test_there_are_no_more_batches_than_the_quota_has_machines_for(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    set_quotas(cloud, 32.0)
    watch = Watch()
    job = aws_job(job_file, 5, FIVE)
    assert len(preview(job).plan.batches) == 4
    report, _ = run_watched(job, watch)
    assert report.done == 5
    assert [machine.type for machine in cloud.machines] == ["c5.2xlarge"] * 4
    assert refused_launches(cloud) == []
    assert any("4 batches instead of 5" in text for text in watch.texts(EventKind.NOTE))


@pytest.mark.slow
@pytest.mark.stack
def test_machines_that_run_already_count(cloud: Cloud, job_file: Callable[..., Path]) -> None:
    set_quotas(cloud, 8.0)
    administrator().run_instances(**run_parameters())
    cloud.expect_remaining = True
    with pytest.raises(InfrastructureError, match=r"0 of standard on-demand in us-east-1"):
        run_watched(aws_job(job_file, 1))
    assert len(cloud.machines) == 1
    assert refused_launches(cloud) == []


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.video
def test_a_quota_that_may_not_be_asked_is_found_out_by_trying_smaller_machines(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    set_quotas(cloud, 5.0)
    cloud.faults.add(Fault("GetServiceQuota", "AccessDeniedException", times=None))
    report, _ = run_watched(aws_job(job_file, 1, "aws: {zones: [us-east-1a]}\n"))
    assert report.done == 1
    assert [machine.type for machine in cloud.machines] == ["m5.xlarge"]
    assert refused_launches(cloud) == ["VcpuLimitExceeded"]


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.slow
def test_zones_without_a_default_subnet_are_not_tried(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    """A Local Zone sorts before us-east-1a, and us-east-1a has lost its subnet here."""
    ec2 = administrator()
    for subnet in ec2.describe_subnets()["Subnets"]:
        if subnet["AvailabilityZone"] == "us-east-1a":
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
    offers = ec2.describe_instance_type_offerings(LocationType="availability-zone")
    zones = {offer["Location"] for offer in offers["InstanceTypeOfferings"]}
    assert {"us-east-1-atl-1a", "us-east-1a"} <= zones
    report, _ = run_watched(aws_job(job_file, 1))
    assert report.done == 1
    assert [machine.zone for machine in cloud.machines] == ["us-east-1b"]
    assert refused_launches(cloud) == []


@pytest.mark.slow
@pytest.mark.stack
@pytest.mark.video
def test_a_region_that_is_not_enabled_is_named_and_left_out(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    cloud.faults.add(Fault("*", "AuthFailure", times=None, where={"region": "me-south-1"}))
    watch = Watch()
    more = "aws: {regions: [me-south-1, us-east-1], instance_types: [c5.2xlarge]}\n"
    report, _ = run_watched(aws_job(job_file, 1, more), watch)
    assert report.done == 1
    assert {machine.region for machine in cloud.machines} == {"us-east-1"}
    (note,) = watch.texts(EventKind.NOTE)
    assert "me-south-1 is left out: the account has not enabled it" in note
    assert "aws account enable-region --region-name me-south-1" in note


def test_if_no_region_can_be_used_aws_has_the_last_word(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    cloud.faults.add(Fault("DescribeInstanceTypes", "AuthFailure", times=None))
    with pytest.raises(InfrastructureError, match="AuthFailure"):
        run_watched(aws_job(job_file, 1))
