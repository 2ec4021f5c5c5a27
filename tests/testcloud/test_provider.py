"""The provider double: with the real engine, and its input checks without."""

from __future__ import annotations

import gc
import json
import logging
import re
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pytest
from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2 as pb

from cloudburst.engine.engine import Engine
from cloudburst.engine.toolchain import find_engine
from cloudburst.errors import EngineError
from testcloud.cloud import Cloud, Fault
from testcloud.provider import schema
from testcloud.provider.provider import AwsProvider
from testcloud.provider.schema import GROUP, INSTANCE
from tests.support.clouds import IMAGE, SLEEPER, until
from tests.support.marks import but_the_first_slow
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# pulumi_aws imports its modules on first use, which is not thread-safe.
assert schema.arguments(INSTANCE)
# Pulumi leaves a failed program's event loop open.
leaves_event_loop = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
TAGS = {"cloudburst:stack": "s1"}


@pytest.fixture
def engine(cloud: Cloud, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    # Log records of a failed program's server would keep its event loop alive.
    monkeypatch.setattr(logging.getLogger("grpc._server"), "disabled", True)
    state.mkdir(exist_ok=True)
    yield Engine(find_engine(), state, cloud.environment)
    gc.collect()


def failure_of(engine: Engine, program: Callable[[], None]) -> str:
    """Bring up a stack that must fail; return the engine's whole message."""
    try:
        engine.up("s1", program)
    except EngineError as error:
        message = str(error.__cause__)
    else:
        pytest.fail("the stack came up")
    return message


def worker(region: str = "us-west-2", retries: int = 1, **more: Any) -> Callable[[], None]:
    """Return a program that declares a security group and a machine in it."""

    def program() -> None:
        provider = aws.Provider("aws", region=region, max_retries=retries)
        options = pulumi.ResourceOptions(provider=provider)
        invoke_options = pulumi.InvokeOptions(provider=provider)
        parameter = aws.ssm.get_parameter(name=IMAGE, region=region, opts=invoke_options)
        rule = {"protocol": "tcp", "from_port": 5000, "to_port": 5000}
        group = aws.ec2.SecurityGroup(
            "group",
            region=region,
            ingress=[{**rule, "cidr_blocks": ["127.0.0.1/32"]}],
            tags=TAGS,
            opts=options,
        )
        machine = aws.ec2.Instance(
            "machine",
            region=region,
            ami=parameter.value,
            availability_zone=f"{region}b",
            user_data=pulumi.Output.secret(SLEEPER),
            vpc_security_group_ids=[group.id],
            metadata_options={"http_tokens": "required", "http_put_response_hop_limit": 1},
            root_block_device={"volume_size": 16, "volume_type": "gp3"},
            tags=TAGS,
            volume_tags=TAGS,
            opts=options,
            **{
                "instance_type": "c5.2xlarge",
                "instance_initiated_shutdown_behavior": "terminate",
                **more,
            },
        )
        pulumi.export("id", machine.id)
        pulumi.export("address", machine.public_ip)
        pulumi.export("request", machine.spot_instance_request_id)

    return program


@pytest.mark.stack
def test_a_stack_from_preview_to_destroy(cloud: Cloud, engine: Engine) -> None:
    spot = {"market_type": "spot", "spot_options": {"spot_instance_type": "one-time"}}
    program = worker(instance_market_options=spot, instance_initiated_shutdown_behavior=None)
    planned = [step.type for step in engine.preview("s1", program)]
    assert planned[-2:] == [GROUP, INSTANCE]
    assert cloud.remaining() == []
    outputs = engine.up("s1", program)
    [machine] = cloud.machines
    assert outputs == engine.outputs("s1")
    assert outputs["id"] == machine.id
    assert outputs["address"] == machine.address
    assert outputs["request"].startswith("sir-")
    assert (machine.region, machine.zone, machine.market) == ("us-west-2", "us-west-2b", "spot")
    assert machine.user_data == SLEEPER
    assert machine.tags == TAGS
    backend = machine.instance.ec2_backend
    [volume] = backend.volumes.values()
    assert (volume.size, volume.volume_type) == (16, "gp3")
    assert {tag["key"]: tag["value"] for tag in volume.get_tags()} == TAGS
    [group] = [g for g in backend.groups[backend.default_vpc.id].values() if g.name != "default"]
    assert group.egress_rules == [], "AWS's default rule is revoked"
    assert [rule.ip_range["CidrIp"] for rule in group.ingress_rules] == ["127.0.0.1/32"]
    engine.destroy("s1")
    assert cloud.remaining() == []
    assert {call.caller for call in cloud.calls} == {"provider"}
    assert {call.region for call in cloud.calls} == {"us-west-2"}


@pytest.mark.stack
@pytest.mark.slow
def test_a_refresh_finds_that_a_machine_is_gone(cloud: Cloud, engine: Engine) -> None:
    engine.up("s1", worker())
    cloud.kill(cloud.machines[0])
    until(lambda: cloud.machines[0].state == "terminated")
    engine.refresh("s1")
    engine.destroy("s1")
    assert "TerminateInstances" not in [call.action for call in cloud.calls]


@leaves_event_loop
@pytest.mark.stack
@pytest.mark.slow
def test_a_create_that_fails_half_way_is_known_to_the_engine(cloud: Cloud, engine: Engine) -> None:
    cloud.boot_seconds = 60

    def hardware_fails() -> None:
        until(lambda: cloud.machines and "DescribeInstances" in [c.action for c in cloud.calls])
        cloud.kill(cloud.machines[0])

    failing = threading.Thread(target=hardware_fails)
    failing.start()
    message = failure_of(engine, worker())
    failing.join()
    identity = cloud.machines[0].id
    assert f"waiting for EC2 Instance ({identity}) create: unexpected state" in message
    assert "wanted target 'running'. last error: Server.InternalError" in message
    engine.destroy("s1")
    assert "TerminateInstances" in [call.action for call in cloud.calls], "it was in the state"


@leaves_event_loop
@pytest.mark.stack
@pytest.mark.slow
def test_an_interrupt_ends_the_wait_of_its_own_engine(cloud: Cloud, engine: Engine) -> None:
    cloud.boot_seconds = 3600

    def interrupt() -> None:
        until(lambda: cloud.machines)
        engine.interrupt("s1")

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    began = time.monotonic()
    message = failure_of(engine, worker())
    interrupting.join()
    assert time.monotonic() - began < 2 * SOON
    assert "context canceled" in message
    engine.destroy("s1")


@leaves_event_loop
@pytest.mark.stack
@pytest.mark.parametrize("retries", but_the_first_slow([4, 1]))
def test_capacity_is_asked_for_as_often_as_configured(
    cloud: Cloud, engine: Engine, retries: int
) -> None:
    cloud.faults.add(Fault("RunInstances", "InsufficientInstanceCapacity", times=None))
    message = failure_of(engine, worker(retries=retries))
    assert (
        "creating EC2 Instance: operation error EC2: RunInstances, exceeded maximum number of"
        f" attempts, {retries}, https response error StatusCode: 500, RequestID: " in message
    )
    assert "api error InsufficientInstanceCapacity: We currently do not have sufficient" in message
    assert [call.action for call in cloud.calls].count("RunInstances") == retries
    engine.destroy("s1")


@leaves_event_loop
@pytest.mark.stack
def test_invalid_inputs_are_refused_before_anything_is_created(
    cloud: Cloud, engine: Engine
) -> None:
    message = failure_of(engine, worker(tenancy="hotel", user_data_base64="IyE="))
    assert "tenancy to be one of" in message
    assert "conflicts with userDataBase64" in message
    assert cloud.machines == []
    engine.destroy("s1")


# -- input checks, without the engine -----------------------------------------------------------


GOOD: dict[str, dict[str, Any]] = {
    INSTANCE: {
        "ami": "ami-1",
        "instanceType": "c5.2xlarge",
        "userData": "#!/bin/bash\n",
        "vpcSecurityGroupIds": [rpc.UNKNOWN],
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 1},
        "rootBlockDevice": {"volumeSize": 16, "volumeType": "gp3"},
        "tags": {"a": "b"},
    },
    GROUP: {
        "name": "workers",
        "ingress": [
            {"protocol": "tcp", "fromPort": 1, "toPort": 5000, "cidrBlocks": ["10.0.0.0/8"]}
        ],
        "egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}],
    },
}


