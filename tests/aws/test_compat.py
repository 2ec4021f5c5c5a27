"""The original's API on AWS: its documented examples, its bills, its questions about an account."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from cloudburst.compat import InstantInstanceOperationV2
from cloudburst.errors import PriceUnknown
from testcloud.faults import Fault
from tests.support.aws import assert_cloud_empty
from tests.support.original import (
    EXAMPLES,
    assert_original_keys,
    assert_videos,
    example_cases,
    make_scene,
)

if TYPE_CHECKING:
    from pathlib import Path

    from testcloud.cloud import Cloud

pytestmark = [pytest.mark.stack, pytest.mark.video]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder; without a word, runs are on AWS."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLOUDBURST_TARGET", raising=False)
    return tmp_path / "video_scenes"


@pytest.fixture
def scenes(folder: Path) -> list[dict[str, Any]]:
    return [make_scene(folder, number) for number in range(4)]


@pytest.mark.parametrize("name", example_cases())
def test_the_originals_examples(
    name: str,
    folder: Path,
    scenes: list[dict[str, Any]],
    cloud: Cloud,
    tmp_path: Path,
    state: Path,
) -> None:
    result = EXAMPLES[name](folder, scenes, tmp_path / "out")
    assert_original_keys(result)
    assert result["success"] is True
    assert_videos(result)
    machines = result.get("instance_results", [result])
    assert {machine["instance_id"] for machine in machines} == {one.id for one in cloud.machines}
    first = "m5.xlarge" if name == "usage_2_scenes_from_anywhere" else "c5.2xlarge"
    assert {machine["config_used"]["instance_type"] for machine in machines} == {first}
    billed = sum(bill.usd for bill in cloud.bills())
    assert result.get("total_cost_usd", result.get("cost_usd")) > 0
    if "final_cost_usd" in result:  # machine, disk, address and traffic: a little more
        assert billed <= result["final_cost_usd"] <= billed * 1.5 + 0.01
    assert_cloud_empty(cloud, state)


def test_questions_about_the_account(cloud: Cloud, folder: Path) -> None:  # noqa: ARG001
    operation = InstantInstanceOperationV2(verbose=False)
    valid = operation.check_aws_account_validity()
    assert valid["valid"] is True
    assert valid["regions_count"] > 1
    assert isinstance(valid["message"], str)
    offered = operation.check_instance_availability("c5.2xlarge")
    assert offered["available"] is True
    assert offered["availability_zones"] == sorted(offered["availability_zones"])
    assert offered["availability_zones"][0].startswith(offered["region"])
    assert offered["instance_type"] == "c5.2xlarge"
    unknown = operation.check_instance_availability("z9.huge")
    assert (unknown["available"], unknown["instance_type"]) == (False, "z9.huge")
    best = operation.find_best_available_instance()
    assert (best["selected"], best["instance_type"]) == (True, "c5.2xlarge")
    assert best["config"] == operation.current_config
    assert "fallback_from" not in best
    assert operation.get_instance_pricing() == 0.34
    assert operation.calculate_cost(3600)["total_cost_usd"] == pytest.approx(0.34)


def test_what_the_region_does_not_offer_falls_back(
    cloud: Cloud,  # noqa: ARG001
    folder: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_INSTANCE_TYPE", "z9.huge")
    operation = InstantInstanceOperationV2(verbose=False)
    best = operation.find_best_available_instance()
    assert (best["instance_type"], best["fallback_from"]) == ("c5.2xlarge", "z9.huge")
    with pytest.raises(PriceUnknown, match=re.escape("z9.huge in us-east-1")):
        operation.get_instance_pricing()


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("AuthFailure", "AuthFailure", "AWS authentication failed"),
        ("UnauthorizedOperation", "UnauthorizedOperation", "AWS account access denied"),
        ("Blocked", "AccountBlocked", "AWS account is blocked"),
        ("PendingVerification", "AccountBlocked", "AWS account is blocked"),
        ("RequestExpired", "RequestExpired", "Unable to verify"),
    ],
)
def test_an_account_that_refuses_is_not_valid_and_says_why(
    cloud: Cloud,
    folder: Path,  # noqa: ARG001
    code: str,
    kind: str,
    words: str,
) -> None:
    cloud.faults.add(Fault("DescribeRegions", code, times=None))
    refused = InstantInstanceOperationV2(verbose=False).check_aws_account_validity()
    assert (refused["valid"], refused["error_type"]) == (False, kind)
    assert "ec2 describe-regions" in refused["error"]
    assert refused["message"].startswith(words)
