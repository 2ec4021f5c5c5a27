"""What the program of a rented worker declares: a machine that nobody else can use or keep."""

from __future__ import annotations

import asyncio
import contextvars
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks, rpc, set_mocks
from pulumi.runtime.settings import ROOT
from pulumi.runtime.stack import run_in_stack

from cloudburst.models import Identity, MachineSpec, Rung, WorkerSpec
from cloudburst_stacks import aws, payload

RUNG = Rung("c5.2xlarge", "on-demand", "us-east-1", "us-east-1a")
SPEC = WorkerSpec("run", "b01", "job", "the-key", 4, 600.0, Path("log"), RUNG)
TAGS = {
    "Name": "run-b01",
    "project": "cloudburst",
    "cloudburst:run": "run",
    "cloudburst:stack": "run-b01",
    "cloudburst:batch": "b01",
    "cloudburst:job": "job",
    "cloudburst:owner": "me@here",
    "cloudburst:expires-at": "2026-11-24T12:00:00Z",
}
MACHINE = MachineSpec(
    ami=None,
    image="me/mine:1",
    ingress="203.0.113.7/32",
    vpc=None,
    subnet=None,
    security_groups=(),
    key_name=None,
    disk_gb=40,
    lease_minutes=45,
    tags=TAGS,
    identity=Identity("the certificate", "its key"),
)
INSTANCE = "aws:ec2/instance:Instance"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
PROVIDER = "pulumi:providers:aws"


class Declared(pulumi.runtime.Mocks):
    """Everything that a program has declared and asked."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, Any]] = {}
        self.providers: dict[str, str | None] = {}
        self.secret: set[str] = set()
        self.secret_outputs: list[str] = []
        self.calls: list[tuple[str, dict[str, Any], str]] = []
        self.outputs: dict[str, Any] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.secret |= {f"{args.typ} {k}" for k, v in args.inputs.items() if rpc.is_rpc_secret(v)}
        self.resources[args.typ] = {k: rpc.unwrap_rpc_secret(v) for k, v in args.inputs.items()}
        self.providers[args.typ] = args.provider
        more = {"publicIp": "203.0.113.99"} if args.typ == INSTANCE else {}
        return f"{args.name}-id", {**args.inputs, **more}

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:  # type: ignore[override]
        self.calls.append((args.token, args.args, args.provider))
        return {"value": pulumi.Output.secret("ami-newest")}  # as the real provider does

    @property
    def instance(self) -> dict[str, Any]:
        return self.resources[INSTANCE]

    @property
    def group(self) -> dict[str, Any]:
        return self.resources[GROUP]


class Monitor(mocks.MockMonitor):
    """Pulumi's own double of the engine, which does not keep everything it is sent."""

    def __init__(self, declared: Declared) -> None:
        super().__init__(declared)
        self.declared = declared

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the engine's protocol
        self.declared.secret_outputs += request.additionalSecretOutputs
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        self.declared.outputs |= rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


def declare(spec: WorkerSpec = SPEC, machine: MachineSpec = MACHINE) -> Declared:
    """Run the program, in a thread of its own as the engine does."""
    declared = Declared()
    with ThreadPoolExecutor(1) as pool:
        # Pulumi's settings are context variables: a context of its own keeps them from others.
        pool.submit(contextvars.Context().run, _run, declared, spec, machine).result()
    return declared


def _run(declared: Declared, spec: WorkerSpec, machine: MachineSpec) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    def make_loop() -> asyncio.AbstractEventLoop:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])
        return loops[-1]

    loop = make_loop()
    try:
        # Pulumi makes an event loop in every thread of this pool, and closes none.
        loop.set_default_executor(ThreadPoolExecutor(initializer=make_loop))
        set_mocks(declared, monitor=Monitor(declared))
        ROOT.set(None)  # the program gets a stack of its own, whose outputs can be seen
        loop.run_until_complete(run_in_stack(lambda: aws.program(spec, machine)))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        for each in loops:
            each.close()