def check(kind: str, inputs: dict[str, Any]) -> list[tuple[str, str]]:
    news = struct_pb2.Struct()
    news.update(inputs)
    request = pb.CheckRequest(urn=f"urn:pulumi:s::p::{kind}::name", news=news)
    response = AwsProvider("http://127.0.0.1:1").Check(request, SimpleNamespace())
    return [(failure.property, failure.reason) for failure in response.failures]


@pytest.mark.parametrize("kind", [INSTANCE, GROUP])
def test_valid_inputs_pass(kind: str) -> None:
    assert check(kind, GOOD[kind]) == []


RULE = {"protocol": "tcp", "fromPort": 1, "toPort": 2, "cidrBlocks": ["10.0.0.0/8"]}


@pytest.mark.parametrize(
    ("kind", "change", "path", "reason"),
    [
        (INSTANCE, {"instanceTyp": "c5.large"}, "instanceTyp", "unknown key"),
        (INSTANCE, {"ami": 7}, "ami", "expected type 'str'"),
        (INSTANCE, {"ami": None}, "ami", "must be specified"),
        (INSTANCE, {"monitoring": "yes"}, "monitoring", "expected type 'bool'"),
        (INSTANCE, {"tags": ["a"]}, "tags", "expected type 'map'"),
        (INSTANCE, {"tags": {"a": 1}}, "tags.a", "expected type 'str'"),
        (INSTANCE, {"vpcSecurityGroupIds": "sg-1"}, "vpcSecurityGroupIds", "expected type 'list'"),
        (INSTANCE, {"metadataOptions": []}, "metadataOptions", "expected type 'object'"),
        (
            INSTANCE,
            {"rootBlockDevice": {"volumeSize": 1.5}},
            "rootBlockDevice.volumeSize",
            "expected type 'int'",
        ),
        (
            INSTANCE,
            {"rootBlockDevice": {"volumetype": "gp3"}},
            "rootBlockDevice.volumetype",
            "unknown key",
        ),
        (INSTANCE, {"rootBlockDevice": {"volumeType": "gp9"}}, "rootBlockDevice.volumeType", "gp9"),
        (INSTANCE, {"userData": "#" * 16385}, "userData", "0 - 16384"),
        (INSTANCE, {"userDataBase64": "IyE="}, "userData", "conflicts"),
        (INSTANCE, {"securityGroups": ["a"]}, "securityGroups", "conflicts"),
        (
            INSTANCE,
            {"metadataOptions": {"httpTokens": "maybe"}},
            "metadataOptions.httpTokens",
            "maybe",
        ),
        (
            INSTANCE,
            {"metadataOptions": {"httpPutResponseHopLimit": 65}},
            "metadataOptions.httpPutResponseHopLimit",
            "1 - 64",
        ),
        (
            INSTANCE,
            {"instanceInitiatedShutdownBehavior": "halt"},
            "instanceInitiatedShutdownBehavior",
            "halt",
        ),
        (INSTANCE, {"tags": {"aws:a": "b"}}, "tags.aws:a", "reserved"),
        (INSTANCE, {"tags": {"k" * 129: "b"}}, f"tags.{'k' * 129}", "128"),
        (INSTANCE, {"volumeTags": {"a": "v" * 257}}, "volumeTags.a", "256"),
        (GROUP, {"name": "sg-mine"}, "name", "sg-"),
        (GROUP, {"name": "n" * 256}, "name", "255"),
        (GROUP, {"description": "what?"}, "description", "restrictions"),
        (GROUP, {"ingress": [RULE | {"fromPort": None}]}, "ingress[0].fromPort", "required"),
        (GROUP, {"ingress": [RULE | {"toPort": 65536}]}, "ingress[0].toPort", "65535"),
        (GROUP, {"ingress": [RULE | {"protocol": "tpc"}]}, "ingress[0].protocol", "tpc"),
        (GROUP, {"ingress": [RULE | {"protocol": "-1"}]}, "ingress[0]", "must both be 0"),
        (
            GROUP,
            {"ingress": [RULE | {"cidrBlocks": ["10.0.0.1"]}]},
            "ingress[0].cidrBlocks[0]",
            "CIDR",
        ),
        (
            GROUP,
            {"ingress": [RULE | {"cidrBlocks": ["10.0.0.1/8"]}]},
            "ingress[0].cidrBlocks[0]",
            "CIDR",
        ),
        (GROUP, {"ingress": [RULE | {"cidrBlocks": []}]}, "ingress[0]", "at least one"),
    ],
)
def test_invalid_inputs_are_refused(
    kind: str, change: dict[str, Any], path: str, reason: str
) -> None:
    problems = check(kind, {**GOOD[kind], **change})
    assert [name for name, _ in problems] == [path]
    assert reason in problems[0][1]


