"""The test cloud through real clients: it must refuse calls and run instances as AWS does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
import pytest
import requests
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    HTTPClientError,
    ReadTimeoutError,
)

from testcloud.cloud import Cloud, Fault, MachineFault
from testcloud.machines.machine import processes
from tests.support.clouds import (
    IMAGE,
    SLEEPER,
    USER_DATA,
    image,
    make_group,
    run_parameters,
    until,
)
from tests.support.marks import but_the_first_slow
from tests.support.patience import SOON

if TYPE_CHECKING:
    from collections.abc import Callable

    from testcloud.machines.machine import Machine

    Launch = Callable[..., Machine]

CONTAINER = """#!/bin/bash
docker run -d --name video-api --restart always -p 5000:5000 -e PORT=5000 example/image:latest
echo started
"""


def code_of(failed: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = failed.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def once(service: str) -> Any:
    """Return a client that does not retry."""
    config = botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=SOON)
    return boto3.client(service, config=config)


def state_of(ec2: Any, machine: Machine) -> dict[str, Any]:
    response = ec2.describe_instances(InstanceIds=[machine.id])
    return dict(response["Reservations"][0]["Instances"][0])


# -- machines -----------------------------------------------------------------------------------


def test_a_machine_executes_its_user_data_and_leaves_nothing(
    cloud: Cloud, ec2: Any, launch: Launch
) -> None:
    group = make_group(ec2)
    machine = launch(USER_DATA, SecurityGroupIds=[group])
    until(lambda: "healthy" in machine.boot_log())
    health = requests.get(f"http://{machine.address}:5000/health", timeout=5).json()
    assert health["authentication"]["mode"] == "secure", "the key reached the container"
    assert f"{machine.id} c5.2xlarge in us-east-1a" in machine.boot_log()
    assert "shutdown -h +30 'cloudburst: the lease is over'" in machine.commands()
    assert not [line for line in machine.commands() if "secret" in line]
    shown = state_of(ec2, machine)
    assert shown["PublicIpAddress"] == machine.address != ""
    assert machine.container_pid in machine.alive()
    remaining = " ".join(cloud.remaining())
    for kind in ("instance", "volume", "security group", "network interface", "process"):
        assert kind in remaining
    ec2.terminate_instances(InstanceIds=[machine.id])
    assert machine.state == "shutting-down"
    until(lambda: machine.state == "terminated")
    assert machine.alive() == []
    shown = state_of(ec2, machine)
    assert shown["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    assert "PublicIpAddress" not in shown


def test_an_instance_is_pending_before_it_runs(cloud: Cloud, ec2: Any) -> None:
    cloud.boot_seconds = 0.3
    launched = ec2.run_instances(**run_parameters())["Instances"][0]
    assert launched["State"]["Name"] == "pending"
    assert "PublicIpAddress" not in launched
    assert state_of(ec2, cloud.machines[0])["State"]["Name"] == "pending"
    assert cloud.machines[0].alive() == []
    until(lambda: cloud.machines[0].state == "running")
    until(cloud.machines[0].alive)
    ec2.terminate_instances(InstanceIds=[launched["InstanceId"]])


def test_without_an_interpreter_the_user_data_is_not_run(launch: Launch) -> None:
    machine = launch("touch made\n")
    until(lambda: "nothing is run" in machine.boot_log())
    assert not (machine.folder / "made").exists()


@pytest.mark.parametrize(("behaviour", "end"), [("terminate", "terminated"), ("stop", "stopped")])
def test_the_dead_mans_switch_outlives_the_user_data(
    cloud: Cloud, behaviour: str, end: str
) -> None:
    script = "#!/bin/bash\nshutdown -h +30 bye\nsleep 100 &\nfalse || exit 3\n"
    request = run_parameters(script, InstanceInitiatedShutdownBehavior=behaviour)
    boto3.client("ec2").run_instances(**request)
    machine = cloud.machines[0]
    until(lambda: "ended with 3" in machine.boot_log())
    assert machine.state == "running"
    cloud.end_lease(machine)
    until(lambda: machine.state == end)
    shown = state_of(boto3.client("ec2"), machine)
    assert shown["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert machine.alive() == []
    assert bool(cloud.remaining()) == (end == "stopped")
    cloud.expect_remaining = end == "stopped"


@pytest.mark.parametrize("cancelled", but_the_first_slow([True, False]))
def test_a_power_off_comes_in_its_time_unless_it_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancelled: bool
) -> None:
    with Cloud(tmp_path / "fast", minute=1.0) as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        then = "shutdown -c\n" if cancelled else ""
        boto3.client("ec2").run_instances(
            **run_parameters(f"#!/bin/bash\nshutdown -h +3\n{then}echo so\nsleep 100\n")
        )
        machine = cloud.machines[0]
        if cancelled:
            until(lambda: "so" in machine.boot_log().split("cancel.")[-1])
            time.sleep(3.5)
            assert machine.state == "running"
        else:
            until(lambda: machine.state == "terminated")


@pytest.mark.parametrize(
    ("block", "port", "public", "reached"),
    [
        ("127.0.0.1/32", 5000, True, True),
        ("0.0.0.0/0", 5000, True, True),
        ("203.0.113.7/32", 5000, True, False),
        ("127.0.0.1/32", 22, True, False),
        (None, 5000, True, False),
        ("127.0.0.1/32", 5000, False, False),
    ],
)
def test_only_a_rule_for_the_caller_admits_it(
    cloud: Cloud,
    ec2: Any,
    launch: Launch,
    block: str | None,
    port: int,
    public: bool,
    reached: bool,
) -> None:
    cloud.machine_faults.append(MachineFault("never_healthy"))
    group = make_group(ec2, block, port)
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    card = {"DeviceIndex": 0, "SubnetId": subnet, "Groups": [group]}
    machine = launch(CONTAINER, NetworkInterfaces=[card | {"AssociatePublicIpAddress": public}])
    until(lambda: machine.container_pid)
    assert bool(machine.address) == public
    time.sleep(0 if reached else 0.3)
    try:
        until(lambda: responds(machine.address), 2.0 if reached else 0.2)
        responded = True
    except AssertionError:
        responded = False
    assert responded == reached


def responds(address: str) -> bool:
    try:
        return (
            requests.get(f"http://{address or '127.0.0.1'}:5000/health", timeout=1).status_code
            == 503
        )
    except requests.ConnectionError:
        return False


def test_a_container_that_dies_is_restarted(launch: Launch) -> None:
    machine = launch(CONTAINER)
    first = until(lambda: machine.container_pid)
    os.kill(first, signal.SIGKILL)
    second = until(lambda: machine.container_pid if machine.container_pid != first else None)
    until(lambda: second in machine.alive())


@pytest.mark.slow
def test_docker_refuses_what_docker_does_not_know(launch: Launch) -> None:
    machine = launch("#!/bin/bash\ndocker run --detatch image; echo exit $?\n")
    until(lambda: "exit 125" in machine.boot_log())
    assert "unknown flag: --detatch" in machine.boot_log()
    assert machine.container_pid is None


def test_metadata_wants_a_token(launch: Launch) -> None:
    script = """#!/bin/bash
