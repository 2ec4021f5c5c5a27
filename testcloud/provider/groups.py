"""aws:ec2/securityGroup:SecurityGroup, as the real provider creates, reads and deletes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from testcloud.provider.sdk import Aws, AwsFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

# The real one tries for 15 minutes.
_DELETE_WITHIN = 120.0
_EVERY = 0.1
_GONE = ("InvalidGroup.NotFound", "InvalidSecurityGroupID.NotFound", "InvalidGroupId.Malformed")


def create(aws: Aws, inputs: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Create a group with its tags; return its id.

    Raises:
        AwsFailure: the group was not created.
    """
    parameters: dict[str, Any] = {
        "GroupName": inputs["name"],
        "Description": inputs["description"],
    }
    if inputs.get("vpcId"):
        parameters["VpcId"] = inputs["vpcId"]
    if tags:
        parameters["TagSpecifications"] = [tag_specification("security-group", tags)]
    try:
        identity = str(aws.call("ec2", "CreateSecurityGroup", **parameters)["GroupId"])
    except AwsFailure as failure:
        text = f"creating Security Group ({inputs['name']}): {failure}"
        raise AwsFailure(text, failure.code) from failure
    return identity


def set_rules(aws: Aws, identity: str, inputs: Mapping[str, Any]) -> None:
    """Authorize a new group's rules, and revoke the egress rule AWS adds by default.

    Raises:
        AwsFailure: AWS refused a rule.
    """
    aws.call("ec2", "DescribeSecurityGroups", GroupIds=[identity])
    everywhere = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    try:
        aws.call("ec2", "RevokeSecurityGroupEgress", GroupId=identity, IpPermissions=[everywhere])
        for side, action in (
            ("ingress", "AuthorizeSecurityGroupIngress"),
            ("egress", "AuthorizeSecurityGroupEgress"),
        ):
            rules = [_permission(rule, identity) for rule in inputs.get(side) or []]
            if rules:
                aws.call("ec2", action, GroupId=identity, IpPermissions=rules)
    except AwsFailure as failure:
        text = f"authorizing Security Group ({identity}) rules: {failure}"
        raise AwsFailure(text, failure.code) from failure


def read(aws: Aws, identity: str) -> dict[str, Any] | None:
    """Return the outputs of a group, or None if it does not exist."""
    try:
        response = aws.call("ec2", "DescribeSecurityGroups", GroupIds=[identity])
    except AwsFailure as failure:
        if failure.code in _GONE:
            return None
        raise
    if not response["SecurityGroups"]:
        return None
    group = response["SecurityGroups"][0]
    tags = {tag["Key"]: tag["Value"] for tag in group.get("Tags", [])}
    return {
        "arn": group.get("SecurityGroupArn", f"arn:aws:ec2:::security-group/{identity}"),
        "description": group["Description"],
        "name": group["GroupName"],
        "ownerId": group["OwnerId"],
        "vpcId": group.get("VpcId", ""),
        "tagsAll": tags,
        # Rules are a set: in the recorded conversation two come back in the other order.
        "ingress": [_rule(each) for each in group.get("IpPermissions", [])][::-1],
        "egress": [_rule(each) for each in group.get("IpPermissionsEgress", [])][::-1],
        "revokeRulesOnDelete": False,
    }


def delete(aws: Aws, identity: str) -> None:
    """Delete a group, waiting until nothing uses it; a missing group is no error.

    Raises:
        AwsFailure: the group could not be deleted.
    """
    filters = [{"Name": "group-id", "Values": [identity]}]
    aws.call("ec2", "DescribeNetworkInterfaces", Filters=filters)
    deadline = time.monotonic() + _DELETE_WITHIN
    while True:
        try:
            aws.call("ec2", "DeleteSecurityGroup", GroupId=identity)
        except AwsFailure as failure:
            if failure.code in _GONE:
                return
            if failure.code != "DependencyViolation" or time.monotonic() > deadline:
                text = f"deleting Security Group ({identity}): {failure}"
                raise AwsFailure(text, failure.code) from failure
            aws.pause(_EVERY)
        else:
            read(aws, identity)
            return


def tag_specification(kind: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Return tags as a TagSpecification of a create call."""
    return {"ResourceType": kind, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]}


def _permission(rule: Mapping[str, Any], identity: str) -> dict[str, Any]:
    text = {"Description": rule["description"]} if rule.get("description") else {}
    parameters: dict[str, Any] = {"IpProtocol": str(rule["protocol"])}
    if parameters["IpProtocol"] != "-1":
        parameters |= {"FromPort": int(rule["fromPort"]), "ToPort": int(rule["toPort"])}
    if rule.get("cidrBlocks"):
        parameters["IpRanges"] = [{"CidrIp": block, **text} for block in rule["cidrBlocks"]]
    if rule.get("ipv6CidrBlocks"):
        parameters["Ipv6Ranges"] = [{"CidrIpv6": block, **text} for block in rule["ipv6CidrBlocks"]]
    others = list(rule.get("securityGroups") or []) + ([identity] if rule.get("self") else [])
    if others:
        parameters["UserIdGroupPairs"] = [{"GroupId": other, **text} for other in others]
    return parameters


def _rule(permission: Mapping[str, Any]) -> dict[str, Any]:
    ranges = permission.get("IpRanges", [])
    texts = [each["Description"] for each in ranges if each.get("Description")]
    return {
        "protocol": permission["IpProtocol"],
        "fromPort": permission.get("FromPort", 0),
        "toPort": permission.get("ToPort", 0),
        "cidrBlocks": [each["CidrIp"] for each in ranges],
        "ipv6CidrBlocks": [each["CidrIpv6"] for each in permission.get("Ipv6Ranges", [])],
        "prefixListIds": [],
        "securityGroups": [each["GroupId"] for each in permission.get("UserIdGroupPairs", [])],
        "self": False,
        "description": texts[0] if texts else "",
    }