# -- shapes, as pulumi-aws's recorded conversations have them (sources: provider.shapes) ------

# Properties of an instance that release 6.78.0 returned, but cpuCoreCount and cpuThreadsPerCore,
# which release 7 has dropped.
RECORDED_INSTANCE = (
    "ami",
    "arn",
    "associatePublicIpAddress",
    "availabilityZone",
    "capacityReservationSpecification",
    "cpuOptions",
    "creditSpecification",
    "disableApiStop",
    "disableApiTermination",
    "ebsBlockDevices",
    "ebsOptimized",
    "enablePrimaryIpv6",
    "enclaveOptions",
    "ephemeralBlockDevices",
    "getPasswordData",
    "hibernation",
    "hostId",
    "hostResourceGroupArn",
    "iamInstanceProfile",
    "id",
    "instanceInitiatedShutdownBehavior",
    "instanceLifecycle",
    "instanceMarketOptions",
    "instanceState",
    "instanceType",
    "ipv6AddressCount",
    "ipv6Addresses",
    "keyName",
    "launchTemplate",
    "maintenanceOptions",
    "metadataOptions",
    "monitoring",
    "networkInterfaces",
    "outpostArn",
    "passwordData",
    "placementGroup",
    "placementPartitionNumber",
    "primaryNetworkInterfaceId",
    "privateDns",
    "privateDnsNameOptions",
    "privateIp",
    "publicDns",
    "publicIp",
    "rootBlockDevice",
    "secondaryPrivateIps",
    "securityGroups",
    "sourceDestCheck",
    "spotInstanceRequestId",
    "subnetId",
    "tenancy",
    "userData",
    "userDataBase64",
    "userDataReplaceOnChange",
    "volumeTags",
    "vpcSecurityGroupIds",
    "__meta",
)
RECORDED_GROUP = (
    "arn",
    "description",
    "egress",
    "id",
    "ingress",
    "name",
    "ownerId",
    "region",
    "revokeRulesOnDelete",
    "tags",
    "tagsAll",
    "vpcId",
    "__meta",
)
RECORDED_RULE = (
    "cidrBlocks",
    "description",
    "fromPort",
    "ipv6CidrBlocks",
    "prefixListIds",
    "protocol",
    "securityGroups",
    "self",
    "toPort",
)