m=http://169.254.169.254/latest
curl -sf $m/meta-data/instance-id; echo "without $?"
t=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $m/api/token)
curl -sf -H "X-aws-ec2-metadata-token: $t" $m/meta-data/public-ipv4; echo " with $?"
curl -sf -H "X-aws-ec2-metadata-token: $t" $m/meta-data/spot/instance-action; echo "notice $?"
curl -sf http://localhost:5000/health; echo "container $?"
"""
    machine = launch(script)
    until(lambda: "container 7" in machine.boot_log())
    log = machine.boot_log()
    assert "without 22" in log
    assert f"{machine.address} with 0" in log
    assert "notice 22" in log


def test_a_spot_machine_gets_notice_and_is_terminated(
    cloud: Cloud, ec2: Any, launch: Launch
) -> None:
    script = """#!/bin/bash
m=http://169.254.169.254/latest
t=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $m/api/token)
until curl -sf -H "X-aws-ec2-metadata-token: $t" $m/meta-data/spot/instance-action; do
  sleep 0.05; done
"""
    machine = launch(script, spot=True)
    shown = state_of(ec2, machine)
    filters = [{"Name": "instance-id", "Values": [machine.id]}]

    def request() -> dict[str, Any]:
        response = ec2.describe_spot_instance_requests(Filters=filters)
        return dict(response["SpotInstanceRequests"][0])

    assert request()["SpotInstanceRequestId"] == shown["SpotInstanceRequestId"]
    assert (request()["State"], request()["Status"]["Code"]) == ("active", "fulfilled")
    cloud.spot_notice(machine, 10 * SOON)
    assert request()["Status"]["Code"] == "marked-for-termination"
    until(lambda: '"action": "terminate"' in machine.boot_log())
    assert machine.state == "running"
    cloud.spot_notice(machine, 0.1)
    until(lambda: machine.state == "terminated")
    assert state_of(ec2, machine)["StateReason"]["Code"] == "Server.SpotInstanceTermination"
    after = request()
    assert (after["State"], after["Status"]["Code"]) == (
        "closed",
        "instance-terminated-no-capacity",
    )


def test_faults_of_machines(cloud: Cloud, ec2: Any, launch: Launch) -> None:
    cloud.machine_faults += [
        MachineFault("pull_fails", where={"zone": "us-east-1b"}),
        MachineFault("dies", where={"zone": "us-east-1c"}, seconds=0.1),
        MachineFault("silent", where={"zone": "us-east-1d"}, seconds=0.1),
        MachineFault("slow_boot", where={"zone": "us-east-1f"}, seconds=0.5),
    ]
    script = CONTAINER.replace("docker run", "docker pull image; echo pulled $?\ndocker run")
    pulls, dies, silent, slow = (
        launch(script, Placement={"AvailabilityZone": f"us-east-1{zone}"}) for zone in "bcdf"
    )
    assert slow.alive() == []
    until(lambda: "pulled 1" in pulls.boot_log())
    assert pulls.container_pid is None
    until(lambda: dies.state == "terminated")
    assert state_of(ec2, dies)["StateReason"]["Code"] == "Server.InternalError"
    pid = until(lambda: silent.container_pid)
    until(lambda: "T (stopped)" in Path(f"/proc/{pid}/status").read_text())
    assert silent.state == "running"
    until(lambda: "started" in slow.boot_log())


@pytest.mark.slow
def test_machines_end_with_the_process_of_the_cloud(tmp_path: Path) -> None:
    script = (
        "import boto3, os, pathlib, sys, time\n"
        "from testcloud.cloud import Cloud\n"
        "from tests.support.clouds import run_parameters, SLEEPER\n"
        "with Cloud(pathlib.Path(sys.argv[1])) as cloud:\n"
        "    os.environ.update(cloud.environment())\n"
        "    boto3.client('ec2').run_instances(**run_parameters(SLEEPER))\n"
        "    while len(cloud.machines[0].alive()) < 2: time.sleep(0.01)\n"
        "    print(cloud.machines[0].id, flush=True)\n"
        "    time.sleep(600)\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with holder:
        assert holder.stdout is not None
        identity = holder.stdout.readline().strip()
        assert processes(identity)
        holder.kill()
    until(lambda: not processes(identity))


# -- what RunInstances refuses ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ({"UserData": "#" * 16385}, "InvalidParameterValue", "limited to 16384 bytes"),
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound", "does not exist"),
        ({"InstanceType": "c5.3xlarge"}, "InvalidParameterValue", "c5.3xlarge"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound", "sg-0123"),
        (
            {"Placement": {"AvailabilityZone": "us-east-1e"}},
            "Unsupported",
            "choosing us-east-1-atl-1a, us-east-1a",
        ),
        ({"InstanceType": "c5.18xlarge"}, "VcpuLimitExceeded", "vCPU limit of 64"),
        (
            {
                "InstanceType": "c5.18xlarge",
                "InstanceMarketOptions": {"MarketType": "spot"},
            },
            "MaxSpotInstanceCountExceeded",
            "Max spot",
        ),
        (
            {
                "InstanceMarketOptions": {
                    "MarketType": "spot",
                    "SpotOptions": {"MaxPrice": "0.01"},
                }
            },
            "SpotMaxPriceTooLow",
            "0.010000 is lower",
        ),
    ],
)
def test_what_aws_refuses_is_refused(
    cloud: Cloud, ec2: Any, more: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ClientError, match=message) as failed:
        ec2.run_instances(**run_parameters(**more))
    assert code_of(failed) == (code, 400)
    assert cloud.machines == []
    assert cloud.calls[-1].error == code


def test_a_quota_counts_what_runs_of_its_family(cloud: Cloud, ec2: Any, launch: Launch) -> None:
    cloud.quotas["L-1216C47A"] = 12.0
    machine = launch()
    with pytest.raises(ClientError, match="limit of 12 "):
        launch()
    launch(InstanceType="g4dn.xlarge")
    launch(spot=True)
    ec2.terminate_instances(InstanceIds=[machine.id])
    launch()
    quota = boto3.client("service-quotas").get_service_quota
    assert quota(ServiceCode="ec2", QuotaCode="L-1216C47A")["Quota"]["Value"] == 12.0
    with pytest.raises(ClientError, match="NoSuchResource"):
        quota(ServiceCode="ec2", QuotaCode="L-0")


def test_a_client_token_launches_once(cloud: Cloud, ec2: Any, launch: Launch) -> None:
    first = launch(ClientToken="one")
    again = ec2.run_instances(**run_parameters(ClientToken="one"))["Instances"][0]["InstanceId"]
    assert again == first.id
    assert len(cloud.machines) == 1
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        ec2.run_instances(**run_parameters(ClientToken="one", InstanceType="m5.large"))


@pytest.mark.usefixtures("launch")
def test_a_new_instance_may_not_be_seen_at_once(cloud: Cloud, ec2: Any) -> None:
    cloud.hide(0.6)
    identity = ec2.run_instances(**run_parameters())["Instances"][0]["InstanceId"]
    assert ec2.describe_instances()["Reservations"] == []
    with pytest.raises(ClientError, match=r"InvalidInstanceID\.NotFound"):
        ec2.describe_instances(InstanceIds=[identity])
    until(lambda: ec2.describe_instances()["Reservations"])
    cloud.hide(600)
    ec2.terminate_instances(InstanceIds=[identity])
    cloud.hide(0)


def test_a_security_group_in_use_stays(ec2: Any, launch: Launch) -> None:
    group = make_group(ec2)
    machine = launch(SecurityGroupIds=[group])
    with pytest.raises(ClientError, match="DependencyViolation"):
        ec2.delete_security_group(GroupId=group)
    ec2.terminate_instances(InstanceIds=[machine.id])
    until(lambda: machine.state == "terminated")
    ec2.delete_security_group(GroupId=group)


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("region", but_the_first_slow(["us-east-1", "us-west-2", "eu-central-1"]))
def test_the_default_network_leads_to_the_internet(region: str) -> None:
    ec2 = boto3.client("ec2", region_name=region)
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]
    main = [{"Name": "association.main", "Values": ["true"]}]
    routes = ec2.describe_route_tables(Filters=main)["RouteTables"][0]["Routes"]
    [route] = [each for each in routes if each["DestinationCidrBlock"] == "0.0.0.0/0"]
    gateway = ec2.describe_internet_gateways()["InternetGateways"][0]
    assert route["GatewayId"] == gateway["InternetGatewayId"]
    assert gateway["Attachments"][0]["VpcId"] == vpc["VpcId"]


# -- faults of the API --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("InsufficientInstanceCapacity", 500, "do not have sufficient c5.2xlarge capacity"),
        ("VcpuLimitExceeded", 400, "more vCPU capacity"),
        ("InstanceLimitExceeded", 400, "quota allows for 0 more"),
        ("Unsupported", 400, "not supported in your requested Availability Zone"),
        ("UnauthorizedOperation", 403, "not authorized"),
        ("AuthFailure", 401, "validate the provided access credentials"),
        ("Blocked", 400, "currently blocked and not recognized as a valid account"),
        ("AccountBlocked", 400, "currently blocked"),
        ("PendingVerification", 400, "in this region is being validated"),
        ("OptInRequired", 401, "not subscribed to this service"),
        ("RequestLimitExceeded", 503, "Request limit exceeded"),
        ("InsufficientFreeAddressesInSubnet", 400, "not enough free addresses"),
        ("MaxSpotInstanceCountExceeded", 400, "Max spot"),
        ("InternalError", 500, "internal error"),
    ],
)
def test_an_injected_error_has_awss_code_status_and_message(
    cloud: Cloud, code: str, status: int, message: str
) -> None:
    cloud.faults.add(Fault("RunInstances", code))
    with pytest.raises(ClientError, match=message) as failed:
        once("ec2").run_instances(**run_parameters())
    assert code_of(failed) == (code, status)
    assert (cloud.machines, len(cloud.faults.fired)) == ([], 1)


def test_a_dry_run_launches_nothing_and_meets_the_accounts_troubles(cloud: Cloud, ec2: Any) -> None:
    cloud.quotas["L-1216C47A"] = 0.0  # it checks what the caller may do, not what there is
    with pytest.raises(ClientError, match="DryRun flag is set") as allowed:
        ec2.run_instances(**run_parameters(DryRun=True))
    assert code_of(allowed) == ("DryRunOperation", 412)
    cloud.faults.add(Fault("RunInstances", "PendingVerification"))
    with pytest.raises(ClientError, match="in this region is being validated") as refused:
        ec2.run_instances(**run_parameters(DryRun=True))
    assert code_of(refused) == ("PendingVerification", 400)
    assert cloud.machines == []


def test_an_error_has_the_shape_of_its_protocol(cloud: Cloud) -> None:
    for service, action, call in (
        ("sts", "GetCallerIdentity", lambda client: client.get_caller_identity()),
        ("pricing", "GetProducts", lambda client: client.get_products(ServiceCode="AmazonEC2")),
        ("ssm", "GetParameter", lambda client: client.get_parameter(Name="/a")),
    ):
        cloud.faults.add(Fault(action, "AccessDeniedException", message="no, thank you"))
        with pytest.raises(ClientError, match="no, thank you") as failed:
            call(once(service))
        assert failed.value.response["Error"]["Code"] == "AccessDeniedException"
    assert [(c.service, c.action, c.error) for c in cloud.calls] == [
        ("sts", "GetCallerIdentity", "AccessDeniedException"),
        ("pricing", "GetProducts", "AccessDeniedException"),
        ("ssm", "GetParameter", "AccessDeniedException"),
    ]


@pytest.mark.usefixtures("cloud")
def test_a_public_parameter_is_the_newest_image_of_its_region() -> None:
    """As in docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI."""
    values = {}
    for region in ("us-east-1", "eu-west-1"):
        client = boto3.client("ssm", region_name=region)
        parameter = client.get_parameter(Name=IMAGE)["Parameter"]
        assert (parameter["Name"], parameter["Type"]) == (IMAGE, "String")
        assert parameter["ARN"] == f"arn:aws:ssm:{region}::parameter{IMAGE}"
        (found,) = boto3.client("ec2", region_name=region).describe_images(
            ImageIds=[parameter["Value"]]
        )["Images"]
        assert found["Name"].startswith("al2023-ami-ecs-hvm-")
        values[region] = parameter["Value"]
    assert len(set(values.values())) == 2, "an AMI is of one region"
    with pytest.raises(ClientError) as refused:
        once("ssm").get_parameter(Name=f"{IMAGE}s")
    assert code_of(refused) == ("ParameterNotFound", 400)


def test_a_fault_fires_where_and_as_often_as_it_says(cloud: Cloud, launch: Launch) -> None:
    where = {"type": "c5.2xlarge", "zone": "us-east-1b", "market": "spot", "caller": "runner"}
    cloud.faults.add(Fault("RunInstances", "VcpuLimitExceeded", times=2, where=where))
    zone = {"Placement": {"AvailabilityZone": "us-east-1b"}}
    launch(spot=True)
    launch(**zone)
    for _ in range(2):
        with pytest.raises(ClientError):
            launch(spot=True, **zone)
    launch(spot=True, **zone)
    assert len(cloud.faults.fired) == 2


@pytest.mark.usefixtures("launch")
def test_a_call_may_take_effect_and_fail(cloud: Cloud) -> None:
    cloud.faults.add(Fault("RunInstances", "InternalError", after=True))
    with pytest.raises(ClientError):
        once("ec2").run_instances(**run_parameters())
    assert len(cloud.machines) == 1
    cloud.faults.add(Fault("RunInstances", drop=True, after=True))
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        once("ec2").run_instances(**run_parameters())
    assert len(cloud.machines) == 2
    assert cloud.calls[-1].error == "dropped"


@pytest.mark.usefixtures("launch")
def test_a_dropped_call_has_no_effect_and_a_late_one_has(cloud: Cloud) -> None:
    cloud.faults.add(Fault("RunInstances", drop=True))
    with pytest.raises((ConnectionClosedError, HTTPClientError)) as failed:
        once("ec2").run_instances(**run_parameters())
    assert not isinstance(failed.value, ReadTimeoutError)
    assert cloud.machines == []
    cloud.faults.add(Fault("RunInstances", delay=0.5))
    began = time.monotonic()
    once("ec2").run_instances(**run_parameters())
    assert time.monotonic() - began > 0.5
    assert len(cloud.machines) == 1


# -- bills, and the cloud as a whole -----------------------------------------------------------


def test_a_bill_is_by_the_second_and_a_minute_at_least(
    cloud: Cloud, ec2: Any, launch: Launch
) -> None:
    plain, spot = launch(), launch(spot=True)
    history = ec2.describe_spot_price_history(
        InstanceTypes=["c5.2xlarge"],
        ProductDescriptions=["Linux/UNIX"],
        AvailabilityZone=spot.zone,
        StartTime=time.time(),
    )["SpotPriceHistory"]
    plain.launched -= 3600
    ec2.terminate_instances(InstanceIds=[plain.id, spot.id])
    first, second = cloud.bills()
    assert first.ended is not None
    assert 3600 <= first.ended - first.launched <= first.seconds <= 3605
    assert (first.market, first.usd_per_hour) == ("on-demand", 0.34)
    assert first.usd == pytest.approx(0.34 * first.seconds / 3600)
    assert (second.market, second.seconds) == ("spot", 60)
    assert [second.usd_per_hour] == [float(each["SpotPrice"]) for each in history]
    assert second.usd == pytest.approx(second.usd_per_hour / 60)


@pytest.mark.slow
def test_clouds_do_not_see_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("first", "second"):
        with Cloud(tmp_path / name) as cloud:
            for key, value in cloud.environment().items():
                monkeypatch.setenv(key, value)
            ec2 = boto3.client("ec2")
            assert ec2.describe_instances()["Reservations"] == []
            ec2.run_instances(**run_parameters(SLEEPER))
            machine = cloud.machines[0]
            until(machine.alive)
            assert cloud.remaining()
        assert machine.alive() == []


def test_checkip_returns_the_callers_address(cloud: Cloud) -> None:
    url = cloud.environment()["CLOUDBURST_CHECKIP_URL"]
    assert requests.get(url, timeout=5).text == "127.0.0.1\n"
    cloud.caller = "203.0.113.7"
    assert requests.get(url, timeout=5).text == "203.0.113.7\n"


def test_the_console_shows_the_boot_log(ec2: Any, launch: Launch) -> None:
    machine = launch()
    until(lambda: "up" in machine.boot_log())
    assert "up\n" in ec2.get_console_output(InstanceId=machine.id)["Output"]


def test_the_image_is_one_that_can_be_launched(ec2: Any) -> None:
    assert ec2.describe_images(ImageIds=[image()])["Images"][0]["RootDeviceName"]


# -- python -m testcloud ----------------------------------------------------------------------


def in_a_cloud(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "testcloud", "--", *command],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


RENT = """
import boto3
from tests.support.clouds import run_parameters
from tests.support.marks import but_the_first_slow
from tests.support.patience import SOON
from tests.support.patience import SOON
ec2 = boto3.client("ec2")
identity = ec2.run_instances(**run_parameters())["Instances"][0]["InstanceId"]
"""


@pytest.mark.slow
def test_a_command_runs_in_a_cloud_with_a_summary() -> None:
    script = f"{RENT}ec2.terminate_instances(InstanceIds=[identity])\nraise SystemExit(7)"
    done = in_a_cloud(sys.executable, "-c", script)
    assert done.returncode == 7, done.stderr
    assert "c5.2xlarge on-demand in us-east-1a  60 s at $0.3400/h = $0.0057" in done.stdout
    assert "3 AWS API calls: 3 by the run, 0 by its engine" in done.stdout
    assert done.stdout.endswith("nothing is left\n")


@pytest.mark.slow
def test_the_summary_lists_remaining_resources() -> None:
    done = in_a_cloud(sys.executable, "-c", RENT)
    assert done.returncode == 4, done.stderr
    assert "left behind:" in done.stdout
    assert "is running" in done.stdout or "is pending" in done.stdout