def test_a_batch_is_a_machine_and_its_firewall() -> None:
    declared = declare()
    assert set(declared.resources) == {PROVIDER, GROUP, INSTANCE}
    for name, value in (("key", "the-key"), ("certificate", "the certificate")):
        output = declared.outputs.pop(name)
        assert rpc.is_rpc_secret(output), "who reads outputs does not see it unless they ask to"
        assert rpc.unwrap_rpc_secret(output) == value
    assert declared.outputs == {"id": "worker-id", "address": "203.0.113.99"}


def test_the_runner_alone_reaches_one_port() -> None:
    group = declare().group
    (rule,) = group["ingress"]
    assert {key: value for key, value in rule.items() if key != "description" and value} == {
        "protocol": "tcp",
        "fromPort": 443,
        "toPort": 443,
        "cidrBlocks": ["203.0.113.7/32"],
    }
    (rule,) = declare(machine=replace(MACHINE, port=8443)).group["ingress"]
    assert (rule["fromPort"], rule["toPort"]) == (8443, 8443)
    (out,) = group["egress"]
    assert (out["protocol"], out["cidrBlocks"]) == ("-1", ["0.0.0.0/0"])
    assert "ipv6CidrBlocks" not in out


def test_the_firewall_is_in_the_machines_network() -> None:
    declared = declare()
    assert declared.group["name"] == "cloudburst-run-b01"
    assert declared.group["region"] == "us-east-1"
    assert "vpcId" not in declared.group
    assert declared.instance["vpcSecurityGroupIds"] == ["firewall-id"]
    assert declare(machine=replace(MACHINE, vpc="vpc-1")).group["vpcId"] == "vpc-1"


def test_metadata_is_guarded() -> None:
    assert declare().instance["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
    }


def test_the_disk_is_encrypted_and_goes_with_the_machine() -> None:
    assert declare().instance["rootBlockDevice"] == {
        "volumeType": "gp3",
        "volumeSize": 40,
        "encrypted": True,
        "deleteOnTermination": True,
    }


def test_a_machine_has_no_rights_and_no_way_in() -> None:
    instance = declare().instance
    assert "iamInstanceProfile" not in instance
    assert "keyName" not in instance
    assert declare(machine=replace(MACHINE, key_name="mine")).instance["keyName"] == "mine"


def test_the_disk_is_encrypted_with_the_users_key() -> None:
    key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd"
    disk = declare(machine=replace(MACHINE, kms_key=key)).instance["rootBlockDevice"]
    assert (disk["encrypted"], disk["kmsKeyId"]) == (True, key)
    assert "kmsKeyId" not in declare().instance["rootBlockDevice"]


def test_a_machine_that_shuts_down_is_terminated() -> None:
    assert declare().instance["instanceInitiatedShutdownBehavior"] == "terminate"


def test_a_machine_is_of_its_rung_and_has_an_address() -> None:
    instance = declare().instance
    assert (instance["instanceType"], instance["region"]) == ("c5.2xlarge", "us-east-1")
    assert instance["availabilityZone"] == "us-east-1a"
    assert instance["associatePublicIpAddress"] is True
    assert "subnetId" not in instance


def test_a_subnet_says_the_zone_itself() -> None:
    instance = declare(machine=replace(MACHINE, subnet="subnet-1")).instance
    assert instance["subnetId"] == "subnet-1"
    assert "availabilityZone" not in instance


def test_on_demand_is_no_spot_request() -> None:
    assert "instanceMarketOptions" not in declare().instance


def test_spot_is_asked_for_once_and_ends_for_good() -> None:
    instance = declare(replace(SPEC, rung=replace(RUNG, market="spot"))).instance
    assert instance["instanceMarketOptions"] == {
        "marketType": "spot",
        "spotOptions": {
            "spotInstanceType": "one-time",
            "instanceInterruptionBehavior": "terminate",
        },
    }


@pytest.mark.parametrize("market", ["on-demand", "spot"])
def test_everything_is_tagged_in_the_call_that_creates_it(market: Any) -> None:
    declared = declare(replace(SPEC, rung=replace(RUNG, market=market)))
    assert declared.instance["tags"] == TAGS
    assert declared.instance["volumeTags"] == TAGS
    assert declared.group["tags"] == TAGS


