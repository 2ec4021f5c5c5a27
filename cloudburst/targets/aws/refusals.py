"""What AWS's refusals mean for the failover ladder. Pure."""

from __future__ import annotations

import re

from cloudburst.language import later, tr
from cloudburst.models import Refusal, Verdict
from cloudburst.targets import network

# Codes: docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html, and the codes of
# an instance's StateReason (API reference, StateReason).
_CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "InsufficientAddressCapacity",
    "InsufficientFreeAddressesInSubnet",
    "InsufficientReservedInstanceCapacity",
    "InsufficientVolumeCapacity",
    "InvalidAvailabilityZone",
    "MaxSpotFleetRequestCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    "Unsupported",
    # Such as an attribute that cannot be changed on a spot instance: on demand it can.
    "UnsupportedOperation",
    "VolumeTypeNotAvailableInZone",
    "ZonesMismatched",
    "DefaultSubnetDoesNotExist",
    "Server.InsufficientInstanceCapacity",
    "Server.SpotInstanceTermination",
    "Server.SpotInstanceShutdown",
    "Server.InternalError",
    "Server.ScheduledStop",
    "Client.InstanceInitiatedShutdown",
    "Client.InstanceTerminated",
    "Client.UserInitiatedShutdown",
}
# A quota of vCPUs: a smaller type may fit.
_VCPUS = {
    "VcpuLimitExceeded",
    "MaxSpotInstanceCountExceeded",
}
# A number of instances, or of what every instance needs.
_QUOTA = {
    "InstanceLimitExceeded",
}
# The region has no default VPC; another one may have it.
_REGION = {
    "DefaultVpcDoesNotExist",
    "MissingInput",
    "VPCIdNotSpecified",
}
# The account has no role for spot instances, and the caller may not create it.
_MARKET = {
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted",
}
# Mostly a key for the disks that cannot be used, and then no rung helps; but it may be the host.
_ONCE = {
    "Client.InternalError",
}
_LATER = {
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "BandwidthLimitExceeded",
    "ConcurrentTagAccess",
    "DependencyViolation",
    "EC2ThrottledException",
    "InternalError",
    "InternalFailure",
    "InvalidAMIID.Unavailable",
    "RequestResourceCountExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ResourceCountExceeded",
    "ServerInternal",
    "ServiceUnavailable",
    "Unavailable",
    # The answer to a call was lost, and its repetition finds that it had taken effect.
    "InvalidGroup.Duplicate",
    "InvalidPermission.Duplicate",
    "InvalidPermission.NotFound",
    # Just created, and not known everywhere yet.
    "InvalidInstanceID.NotFound",
    "InvalidGroup.NotFound",
    "InvalidGroupId.NotFound",
    "InvalidSecurityGroupID.NotFound",
}
_SERVER_ERRORS = 500
# Of temporary credentials, by EC2 and by other services.
EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
)
# What is wrong with the account, and what its owner can do. No other rung helps.
_BLOCKED = (
    later("AWS has blocked this account"),
    later("only AWS Support can unblock it; see docs/aws.md, Suspended accounts"),
)
_ACCOUNT = {
    "Blocked": _BLOCKED,
    "AccountBlocked": _BLOCKED,
    "PendingVerification": (
        later("AWS is still verifying this account for the region"),
        later(
            "run the job again in some minutes, at most four hours; see docs/aws.md, Suspended "
            "accounts"
        ),
    ),
    "OptInRequired": (
        later("this account is not signed up for EC2, or not subscribed to the machine image"),
        later(
            "complete the sign-up in the AWS console, or check aws.ami; see docs/aws.md, Suspended "
            "accounts"
        ),
    ),
}
_VERDICTS = {
    **dict.fromkeys(_ACCOUNT, Verdict.STOP),
    **dict.fromkeys(_CAPACITY, Verdict.NEXT),
    **dict.fromkeys(_VCPUS, Verdict.SKIP_LARGER),
    **dict.fromkeys(_QUOTA, Verdict.SKIP_FAMILY),
    **dict.fromkeys(_REGION, Verdict.SKIP_REGION),
    **dict.fromkeys(_MARKET, Verdict.SKIP_MARKET),
    **dict.fromkeys(_ONCE, Verdict.ONCE),
    **dict.fromkeys(_LATER, Verdict.WAIT),
}
# A StateReason's codes, each by name: Go's HTTP client writes Client.Timeout, which is none.
_STATES = (
    r"Server\.(?:InsufficientInstanceCapacity|InternalError|ScheduledStop|SpotInstanceShutdown|"
    r"SpotInstanceTermination)|Client\.(?:InstanceInitiatedShutdown|InstanceTerminated|"
    r"InternalError|InvalidKMSKey\.InvalidState|InvalidSnapshot\.NotFound|UserInitiatedHibernate|"
    r"UserInitiatedShutdown|VolumeLimitExceeded)"
)
# Words of codes that are not in the tables: AWS adds codes.
_SCARCE = re.compile(r"capacity|insufficient|notavailableinzone|nosuchcapacity", re.IGNORECASE)
# The caller's mistakes, by how AWS names them; whatever the status, no other rung helps.
_FINAL = re.compile(
    r"(?:AccessDenied|AuthFailure|Blocked|Expired|Forbidden|IdempotentParameterMismatch|Incomplete"
    r"|Incorrect|Invalid|Malformed|Missing|NotExportable|Unauthorized|Unknown|Unrecognized"
    r"|UnsupportedProtocol|Validation)"
)
_STATUS = re.compile(r"StatusCode: (\d{3})")
_CODE = re.compile(rf"api error (?P<api>[A-Za-z][\w.]*)|(?P<state>{_STATES})")