def checked(kind: str, inputs: dict[str, Any]) -> dict[str, Any]:
    news = struct_pb2.Struct()
    news.update(inputs)
    request = pb.CheckRequest(urn=f"urn:pulumi:s::p::{kind}::name", news=news)
    response = AwsProvider("http://127.0.0.1:1").Check(request, SimpleNamespace())
    assert not response.failures
    return dict(MessageToDict(response.inputs))


def test_check_fills_in_and_lists_the_defaults_of_an_instance() -> None:
    given = {"ami": "ami-a0cfeed8", "instanceType": "t2.micro", "metadataOptions": {}}
    assert checked(INSTANCE, given) == {
        "__defaults": ["getPasswordData", "sourceDestCheck", "userDataReplaceOnChange"],
        "ami": "ami-a0cfeed8",
        "getPasswordData": False,
        "instanceType": "t2.micro",
        "metadataOptions": {"__defaults": []},
        "region": "us-east-1",
        "sourceDestCheck": True,
        "tagsAll": {},
        "userDataReplaceOnChange": False,
    }


def test_check_names_a_group_and_marks_its_rules() -> None:
    rule = {"cidrBlocks": ["0.0.0.0/0"], "fromPort": 80, "protocol": "tcp", "toPort": 80}
    found = checked(GROUP, {"ingress": [rule], "tags": {"a": "b"}})
    assert found["__defaults"] == ["description", "name"]
    assert found["description"] == "Managed by Pulumi"
    assert re.fullmatch("name-[0-9a-f]{7}", found["name"])
    assert found["ingress"] == [{"__defaults": [], **rule}]
    assert (found["tags"], found["tagsAll"]) == ({"a": "b"}, {"a": "b"})