def test_user_data_and_nothing_else_is_a_secret_in_the_state() -> None:
    declared = declare()
    assert declared.secret == {f"{INSTANCE} userData"}
    assert "userData" in declared.secret_outputs
    sent = payload.unpack(declared.instance["userData"])
    assert json.loads(sent[f"{payload.SETTINGS}/agent.json"]) == {
        "image": "me/mine:1",
        "key": "the-key",
        "lease": 600,
        "cap": 45 * 60,
        "port": 443,
        "room": 4,
    }
    assert sent[f"{payload.SETTINGS}/cert.pem"] == "the certificate"
    assert sent[f"{payload.SETTINGS}/key.pem"] == "its key"
    assert declared.instance["userData"].splitlines()[1].startswith("shutdown -h +45 ")
    assert "userDataBase64" not in declared.instance


def test_containers_get_gpus_where_there_are_any() -> None:
    instance = declare(replace(SPEC, rung=replace(RUNG, type="g4dn.xlarge"))).instance
    settings = [
        payload.unpack(one["userData"])[f"{payload.SETTINGS}/agent.json"]
        for one in (instance, declare().instance)
    ]
    assert [json.loads(each).get("gpu", False) for each in settings] == [True, False]


def test_the_users_own_firewall_is_used_and_none_is_made() -> None:
    declared = declare(machine=replace(MACHINE, security_groups=("sg-1",)))
    assert GROUP not in declared.resources
    assert declared.instance["vpcSecurityGroupIds"] == ["sg-1"]
    several = declare(machine=replace(MACHINE, security_groups=("sg-1", "sg-2")))
    assert several.instance["vpcSecurityGroupIds"] == ["sg-1", "sg-2"]


def test_the_provider_gives_up_soon_and_serves_everything() -> None:
    declared = declare(replace(SPEC, rung=Rung("c5.large", "spot", "eu-west-1", "eu-west-1b")))
    provider = declared.resources[PROVIDER]
    assert float(provider["maxRetries"]) == 3
    assert provider["region"] == "eu-west-1"
    used = [declared.providers[kind] for kind in (INSTANCE, GROUP)] + [declared.calls[0][2]]
    assert all(name and f"{PROVIDER}::aws::aws-id" in name for name in used), used


def test_the_newest_image_is_asked_for() -> None:
    declared = declare()
    ((function, asked, _),) = declared.calls
    assert function == "aws:ssm/getParameter:getParameter"
    assert asked["name"] == (
        "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
    )
    assert asked["region"] == "us-east-1"
    assert declared.instance["ami"] == "ami-newest"


def test_the_users_own_image_is_used_and_nobody_is_asked() -> None:
    declared = declare(machine=replace(MACHINE, ami="ami-mine"))
    assert declared.instance["ami"] == "ami-mine"
    assert declared.calls == []


@pytest.mark.parametrize(
    ("instance_type", "kind"),
    [
        ("c5.2xlarge", ""),
        ("m5.xlarge", ""),
        ("t3.large", ""),
        ("c7i.2xlarge", ""),
        ("c7a.2xlarge", ""),
        ("c7g.2xlarge", "arm64/"),
        ("c6gn.xlarge", "arm64/"),
        ("m6gd.large", "arm64/"),
        ("t4g.large", "arm64/"),
        ("im4gn.large", "arm64/"),
        ("g4dn.xlarge", "gpu/"),
        ("g5.xlarge", "gpu/"),
        ("g6.xlarge", "gpu/"),
        ("p3.2xlarge", "gpu/"),
        ("g4ad.xlarge", ""),
        ("g5g.xlarge", "arm64/"),
    ],
)
def test_the_image_fits_the_processor(instance_type: str, kind: str) -> None:
    architecture = "arm64" if kind == "arm64/" else "amd64"
    assert aws.ami_parameter(instance_type, architecture) == (
        f"/aws/service/ecs/optimized-ami/amazon-linux-2023/{kind}recommended/image_id"
    )