# Ends that have nothing to do with what the worker was doing.
_BLAMELESS = (
    "Server.SpotInstanceTermination",
    "Server.SpotInstanceShutdown",
    "Client.InstanceInitiatedShutdown",
    "Client.UserInitiatedShutdown",
    "Server.ScheduledStop",
)

# What a person can do.
_POLICY = later("give the caller the policy in docs/aws.md")
# Of ECR's actions the first alone is the runner's; the others are of the machine, which pulls.
_ECR = later(
    "to the policy, add the statements of docs/aws.md, Private images: EcrLogin and EcrPull"
)
_DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "TagPolicyViolation")
# AWS names the kind of policy that denies, docs.aws.amazon.com/IAM/latest/UserGuide/
# troubleshoot_access-denied. No permission of the caller helps against these.
_ORGANIZATION = {
    "service control policy": later(
        "a service control policy of the organization denies it; if it asks for tags, give them as "
        "aws.tags in scenes.yaml, else ask its administrators"
    ),
    "permissions boundary": later("the caller's permissions boundary denies it: ask who set it"),
    "resource control policy": later(
        "a resource control policy of the organization denies it: ask its administrators"
    ),
    "session policy": later(
        "the policy of the caller's session denies it: ask who gave out the session"
    ),
    "vpc endpoint policy": later(
        "the policy of a VPC endpoint on the way to AWS denies it: ask who set it"
    ),
    "tag policy": later(
        "a tag policy of the organization does not allow the tags: if it asks for tags, give them "
        "as aws.tags in scenes.yaml"
    ),
}
# New accounts may have AWS's free plan, docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/
# free-tier-plans. EC2 then answers InvalidParameterCombination: The specified instance type is not
# eligible for Free Tier.
_NOT_FREE = "not eligible for free tier"
_PAID = later(
    "this account has AWS's free plan, which allows a few small instance types alone: upgrade it "
    "to the paid plan in the Billing console, or name as aws.instance_types what this lists: aws "
    "ec2 describe-instance-types --filters Name=free-tier-eligible,Values=true"
)
_LOG_IN = later("log in again: aws sso login")
NO_CREDENTIALS = later(
    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in: aws sso login"
)
_IDENTITY = later("check the credentials: aws sts get-caller-identity")
_SECRET = later("check the secret key and this machine's clock")
_SUBNET = later("check aws.subnet and aws.regions in scenes.yaml")
_NO_VPC = later("the region has no default VPC: name aws.subnet in scenes.yaml")
_KMS = later(
    "the caller may not use the KMS key of the disks (aws.kms_key in scenes.yaml, else the "
    "account's default key for EBS), or it is disabled: see docs/aws.md, The minimal IAM policy"
)
_KMS_STATE = later(
    "the KMS key of the disks is disabled or pending deletion: enable it, or name another one as "
    "aws.kms_key in scenes.yaml"
)
_ADVICE = {
    **{code: fix for code, (_, fix) in _ACCOUNT.items()},
    "Client.InstanceInitiatedShutdown": later(
        "it ended itself: nothing asked for it for ten minutes, or its lease was over: keep this "
        "program connected, or raise aws.lease_minutes"
    ),
    "Client.UserInitiatedShutdown": later("somebody else terminates the machines"),
    "UnauthorizedOperation": _POLICY,
    "AccessDenied": _POLICY,
    "AccessDeniedException": _POLICY,
    "AuthFailure": _IDENTITY,
    "InvalidClientTokenId": _IDENTITY,
    "SignatureDoesNotMatch": _SECRET,
    "RequestExpired": later("log in again: aws sso login; or this machine's clock is wrong"),
    "ExpiredToken": _LOG_IN,
    "ExpiredTokenException": _LOG_IN,
    "TokenRefreshRequired": _LOG_IN,
    "IncompleteSignature": later("check the secret key"),
    "InvalidSignatureException": _SECRET,
    "MissingAuthenticationToken": _IDENTITY,
    "UnrecognizedClientException": _IDENTITY,
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": later(
        "once per account: aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
    ),
    "InvalidAMIID.NotFound": later("check aws.ami in scenes.yaml; AMIs differ by region"),
    "InvalidAMIID.Malformed": later("check aws.ami in scenes.yaml"),
    "InvalidSubnetID.NotFound": _SUBNET,
    "InvalidSubnet": _SUBNET,
    "InvalidKeyPair.NotFound": later("check aws.key_name and aws.regions in scenes.yaml"),
    "VPCIdNotSpecified": _NO_VPC,
    "MissingInput": _NO_VPC,
    "DefaultVpcDoesNotExist": _NO_VPC,
    "DefaultSubnetDoesNotExist": later(
        "the zone has no default subnet: name aws.subnet in scenes.yaml"
    ),
    "SecurityGroupLimitExceeded": later(
        "delete security groups, name your own as aws.security_group, or ask for a higher quota "
        "(L-E79EC296)"
    ),
    "SecurityGroupsPerInterfaceLimitExceeded": later("name fewer aws.security_groups"),
    "RulesPerSecurityGroupLimitExceeded": later("name your own group as aws.security_group"),
    "Client.VolumeLimitExceeded": later(
        "the account's quota of disk space is used up: delete volumes, set a smaller aws.disk_gb, "
        "or ask for a higher quota (L-7A658B76)"
    ),
    "VolumeLimitExceeded": later(
        "delete volumes, or ask for a higher quota of disk space (L-7A658B76)"
    ),
    "Client.InternalError": _KMS,
    "Client.InvalidKMSKey.InvalidState": _KMS_STATE,
    "InvalidKMSKey.InvalidState": _KMS_STATE,
    "KMSKeyNotAccessibleFault": _KMS,
    "KMSKeyNotAccessible": _KMS,
}

