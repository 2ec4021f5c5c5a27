"""aws:ec2/instance:Instance, as the real provider creates, reads and deletes it."""

from __future__ import annotations

import base64
import contextlib
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testcloud.provider.groups import tag_specification
from testcloud.provider.sdk import Aws, AwsFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITHIN = 600.0
_SEEN_WITHIN = 30.0
_GONE = "InvalidInstanceID.NotFound"
# The real provider reads these attributes with one call each, for every instance.
_ATTRIBUTES = (
    "disableApiStop",
    "disableApiTermination",
    "instanceInitiatedShutdownBehavior",
    "userData",
)


@dataclass
class Waiting:
    """How the provider waits for an instance's state.

    Attributes:
        delay: seconds before it looks for the first time.
        every: seconds between two looks.
    """

    delay: float = 0.0
    every: float = 0.05


def create(aws: Aws, inputs: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Launch an instance, with the tags of its volumes in the same call; return its id.

    Raises:
        AwsFailure: no instance was launched.
    """
    parameters = _run_parameters(inputs, tags)
    if inputs.get("rootBlockDevice"):
        parameters["BlockDeviceMappings"] = [_root(aws, inputs)]
    try:
        response = aws.call("ec2", "RunInstances", **parameters)
    except AwsFailure as failure:
        text = f"creating EC2 Instance: {failure}"
        raise AwsFailure(text, failure.code) from failure
    return str(response["Instances"][0]["InstanceId"])


def _run_parameters(inputs: Mapping[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of RunInstances except the disks."""
    parameters: dict[str, Any] = {
        "ImageId": inputs["ami"],
        "InstanceType": inputs["instanceType"],
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": f"terraform-{uuid.uuid4().hex}",
    }
    names = {"keyName": "KeyName", "ebsOptimized": "EbsOptimized", "privateIp": "PrivateIpAddress"}
    names |= {"instanceInitiatedShutdownBehavior": "InstanceInitiatedShutdownBehavior"}
    names |= {"disableApiTermination": "DisableApiTermination", "disableApiStop": "DisableApiStop"}
    parameters |= {theirs: inputs[ours] for ours, theirs in names.items() if inputs.get(ours)}
    if inputs.get("availabilityZone"):
        parameters["Placement"] = {"AvailabilityZone": inputs["availabilityZone"]}
    if inputs.get("iamInstanceProfile"):
        parameters["IamInstanceProfile"] = {"Name": inputs["iamInstanceProfile"]}
    if inputs.get("monitoring") is not None:
        parameters["Monitoring"] = {"Enabled": inputs["monitoring"]}
    if inputs.get("userData"):
        parameters["UserData"] = inputs["userData"]  # boto3 encodes it
    if inputs.get("userDataBase64"):
        parameters["UserData"] = base64.b64decode(inputs["userDataBase64"])
    parameters |= _network(inputs) | _options(inputs)
    kinds = {"instance": tags, "volume": inputs.get("volumeTags") or {}}
    root = (inputs.get("rootBlockDevice") or {}).get("tags")
    kinds["volume"] = kinds["volume"] or root or {}
    specifications = [tag_specification(kind, each) for kind, each in kinds.items() if each]
    return parameters | ({"TagSpecifications": specifications} if specifications else {})


def _network(inputs: Mapping[str, Any]) -> dict[str, Any]:
    groups = inputs.get("vpcSecurityGroupIds") or []
    if inputs.get("associatePublicIpAddress") is None or not inputs.get("subnetId"):
        parameters: dict[str, Any] = {"SecurityGroupIds": groups} if groups else {}
        if inputs.get("securityGroups"):
            parameters["SecurityGroups"] = inputs["securityGroups"]
        return parameters | ({"SubnetId": inputs["subnetId"]} if inputs.get("subnetId") else {})
    # AWS takes AssociatePublicIpAddress only as part of a network interface.
    interface = {
        "DeviceIndex": 0,
        "AssociatePublicIpAddress": inputs["associatePublicIpAddress"],
        "SubnetId": inputs["subnetId"],
    }
    return {"NetworkInterfaces": [interface | ({"Groups": groups} if groups else {})]}


def _options(inputs: Mapping[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if inputs.get("metadataOptions"):
        parameters["MetadataOptions"] = _capital(inputs["metadataOptions"])
    if inputs.get("creditSpecification"):
        parameters["CreditSpecification"] = _capital(inputs["creditSpecification"])
    market = inputs.get("instanceMarketOptions")
    if market:
        parameters["InstanceMarketOptions"] = {"MarketType": market.get("marketType", "spot")}
        if market.get("spotOptions"):
            parameters["InstanceMarketOptions"]["SpotOptions"] = _capital(market["spotOptions"])
    return parameters


def _capital(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name[0].upper() + name[1:]: value for name, value in options.items() if value is not None
    }


def _root(aws: Aws, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the root disk's mapping, under the device name of the image."""
    device = inputs["rootBlockDevice"]
    images = aws.call("ec2", "DescribeImages", ImageIds=[inputs["ami"]])["Images"]
    name = images[0]["RootDeviceName"] if images else "/dev/xvda"
    ebs: dict[str, Any] = {"DeleteOnTermination": device.get("deleteOnTermination", True)}
    names = {"volumeSize": "VolumeSize", "volumeType": "VolumeType", "iops": "Iops"}
    names |= {"throughput": "Throughput", "encrypted": "Encrypted", "kmsKeyId": "KmsKeyId"}
    ebs |= {theirs: device[ours] for ours, theirs in names.items() if device.get(ours) is not None}
    return {"DeviceName": name, "Ebs": ebs}


def wait_running(aws: Aws, identity: str, waiting: Waiting) -> None:
    """Wait until an instance runs.

    Raises:
        AwsFailure: it ended, or did not run in time.
        Cancelled: the engine asked to stop.
    """
    began = time.monotonic()
    aws.pause(waiting.delay)
    while time.monotonic() - began < _WITHIN:
        instance = _find(aws, identity)
        # DescribeInstances is eventually consistent: a new instance may not be listed yet.
        if instance is None and time.monotonic() - began > _SEEN_WITHIN:
            raise AwsFailure(
                f"waiting for EC2 Instance ({identity}) create: couldn't find resource"
            )
        state = instance["State"]["Name"] if instance else "pending"
        if instance and state == "running":
            return
        if instance and state != "pending":
            reason = instance.get("StateReason", {}).get("Message", "")
            raise AwsFailure(
                f"waiting for EC2 Instance ({identity}) create: unexpected state '{state}',"
                f" wanted target 'running'. last error: {reason}"
            )
        aws.pause(waiting.every)
    raise AwsFailure(
        f"waiting for EC2 Instance ({identity}) create: timeout while waiting for state to become"
        " 'running' (last state: 'pending', timeout: 10m0s)"
    )


def update_created(aws: Aws, identity: str, inputs: Mapping[str, Any]) -> None:
    """Do what the real provider does once a new instance runs.

    Its create ends in its update, whose branch for the shutdown behaviour does not ask whether the
    resource is new (terraform-provider-aws, internal/service/ec2/ec2_instance.go,
    resourceInstanceUpdate; issue 4939 is the same of another attribute).

    Raises:
        AwsFailure: AWS refused it.
    """
    behaviour = inputs.get("instanceInitiatedShutdownBehavior")
    if not behaviour:
        return
    try:
        aws.call(
            "ec2",
            "ModifyInstanceAttribute",
            InstanceId=identity,
            InstanceInitiatedShutdownBehavior={"Value": behaviour},
        )
    except AwsFailure as failure:
        text = (
            f"modifying EC2 Instance ({identity}) InstanceInitiatedShutdownBehavior attribute:"
            f" {failure}"
        )
        raise AwsFailure(text, failure.code) from failure


def _find(aws: Aws, identity: str) -> dict[str, Any] | None:
    try:
        response = aws.call("ec2", "DescribeInstances", InstanceIds=[identity])
    except AwsFailure as failure:
        if failure.code == _GONE:
            return None
        raise
    reservations = response["Reservations"]
    return dict(reservations[0]["Instances"][0]) if reservations else None


def read(aws: Aws, identity: str) -> dict[str, Any] | None:
    """Return the outputs of an instance, or None if it does not exist or is terminated."""
    instance = _find(aws, identity)
    if instance is None or instance["State"]["Name"] == "terminated":
        return None
    aws.call("ec2", "DescribeInstanceTypes", InstanceTypes=[instance["InstanceType"]])
    attributes = {
        name: aws.call("ec2", "DescribeInstanceAttribute", InstanceId=identity, Attribute=name)
        for name in _ATTRIBUTES
    }
    credit = None
    if instance["InstanceType"].startswith("t"):
        found = aws.call("ec2", "DescribeInstanceCreditSpecifications", InstanceIds=[identity])
        each = found["InstanceCreditSpecifications"]
        credit = {"cpuCredits": each[0]["CpuCredits"]} if each else None
    behaviour = attributes["instanceInitiatedShutdownBehavior"]
    groups = [group["GroupId"] for group in instance.get("SecurityGroups", [])]
    return _hardware(instance) | {
        "creditSpecification": credit,
        "disableApiStop": attributes["disableApiStop"]["DisableApiStop"]["Value"],
        "disableApiTermination": attributes["disableApiTermination"]["DisableApiTermination"][
            "Value"
        ],
        "ami": instance["ImageId"],
        "arn": f"arn:aws:ec2:::instance/{identity}",
        "availabilityZone": instance["Placement"]["AvailabilityZone"],
        "instanceInitiatedShutdownBehavior": behaviour["InstanceInitiatedShutdownBehavior"][
            "Value"
        ],
        "instanceLifecycle": instance.get("InstanceLifecycle", ""),
        "instanceState": instance["State"]["Name"],
        "instanceType": instance["InstanceType"],
        "privateDns": instance.get("PrivateDnsName", ""),
        "privateIp": instance.get("PrivateIpAddress", ""),
        "publicDns": instance.get("PublicDnsName", ""),
        "publicIp": instance.get("PublicIpAddress", ""),
        "spotInstanceRequestId": instance.get("SpotInstanceRequestId", ""),
        "subnetId": instance.get("SubnetId", ""),
        "tagsAll": {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])},
        "vpcSecurityGroupIds": groups,
        **_disks(aws, instance),
    }


def _hardware(instance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs that DescribeInstances has, of an instance's parts and options."""
    cpu = instance.get("CpuOptions") or {}
    options = instance.get("MetadataOptions") or {}
    interfaces = instance.get("NetworkInterfaces") or []
    profile = instance.get("IamInstanceProfile") or {}
    return {
        "cpuOptions": {
            "amdSevSnp": cpu.get("AmdSevSnp", ""),
            "coreCount": cpu.get("CoreCount", 1),
            "threadsPerCore": cpu.get("ThreadsPerCore", 1),
        },
        "ebsOptimized": bool(instance.get("EbsOptimized")),
        "hibernation": bool((instance.get("HibernationOptions") or {}).get("Configured")),
        "iamInstanceProfile": profile.get("Arn", "").rpartition("/")[2],
        "keyName": instance.get("KeyName", ""),
        "metadataOptions": {
            "httpEndpoint": options.get("HttpEndpoint", "enabled"),
            "httpProtocolIpv6": options.get("HttpProtocolIpv6", "disabled"),
            "httpPutResponseHopLimit": options.get("HttpPutResponseHopLimit", 1),
            "httpTokens": options.get("HttpTokens", "optional"),
            "instanceMetadataTags": options.get("InstanceMetadataTags", "disabled"),
        },
        "monitoring": instance.get("Monitoring", {}).get("State") == "enabled",
        "primaryNetworkInterfaceId": interfaces[0]["NetworkInterfaceId"] if interfaces else "",
        "securityGroups": [group["GroupName"] for group in instance.get("SecurityGroups", [])],
        "sourceDestCheck": bool(instance.get("SourceDestCheck", True)),
        "tenancy": instance.get("Placement", {}).get("Tenancy", "default"),
    }


def _disks(aws: Aws, instance: Mapping[str, Any]) -> dict[str, Any]:
    attached = {each["Ebs"]["VolumeId"]: each for each in instance.get("BlockDeviceMappings", [])}
    if not attached:
        return {}
    filters = [{"Name": "resource-id", "Values": list(attached)}]
    aws.call("ec2", "DescribeTags", Filters=filters)
    volumes = aws.call("ec2", "DescribeVolumes", VolumeIds=list(attached))["Volumes"]
    volume = volumes[0]
    mapping = attached[volume["VolumeId"]]
    device = {
        "deleteOnTermination": mapping["Ebs"].get("DeleteOnTermination", True),
        "deviceName": mapping["DeviceName"],
        "iops": volume.get("Iops", 0),
        "kmsKeyId": volume.get("KmsKeyId", ""),
        "tags": {},
        "tagsAll": {},
        "throughput": volume.get("Throughput", 0),
        "encrypted": volume.get("Encrypted", False),
        "volumeId": volume["VolumeId"],
        "volumeSize": volume["Size"],
        "volumeType": volume.get("VolumeType", "gp2"),
    }
    tags = {tag["Key"]: tag["Value"] for tag in volume.get("Tags", [])}
    return {"rootBlockDevice": device, "volumeTags": tags}


def _cancel_spot_request(aws: Aws, inputs: Mapping[str, Any]) -> None:
    """Cancel a spot instance's request before it is terminated.

    resourceInstanceDelete does so where its comparison of the life cycle works, which is not so in
    releases before the fix of terraform-provider-aws issue 38142.

    Raises:
        AwsFailure: AWS refused it; the instance is then not terminated.
    """
    request = inputs.get("spotInstanceRequestId")
    if inputs.get("instanceLifecycle") != "spot" or not request:
        return
    try:
        aws.call("ec2", "CancelSpotInstanceRequests", SpotInstanceRequestIds=[request])
    except AwsFailure as failure:
        if failure.code != "InvalidSpotInstanceRequestID.NotFound":
            text = f"cancelling EC2 Spot Instance Request ({request}): {failure}"
            raise AwsFailure(text, failure.code) from failure


def delete(aws: Aws, identity: str, inputs: Mapping[str, Any], waiting: Waiting) -> None:
    """Terminate an instance and wait until it is terminated; a missing one is no error.

    Raises:
        AwsFailure: the instance could not be terminated.
    """
    # resourceInstanceDelete: the protection is removed first; a failure is only logged.
    with contextlib.suppress(AwsFailure):
        off = {"Value": False}
        aws.call("ec2", "ModifyInstanceAttribute", InstanceId=identity, DisableApiTermination=off)
    _cancel_spot_request(aws, inputs)
    try:
        aws.call("ec2", "TerminateInstances", InstanceIds=[identity])
    except AwsFailure as failure:
        if failure.code == _GONE:
            return
        text = f"terminating EC2 Instance ({identity}): {failure}"
        raise AwsFailure(text, failure.code) from failure
    deadline = time.monotonic() + _WITHIN
    aws.pause(waiting.delay)
    while (instance := _find(aws, identity)) and instance["State"]["Name"] != "terminated":
        if time.monotonic() > deadline:
            state = instance["State"]["Name"]
            raise AwsFailure(
                f"waiting for EC2 Instance ({identity}) delete: timeout while waiting for state to"
                f" become 'terminated' (last state: '{state}')"
            )
        aws.pause(waiting.every)