def resources_of(state: Path) -> dict[str, dict[str, Any]]:
    """Return the resources in the engine's state of stack s1, by type."""
    [checkpoint] = state.rglob("s1.json")
    resources = json.loads(checkpoint.read_text())["checkpoint"]["latest"]["resources"]
    return {each["type"]: each for each in resources}


@pytest.mark.stack
def test_a_created_resource_has_every_property_of_the_real_one(engine: Engine, state: Path) -> None:
    engine.up("s1", worker())
    by_type = resources_of(state)
    instance, group = by_type[INSTANCE]["outputs"], by_type[GROUP]["outputs"]
    assert [name for name in RECORDED_INSTANCE if name not in instance] == []
    assert [name for name in RECORDED_GROUP if name not in group] == []
    assert instance.keys() - {"__meta", "id"} == set(schema.outputs(INSTANCE))
    # Nanoseconds: the recorded ones are of 10, 20, 15 and 10 minutes.
    timeouts = json.loads(instance["__meta"])["e2bfb730-ecaa-11e6-8f88-34363bc7c4c0"]
    assert timeouts == {
        "create": 600000000000,
        "delete": 1200000000000,
        "read": 900000000000,
        "update": 600000000000,
    }
    assert sorted(group["ingress"][0]) == sorted(RECORDED_RULE)
    assert instance["metadataOptions"]["httpTokens"] == "required"
    assert instance["rootBlockDevice"]["volumeSize"] == 16
    assert instance["instanceState"] == "running"
    assert (instance["keyName"], instance["launchTemplate"]) == ("", None)
    inputs = by_type[INSTANCE]["inputs"]
    assert inputs["__defaults"] == ["getPasswordData", "sourceDestCheck", "userDataReplaceOnChange"]
    engine.refresh("s1")
    again = resources_of(state)[INSTANCE]["outputs"]
    # Of a secret the engine stores another ciphertext each time.
    assert again | {"userData": ""} == instance | {"userData": ""}
    engine.destroy("s1")


@pytest.mark.stack
@pytest.mark.slow
def test_real_time_is_scaled(cloud: Cloud, engine: Engine) -> None:
    cloud.real_time(1 / 10)
    engine.up("s1", worker())
    engine.destroy("s1")
    moments = {call.action: call.time for call in reversed(cloud.calls)}
    first = next(call for call in cloud.calls if call.action == "DescribeInstances")
    # The provider looks 10 s after its call for the first time; an instance ends after 45 s.
    assert first.time - moments["RunInstances"] >= 1.0
    assert moments["DeleteSecurityGroup"] - moments["TerminateInstances"] >= 4.5
