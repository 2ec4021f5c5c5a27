"""EC2 on top of moto: adds refusals, delays and instances that are real processes.

moto stores the resources. In each region that is used, the few moto functions that need other
behaviour are replaced on the region's backend object, which moto's reset discards.
"""

from __future__ import annotations

import base64
import functools
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.core.utils import camelcase_to_underscores
from moto.ec2.exceptions import EC2ClientError, InvalidInstanceIdError
from moto.ec2.models import ec2_backends

from testcloud.apis import spot
from testcloud.apis.launch import Launch, refuse
from testcloud.apis.wire import ACCOUNT, AwsError, Request, Response, ec2_response, message_for
from testcloud.machines.hypervisor import groups_of, set_state
from testcloud.machines.machine import Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from testcloud.machines.hypervisor import Hypervisor

ALIVE = ("pending", "running")
_SPOT_WORDS = {
    "fulfilled": "Your Spot request is fulfilled.",
    "marked-for-termination": "Your Spot instance is marked for termination.",
    "instance-terminated-no-capacity": (
        "Your Spot instance was terminated because there is no Spot capacity available that"
        " matches your request."
    ),
    "request-canceled-and-instance-running": (
        "Your Spot request is canceled, but your instance is still running."
    ),
    "instance-terminated-by-user": "Your Spot instance was terminated due to user action.",
}


@dataclass(eq=False)
class SpotRequest:
    """A spot instance request: active as long as its instance, and listed afterwards."""

    instance: str
    kind: str
    zone: str
    price: str
    tags: Mapping[str, str]
    id: str = field(default_factory=lambda: f"sir-{uuid.uuid4().hex[:8]}")
    state: str = "active"
    code: str = "fulfilled"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    def close(self, code: str) -> None:
        """Close the request when its instance ends; a cancelled one stays cancelled."""
        if self.state == "active":
            self.state, self.code = "closed", code

    def cancel(self) -> None:
        """Cancel an active request: docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-requests."""
        if self.state == "active":
            self.state, self.code = "cancelled", "request-canceled-and-instance-running"

    def described(self) -> dict[str, Any]:
        """Return the request as DescribeSpotInstanceRequests returns it."""
        now = datetime.now(UTC)
        status = {"Code": self.code, "Message": _SPOT_WORDS[self.code], "UpdateTime": now}
        return {
            "SpotInstanceRequestId": self.id,
            "InstanceId": self.instance,
            "State": self.state,
            "Status": status,
            "Type": "one-time",
            "CreateTime": self.created,
            "SpotPrice": self.price,
            "LaunchedAvailabilityZone": self.zone,
            "InstanceInterruptionBehavior": "terminate",
            "ProductDescription": "Linux/UNIX",
            "LaunchSpecification": {"InstanceType": self.kind},
            "Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()],
        }

    def matches(self, filters: Mapping[str, list[str]]) -> bool:
        """Whether the request matches the filters of a describe call."""
        values = {
            "spot-instance-request-id": self.id,
            "instance-id": self.instance,
            "state": self.state,
            "status-code": self.code,
            "launch.instance-type": self.kind,
            "launched-availability-zone": self.zone,
        }
        values |= {f"tag:{key}": value for key, value in self.tags.items()}
        return all(values.get(name) in wanted for name, wanted in filters.items())


