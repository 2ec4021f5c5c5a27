"""The failover ladder: which way to a worker is tried next, and what a refusal means.

A rung is a market, a region, a zone and an instance type. The user gives the order; what a
provider answers decides how far a refusal reaches: this zone, the whole quota, or the run.
"""

from __future__ import annotations

import re
import threading
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING

from cloudburst.models import Rung

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from cloudburst.models import AwsSettings

    Offers = Mapping[tuple[str, str], Collection[str]]

# A zone that is full stays full for a while; a quota frees when a machine of the run ends.
CLOSED_FOR = 300.0


class Verdict(StrEnum):
    """What a refusal means for the ladder."""

    NEXT = "the next rung"
    SKIP_FAMILY = "another family"
    WAIT = "the same rung, later"
    FAIL = "none for this batch"
    STOP = "none for any batch"


# Codes: docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html, and the codes of
# an instance's StateReason (API reference, StateReason).
_CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "UnfulfillableCapacity",
    "Unsupported",
    "SpotMaxPriceTooLow",
    "InsufficientFreeAddressesInSubnet",
    "VolumeTypeNotAvailableInZone",
    "InsufficientVolumeCapacity",
    "Server.InsufficientInstanceCapacity",
    "Server.SpotInstanceTermination",
    "Server.SpotInstanceShutdown",
    "Server.InternalError",
    "Server.ScheduledStop",
    "Client.InstanceInitiatedShutdown",
    "Client.InstanceTerminated",
    "Client.UserInitiatedShutdown",
}
_QUOTA = {
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
}
_LATER = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "InternalError",
    "InternalFailure",
    "ServiceUnavailable",
    "Unavailable",
    "RequestTimeout",
    "InvalidInstanceID.NotFound",  # just made, and not described yet
}
_MEANINGS = {
    **dict.fromkeys(_CAPACITY, Verdict.NEXT),
    **dict.fromkeys(_QUOTA, Verdict.SKIP_FAMILY),
    **dict.fromkeys(_LATER, Verdict.WAIT),
}
# A state's code, by name: Go's HTTP client says Client.Timeout, which is none.
_STATES = (
    r"Server\.(?:InsufficientInstanceCapacity|InternalError|ScheduledStop|SpotInstanceShutdown|"
    r"SpotInstanceTermination)|Client\.(?:InstanceInitiatedShutdown|InstanceTerminated|"
    r"InternalError|InvalidSnapshot\.NotFound|UserInitiatedHibernate|UserInitiatedShutdown|"
    r"VolumeLimitExceeded)"
)
_CODE = re.compile(rf"api error (?P<api>[A-Za-z][\w.]*)|(?P<state>{_STATES})")

_ON_THE_WAY = re.compile(
    r"(?i)timeout|timed out|deadline exceeded|connection (reset|refused|closed)|send failed|"
    r"broken pipe|\bEOF\b|no such host|max(imum)? number of attempts|could not connect|"
    r"connection was closed|code = Unavailable|network is unreachable"
)

_ADVICE = {
    "Client.InstanceInitiatedShutdown": "its lease was over: raise aws.lease_minutes",
    "Client.UserInitiatedShutdown": "somebody else terminates the machines",
    "UnauthorizedOperation": "give the caller the policy in docs/aws.md",
    "AccessDenied": "give the caller the policy in docs/aws.md",
    "AccessDeniedException": "give the caller the policy in docs/aws.md",
    "AuthFailure": "check the credentials: aws sts get-caller-identity",
    "InvalidClientTokenId": "check the credentials: aws sts get-caller-identity",
    "SignatureDoesNotMatch": "check the secret key and this machine's clock",
    "RequestExpired": "set this machine's clock",
    "ExpiredToken": "log in again: aws sso login",
    "ExpiredTokenException": "log in again: aws sso login",
    "OptInRequired": "opt in to the region, or to what is named, in the AWS console",
    "PendingVerification": "AWS is still verifying the account; try again later",
    "InvalidAMIID.NotFound": "check aws.ami in scenes.yaml; AMIs differ by region",
    "InvalidSubnetID.NotFound": "check aws.subnet and aws.regions in scenes.yaml",
    "InvalidGroup.NotFound": "check aws.security_group and aws.regions in scenes.yaml",
    "InvalidKeyPair.NotFound": "check aws.key_name and aws.regions in scenes.yaml",
    "VPCIdNotSpecified": "the region has no default VPC: name aws.subnet in scenes.yaml",
    "MissingInput": "the region has no default VPC: name aws.subnet in scenes.yaml",
}

