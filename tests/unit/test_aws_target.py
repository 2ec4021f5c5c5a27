"""A stack that may have something in several regions: one that refuses hides no other."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from cloudburst.errors import CloudRefused
from cloudburst.models import Refusal
from cloudburst.targets.aws.described import RUN_TAG, STACK_TAG, Instance
from cloudburst.targets.aws.fleet import Fleet
from cloudburst.targets.aws.resources import AwsResources
from cloudburst.targets.base import Earlier, ignore_rental
from tests.support.rentals import ASKED

DENIED = "DescribeInstances: UnauthorizedOperation"


@dataclass
class FakeAws:
    """Machines by region; some regions refuse everything, or to terminate."""

    machines: dict[str, list[str]]
    denied: set[str] = field(default_factory=set)
    stubborn: bool = False

    def instances(self, region: str, *_: object, **__: object) -> list[Instance]:
        if region in self.denied:
            raise CloudRefused(DENIED, Refusal("UnauthorizedOperation"))
        return [machine(one, region) for one in self.machines.get(region, [])]

    def others(self, *_: object) -> dict[str, list[str]]:
        return {"group": [], "volume": []}

    def terminate(self, region: str, ids: list[str]) -> None:
        if self.stubborn:
            raise CloudRefused(f"{', '.join(ids)} did not terminate")
        self.machines[region] = [one for one in self.machines[region] if one not in ids]

    def remove(self, *_: object) -> None:
        """There are no groups and no volumes."""


def machine(identity: str, region: str) -> Instance:
    tags = {STACK_TAG: "run-b01", RUN_TAG: "run"}
    return Instance(
        identity, "c5.2xlarge", region, f"{region}a", "running", 1000.0, None, "", "", None, tags
    )


def make(aws: FakeAws, *regions: str) -> AwsResources:
    earlier = Earlier("run", {"run-b01": regions}, (ASKED,))
    client: Any = aws
    unpriced: Any = None
    fleet = Fleet(client, earlier, ignore_rental, lambda: 3000.0)
    return AwsResources(client, fleet, unpriced, regions)


def test_a_sweep_goes_through_all_regions_and_then_says_which_one_refused() -> None:
    aws = FakeAws({"us-west-2": ["i-2"]}, denied={"us-east-1"})
    resources = make(aws, "us-east-1", "us-west-2")
    with pytest.raises(CloudRefused, match=DENIED):
        resources.sweep("run-b01")
    assert aws.machines == {"us-west-2": []}


def test_an_inventory_names_what_is_there_beside_a_region_that_refused() -> None:
    aws = FakeAws({"us-west-2": ["i-2"]}, denied={"us-east-1"})
    resources = make(aws, "us-east-1", "us-west-2")
    with pytest.raises(CloudRefused, match=f"{DENIED}; there is i-2 .*us-west-2") as refused:
        resources.inventory("run-b01")
    assert refused.value.code == "UnauthorizedOperation"
    aws.machines.clear()
    with pytest.raises(CloudRefused, match=f"{DENIED}$"):
        resources.inventory("run-b01")


def test_a_stack_of_which_nobody_knows_the_region_is_looked_for_in_the_runs_own() -> None:
    aws = FakeAws({"us-east-1": ["i-1"]})
    client: Any = aws
    unpriced: Any = None
    fleet = Fleet(client, Earlier("run", {}, ()), ignore_rental, lambda: 3000.0)
    resources = AwsResources(client, fleet, unpriced, ("us-east-1",))
    assert "i-1" in resources.inventory("run-b01")[0]
    resources.sweep("run-b01")
    assert resources.inventory("run-b01") == []


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"denied": {"us-east-1"}}, f"us-east-1 did not say .*{DENIED}; ask again with: cloudb"),
        ({"stubborn": True}, "i-1; remove it with: aws ec2 terminate-instances --region us-east-1"),
    ],
)
def test_a_last_look_that_could_not_see_or_end_something_says_so(
    how: dict[str, Any], words: str
) -> None:
    resources = make(FakeAws({"us-east-1": ["i-1"]}, **how), "us-east-1", "us-west-2")
    (line,) = resources.final_sweep()
    assert re.match(words, line), line


def test_a_last_look_ends_what_it_finds() -> None:
    aws = FakeAws({"us-east-1": ["i-1"]})
    assert make(aws, "us-east-1").final_sweep() == []
    assert aws.machines == {"us-east-1": []}
