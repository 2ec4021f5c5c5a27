"""EC2's descriptions → values. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudburst.models import Rung

if TYPE_CHECKING:
    from collections.abc import Iterable


# Company and hotel networks let 443 out where they let out nothing else. It is TLS that passes.
PORT = 443
# The video API's own, which security groups from before the agent admit.
FORMER = 5000
STACK_TAG = "cloudburst:stack"
RUN_TAG = "cloudburst:run"


@dataclass(frozen=True, slots=True)
class Instance:
    """An EC2 instance as EC2 describes it.

    Args:
        launched: seconds since 1970, by AWS's clock.
        spot_request: id of its spot request, None on demand.
        code: StateReason's code; empty for none.
        reason: StateReason's message.
        ended: when it was ended, seconds since 1970, None where EC2 does not say so.
        tags: by key.
    """

    id: str
    type: str
    region: str
    zone: str
    state: str
    launched: float
    spot_request: str | None
    code: str
    reason: str
    ended: float | None
    tags: dict[str, str]

    @property
    def run_id(self) -> str:
        """The run that launched it; empty for an instance that is none of CloudBurst's."""
        return self.tags.get(RUN_TAG, "")

    @property
    def rung(self) -> Rung:
        """The rung on which it was launched."""
        return Rung(
            type=self.type,
            market="spot" if self.spot_request else "on-demand",
            region=self.region,
            zone=self.zone,
        )


@dataclass(frozen=True, slots=True)
class Firewall:
    """A security group.

    Args:
        id: such as ``sg-0123456789abcdef0``.
        vpc: its VPC.
        tcp: what it admits over TCP, as (first port, last port, CIDR block).
    """

    id: str
    vpc: str
    tcp: tuple[tuple[int, int, str], ...]

    def admits(self, block: str, port: int) -> bool:
        """Whether an IPv4 CIDR block reaches a port."""
        source = ipaddress.IPv4Network(block, strict=False)
        return any(
            low <= port <= high and source.subnet_of(ipaddress.IPv4Network(admitted, strict=False))
            for low, high, admitted in self.tcp
        )


def port_of(given: int | None, firewalls: Iterable[Firewall], block: str) -> int:
    """Return the port on which workers answer.

    Args:
        given: the user's choice; None for none.
        firewalls: the user's own security groups; none where one is made for each stack.
        block: who has to reach it.
    """
    if given is not None:
        return given
    groups = list(firewalls)
    admitted = {port for port in (PORT, FORMER) if any(one.admits(block, port) for one in groups)}
    return FORMER if admitted == {FORMER} else PORT


def instances(pages: Iterable[Any], region: str) -> list[Instance]:
    """Return the instances of the pages of a describe call."""
    return [
        instance(item, region)
        for page in pages
        for reservation in page["Reservations"]
        for item in reservation["Instances"]
    ]


def instance(item: dict[str, Any], region: str) -> Instance:
    """Return one instance."""
    launched: datetime = item["LaunchTime"]
    reason = item.get("StateReason") or {}
    return Instance(
        id=str(item["InstanceId"]),
        type=str(item["InstanceType"]),
        region=region,
        zone=str(item["Placement"]["AvailabilityZone"]),
        state=str(item["State"]["Name"]),
        launched=launched.timestamp(),
        spot_request=item.get("SpotInstanceRequestId"),
        code=str(reason.get("Code", "")),
        reason=str(reason.get("Message", "")),
        ended=_moment(str(item.get("StateTransitionReason") or "")),
        tags={tag["Key"]: tag["Value"] for tag in item.get("Tags", [])},
    )


def tcp(group: dict[str, Any]) -> tuple[tuple[int, int, str], ...]:
    """Return what a security group admits over TCP, as (first port, last port, CIDR block)."""
    admitted = []
    for rule in group.get("IpPermissions", []):
        everything = rule["IpProtocol"] == "-1"
        if everything or rule["IpProtocol"] in ("tcp", "6"):
            low, high = (0, 65535) if everything else (int(rule["FromPort"]), int(rule["ToPort"]))
            admitted += [(low, high, str(each["CidrIp"])) for each in rule.get("IpRanges", [])]
    return tuple(admitted)


def tagged(pages: Iterable[Any], kind: str, identity: str) -> list[dict[str, str]]:
    """Return the tags of each resource of the pages of a describe call, and its id."""
    return [
        {str(tag["Key"]): str(tag["Value"]) for tag in item.get("Tags", [])}
        | {"id": str(item[identity])}
        for page in pages
        for item in page[kind]
    ]


def _moment(text: str) -> float | None:
    """Return the time in a text such as ``User initiated (2026-11-24 18:00:00 GMT)``."""
    match = re.search(r"\((\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:GMT|UTC)\)", text)
    if not match:
        return None
    return datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