# Quotas count vCPUs by family: docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances
_STANDARD = "acdhimrtz"


def code_of(message: str) -> str | None:
    """Find the provider's code in an error message; None when there is none."""
    found = _CODE.search(message)
    return (found["api"] or found["state"]) if found else None


def verdict(code: str | None, message: str = "") -> Verdict:
    """Say what a refusal means.

    Args:
        code: the provider's; None when it gave none.
        message: the whole error; without a code it tells a broken connection from the rest.
    """
    if code is None:
        return _without_code(message)
    if code == "InvalidInput":
        # Such as: No default subnet for availability zone: 'us-east-1e'.
        return Verdict.NEXT if "No default subnet" in message else Verdict.STOP
    return _MEANINGS.get(code, Verdict.STOP)


def _without_code(message: str) -> Verdict:
    if "waiting for state to become" in message:
        return Verdict.NEXT  # it had its time
    return Verdict.WAIT if _ON_THE_WAY.search(message) else Verdict.FAIL


def advice(code: str | None) -> str:
    """Say what a person can do about a code, or nothing."""
    return _ADVICE.get(code or "", "")


def family(instance_type: str) -> str:
    """Give the family whose vCPUs AWS counts together: ``c5.2xlarge`` → ``standard``."""
    letters = re.match(r"[a-z]+", instance_type)
    prefix = letters[0] if letters else instance_type
    if prefix[0] in _STANDARD and prefix not in {"dl", "hpc", "inf", "trn", "mac"}:
        return "standard"
    return "g" if prefix in {"g", "gr", "vt"} else prefix


def rungs(settings: AwsSettings, offers: Offers) -> tuple[Rung, ...]:
    """Lay the ladder out in the user's order.

    Args:
        settings: what the user asked for.
        offers: (region, instance type) → zones that offer it.

    Returns:
        Every rung that can exist; zones alphabetically where the user named none.
    """
    zones = settings.zones or tuple(sorted({zone for some in offers.values() for zone in some}))
    axes = {
        "region": settings.regions,
        "market": settings.markets,
        "type": settings.instance_types,
        "zone": zones,
    }
    combinations = product(*(axes[name] for name in settings.order))
    named = (dict(zip(settings.order, values, strict=True)) for values in combinations)
    return tuple(
        Rung(type=one["type"], market=one["market"], region=one["region"], zone=one["zone"])  # type: ignore[arg-type]
        for one in named
        if one["zone"] in offers.get((one["region"], one["type"]), ())
    )


class Ladder:
    """Which rungs are open. Shared by the batches of a run, so that one learns from another.

    Args:
        rungs: in the order in which they are tried.
        clock: seconds.
    """

    def __init__(self, rungs: Iterable[Rung], clock: Callable[[], float]) -> None:
        self.rungs = tuple(rungs)
        self._clock = clock
        self._closed: dict[Rung, float] = {}
        self._stopped = ""
        self._lock = threading.Lock()

    @property
    def stopped(self) -> str:
        """Why no rung will do, or nothing."""
        return self._stopped

    def pick(self, tried: Collection[Rung] = ()) -> Rung | None:
        """Give the first open rung that was not tried, or None.

        A rung that another batch found closed is skipped for a while; when no other is left it
        is tried all the same, for it may have opened.
        """
        with self._lock:
            if self._stopped:
                return None
            now = self._clock()
            left = [rung for rung in self.rungs if rung not in tried]
            open_ = (rung for rung in left if self._closed.get(rung, now) <= now)
            return next(open_, left[0] if left else None)

    def close(self, rung: Rung, meaning: Verdict) -> tuple[Rung, ...]:
        """Close what a refusal closes; give those rungs."""
        if meaning is Verdict.SKIP_FAMILY:
            kind = (rung.region, rung.market, family(rung.type))
            closed = tuple(
                other
                for other in self.rungs
                if (other.region, other.market, family(other.type)) == kind
            )
        else:
            closed = (rung,)
        with self._lock:
            until = self._clock() + CLOSED_FOR
            self._closed.update(dict.fromkeys(closed, until))
        return closed

    def stop(self, reason: str) -> None:
        """No rung will do, for any batch."""
        with self._lock:
            self._stopped = self._stopped or reason
