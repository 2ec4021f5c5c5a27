"""What AWS's refusals mean for the failover ladder. Pure."""

from __future__ import annotations

import re

from cloudburst.models import Refusal, Verdict
from cloudburst.targets import network

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
    "InvalidInstanceID.NotFound",  # just created, and not described yet
}
# What is wrong with the account, and what its owner can do. No other rung helps.
_SEE = "see docs/aws.md, Suspended accounts"
_BLOCKED = ("AWS has blocked this account", f"only AWS Support can unblock it; {_SEE}")
_ACCOUNT = {
    "Blocked": _BLOCKED,
    "AccountBlocked": _BLOCKED,
    "PendingVerification": (
        "AWS is still verifying this account for the region",
        f"run the job again in some minutes, at most four hours; {_SEE}",
    ),
    "OptInRequired": (
        "this account is not signed up for EC2, or not subscribed to the machine image",
        f"complete the sign-up in the AWS console, or check aws.ami; {_SEE}",
    ),
}
_VERDICTS = {
    **dict.fromkeys(_ACCOUNT, Verdict.STOP),
    **dict.fromkeys(_CAPACITY, Verdict.NEXT),
    **dict.fromkeys(_QUOTA, Verdict.SKIP_FAMILY),
    **dict.fromkeys(_LATER, Verdict.WAIT),
}
# A StateReason's codes, each by name: Go's HTTP client writes Client.Timeout, which is none.
_STATES = (
    r"Server\.(?:InsufficientInstanceCapacity|InternalError|ScheduledStop|SpotInstanceShutdown|"
    r"SpotInstanceTermination)|Client\.(?:InstanceInitiatedShutdown|InstanceTerminated|"
    r"InternalError|InvalidSnapshot\.NotFound|UserInitiatedHibernate|UserInitiatedShutdown|"
    r"VolumeLimitExceeded)"
)
_CODE = re.compile(rf"api error (?P<api>[A-Za-z][\w.]*)|(?P<state>{_STATES})")

# Ends that have nothing to do with what the worker was doing.
_BLAMELESS = (
    "Server.SpotInstanceTermination",
    "Server.SpotInstanceShutdown",
    "Client.InstanceInitiatedShutdown",
    "Client.UserInitiatedShutdown",
    "Server.ScheduledStop",
)

_ADVICE = {
    **{code: fix for code, (_, fix) in _ACCOUNT.items()},
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
    "InvalidAMIID.NotFound": "check aws.ami in scenes.yaml; AMIs differ by region",
    "InvalidSubnetID.NotFound": "check aws.subnet and aws.regions in scenes.yaml",
    "InvalidGroup.NotFound": "check aws.security_groups and aws.regions in scenes.yaml",
    "InvalidKeyPair.NotFound": "check aws.key_name and aws.regions in scenes.yaml",
    "VPCIdNotSpecified": "the region has no default VPC: name aws.subnet in scenes.yaml",
    "MissingInput": "the region has no default VPC: name aws.subnet in scenes.yaml",
}

# Quotas count vCPUs by family: docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances
_STANDARD = "acdhimrtz"


def diagnose(message: str) -> Refusal:
    """Return what an error message of the engine, or of terraform behind it, means.

    Without a code, it is transient if a connection failed.
    """
    code = code_of(message)
    refused = verdict(code, message)
    transient = code is None and refused is Verdict.WAIT
    return Refusal(code, refused, transient, advice(code), account_problem(code))


def of_code(code: str | None, message: str) -> Refusal:
    """Return what an error of an AWS API means.

    Args:
        code: AWS's; None when AWS did not answer, which is transient.
        message: the whole error.
    """
    refused = verdict(code, message)
    return Refusal(code, refused, code is None, advice(code), account_problem(code))


def of_end(code: str | None) -> Refusal:
    """Return what the end of a machine means, by its StateReason's code, None for none."""
    if not code:
        return Refusal(verdict=Verdict.NEXT)
    return Refusal(code, verdict(code), advice=advice(code))


def is_blameless(code: str) -> bool:
    """Whether a machine that ended with a code did so whatever its worker was doing."""
    return code in _BLAMELESS


def code_of(message: str) -> str | None:
    """Return AWS's code in an error message, None when there is none."""
    match = _CODE.search(message)
    return (match["api"] or match["state"]) if match else None


def verdict(code: str | None, message: str = "") -> Verdict:
    """Return what a refusal means for the ladder.

    Args:
        code: AWS's; None when it gave none.
        message: the whole error; without a code it tells a failed connection from the rest.
    """
    if code is None:
        return _without_code(message)
    if code == "InvalidInput":
        # Such as: No default subnet for availability zone: 'us-east-1e'.
        return Verdict.NEXT if "No default subnet" in message else Verdict.STOP
    return _VERDICTS.get(code, Verdict.STOP)


def _without_code(message: str) -> Verdict:
    if "waiting for state to become" in message:
        return Verdict.NEXT  # it had its time
    return Verdict.WAIT if network.has_failed(message) else Verdict.FAIL


def advice(code: str | None) -> str:
    """Return what a person can do about a code; empty when nothing is known."""
    return _ADVICE.get(code or "", "")


def account_problem(code: str | None) -> str:
    """Return what is wrong with the account by a code; empty when the code does not say that."""
    problem, _ = _ACCOUNT.get(code or "", ("", ""))
    return problem


def family(instance_type: str) -> str:
    """Return the family whose vCPUs AWS counts together: ``c5.2xlarge`` → ``standard``."""
    letters = re.match(r"[a-z]+", instance_type)
    prefix = letters[0] if letters else instance_type
    if prefix[0] in _STANDARD and prefix not in {"dl", "hpc", "inf", "trn", "mac"}:
        return "standard"
    return "g" if prefix in {"g", "gr", "vt"} else prefix
