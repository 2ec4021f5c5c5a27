"""What `cloudburst doctor` finds of an account, and the calls and words that a user needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloudburst import doctor
from cloudburst.job.loader import load_job
from cloudburst.models import Check, Finding
from cloudburst.targets.aws.doctor import masked
from testcloud.faults import Fault
from tests.support.aws import ONE_ZONE, aws_job
from tests.support.clouds import administrator
from tests.support.inputs import EXAMPLE, scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.models import Job
    from testcloud.cloud import Cloud

CLOUDBURST = Path(sys.executable).with_name("cloudburst")
RUN = Path(sys.executable).with_name("cloudburst-run")
TEN_BATCHES = "distribution: {scenes_per_batch: 1, min_scenes_per_batch: 1}\n"


def examine(job: Job | None = None) -> dict[str, Check]:
    return {check.name: check for check in doctor.examine("aws", job)}


def call(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=os.environ
    )


@pytest.mark.stack
def test_everything_is_looked_at_and_fine(cloud: Cloud) -> None:
    done = call(str(CLOUDBURST), "doctor", str(EXAMPLE), "--target", "aws")
    assert done.returncode == 0, done.stdout
    lines = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]
    found = {line[0].split(maxsplit=1)[-1] if len(line) == 2 else line[1]: line for line in lines}
    text = done.stdout
    for words in (
        "account 12********12, user/moto",
        "127.0.0.1/32 alone reaches the workers",
        "betashow/video-generation-api:latest (not pinned by its digest)",
        "first choice c5.2xlarge on-demand in us-east-1a, 8 vCPUs; 30 rungs",
        "16 vCPUs for 2 machine(s), of 64 (on-demand, L-1216C47A)",
        "with a route to the internet",
        "Amazon's newest with Docker",
        "c5.2xlarge $0.3400/h on demand (AWS price list of 20",
    ):
        assert words in text, found
    assert "error" not in text
    assert cloud.machines == []


def test_a_quota_that_is_too_small_is_a_warning_with_the_number_that_fits(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    cloud.quotas["L-1216C47A"] = 20.0
    check = examine(aws_job(job_file, 4, TEN_BATCHES))["us-east-1 quota"]
    assert check.finding is Finding.WARNING
    assert check.text.startswith("32 vCPUs for 4 machine(s), of 20")
    assert check.fix.startswith("2 fit(s) at once")
    cloud.quotas["L-1216C47A"] = 4.0
    assert examine(aws_job(job_file, 4, TEN_BATCHES))["us-east-1 quota"].finding is Finding.ERROR


@pytest.mark.parametrize(
    ("action", "code", "name"),
    [
        ("GetCallerIdentity", "InvalidClientTokenId", "credentials"),
        ("GetProducts", "AccessDeniedException", "us-east-1 price"),
        ("GetParameter", "AccessDeniedException", "us-east-1 AMI"),
        ("DescribeRouteTables", "UnauthorizedOperation", "us-east-1 network"),
        ("DescribeInstanceTypeOfferings", "UnauthorizedOperation", "us-east-1 types"),
    ],
)
def test_what_may_not_be_asked_is_an_error_with_its_mend(
    cloud: Cloud, action: str, code: str, name: str
) -> None:
    cloud.faults.add(Fault(action, code, times=None))
    check = examine()[name]
    assert check.finding is Finding.ERROR
    assert code in check.text
    assert check.fix


def test_a_quota_that_may_not_be_asked_is_no_error(cloud: Cloud) -> None:
    cloud.faults.add(Fault("GetServiceQuota", "AccessDeniedException", times=None))
    assert examine()["us-east-1 quota"].finding is Finding.WARNING


def test_without_a_way_out_no_image_can_be_pulled(cloud: Cloud) -> None:
    ec2 = administrator()
    for table in ec2.describe_route_tables()["RouteTables"]:
        ec2.delete_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0")
    check = examine()["us-east-1 network"]
    assert check.finding is Finding.ERROR
    assert check.text.endswith("has no way to the internet")
    assert cloud.calls


@pytest.mark.stack
def test_the_exit_code_and_the_json_say_that_something_is_missing(cloud: Cloud) -> None:
    cloud.faults.add(Fault("GetCallerIdentity", "ExpiredToken", times=None))
    done = call(str(CLOUDBURST), "doctor", "--target", "aws", "--json")
    assert done.returncode == 3
    checks = json.loads(done.stdout)
    (bad,) = [check for check in checks if check["finding"] == "error"]
    assert bad["name"] == "credentials"
    assert "aws sso login" in bad["text"]


def test_an_account_number_is_masked() -> None:
    assert masked("123456789012") == "12********12"


@pytest.mark.stack
@pytest.mark.video
@pytest.mark.slow
def test_credentials_and_settings_of_a_dotenv_file_are_enough(
    cloud: Cloud,
    job_file: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = cloud.environment()
    folder = job_file(scenes_yaml(1, f"target: aws\n{ONE_ZONE[:-2]}, regions: [us-east-1]}}\n"))
    lines = [
        f"{name}={environment[name]}"
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    ]
    (tmp_path / ".env").write_text("\n".join([*lines, "DOCKER_IMAGE=example/mine:1"]))
    for name in (
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        *("AWS_REGION", "AWS_DEFAULT_REGION", "DOCKER_IMAGE"),
    ):
        monkeypatch.delenv(name)
    done = call(str(RUN), str(folder), "--output", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (machine,) = cloud.machines
    assert "example/mine:1" in " ".join(machine.commands())
    assert environment["AWS_SECRET_ACCESS_KEY"] not in done.stdout + done.stderr
    monkeypatch.chdir(tmp_path)
    assert load_job(folder).settings["aws"].image == "example/mine:1"
