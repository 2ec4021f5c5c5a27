"""aws:ec2/instance:Instance, as the real provider makes, reads and deletes it."""

from __future__ import annotations

import base64
import time
import uuid
from typing import TYPE_CHECKING, Any

from testcloud.groups import tag_specification
from testcloud.sdk import Aws, AwsFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITHIN = 600.0
_EVERY = 0.05
_SEEN_WITHIN = 30.0
_GONE = "InvalidInstanceID.NotFound"
# Attributes the real provider asks for one by one, for every instance it reads.
_ATTRIBUTES = (
    "disableApiStop",
    "disableApiTermination",
    "instanceInitiatedShutdownBehavior",
    "userData",
)


def create(aws: Aws, inputs: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Launch one, with its tags and its volumes' in the same call; give its id.

    Raises:
        AwsFailure: none was launched.
    """
    asked = _asked(inputs, tags)
    if inputs.get("rootBlockDevice"):
        asked["BlockDeviceMappings"] = [_root(aws, inputs)]
    try:
        launched = aws.call("ec2", "RunInstances", **asked)
    except AwsFailure as failure:
        text = f"creating EC2 Instance: {failure}"
        raise AwsFailure(text, failure.code) from failure
    return str(launched["Instances"][0]["InstanceId"])


def _asked(inputs: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """Give what RunInstances is asked, but for the disks."""
    asked: dict[str, Any] = {
        "ImageId": inputs["ami"],
        "InstanceType": inputs["instanceType"],
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": f"terraform-{uuid.uuid4().hex}",
    }
    plain = {"keyName": "KeyName", "ebsOptimized": "EbsOptimized", "privateIp": "PrivateIpAddress"}
    plain |= {"instanceInitiatedShutdownBehavior": "InstanceInitiatedShutdownBehavior"}
    plain |= {"disableApiTermination": "DisableApiTermination", "disableApiStop": "DisableApiStop"}
    asked |= {theirs: inputs[ours] for ours, theirs in plain.items() if inputs.get(ours)}
    if inputs.get("availabilityZone"):
        asked["Placement"] = {"AvailabilityZone": inputs["availabilityZone"]}
    if inputs.get("iamInstanceProfile"):
        asked["IamInstanceProfile"] = {"Name": inputs["iamInstanceProfile"]}
    if inputs.get("monitoring") is not None:
        asked["Monitoring"] = {"Enabled": inputs["monitoring"]}
    if inputs.get("userData"):
        asked["UserData"] = inputs["userData"]  # boto3 encodes it
    if inputs.get("userDataBase64"):
        asked["UserData"] = base64.b64decode(inputs["userDataBase64"])
    asked |= _network(inputs) | _options(inputs)
    kinds = {"instance": tags, "volume": inputs.get("volumeTags") or {}}
    root = (inputs.get("rootBlockDevice") or {}).get("tags")
    kinds["volume"] = kinds["volume"] or root or {}
    marks = [tag_specification(kind, each) for kind, each in kinds.items() if each]
    return asked | ({"TagSpecifications": marks} if marks else {})


def _network(inputs: Mapping[str, Any]) -> dict[str, Any]:
    groups = inputs.get("vpcSecurityGroupIds") or []
    if inputs.get("associatePublicIpAddress") is None or not inputs.get("subnetId"):
        asked: dict[str, Any] = {"SecurityGroupIds": groups} if groups else {}
        if inputs.get("securityGroups"):
            asked["SecurityGroups"] = inputs["securityGroups"]
        return asked | ({"SubnetId": inputs["subnetId"]} if inputs.get("subnetId") else {})
    # Whether there is a public address is a matter of the network interface.
    card = {
        "DeviceIndex": 0,
        "AssociatePublicIpAddress": inputs["associatePublicIpAddress"],
        "SubnetId": inputs["subnetId"],
    }
    return {"NetworkInterfaces": [card | ({"Groups": groups} if groups else {})]}


def _options(inputs: Mapping[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    if inputs.get("metadataOptions"):
        asked["MetadataOptions"] = _capital(inputs["metadataOptions"])
    if inputs.get("creditSpecification"):
        asked["CreditSpecification"] = _capital(inputs["creditSpecification"])
    market = inputs.get("instanceMarketOptions")
    if market:
        asked["InstanceMarketOptions"] = {"MarketType": market.get("marketType", "spot")}
        if market.get("spotOptions"):
            asked["InstanceMarketOptions"]["SpotOptions"] = _capital(market["spotOptions"])
    return asked


def _capital(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name[0].upper() + name[1:]: value for name, value in options.items() if value is not None
    }


def _root(aws: Aws, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Give the root disk as asked for, under the name the image has for it."""
    device = inputs["rootBlockDevice"]
    images = aws.call("ec2", "DescribeImages", ImageIds=[inputs["ami"]])["Images"]
    name = images[0]["RootDeviceName"] if images else "/dev/xvda"
    ebs: dict[str, Any] = {"DeleteOnTermination": device.get("deleteOnTermination", True)}
    kept = {"volumeSize": "VolumeSize", "volumeType": "VolumeType", "iops": "Iops"}
    kept |= {"throughput": "Throughput", "encrypted": "Encrypted", "kmsKeyId": "KmsKeyId"}
    ebs |= {theirs: device[ours] for ours, theirs in kept.items() if device.get(ours) is not None}
    return {"DeviceName": name, "Ebs": ebs}


def wait_running(aws: Aws, identity: str) -> None:
    """Wait until an instance runs.

    Raises:
        AwsFailure: it will not.
        Cancelled: the engine asked to stop.
    """
    began = time.monotonic()
    while time.monotonic() - began < _WITHIN:
        found = _find(aws, identity)
        # It may take a moment until describing shows what was launched.
        if found is None and time.monotonic() - began > _SEEN_WITHIN:
            raise AwsFailure(
                f"waiting for EC2 Instance ({identity}) create: couldn't find resource"
            )
        state = found["State"]["Name"] if found else "pending"
        if found and state == "running":
            return
        if found and state != "pending":
            reason = found.get("StateReason", {}).get("Message", "")
            raise AwsFailure(
                f"waiting for EC2 Instance ({identity}) create: unexpected state '{state}',"
                f" wanted target 'running'. last error: {reason}"
            )
        aws.pause(_EVERY)
    raise AwsFailure(
        f"waiting for EC2 Instance ({identity}) create: timeout while waiting for state to become"
        " 'running' (last state: 'pending', timeout: 10m0s)"
    )


def _find(aws: Aws, identity: str) -> dict[str, Any] | None:
    try:
        found = aws.call("ec2", "DescribeInstances", InstanceIds=[identity])["Reservations"]
    except AwsFailure as failure:
        if failure.code == _GONE:
            return None
        raise
    return dict(found[0]["Instances"][0]) if found else None


def read(aws: Aws, identity: str) -> dict[str, Any] | None:
    """Give what AWS says of an instance, or None when it is gone."""
    found = _find(aws, identity)
    if found is None or found["State"]["Name"] == "terminated":
        return None
    aws.call("ec2", "DescribeInstanceTypes", InstanceTypes=[found["InstanceType"]])
    attributes = {
        name: aws.call("ec2", "DescribeInstanceAttribute", InstanceId=identity, Attribute=name)
        for name in _ATTRIBUTES
    }
    if found["InstanceType"].startswith("t"):
        aws.call("ec2", "DescribeInstanceCreditSpecifications", InstanceIds=[identity])
    behaviour = attributes["instanceInitiatedShutdownBehavior"]
    groups = [group["GroupId"] for group in found.get("SecurityGroups", [])]
    return {
        "ami": found["ImageId"],
        "arn": f"arn:aws:ec2:::instance/{identity}",
        "availabilityZone": found["Placement"]["AvailabilityZone"],
        "instanceInitiatedShutdownBehavior": behaviour["InstanceInitiatedShutdownBehavior"][
            "Value"
        ],
        "instanceLifecycle": found.get("InstanceLifecycle", ""),
        "instanceState": found["State"]["Name"],
        "instanceType": found["InstanceType"],
        "privateDns": found.get("PrivateDnsName", ""),
        "privateIp": found.get("PrivateIpAddress", ""),
        "publicDns": found.get("PublicDnsName", ""),
        "publicIp": found.get("PublicIpAddress", ""),
        "spotInstanceRequestId": found.get("SpotInstanceRequestId", ""),
        "subnetId": found.get("SubnetId", ""),
        "tagsAll": {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
        "vpcSecurityGroupIds": groups,
        **_disks(aws, found),
    }


def _disks(aws: Aws, found: Mapping[str, Any]) -> dict[str, Any]:
    attached = {each["Ebs"]["VolumeId"]: each for each in found.get("BlockDeviceMappings", [])}
    if not attached:
        return {}
    mine = [{"Name": "resource-id", "Values": list(attached)}]
    aws.call("ec2", "DescribeTags", Filters=mine)
    volumes = aws.call("ec2", "DescribeVolumes", VolumeIds=list(attached))["Volumes"]
    volume = volumes[0]
    mapping = attached[volume["VolumeId"]]
    device = {
        "deleteOnTermination": mapping["Ebs"].get("DeleteOnTermination", True),
        "deviceName": mapping["DeviceName"],
        "encrypted": volume.get("Encrypted", False),
        "volumeId": volume["VolumeId"],
        "volumeSize": volume["Size"],
        "volumeType": volume.get("VolumeType", "gp2"),
    }
    tags = {tag["Key"]: tag["Value"] for tag in volume.get("Tags", [])}
    return {"rootBlockDevice": device, "volumeTags": tags}


def delete(aws: Aws, identity: str, inputs: Mapping[str, Any]) -> None:
    """Terminate an instance and wait until it is. One that is gone is no error.

    Raises:
        AwsFailure: it is still there.
    """
    try:
        if inputs.get("forceDestroy"):
            off = {"Value": False}
            aws.call(
                "ec2", "ModifyInstanceAttribute", InstanceId=identity, DisableApiTermination=off
            )
        aws.call("ec2", "TerminateInstances", InstanceIds=[identity])
    except AwsFailure as failure:
        if failure.code == _GONE:
            return
        text = f"terminating EC2 Instance ({identity}): {failure}"
        raise AwsFailure(text, failure.code) from failure
    deadline = time.monotonic() + _WITHIN
    while (found := _find(aws, identity)) and found["State"]["Name"] != "terminated":
        if time.monotonic() > deadline:
            state = found["State"]["Name"]
            raise AwsFailure(
                f"waiting for EC2 Instance ({identity}) delete: timeout while waiting for state to"
                f" become 'terminated' (last state: '{state}')"
            )
        aws.pause(_EVERY)