class Ec2:
    """EC2 in all regions.

    Args:
        hypervisor: runs the launched machines.
        folder: where machines keep their files.
        control: base URL of the machines' metadata service.
    """

    def __init__(self, hypervisor: Hypervisor, folder: Path, control: str) -> None:
        self.hypervisor = hypervisor
        self.quotas = {
            "L-1216C47A": 64.0,
            "L-34B43A08": 64.0,
            "L-DB2E81BA": 64.0,
            "L-3819A6DF": 64.0,
        }
        # Quotas that GetServiceQuota does not know, only GetAWSDefaultServiceQuota.
        self.unchanged_quotas = {"L-34B43A08", "L-3819A6DF"}
        # Whether the account has the service-linked role for spot instances.
        self.spot_role = False
        self.visible_after = 0.0
        self.regions: dict[str, Any] = {}
        self.requests: list[SpotRequest] = []
        self._folder, self._control = folder, control
        self._launch: Launch | None = None
        self._tokens: dict[str, tuple[Mapping[str, Any], Any]] = {}

    def region(self, name: str) -> Any:
        """Return moto's backend of a region, with the replaced functions."""
        if name not in self.regions:
            backend = ec2_backends[ACCOUNT][name]
            _attach_internet_gateway(backend)
            self._replace(backend, "run_instances", self._run)
            self._replace(backend, "terminate_instances", self._terminate)
            self._replace(backend, "stop_instances", self._stop)
            self._replace(backend, "describe_instances", self._describe)
            self._replace(backend, "get_reservations_by_instance_ids", self._describe_ids)
            self._replace(backend, "delete_security_group", self._delete_group)
            self._replace(backend, "describe_spot_instance_requests", self._spot_requests)
            self.regions[name] = backend
        return self.regions[name]

    def _replace(self, backend: Any, name: str, function: Callable[..., Any]) -> None:
        setattr(backend, name, functools.partial(function, backend, getattr(backend, name)))

    def facts(self, request: Request) -> dict[str, str]:
        """Return the facts of a request that faults can match."""
        facts = {"region": request.region, "caller": request.caller}
        if request.service != "ec2":
            return facts
        if request.action == "RunInstances":
            return facts | Launch(request, self.region(request.region)).facts
        identities = request.listed("InstanceId") or [str(request.params.get("InstanceId", ""))]
        machine = self.hypervisor.find(identities[0])
        return facts | (machine.facts if machine else {})

    def handle(self, request: Request) -> Response | None:
        """Refuse what AWS refuses, and answer what moto cannot; None to pass the call to moto.

        Raises:
            AwsError: the request is refused.
        """
        backend = self.region(request.region)
        if request.action == "RunInstances":
            self._launch = Launch(request, backend)
            earlier = self._tokens.get(self._launch.token)
            if earlier is None:
                refuse(self._launch, self.quotas, self._used(request.region))
            elif earlier[0] != request.params:
                raise AwsError(
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with arguments used in"
                    " previous request(s).",
                )
        if request.action == "DescribeInstanceTypeOfferings":
            return spot.offerings(request)
        if request.action == "DescribeSpotPriceHistory":
            return spot.history(request)
        if request.action == "GetConsoleOutput":
            return self._console(request)
        if request.action == "ModifyInstanceAttribute":
            return self._modify(request, backend)
        if request.action == "CancelSpotInstanceRequests":
            return self._cancel_spot(request)
        return None

    def tags(self, region: str) -> Callable[[str], Mapping[str, str]]:
        """Return the function that returns a resource's tags in a region by its id."""
        backend = self.region(region)
        spots = {request.id: request.tags for request in self.requests}
        return lambda identity: spots.get(identity) or backend.tags.get(identity, {})

    def _modify(self, request: Request, backend: Any) -> Response:
        """Set an attribute of an instance; on spot instances AWS refuses to."""
        instance = backend.get_instance(str(request.params["InstanceId"]))
        machine = self.hypervisor.find(instance.id)
        for name, value in request.params.items():
            attribute, dot, key = name.partition(".")
            if dot and key == "Value":
                if machine is not None and machine.market == "spot":
                    lower = attribute[0].lower() + attribute[1:]
                    raise AwsError("UnsupportedOperation", attribute=lower)
                setattr(instance, camelcase_to_underscores(attribute), _attribute(value))
        return ec2_response(request, {"return": "true"})

    def _cancel_spot(self, request: Request) -> Response:
        """Cancel spot requests; their instances go on, as AWS's documentation says."""
        wanted = request.listed("SpotInstanceRequestId")
        known = {each.id: each for each in self.requests}
        if unknown := [identity for identity in wanted if identity not in known]:
            raise AwsError(
                "InvalidSpotInstanceRequestID.NotFound",
                f"The spot instance request ID '{unknown[0]}' does not exist",
            )
        for identity in wanted:
            known[identity].cancel()
        items = [{"spotInstanceRequestId": each, "state": "cancelled"} for each in wanted]
        return ec2_response(request, {"spotInstanceRequestSet": items})

    def _used(self, region: str) -> list[tuple[str, str]]:
        """List type and market of the machines that count against a region's quotas."""
        machines = self.hypervisor.machines
        return [(m.type, m.market) for m in machines if m.region == region and m.state in ALIVE]

    def _console(self, request: Request) -> Response:
        machine = self.hypervisor.find(str(request.params.get("InstanceId", "")))
        if machine is None:
            raise AwsError("InvalidInstanceID.NotFound", "The instance ID does not exist")
        text = base64.b64encode(machine.boot_log().encode()[-65536:]).decode()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return ec2_response(request, {"instanceId": machine.id, "timestamp": now, "output": text})

    # -- replacements for moto's functions; they get the region's backend and the original first --

    def _run(self, backend: Any, original: Any, *args: Any, **kwargs: Any) -> Any:
        launch = self._launch
        assert launch is not None
        if launch.token in self._tokens:
            return self._tokens[launch.token][1]
        kwargs["placement"] = launch.zone
        reservation = original(*args, **kwargs)
        for instance in reservation.instances:
            _complete(instance, launch)
            self._start(instance, launch, kwargs.get("tags", {}))
        if launch.token:
            self._tokens[launch.token] = (launch.request.params, reservation)
        return reservation

    def _start(self, instance: Any, launch: Launch, tags: Mapping[str, Any]) -> None:
        machine = Machine(
            id=instance.id,
            type=launch.type,
            region=launch.request.region,
            zone=launch.zone,
            market=launch.market,
            user_data=launch.user_data.decode(errors="surrogateescape"),
            tags=dict(tags.get("instance", {})),
            folder=self._folder / instance.id,
            launched=time.time(),
            control=f"{self._control}/{instance.id}",
            image=launch.image,
            token_required=launch.token_required,
            instance=instance,
        )
        if launch.market == "spot":
            price = launch.max_price or f"{spot.price(launch.type, launch.zone) or 0:.6f}"
            request_tags = dict(tags.get("spot-instances-request", {}))
            request = SpotRequest(instance.id, launch.type, launch.zone, price, request_tags)
            self.requests.append(request)
            machine.spot_request = request
            instance.spot_instance_request_id = request.id
            instance.instance_lifecycle = "spot"
        self.hypervisor.launch(machine)

    def _terminate(self, backend: Any, original: Any, identities: list[str]) -> Any:
        instances = backend.get_multi_instances_by_id(identities)
        for instance in instances:
            if instance.disable_api_termination is True:
                raise EC2ClientError(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be terminated. Modify its"
                    " 'disableApiTermination' instance attribute and try again.",
                )
        return [(instance, self._end(instance, stop=False)) for instance in instances]

    def _stop(self, backend: Any, original: Any, identities: list[str]) -> Any:
        instances = backend.get_multi_instances_by_id(identities)
        return [(instance, self._end(instance, stop=True)) for instance in instances]

    def _end(self, instance: Any, *, stop: bool) -> Any:
        before = instance._state
        machine = self.hypervisor.find(instance.id)
        if machine is not None and before.name == "stopped" and not stop:
            instance.terminate()
            set_state(machine, "terminated", "Client.UserInitiatedShutdown")
        elif machine is not None:
            self.hypervisor.end(machine, "Client.UserInitiatedShutdown", stop=stop)
        return before

    def _describe(self, backend: Any, original: Any, filters: Any = None) -> Any:
        reservations = original(filters=filters)
        for reservation in reservations:
            reservation.instances = [i for i in reservation.instances if self._visible(i)]
        return [reservation for reservation in reservations if reservation.instances]

    def _describe_ids(
        self, backend: Any, original: Any, identities: list[str], filters: Any = None
    ) -> Any:
        instances = backend.all_instances()
        hidden = {instance.id for instance in instances if not self._visible(instance)}
        if missing := [identity for identity in identities if identity in hidden]:
            raise InvalidInstanceIdError(missing)
        return original(identities, filters=filters)

    def _visible(self, instance: Any) -> bool:
        machine = self.hypervisor.find(instance.id)
        return machine is None or time.time() - machine.launched >= self.visible_after

    def _delete_group(
        self, backend: Any, original: Any, name: str | None = None, group_id: str | None = None
    ) -> None:
        for interface in backend.enis.values():
            if any(group.id == group_id for group in interface.group_set):
                message = message_for("DependencyViolation", {"group": group_id})
                raise EC2ClientError("DependencyViolation", message)
        for instance in backend.all_instances():
            terminated = instance.state == "terminated"
            if not terminated and any(group.id == group_id for group in groups_of(instance)):
                message = message_for("DependencyViolation", {"group": group_id})
                raise EC2ClientError("DependencyViolation", message)
        original(name=name, group_id=group_id)

    def _spot_requests(
        self,
        backend: Any,
        original: Any,
        filters: Any = None,
        spot_instance_ids: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        region = backend.region_name
        requests = [request for request in self.requests if request.zone.startswith(region)]
        wanted = spot_instance_ids or []
        if unknown := set(wanted) - {request.id for request in requests}:
            raise EC2ClientError(
                "InvalidSpotInstanceRequestID.NotFound",
                f"The spot instance request ID '{min(unknown)}' does not exist",
            )
        chosen = [request for request in requests if not wanted or request.id in wanted]
        return [request.described() for request in chosen if request.matches(filters or {})]

    # -- remaining resources --------------------------------------------------------------------

    def remaining(self) -> list[str]:
        """List the resources that still exist in every region that was used."""
        resources = []
        for name, backend in self.regions.items():
            alive = [i for i in backend.all_instances() if i.state != "terminated"]
            resources += [f"{name}: instance {i.id} is {i.state}" for i in alive]
            for groups in backend.groups.values():
                named = [group for group in groups.values() if group.name != "default"]
                resources += [f"{name}: security group {g.id} {g.name}" for g in named]
            resources += [f"{name}: volume {volume}" for volume in backend.volumes]
            resources += [f"{name}: key pair {pair}" for pair in backend.key_pairs]
            resources += [f"{name}: network interface {interface}" for interface in backend.enis]
        return resources


def _attribute(value: Any) -> Any:
    return {"true": True, "false": False}.get(str(value), value)


def _complete(instance: Any, launch: Launch) -> None:
    """Set what AWS sets and moto does not."""
    interface = instance.nics[0]
    instance.public_wanted = interface.public_ip is not None
    interface.public_ip = None
    interface.delete_on_termination = True
    if not instance.security_groups:
        instance.security_groups = list(interface.group_set)
    for name, device in instance.block_device_mapping.items():
        device.delete_on_termination = name not in launch.kept_devices


def _attach_internet_gateway(backend: Any) -> None:
    """Attach an internet gateway to the default VPC, as AWS does."""
    vpc = backend.default_vpc
    gateway = backend.create_internet_gateway()
    backend.attach_internet_gateway(gateway.id, vpc.id)
    table = next(
        t for t in backend.route_tables.values() if t.vpc_id == vpc.id and t.main_association_id
    )
    backend.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