# Quotas count vCPUs by family: docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances
_STANDARD = "acdhimrtz"


def diagnose(message: str) -> Refusal:
    """Return what an error message of the engine, or of terraform behind it, means.

    Without a code, it is transient if a connection failed.
    """
    code = code_of(message)
    refused = verdict(code, message, _status_of(message))
    transient = code is None and refused is Verdict.WAIT
    return Refusal(code, refused, transient, advice(code, message), account_problem(code))


def of_code(code: str | None, message: str, status: int = 0) -> Refusal:
    """Return what an error of an AWS API means.

    Args:
        code: AWS's; None when AWS did not answer, which is transient.
        message: the whole error.
        status: of the HTTP response; 0 when it is not known.
    """
    refused = verdict(code, message, status)
    return Refusal(code, refused, code is None, advice(code, message), account_problem(code))


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


def _status_of(message: str) -> int:
    match = _STATUS.search(message)
    return int(match[1]) if match else 0


def verdict(code: str | None, message: str = "", status: int = 0) -> Verdict:
    """Return what a refusal means for the ladder.

    Args:
        code: AWS's; None when it gave none.
        message: the whole error; without a code it tells a failed connection from the rest.
        status: of the HTTP response, which sorts codes that are not known; 0 for none.
    """
    if code is None:
        return _without_code(message)
    if code == "InvalidInput":
        # Such as: No default subnet for availability zone: 'us-east-1e'.
        return Verdict.NEXT if "No default subnet" in message else Verdict.STOP
    return _VERDICTS.get(code) or _unknown(code, status)


def _unknown(code: str, status: int) -> Verdict:
    if _FINAL.match(code):
        return Verdict.STOP
    if _SCARCE.search(code):
        return Verdict.NEXT
    return Verdict.WAIT if status >= _SERVER_ERRORS else Verdict.STOP


def _without_code(message: str) -> Verdict:
    if "waiting for state to become" in message:
        return Verdict.NEXT  # it had its time
    return Verdict.WAIT if network.has_failed(message) else Verdict.FAIL


def advice(code: str | None, message: str = "") -> str:
    """Return what a person can do about a refusal; empty when nothing is known.

    Args:
        code: AWS's; None when it gave none.
        message: the whole error: it says when an organization's policy is what denies.
    """
    if _NOT_FREE in message.lower():
        return tr(_PAID)
    if code in _DENIED:
        for words, fix in _ORGANIZATION.items():
            if words in message.lower():
                return tr(fix)
        if "perform: ecr:" in message:
            return tr(_ECR)
    return _translated(_ADVICE.get(code or "", ""))


def account_problem(code: str | None) -> str:
    """Return what is wrong with the account by a code; empty when the code does not say that."""
    problem, _ = _ACCOUNT.get(code or "", ("", ""))
    return _translated(problem)


def _translated(message: str) -> str:
    return tr(message) if message else ""


def family(instance_type: str) -> str:
    """Return the family whose vCPUs AWS counts together: ``c5.2xlarge`` → ``standard``."""
    letters = re.match(r"[a-z]+", instance_type)
    prefix = letters[0] if letters else instance_type
    if prefix[0] in _STANDARD and prefix not in {"dl", "hpc", "inf", "trn", "mac"}:
        return "standard"
    return "g" if prefix in {"g", "gr", "vt"} else prefix
