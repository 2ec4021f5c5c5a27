"""The test cloud as a fixture; it must be empty when a test ends."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.loaders import JSONFileLoader

from testcloud.cloud import ADMINISTRATOR, Cloud
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testcloud.machines.machine import Machine

# What docs/aws.md asks for: every test of the aws target runs under it.
POLICY = Path(__file__).parents[2].joinpath("docs/aws-policy.json").read_text()
IMAGE = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
# Does the same steps as a real worker's user data, in the same order.
USER_DATA = """#!/bin/bash
shutdown -h +30 "cloudburst: the lease is over"
set -u
say() { echo "cloudburst $(date -u +%T) $*"; }
metadata=http://169.254.169.254/latest
token=$(curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' $metadata/api/token)
imds() { curl -sf -m 5 -H "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/$1"; }
say "$(imds instance-id) $(imds instance-type) in $(imds placement/availability-zone)"
command -v docker > /dev/null || dnf install --assumeyes docker
systemctl start docker
for try in 1 2 3 4 5; do docker pull --quiet example/image:latest && break; sleep 0.1; done
AUTHENTICATION_KEY=secret docker run --detach --name video-api --restart always \\
  --publish 5000:5000 --env AUTHENTICATION_KEY example/image:latest
until curl -sf -m 2 http://localhost:5000/health > /dev/null; do sleep 0.1; done
say "healthy"
"""
SLEEPER = "#!/bin/bash\necho up\nexec sleep 600\n"
PARSE = JSONFileLoader.load_file
MODELS: dict[str, Any] = {}


def until(condition: Callable[[], Any], seconds: float = SOON) -> Any:
    """Wait until a condition returns a true value; return that value."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"condition not met within {seconds} s"
        time.sleep(0.01)
    return value


def load_once(loader: JSONFileLoader, path: str) -> Any:
    """Parse a model of an AWS service, megabytes of JSON, once and not for every session.

    The sessions of a test process come and go with its tests; parsing was a quarter of their time.
    """
    if path not in MODELS:
        MODELS[path] = PARSE(loader, path)
    return MODELS[path]


@cache
def image(region: str = "us-east-1") -> str:
    response = boto3.client("ssm", region_name=region).get_parameter(Name=IMAGE)
    return str(response["Parameter"]["Value"])


def make_group(ec2: Any, block: str | None = "127.0.0.1/32", port: int = 5000) -> str:
    identity = str(ec2.create_security_group(GroupName="workers", Description="w")["GroupId"])
    if block:
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}
        rule |= {"IpRanges": [{"CidrIp": block}]}
        ec2.authorize_security_group_ingress(GroupId=identity, IpPermissions=[rule])
    return identity


def run_parameters(user_data: str = SLEEPER, **more: Any) -> dict[str, Any]:
    """Return the parameters of RunInstances for one machine."""
    return {
        "ImageId": image(),
        "InstanceType": "c5.2xlarge",
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": user_data,
        "InstanceInitiatedShutdownBehavior": "terminate",
        **more,
    }


@pytest.fixture
def iam_policy() -> str | None:
    """Return what callers in the test cloud may do."""
    return POLICY


@pytest.fixture
def cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, iam_policy: str | None
) -> Iterator[Cloud]:
    """Start a test cloud for one test; the environment points to it."""
    monkeypatch.setattr(JSONFileLoader, "load_file", load_once)
    with Cloud(tmp_path / "cloud", policy=iam_policy) as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        yield cloud
        if not cloud.expect_remaining:
            assert cloud.remaining() == []


@pytest.fixture
def ec2(cloud: Cloud) -> Any:  # noqa: ARG001 - the client finds it in the environment
    return administrator()


def administrator(service: str = "ec2") -> Any:
    """Return a client that the callers' policy does not apply to."""
    return boto3.client(
        service,
        aws_access_key_id=ADMINISTRATOR,
        aws_secret_access_key="secret",  # noqa: S106 - signatures are not checked
    )


@pytest.fixture
def launch(cloud: Cloud, ec2: Any) -> Iterator[Callable[..., Machine]]:
    """Launch a machine and wait until it runs; clean up after the test."""

    def start(user_data: str = SLEEPER, *, spot: bool = False, **more: Any) -> Machine:
        if spot:
            more["InstanceMarketOptions"] = {"MarketType": "spot"}
        instance = ec2.run_instances(**run_parameters(user_data, **more))["Instances"][0]
        machine = next(m for m in cloud.machines if m.id == instance["InstanceId"])
        until(lambda: machine.state == "running")
        return machine

    yield start
    cloud.faults.clear()
    if cloud.machines:
        ec2.terminate_instances(InstanceIds=[machine.id for machine in cloud.machines])
        until(lambda: all(machine.state == "terminated" for machine in cloud.machines))
    for group in ec2.describe_security_groups()["SecurityGroups"]:
        if group["GroupName"] != "default":
            ec2.delete_security_group(GroupId=group["GroupId"])
