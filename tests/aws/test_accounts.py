"""An account that AWS has blocked, several security groups, and waves of launches."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst import EventKind, doctor, preview
from cloudburst.errors import InfrastructureError
from cloudburst.models import Check, Finding, Outcome
from testcloud.apis.wire import MESSAGES
from testcloud.faults import Fault, MachineFault
from testcloud.machines.hypervisor import groups_of
from tests.support.aws import (
    ONE_ZONE,
    Watch,
    assert_cloud_empty,
    aws_job,
    codes,
    run_watched,
)
from tests.support.clouds import make_group
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudburst.models import Job
    from testcloud.cloud import Cloud

pytestmark = [pytest.mark.stack]

RUN = Path(sys.executable).with_name("cloudburst-run")
BLOCKED = "AWS has blocked this account: only AWS Support can unblock it"
PLAIN = {
    "Blocked": BLOCKED,
    "AccountBlocked": BLOCKED,
    "PendingVerification": "AWS is still verifying this account for the region: run the job again",
    "OptInRequired": "this account is not signed up for EC2, or not subscribed to the machine "
    "image: complete the sign-up",
}


def waves(scenes: int, per_wave: int, pause: float) -> str:
    """Return the distribution of one scene a batch, in waves of launches."""
    rules = {"scenes_per_batch": 1, "min_scenes_per_batch": 1, "max_parallel_instances": scenes}
    rules |= {"launches_per_wave": per_wave, "launch_pause": pause}  # type: ignore[dict-item]
    return f"distribution: {{{', '.join(f'{key}: {value}' for key, value in rules.items())}}}\n"


def calls(cloud: Cloud, action: str) -> list[float]:
    """Return when an action was called."""
    return [call.time for call in cloud.calls if call.action == action]


# -- what is wrong with the account -------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "code", ["Blocked", "AccountBlocked", "PendingVerification", "OptInRequired"]
)
def test_an_account_that_may_not_launch_ends_the_run_at_its_first_launch(
    cloud: Cloud, job_file: Callable[..., Path], state: Path, code: str
) -> None:
    """Two more batches wait for their waves: they are not launched, and nobody waits for them."""
    cloud.faults.add(Fault("RunInstances", code, times=None))
    path = job_file(scenes_yaml(3, f"target: aws\n{waves(3, 1, 600)}"))
    began = time.monotonic()
    done = subprocess.run(
        [str(RUN), str(path), "--output", str(path.parent / "out")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert time.monotonic() - began < 60
    assert f"error: no worker could be used: {PLAIN[code]}" in done.stderr
    assert f"api error {code}: {MESSAGES[code]}" in done.stderr
    assert "docs/aws.md, Suspended accounts" in done.stderr
    assert len(calls(cloud, "RunInstances")) == 1
    assert cloud.machines == []
    assert_cloud_empty(cloud, state)


@pytest.mark.video
@pytest.mark.slow
def test_an_account_that_is_blocked_while_a_worker_renders_keeps_the_videos(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    """The second launch is refused: the worker that exists does the work of both."""
    job = aws_job(job_file, 2, waves(2, 1, 1))
    cloud.faults.add(Fault("RunInstances"), Fault("RunInstances", "Blocked", times=None))
    cloud.machine_faults.append(MachineFault("slow_boot", times=None, seconds=5))
    report, _ = run_watched(job)
    assert report.outcome is Outcome.COMPLETE
    assert sorted(codes(report), key=str) == ["Blocked", None]
    assert len(calls(cloud, "RunInstances")) == 2
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
def test_a_code_that_nobody_knows_is_not_taken_for_a_blocked_account(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    message = "This account is currently blocked by a policy of the future."
    cloud.faults.add(Fault("RunInstances", "BlockedByPolicy", times=None, message=message))
    with pytest.raises(InfrastructureError, match="BlockedByPolicy") as caught:
        run_watched(aws_job(job_file, 1, ONE_ZONE))
    assert message in str(caught.value)
    assert not any(plain.partition(":")[0] in str(caught.value) for plain in PLAIN.values())
    assert "Suspended accounts" not in str(caught.value)
    assert_cloud_empty(cloud, state)


@pytest.mark.video
@pytest.mark.slow
def test_the_word_in_another_codes_message_changes_nothing(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    full = {"zone": "us-east-1a"}
    code, message = "InsufficientInstanceCapacity", "api error Blocked: capacity is blocked"
    cloud.faults.add(Fault("RunInstances", code, times=None, where=full, message=message))
    more = "aws: {zones: [us-east-1a, us-east-1b], instance_types: [c5.2xlarge]}\n"
    report, _ = run_watched(aws_job(job_file, 1, more))
    assert report.outcome is Outcome.COMPLETE
    assert codes(report) == [code, None]
    assert_cloud_empty(cloud, state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "message", "advice"),
    [
        # docs.aws.amazon.com/organizations/latest/userguide/orgs_manage_policies_tag-policies-
        # enforcement: what does not comply is refused.
        (
            "TagPolicyViolation",
            "The tag policy does not allow the specified value for the following tag key: 'team'.",
            "a tag policy of the organization does not allow the tags",
        ),
        (
            "UnauthorizedOperation",
            "not authorized to perform: ec2:RunInstances: denied by a service control policy",
            "a service control policy of the organization denies it",
        ),
    ],
)
def test_what_an_organization_forbids_is_said_with_what_helps(
    cloud: Cloud,
    job_file: Callable[..., Path],
    state: Path,
    code: str,
    message: str,
    advice: str,
) -> None:
    cloud.faults.add(Fault("RunInstances", code, times=None, message=message))
    with pytest.raises(InfrastructureError, match=code) as caught:
        run_watched(aws_job(job_file, 1, ONE_ZONE))
    assert message in str(caught.value)
    assert advice in str(caught.value)
    assert "give the caller the policy" not in str(caught.value), "it would not help"
    assert len(calls(cloud, "RunInstances")) == 1
    assert_cloud_empty(cloud, state)


@pytest.mark.video
@pytest.mark.slow
def test_without_the_role_for_spot_instances_the_run_goes_on_on_demand(
    cloud: Cloud, job_file: Callable[..., Path], state: Path
) -> None:
    """The role was deleted, and the caller may not create it again."""
    code = "AuthFailure.ServiceLinkedRoleCreationNotPermitted"
    cloud.faults.add(Fault("RunInstances", code, times=None, where={"market": "spot"}))
    more = "aws: {zones: [us-east-1a, us-east-1b], instance_types: [c5.2xlarge], "
    report, _ = run_watched(aws_job(job_file, 2, more + "markets: [spot, on-demand]}\n"))
    assert report.outcome is Outcome.COMPLETE
    assert codes(report)[0] == code
    assert [code for code in codes(report) if code is not None] == [code]
    assert_cloud_empty(cloud, state)


# -- the doctor ---------------------------------------------------------------------------------


def examined(name: str, job: Job | None = None) -> Check:
    return {check.name: check for check in doctor.examine("aws", job)}[name]


def test_the_doctor_tries_a_launch_and_launches_nothing(cloud: Cloud) -> None:
    check = examined("us-east-1 launch")
    assert check.finding is Finding.OK
    assert check.text == "a dry run of c5.2xlarge on-demand in us-east-1a is allowed"
    assert len(calls(cloud, "RunInstances")) == 1
    assert cloud.machines == []


@pytest.mark.parametrize("code", sorted(PLAIN))
def test_the_doctor_says_plainly_what_is_wrong_with_the_account(cloud: Cloud, code: str) -> None:
    cloud.faults.add(Fault("RunInstances", code, times=None))
    check = examined("us-east-1 launch")
    assert (check.finding, check.code) == (Finding.ERROR, code)
    assert check.text.startswith(PLAIN[code])
    assert check.text.startswith(f"{PLAIN[code].partition(':')[0]}: {check.fix}. ec2 run-instances")
    assert check.text.endswith(f"{code}: {MESSAGES[code]}")


@pytest.mark.parametrize(
    ("code", "finding", "fix"),
    [
        ("UnauthorizedOperation", Finding.ERROR, "give the caller the policy in docs/aws.md"),
        ("BlockedByPolicy", Finding.ERROR, "give the caller the policy in docs/aws.md"),
        pytest.param(  # boto3 tries it again, with pauses
            "RequestLimitExceeded", Finding.WARNING, "try again later", marks=pytest.mark.slow
        ),
    ],
)
def test_another_refusal_is_not_the_accounts(
    cloud: Cloud, code: str, finding: Finding, fix: str
) -> None:
    cloud.faults.add(Fault("RunInstances", code, times=None))
    check = examined("us-east-1 launch")
    assert (check.finding, check.fix, check.code) == (finding, fix, code)


def test_an_account_that_may_not_even_ask_is_named_as_that(cloud: Cloud) -> None:
    cloud.faults.add(Fault("DescribeInstanceTypeOfferings", "OptInRequired", times=None))
    check = examined("us-east-1 types")
    assert (check.finding, check.code) == (Finding.ERROR, "OptInRequired")
    assert check.text.startswith(PLAIN["OptInRequired"])


# -- several security groups --------------------------------------------------------------------


@pytest.fixture
def groups(ec2: Any) -> Iterator[tuple[str, str]]:
    """Make two security groups of the user's: the second one lets this machine in."""
    (default,) = (vpc for vpc in ec2.describe_vpcs()["Vpcs"] if vpc["IsDefault"])
    made = ec2.create_security_group(GroupName="office", Description="o", VpcId=default["VpcId"])[
        "GroupId"
    ]
    both = (str(made), make_group(ec2))
    yield both
    for group in both:
        ec2.delete_security_group(GroupId=group)


