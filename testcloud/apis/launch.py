"""A RunInstances call: its parameters, and whether AWS would refuse it."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from moto.ec2.models.instance_types import INSTANCE_TYPES

from testcloud.apis import spot
from testcloud.apis.wire import AwsError, Request
from testcloud.machines.machine import vcpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

USER_DATA_BYTES = 16384
# Quota codes by (graphics, market); graphics types have quotas of their own.
_QUOTAS = {
    (False, "on-demand"): "L-1216C47A",
    (False, "spot"): "L-34B43A08",
    (True, "on-demand"): "L-DB2E81BA",
    (True, "spot"): "L-3819A6DF",
}


class Launch:
    """The parameters of a RunInstances call, with AWS's defaults for the missing ones."""

    def __init__(self, request: Request, backend: Any) -> None:
        params = request.params
        self.request, self.backend = request, backend
        self.type = str(params.get("InstanceType", "m1.small"))
        self.image = str(params.get("ImageId", ""))
        self.count = int(params.get("MaxCount", 1))
        self.token = str(params.get("ClientToken", ""))
        market = params.get("InstanceMarketOptions.MarketType", "on-demand")
        self.market = "spot" if market == "spot" else "on-demand"
        self.max_price = str(params.get("InstanceMarketOptions.SpotOptions.MaxPrice", ""))
        self.token_required = params.get("MetadataOptions.HttpTokens") != "optional"
        self.zones = sorted(z for kind, z in spot.offered(request.region) if kind == self.type)
        # Where no zone is named, AWS chooses one that has a default subnet.
        able = [zone for zone in self.zones if zone in backend.get_default_subnets()]
        self.zone = self._zone() or (able[0] if able else f"{request.region}a")
        self.user_data = self._user_data()
        self.kept_devices = {
            params.get(key.removesuffix("Ebs.DeleteOnTermination") + "DeviceName")
            for key, value in params.items()
            if key.endswith(".Ebs.DeleteOnTermination") and value == "false"
        }

    @property
    def facts(self) -> dict[str, str]:
        """The facts that faults can match."""
        return {"type": self.type, "zone": self.zone, "market": self.market}

    def _zone(self) -> str:
        zone = self.request.params.get("Placement.AvailabilityZone", "")
        for name in ("SubnetId", "NetworkInterface.1.SubnetId"):
            subnet = str(self.request.params.get(name, ""))
            for by_zone in self.backend.subnets.values():
                if subnet in by_zone:
                    zone = by_zone[subnet].availability_zone
        return str(zone)

    def _user_data(self) -> bytes:
        try:
            return base64.b64decode(str(self.request.params.get("UserData", "")), validate=True)
        except binascii.Error:
            return b""  # moto refuses it with AWS's message


def quota_of(kind: str, market: str) -> str:
    """Return the code of the quota that an instance type counts against."""
    return _QUOTAS[kind.startswith(("g", "vt")), market]


def refuse(launch: Launch, quotas: Mapping[str, float], used: Iterable[tuple[str, str]]) -> None:
    """Refuse a launch as AWS does.

    Args:
        launch: the call.
        quotas: vCPUs allowed, by quota code.
        used: type and market of the machines that run in the region.

    Raises:
        AwsError: AWS would refuse the launch.
    """
    _refuse_parameters(launch)
    if launch.zone not in launch.zones:
        others = ", ".join(launch.zones)
        raise AwsError("Unsupported", type=launch.type, zone=launch.zone, zones=others)
    _refuse_zone(launch)
    if launch.max_price:
        _refuse_price(launch)
    code = quota_of(launch.type, launch.market)
    total = launch.count * vcpus(launch.type)
    total += sum(vcpus(kind) for kind, market in used if quota_of(kind, market) == code)
    if total > quotas[code]:
        if launch.market == "spot":
            raise AwsError("MaxSpotInstanceCountExceeded")
        raise AwsError("VcpuLimitExceeded", limit=f"{quotas[code]:.0f}")


def _refuse_parameters(launch: Launch) -> None:
    if launch.type not in INSTANCE_TYPES:
        message = f"Invalid value '{launch.type}' for InstanceType."
        raise AwsError("InvalidParameterValue", message)
    if len(launch.user_data) > USER_DATA_BYTES:
        message = f"User data is limited to {USER_DATA_BYTES} bytes"
        raise AwsError("InvalidParameterValue", message)
    if not launch.image:
        message = "The request must contain the parameter ImageId"
        raise AwsError("MissingParameter", message)
    if not launch.backend.describe_images(filters={"image-id": [launch.image]}):
        message = f"The image id '[{launch.image}]' does not exist"
        raise AwsError("InvalidAMIID.NotFound", message)
    known = {name for by_id in launch.backend.groups.values() for name in by_id}
    groups = launch.request.listed("SecurityGroupId")
    groups += launch.request.listed(r"NetworkInterface\.1\.SecurityGroupId")
    for group in groups:
        if group not in known:
            message = f"The security group '{group}' does not exist"
            raise AwsError("InvalidGroup.NotFound", message)


def _refuse_zone(launch: Launch) -> None:
    """Refuse a launch without a subnet in a zone that has no default subnet."""
    params = launch.request.params
    if params.get("SubnetId") or params.get("NetworkInterface.1.SubnetId"):
        return
    subnets = launch.backend.get_default_subnets()
    if launch.zone not in subnets:
        message = f"No default subnet for availability zone: '{launch.zone}'."
        raise AwsError("InvalidInput", message)


def _refuse_price(launch: Launch) -> None:
    current = spot.price(launch.type, launch.zone)
    if current is not None and float(launch.max_price) < current:
        max_price = f"{float(launch.max_price):.6f}"
        raise AwsError("SpotMaxPriceTooLow", max_price=max_price, price=f"{current:.6f}")
