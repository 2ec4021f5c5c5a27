"""IAM: what a policy must allow for a call to be carried out, and whether it does. Pure.

Written after the IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition
operators", and the service authorization reference, "Actions, resources, and condition keys for
Amazon EC2". What a policy uses beyond the part here is an error when it is read: an element that is
ignored would make the test cloud kinder than AWS.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Self

from testcloud.apis.wire import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from testcloud.apis.wire import Request

    Tags = Callable[[str], Mapping[str, str]]

# The signing name of a service where it is not the prefix of its actions.
_PREFIXES = {"service-quotas": "servicequotas"}
_ELEMENTS = {"Sid", "Effect", "Action", "Resource", "Condition"}
_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringNotEquals": lambda value, wanted: value != wanted,
    "StringLike": fnmatchcase,
    "ArnLike": fnmatchcase,
}
# Parameters that name existing resources, by the type of the resource.
_NAMED = {
    "instance": r"InstanceId(\.\d+)?",
    "security-group": r"(NetworkInterface\.\d+\.)?(SecurityGroupId(\.\d+)?|GroupId)",
    "volume": r"VolumeId(\.\d+)?",
    "subnet": r"(NetworkInterface\.\d+\.)?SubnetId",
    "image": r"ImageId(\.\d+)?",
    "key-pair": r"KeyName",
    "spot-instances-request": r"SpotInstanceRequestId\.\d+",
}
# The resources that a call creates; those with a tag specification also need ec2:CreateTags.
_CREATED = {
    "RunInstances": ("instance", "volume", "network-interface"),
    "CreateSecurityGroup": ("security-group",),
}


@dataclass(frozen=True)
class Access:
    """One thing that a policy must allow.

    Attributes:
        action: such as ``ec2:RunInstances``.
        resource: its ARN; "*" for actions without resource-level permissions.
        context: condition keys and their values.
    """

    action: str
    resource: str = "*"
    context: Mapping[str, str] = field(default_factory=dict, hash=False)


_SPOT = "spot.amazonaws.com"
# What a caller must be allowed once: docs.aws.amazon.com/AWSEC2/latest/UserGuide/
# service-linked-roles-spot-instance-requests.
SPOT_ROLE = Access(
    "iam:CreateServiceLinkedRole",
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{_SPOT}/AWSServiceRoleForEC2Spot",
    {"iam:AWSServiceName": _SPOT},
)


class Policy:
    """An identity-based policy.

    Args:
        document: the JSON document.

    Raises:
        ValueError: it uses an element or an operator that the test cloud does not know.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.statements = [_checked(each) for each in document["Statement"]]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the policy of a JSON text."""
        return cls(json.loads(text))

    def allows(self, access: Access) -> bool:
        """Whether a statement allows the access and none denies it."""
        effects = {each["Effect"] for each in self.statements if _applies(each, access)}
        return effects == {"Allow"}

    def actions(self) -> set[str]:
        """Return the actions of the statements that allow."""
        return {
            action
            for each in self.statements
            if each["Effect"] == "Allow"
            for action in _listed(each["Action"])
        }

    def without(self, action: str) -> Policy:
        """Return the policy without one action."""
        rest = [
            {**each, "Action": [name for name in _listed(each["Action"]) if name != action]}
            for each in self.statements
        ]
        return Policy({"Statement": rest})


def _checked(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    if unknown := statement.keys() - _ELEMENTS:
        raise ValueError(f"the test cloud does not know the policy element {min(unknown)}")
    for operator in statement.get("Condition", {}):
        if operator not in _OPERATORS:
            raise ValueError(f"the test cloud does not know the condition operator {operator}")
    return statement


def _applies(statement: Mapping[str, Any], access: Access) -> bool:
    # IAM ignores the case of actions.
    action = access.action.lower()
    return (
        any(fnmatchcase(action, rule.lower()) for rule in _listed(statement["Action"]))
        and any(fnmatchcase(access.resource, rule) for rule in _listed(statement["Resource"]))
        and all(
            _holds(_OPERATORS[operator], key, _listed(wanted), access.context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(
    operator: Callable[[str, str], bool], key: str, wanted: list[str], context: Mapping[str, str]
) -> bool:
    """Whether a condition holds: a key that the call does not have never matches."""
    value = {name.lower(): each for name, each in context.items()}.get(key.lower())
    return value is not None and any(operator(value, each) for each in wanted)


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def accesses(request: Request, tags: Tags) -> list[Access]:
    """Return everything that a caller must be allowed for a request.

    Args:
        request: the call.
        tags: returns the tags of a resource by its id.
    """
    if request.service == "sts":
        return []  # GetCallerIdentity needs no permission
    action = f"{_PREFIXES.get(request.service, request.service)}:{request.action}"
    context = {"aws:RequestedRegion": request.region}
    if request.service != "ec2" or request.action.startswith(("Describe", "Get")):
        return [Access(action, "*", context)]
    existing = [
        Access(
            action, _arn(request, kind, identity), context | _keys("ResourceTag", tags(identity))
        )
        for kind, identity in _resources(request)
    ]
    specified = _specifications(request)
    created = [
        Access(action, _arn(request, kind, "*"), context | _keys("RequestTag", specified.get(kind)))
        for kind in _CREATED.get(request.action, ())
    ]
    tagged = [
        Access(
            "ec2:CreateTags",
            _arn(request, kind, "*"),
            context | _keys("RequestTag", given) | {"ec2:CreateAction": request.action},
        )
        for kind, given in specified.items()
    ]
    return [*existing, *created, *tagged] or [Access(action, "*", context)]


def _arn(request: Request, kind: str, identity: str) -> str:
    owner = "" if kind == "image" else ACCOUNT
    return f"arn:aws:ec2:{request.region}:{owner}:{kind}/{identity}"


def _keys(kind: str, tags: Mapping[str, str] | None) -> dict[str, str]:
    return {f"aws:{kind}/{key}": value for key, value in (tags or {}).items()}


def _resources(request: Request) -> Iterable[tuple[str, str]]:
    for name, value in sorted(request.params.items()):
        if request.action in ("CreateTags", "DeleteTags") and name.startswith("ResourceId"):
            yield _kind_of(str(value)), str(value)
        for kind, pattern in _NAMED.items():
            if value and re.fullmatch(pattern, name):
                yield kind, str(value)


def _kind_of(identity: str) -> str:
    prefixes = {"i": "instance", "sg": "security-group", "vol": "volume", "subnet": "subnet"}
    return prefixes.get(identity.partition("-")[0], "*")


def _specifications(request: Request) -> dict[str, dict[str, str]]:
    """Return the tags of a create call by the type of the resource."""
    found: dict[str, dict[str, str]] = {}
    for name, kind in request.params.items():
        if match := re.fullmatch(r"(TagSpecification\.\d+)\.ResourceType", name):
            head = re.escape(match[1])
            keys = {
                k: v
                for k, v in request.params.items()
                if re.fullmatch(rf"{head}\.Tag\.\d+\.Key", k)
            }
            found[str(kind)] = {
                str(key): str(request.params.get(name.removesuffix("Key") + "Value", ""))
                for name, key in keys.items()
            }
    return found


def _tags(request: Request, specification: str) -> dict[str, str]:
    pattern = re.compile(rf"({re.escape(specification)}\.Tag\.\d+)\.Key")
    names = ((pattern.fullmatch(name), key) for name, key in request.params.items())
    heads = {match[1]: str(key) for match, key in names if match}
    return {key: str(request.params.get(f"{head}.Value", "")) for head, key in heads.items()}
