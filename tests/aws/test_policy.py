"""The documented IAM policy: whole runs pass under it, and every action in it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.exceptions import ClientError

from cloudburst import EventKind, doctor
from cloudburst.errors import InfrastructureError
from cloudburst.models import Finding
from testcloud.apis.iam import Access, Policy
from testcloud.faults import Fault, MachineFault
from tests.support.aws import Watch, aws_job, run_watched
from tests.support.clouds import POLICY, administrator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testcloud.cloud import Cloud

CLOUDBURST = Path(sys.executable).with_name("cloudburst")
MORE = (
    "aws: {{zones: [us-east-1a], instance_types: [{types}], markets: [{markets}]{more}}}\n"
    "distribution: {{scenes_per_batch: 1, min_scenes_per_batch: 1}}\n"
)


def settings(types: str, markets: str, more: str = "") -> str:
    return MORE.format(types=types, markets=markets, more=more)


def used(cloud: Cloud) -> set[str]:
    return {access.action for access, _ in cloud.accesses}


def refused(cloud: Cloud) -> list[Access]:
    return [access for access, allowed in cloud.accesses if not allowed]


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.slow
def test_whole_runs_pass_under_the_policy_and_each_action_is_needed(
    cloud: Cloud, job_file: Callable[..., Path], tmp_path: Path
) -> None:
    """The account's first spot instance, an interruption, failovers, audit, cleanup, doctor."""
    cloud.faults.add(
        Fault("RunInstances", "InsufficientInstanceCapacity", where={"type": "t3.large"}),
        Fault("TerminateInstances", "InternalError", times=3),
    )
    job = aws_job(job_file, 2, settings("t3.large, c5.2xlarge", "spot, on-demand"))
    watch = Watch()
    watch.when(
        lambda event: event.kind is EventKind.SCENE_STARTED,
        lambda: cloud.spot_notice(cloud.running()[0]),
    )
    report, _ = run_watched(job, watch)
    assert report.done == 2
    assert {machine.market for machine in cloud.machines} == {"spot"}
    on_demand = aws_job(job_file, 1, settings("t3.large", "on-demand"))
    list(doctor.examine("aws", on_demand))
    report, _ = run_watched(on_demand)
    cloud.machine_faults.append(MachineFault("never_healthy"))
    with pytest.raises(InfrastructureError, match="not healthy"):
        run_watched(
            aws_job(
                job_file, 1, settings("t3.large", "on-demand") + "limits: {health_timeout: 4}\n"
            )
        )
    leave_a_disk(cloud)
    for command in (["audit", "--all-regions"], ["cleanup", "--all", "--yes", "--all-regions"]):
        done = subprocess.run(
            [str(CLOUDBURST), *command, "--target", "aws"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd=tmp_path,
        )
        assert "not authorized" not in done.stdout + done.stderr
    subnet = boto3.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
    in_subnet = settings("t3.large", "on-demand", f", subnet: {subnet}")
    report, _ = run_watched(aws_job(job_file, 1, in_subnet.replace("zones: [us-east-1a], ", "")))
    assert report.done == 1
    assert refused(cloud) == []
    policy = Policy.parse(POLICY)
    assert policy.actions() == used(cloud), "no action that nothing needs"
    for action in policy.actions():
        less = policy.without(action)
        assert not all(less.allows(access) for access, _ in cloud.accesses), action


def leave_a_disk(cloud: Cloud) -> None:
    """Leave a volume with CloudBurst's tags, as after a machine that ended badly."""
    tags = [{"Key": key, "Value": value} for key, value in cloud.machines[-1].tags.items()]
    administrator().create_volume(
        AvailabilityZone="us-east-1a",
        Size=8,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )
    assert cloud.remaining()


@pytest.mark.parametrize(
    "action", ["ec2:ModifyInstanceAttribute", "ec2:RunInstances", "ec2:CreateTags"]
)
@pytest.mark.stack
@pytest.mark.slow
def test_a_missing_action_ends_the_run_with_its_name(
    cloud_without: Cloud, job_file: Callable[..., Path], action: str
) -> None:
    with pytest.raises(InfrastructureError, match=f"not authorized to perform: {action}"):
        run_watched(aws_job(job_file, 1, settings("c5.2xlarge", "on-demand")))
    assert {access.action for access in refused(cloud_without)} == {action}


@pytest.fixture
def action() -> str:
    """Return the action that the policy lacks; the parametrization replaces it."""
    return ""


@pytest.fixture
def cloud_without(cloud: Cloud, action: str) -> Iterator[Cloud]:
    """Return a test cloud whose policy lacks an action."""
    cloud.set_policy(Policy.parse(POLICY).without(action))
    yield cloud
    cloud.set_policy(None)


@pytest.mark.stack
@pytest.mark.parametrize(
    ("action", "check"),
    [
        ("ec2:RunInstances", "us-east-1 launch"),
        ("ec2:CreateSecurityGroup", "us-east-1 firewall"),
        ("ec2:CreateTags", "us-east-1 launch"),
    ],
)
def test_the_doctor_names_a_right_that_is_missing_and_creates_nothing(
    cloud_without: Cloud, action: str, check: str
) -> None:
    found = {one.name: one for one in doctor.examine("aws", None)}
    assert found[check].finding is Finding.ERROR
    assert f"not authorized to perform: {action}" in found[check].text
    assert found[check].fix == "give the caller the policy in docs/aws.md"
    cloud_without.set_policy(Policy.parse(POLICY))
    found = {one.name: one for one in doctor.examine("aws", None)}
    assert found[check].finding is Finding.OK, found[check]
    assert cloud_without.machines == []


@pytest.mark.usefixtures("cloud")
def test_nobody_elses_instance_can_be_tagged_and_terminated() -> None:
    ec2 = boto3.client("ec2")
    admin = administrator()
    image = admin.describe_images()["Images"][0]["ImageId"]
    (instance,) = admin.run_instances(
        ImageId=image, InstanceType="c5.2xlarge", MinCount=1, MaxCount=1
    )["Instances"]
    identity = instance["InstanceId"]
    tag = [{"Key": "project", "Value": "cloudburst"}]
    for call in (
        lambda: ec2.create_tags(Resources=[identity], Tags=tag),
        lambda: ec2.terminate_instances(InstanceIds=[identity]),
    ):
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            call()
    admin.create_tags(Resources=[identity], Tags=tag)
    ec2.terminate_instances(InstanceIds=[identity])


def test_the_policy_names_each_action() -> None:
    assert not any("*" in action for action in Policy.parse(POLICY).actions())
    assert json.loads(POLICY)["Version"] == "2012-10-17"
