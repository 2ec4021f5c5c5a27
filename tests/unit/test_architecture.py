"""Which instance types a container image runs on, before anything is launched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from cloudburst import load_job, preview
from cloudburst.errors import BadInput
from cloudburst.targets.aws.architecture import InstanceKind, is_public, named, problem, supported
from tests.support.clouds import cloud, iam_policy
from tests.support.inputs import scenes_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from testcloud.cloud import Cloud

__all__ = ["cloud", "iam_policy"]

PUBLIC = "betashow/video-generation-api:latest"


@pytest.mark.parametrize(
    ("names", "expected", "machine_image"),
    [
        (["x86_64"], {"amd64"}, "amd64"),
        (["i386", "x86_64"], {"amd64"}, "amd64"),
        (["arm64"], {"arm64"}, "arm64"),
        (["arm64_mac"], set(), "amd64"),
    ],
)
def test_what_ec2_says_of_a_processor(
    names: list[str], expected: set[str], machine_image: str
) -> None:
    kind = InstanceKind(2, named(names))
    assert kind.architectures == expected
    assert kind.architecture == machine_image


@pytest.mark.parametrize(
    ("image", "public"),
    [
        (PUBLIC, True),
        ("docker.io/betashow/video-generation-api", True),
        ("betashow/video-generation-api@sha256:" + 64 * "0", True),
        ("betashow/video-generation-api-arm", False),
        ("example.com/betashow/video-generation-api:1", False),
    ],
)
def test_of_the_public_image_it_is_known_whatever_is_stated(image: str, public: bool) -> None:
    assert is_public(image) is public
    assert ("arm64" in supported(image, ["arm64"])) is not public
    assert ("arm64" in supported(image, [])) is not public, "who says nothing is trusted"


def test_an_image_runs_where_one_architecture_is_both_of_it_and_of_the_type() -> None:
    assert problem("c5.2xlarge", {"amd64"}, PUBLIC, ["amd64"]) == ""
    assert problem("c7g.large", {"arm64"}, "mine:1", ["amd64", "arm64"]) == ""
    assert "c7g.large, whose processor is arm64" in problem("c7g.large", {"arm64"}, PUBLIC, [])
    assert "c5.large, whose processor is amd64; the image" in problem(
        "c5.large", {"amd64"}, "mine:1", ["arm64"]
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            f"image: {PUBLIC}, instance_types: [c5.2xlarge, c7g.2xlarge]",
            r":3: aws.instance_types\[1\]: got c7g.2xlarge, whose processor is arm64",
        ),
        (
            "instance_types: [a1.xlarge], image: mine:1, architectures: [amd64]",
            r":3: aws.instance_types\[0\]: got a1.xlarge",
        ),
        (
            f"architectures: [arm64], image: {PUBLIC}",
            r":3: aws.architectures: got arm64; expected amd64: betashow",
        ),
        ("architectures: [sparc], image: mine:1", r":3: aws.architectures\[0\]: got 'sparc'"),
    ],
)
def test_a_type_that_the_image_does_not_run_on_is_an_error_with_its_line(
    job_file: Callable[..., Path], section: str, message: str
) -> None:
    path = job_file(scenes_yaml(1, f"target: aws\naws: {{{section}}}\n"))
    with pytest.raises(BadInput) as caught:
        load_job(path)
    (line,) = str(caught.value).splitlines()
    assert re.search(message, line), line


def test_an_image_for_both_may_have_either_type(job_file: Callable[..., Path]) -> None:
    section = "architectures: [amd64, arm64], image: mine:1, instance_types: [c7g.large, c5.large]"
    job = load_job(job_file(scenes_yaml(1, f"target: aws\naws: {{{section}}}\n")))
    assert job.settings["aws"].architectures == ("amd64", "arm64")


def test_the_bundled_video_api_runs_on_either_processor(
    job_file: Callable[..., Path],
) -> None:
    section = "instance_types: [c5.2xlarge, c7g.2xlarge]"
    job = load_job(job_file(scenes_yaml(1, f"target: aws\naws: {{{section}}}\n")))
    settings = job.settings["aws"]
    assert (settings.image, settings.bundled) == ("bundled", True)
    for processor in ("amd64", "arm64"):
        assert problem("any.large", {processor}, settings.image, settings.architectures) == ""


@pytest.mark.stack
@pytest.mark.parametrize("variable", ["AWS_INSTANCE_TYPE", "DOCKER_IMAGE"])
def test_what_only_aws_and_the_variables_know_is_refused_before_anything_is_created(
    cloud: Cloud,
    job_file: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    section = "architectures: [arm64], zones: [us-east-1a]"
    if variable == "AWS_INSTANCE_TYPE":
        monkeypatch.setenv(variable, "c6g.xlarge")
        section = f"zones: [us-east-1a], image: {PUBLIC}"
    else:
        monkeypatch.setenv(variable, "mine:1")
        section += ", instance_types: [c5.large]"
    job = load_job(job_file(scenes_yaml(1, f"target: aws\naws: {{{section}}}\n")))
    wanted = (
        "^environment: AWS_INSTANCE_TYPE: got c6g.xlarge, whose processor is arm64"
        if variable == "AWS_INSTANCE_TYPE"
        else r":3: aws\.instance_types\[0\]: got c5.large, whose processor is amd64"
    )
    with pytest.raises(BadInput, match=wanted) as caught:
        preview(job)
    assert caught.value.exit_code == 2
    assert "CreateSecurityGroup" not in {call.action for call in cloud.calls}
