"""Images in a private registry of ECR: each machine gets a login, and nobody else does."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest

from cloudburst import EventKind, doctor, preview
from cloudburst.errors import InfrastructureError
from cloudburst.models import Finding
from cloudburst_stacks import payload
from testcloud.apis.iam import Policy
from tests.support.aws import Watch, aws_job, run_watched
from tests.support.clouds import POLICY, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.models import Job
    from testcloud.cloud import Cloud
    from testcloud.machines.machine import Machine

pytestmark = pytest.mark.stack

HOST = "210987654321.dkr.ecr.eu-west-1.amazonaws.com"
IMAGE = f"{HOST}/team/renderer:1"
PUBLIC = "public.ecr.aws/team/renderer:1"
SETTINGS = "aws: {{zones: [us-east-1a], instance_types: [c5.2xlarge], image: '{image}'}}\n"
PAGE = Path(__file__).parents[2] / "docs" / "aws.md"


def statements() -> list[dict[str, object]]:
    """Return what docs/aws.md asks for besides the policy."""
    section = PAGE.read_text().partition("## Private images")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    found: list[dict[str, object]] = json.loads(block)
    return found


def documented() -> Policy:
    policy = json.loads(POLICY)
    return Policy({**policy, "Statement": [*policy["Statement"], *statements()]})


@pytest.fixture
def private(cloud: Cloud) -> Cloud:
    """Return a test cloud under the policy with the statements for private images."""
    cloud.set_policy(documented())
    return cloud


def job(job_file: Callable[..., Path], image: str = IMAGE, more: str = "") -> Job:
    return aws_job(job_file, 1, SETTINGS.format(image=image) + more)


def tokens(machine: Machine) -> list[str]:
    """Return what a machine has logged in with."""
    settings = payload.unpack(machine.user_data)[f"{payload.SETTINGS}/agent.json"]
    login = json.loads(settings).get("login")
    return [login["token"]] if login else []


def ecr(cloud: Cloud) -> list[tuple[str, str]]:
    return [(call.action, call.region) for call in cloud.calls if call.service == "ecr"]


@pytest.mark.video
@pytest.mark.slow
def test_a_whole_run_with_a_private_image_leaks_no_token(
    private: Cloud, job_file: Callable[..., Path], tmp_path: Path, state: Path
) -> None:
    plain: list[tuple[Path, bool]] = []
    watch = Watch()

    def look() -> None:
        """Look while the stack is there: with it, the backend forgets what it held."""
        token = tokens(private.machines[0])[0].encode()
        files = [path for path in state.rglob("*") if path.is_file()]
        plain.extend((path, token in path.read_bytes()) for path in files)

    watch.when(lambda event: event.kind is EventKind.SCENE_STARTED, look)
    report, _ = run_watched(job(job_file), watch)
    assert report.done == 1
    assert any("stacks" in path.parts for path, _ in plain), "the state was looked at"
    assert [path for path, found in plain if found] == []
    (machine,) = private.machines
    assert ecr(private) == [("GetAuthorizationToken", "eu-west-1")], "where the image is"
    used = {access.action for access, allowed in private.accesses if allowed}
    named = {action for one in statements() for action in Policy({"Statement": [one]}).actions()}
    assert {action for action in used if action.startswith("ecr:")} == named

    commands = [line for line in machine.commands() if line.startswith("docker")]
    assert f"docker login --username AWS --password-stdin {HOST}" in commands
    assert f"docker pull --quiet {IMAGE}" in commands
    assert machine.boot_log().count("pulling: ") == 1

    (token,) = tokens(machine)
    assert len(token) > 1000
    assert token not in machine.boot_log()
    assert not any(token in line for line in machine.commands())
    assert not any(token in str(event) for event in watch.events)
    seen = [path for path in tmp_path.rglob("*") if path.is_file()]
    ours = [path for path in seen if not path.is_relative_to(tmp_path / "cloud")]
    assert any(path.is_relative_to(state) for path in ours), "the backend was looked at"
    assert [path for path in ours if token.encode() in path.read_bytes()] == []
    on_machine = [path for path in seen if token.encode() in path.read_bytes()]
    names = {path.name for path in on_machine}
    assert names <= {"user-data", "agent.json"}, "docker's own login was removed"


def test_without_the_right_a_run_is_refused_before_anything_is_created(
    cloud: Cloud, job_file: Callable[..., Path]
) -> None:
    for begin in (preview, run_watched):
        with pytest.raises(InfrastructureError) as caught:
            begin(job(job_file))
        assert "is not authorized to perform: ecr:GetAuthorizationToken" in str(caught.value)
        assert "add the statements of docs/aws.md, Private images: EcrLogin" in str(caught.value)
    assert cloud.machines == []
    assert [one["Sid"] for one in statements()] == ["EcrLogin", "EcrPull"]


@pytest.mark.slow
@pytest.mark.parametrize("right", ["ecr:BatchGetImage"])
def test_a_machine_that_may_not_pull_says_so_after_its_login(
    private: Cloud, job_file: Callable[..., Path], right: str
) -> None:
    private.set_policy(documented().without(right))
    with pytest.raises(InfrastructureError) as caught:
        run_watched(job(job_file))
    text = str(caught.value)
    assert "(pull_refused)" in text
    assert "see 'Private images' in docs/aws.md" in text
    assert f"is not authorized to perform: {right}" in text
    assert "arn:aws:ecr:eu-west-1:210987654321:repository/team/renderer" in text


@pytest.mark.video
@pytest.mark.slow
def test_a_public_image_needs_no_login(cloud: Cloud, job_file: Callable[..., Path]) -> None:
    report, _ = run_watched(job(job_file, PUBLIC))
    assert report.done == 1
    (machine,) = cloud.machines
    assert ecr(cloud) == []
    assert not any("login" in line for line in machine.commands())
    assert tokens(machine) == []


def test_the_doctor_tries_the_login(cloud: Cloud, job_file: Callable[..., Path]) -> None:
    found = {one.name: one for one in doctor.examine("aws", job(job_file))}["registry"]
    assert found.finding is Finding.ERROR
    assert "ecr:GetAuthorizationToken" in found.text
    assert "EcrLogin" in found.fix
    cloud.set_policy(documented())
    found = {one.name: one for one in doctor.examine("aws", job(job_file))}["registry"]
    assert (found.finding, found.text) == (Finding.OK, f"{HOST}: a login is allowed")
    assert "registry" not in {one.name for one in doctor.examine("aws", job(job_file, PUBLIC))}


LOGIN = """#!/bin/bash
printf '%s' '{token}' | docker login --username {user} --password-stdin {host} && echo in
docker pull --quiet {image} && echo pulled
docker logout {host}
docker pull --quiet {image} || echo refused
"""


@pytest.mark.parametrize(
    ("region", "user", "accepted"),
    [("eu-west-1", "AWS", True), ("us-east-1", "AWS", False), ("eu-west-1", "me", False)],
)
def test_the_test_clouds_registry_wants_a_token_of_its_region(
    private: Cloud, launch: Callable[..., Machine], region: str, user: str, *, accepted: bool
) -> None:
    data = boto3.client("ecr", region_name=region).get_authorization_token()["authorizationData"]
    token = base64.b64decode(data[0]["authorizationToken"]).decode().removeprefix("AWS:")
    machine = launch(LOGIN.format(token=token, user=user, host=HOST, image=IMAGE))
    until(lambda: "refused" in machine.boot_log())
    log = machine.boot_log().splitlines()
    assert ("in" in log, "pulled" in log) == (accepted, accepted)
    assert ("failed with status: 400 Bad Request" in machine.boot_log()) is not accepted
    assert "no basic auth credentials" in log[log.index("refused") - 1], "after the logout"
    private.set_policy(documented().without("ecr:GetDownloadUrlForLayer"))
    machine = launch(LOGIN.format(token=token, user=user, host=HOST, image=IMAGE))
    until(lambda: "refused" in machine.boot_log())
    words = "not authorized to perform: ecr:GetDownloadUrlForLayer"
    assert (words in machine.boot_log()) is accepted