@pytest.mark.slow
@pytest.mark.video
@pytest.mark.parametrize("where", ["file", "variable"])
def test_a_machine_has_all_security_groups_and_leaves_them(
    cloud: Cloud,
    ec2: Any,
    job_file: Callable[..., Path],
    groups: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    rest = "zones: [us-east-1a], instance_types: [c5.2xlarge]"
    if where == "file":
        rest += f", security_groups: [{', '.join(groups)}]"
    else:
        monkeypatch.setenv("AWS_SECURITY_GROUP_ID", " , ".join(groups))
    seen: list[set[str]] = []
    watch = Watch()

    def look() -> None:
        (machine,) = cloud.machines
        seen.append({group.id for group in groups_of(machine.instance)})

    watch.when(lambda event: event.data.get("state") == "working", look)
    report, _ = run_watched(aws_job(job_file, 1, f"aws: {{{rest}}}\n"), watch)
    assert report.outcome is Outcome.COMPLETE
    assert seen == [set(groups)]
    made = [call for call in cloud.calls if call.action == "CreateSecurityGroup"]
    assert len(made) == 2, "the run made none"
    kept = ec2.describe_security_groups(GroupIds=list(groups))["SecurityGroups"]
    assert {group["GroupId"] for group in kept} == set(groups)


def firewall(job_file: Callable[..., Path], *groups: str, more: str = "") -> Check:
    section = f"aws: {{security_groups: [{', '.join(groups)}]{more}}}\n"
    return examined("us-east-1 firewall", aws_job(job_file, 1, section))


def test_the_doctor_looks_at_all_security_groups_together(
    job_file: Callable[..., Path], groups: tuple[str, str]
) -> None:
    check = firewall(job_file, *groups)
    assert check.finding is Finding.OK
    assert check.text == f"{', '.join(groups)}: 127.0.0.1/32 reaches port 5000"
    alone = firewall(job_file, groups[0])
    assert alone.finding is Finding.WARNING
    assert alone.fix == "add an inbound rule to one of them: TCP 443 from 127.0.0.1/32"
    wide = firewall(job_file, *groups, more=", ingress: 127.0.0.0/24")
    assert wide.finding is Finding.WARNING, "the rule admits one address of them"


def test_the_doctor_misses_a_security_group_and_sees_one_of_another_vpc(
    ec2: Any, job_file: Callable[..., Path], groups: tuple[str, str]
) -> None:
    missing = firewall(job_file, groups[0], "sg-0123456789abcdef0")
    assert (missing.finding, missing.code) == (Finding.ERROR, "InvalidGroup.NotFound")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    foreign = ec2.create_security_group(GroupName="far", Description="f", VpcId=vpc)["GroupId"]
    check = firewall(job_file, groups[1], foreign)
    assert check.finding is Finding.ERROR
    assert check.text == f"{foreign} is in {vpc}"
    ec2.delete_security_group(GroupId=foreign)


# -- waves of launches --------------------------------------------------------------------------


@pytest.mark.video
@pytest.mark.slow
def test_launches_begin_in_waves(cloud: Cloud, job_file: Callable[..., Path], state: Path) -> None:
    """No worker is healthy before all are launched, so that every launch is needed."""
    cloud.machine_faults.append(MachineFault("slow_boot", times=None, seconds=14))
    job = aws_job(job_file, 3, f"{ONE_ZONE}{waves(3, 1, 4)}")
    planned = preview(job)
    assert planned.estimate is not None
    assert planned.estimate.phases["launches"] == 8
    report, watch = run_watched(job)
    assert report.outcome is Outcome.COMPLETE
    begun = [event.seconds for event in watch.events if event.data.get("state") == "creating"]
    # Before it is reported, a launch asks for its price, the first one a little longer.
    assert all(late - early >= 3.5 for early, late in pairwise(begun)), begun
    # Not when they reach the API: the first engine is not as quick as those after it.
    assert len(calls(cloud, "RunInstances")) == 3
    waiting = [event.text for event in watch.events if event.data.get("state") == "waiting"]
    assert len(waiting) == 2
    assert all(text.endswith("(distribution.launch_pause)") for text in waiting)
    assert watch.texts(EventKind.FAILOVER) == []
    assert_cloud_empty(cloud, state)
