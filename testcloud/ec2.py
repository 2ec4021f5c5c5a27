"""EC2 as it behaves: moto's model of it, made to refuse, to take time, and to run real machines.

moto keeps what exists. Here, in each region that is used, the few of its functions that matter are
replaced on the region's own object, which moto's reset throws away.
"""

from __future__ import annotations

import base64
import functools
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.ec2.exceptions import EC2ClientError, InvalidInstanceIdError
from moto.ec2.models import ec2_backends

from testcloud import spot
from testcloud.hypervisor import groups_of, set_state
from testcloud.launch import Launch, refuse
from testcloud.machine import Machine
from testcloud.wire import ACCOUNT, Answer, Ask, AwsError, ec2_answer, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from testcloud.hypervisor import Hypervisor

ALIVE = ("pending", "running")
_SPOT_WORDS = {
    "fulfilled": "Your Spot request is fulfilled.",
    "marked-for-termination": "Your Spot instance is marked for termination.",
    "instance-terminated-no-capacity": (
        "Your Spot instance was terminated because there is no Spot capacity available that"
        " matches your request."
    ),
    "instance-terminated-by-user": "Your Spot instance was terminated due to user action.",
}


@dataclass(eq=False)
class SpotRequest:
    """A request for one spot instance: it lives as long as that, and is remembered after."""

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
        """End it with its instance."""
        self.state, self.code = "closed", code

    def shown(self) -> dict[str, Any]:
        """Give it as the API shows it."""
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
        """Say whether it passes a describe call's filters."""
        held = {
            "spot-instance-request-id": self.id,
            "instance-id": self.instance,
            "state": self.state,
            "status-code": self.code,
            "launch.instance-type": self.kind,
            "launched-availability-zone": self.zone,
        }
        held |= {f"tag:{key}": value for key, value in self.tags.items()}
        return all(held.get(name) in values for name, values in filters.items())


class Ec2:
    """The regions.

    Args:
        hypervisor: runs what is launched.
        folder: for machines' files.
        control: URL under which a machine finds its metadata service.
    """

    def __init__(self, hypervisor: Hypervisor, folder: Path, control: str) -> None:
        self.hypervisor = hypervisor
        self.quotas = {
            "L-1216C47A": 64.0,
            "L-34B43A08": 64.0,
            "L-DB2E81BA": 64.0,
            "L-3819A6DF": 64.0,
        }
        self.visible_after = 0.0
        self.regions: dict[str, Any] = {}
        self.requests: list[SpotRequest] = []
        self._folder, self._control = folder, control
        self._launch: Launch | None = None
        self._tokens: dict[str, tuple[Mapping[str, Any], Any]] = {}

    def region(self, name: str) -> Any:
        """Give moto's object of a region, made to behave."""
        if name not in self.regions:
            backend = ec2_backends[ACCOUNT][name]
            _open_to_the_internet(backend)
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

    def facts(self, ask: Ask) -> dict[str, str]:
        """Say what a request is about, as far as faults may ask for it."""
        known = {"region": ask.region, "caller": ask.caller}
        if ask.service != "ec2":
            return known
        if ask.action == "RunInstances":
            return known | Launch(ask, self.region(ask.region)).facts
        identities = ask.listed("InstanceId") or [str(ask.params.get("InstanceId", ""))]
        machine = self.hypervisor.find(identities[0])
        return known | (machine.facts if machine else {})

    def before(self, ask: Ask) -> Answer | None:
        """Refuse what AWS refuses, and answer what moto cannot; None to let moto answer.

        Raises:
            AwsError: the request is refused.
        """
        backend = self.region(ask.region)
        if ask.action == "RunInstances":
            if ask.params.get("DryRun") == "true":
                raise AwsError("DryRunOperation")  # it checks permissions, and here are none
            self._launch = Launch(ask, backend)
            earlier = self._tokens.get(self._launch.token)
            if earlier is None:
                refuse(self._launch, self.quotas, self._used(ask.region))
            elif earlier[0] != ask.params:
                raise AwsError(
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with arguments used in"
                    " previous request(s).",
                )
        if ask.action == "DescribeSpotPriceHistory":
            return spot.history(ask)
        if ask.action == "GetConsoleOutput":
            return self._console(ask)
        return None

    def _used(self, region: str) -> list[tuple[str, str]]:
        """List type and market of what counts against a region's quotas."""
        machines = self.hypervisor.machines
        return [(m.type, m.market) for m in machines if m.region == region and m.state in ALIVE]

    def _console(self, ask: Ask) -> Answer:
        machine = self.hypervisor.find(str(ask.params.get("InstanceId", "")))
        if machine is None:
            raise AwsError("InvalidInstanceID.NotFound", "The instance ID does not exist")
        text = base64.b64encode(machine.boot_log().encode()[-65536:]).decode()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return ec2_answer(ask, {"instanceId": machine.id, "timestamp": now, "output": text})

    # -- what replaces moto's functions; the first two arguments are the region and the original --

    def _run(self, backend: Any, run: Any, *given: Any, **named: Any) -> Any:
        launch = self._launch
        assert launch is not None
        if launch.token in self._tokens:
            return self._tokens[launch.token][1]
        named["placement"] = launch.zone
        reservation = run(*given, **named)
        for instance in reservation.instances:
            _tidy(instance, launch)
            self._take_in(instance, launch, named.get("tags", {}))
        if launch.token:
            self._tokens[launch.token] = (launch.ask.params, reservation)
        return reservation

    def _take_in(self, instance: Any, launch: Launch, tags: Mapping[str, Any]) -> None:
        machine = Machine(
            id=instance.id,
            type=launch.type,
            region=launch.ask.region,
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
            requested = dict(tags.get("spot-instances-request", {}))
            request = SpotRequest(instance.id, launch.type, launch.zone, price, requested)
            self.requests.append(request)
            machine.request = request
            instance.spot_instance_request_id = request.id
            instance.instance_lifecycle = "spot"
        self.hypervisor.launch(machine)

    def _terminate(self, backend: Any, original: Any, identities: list[str]) -> Any:
        found = backend.get_multi_instances_by_id(identities)
        for instance in found:
            if instance.disable_api_termination is True:
                raise EC2ClientError(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be terminated. Modify its"
                    " 'disableApiTermination' instance attribute and try again.",
                )
        return [(instance, self._end(instance, stop=False)) for instance in found]

    def _stop(self, backend: Any, original: Any, identities: list[str]) -> Any:
        found = backend.get_multi_instances_by_id(identities)
        return [(instance, self._end(instance, stop=True)) for instance in found]

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
        found = original(filters=filters)
        for reservation in found:
            reservation.instances = [i for i in reservation.instances if self._visible(i)]
        return [reservation for reservation in found if reservation.instances]

    def _describe_ids(
        self, backend: Any, original: Any, identities: list[str], filters: Any = None
    ) -> Any:
        every = backend.all_instances()
        hidden = {instance.id for instance in every if not self._visible(instance)}
        if unseen := [identity for identity in identities if identity in hidden]:
            raise InvalidInstanceIdError(unseen)
        return original(identities, filters=filters)

    def _visible(self, instance: Any) -> bool:
        machine = self.hypervisor.find(instance.id)
        return machine is None or time.time() - machine.launched >= self.visible_after

    def _delete_group(
        self, backend: Any, original: Any, name: str | None = None, group_id: str | None = None
    ) -> None:
        for card in backend.enis.values():
            if any(group.id == group_id for group in card.group_set):
                message = words("DependencyViolation", {"group": group_id})
                raise EC2ClientError("DependencyViolation", message)
        for instance in backend.all_instances():
            gone = instance.state == "terminated"
            if not gone and any(group.id == group_id for group in groups_of(instance)):
                message = words("DependencyViolation", {"group": group_id})
                raise EC2ClientError("DependencyViolation", message)
        original(name=name, group_id=group_id)

    def _spot_requests(
        self,
        backend: Any,
        original: Any,
        filters: Any = None,
        spot_instance_ids: list[str] | None = None,
    ) -> list[dict[str, Any]]:
        here = [each for each in self.requests if each.zone.startswith(backend.region_name)]
        wanted = spot_instance_ids or []
        if unknown := set(wanted) - {each.id for each in here}:
            raise EC2ClientError(
                "InvalidSpotInstanceRequestID.NotFound",
                f"The spot instance request ID '{min(unknown)}' does not exist",
            )
        chosen = [each for each in here if not wanted or each.id in wanted]
        return [each.shown() for each in chosen if each.matches(filters or {})]

    # -- the end --------------------------------------------------------------------------------

    def remaining(self) -> list[str]:
        """List what exists and costs or clutters, in every region that was used."""
        found = []
        for name, backend in self.regions.items():
            alive = [each for each in backend.all_instances() if each.state != "terminated"]
            found += [f"{name}: instance {each.id} is {each.state}" for each in alive]
            for groups in backend.groups.values():
                named = [group for group in groups.values() if group.name != "default"]
                found += [f"{name}: security group {g.id} {g.name}" for g in named]
            found += [f"{name}: volume {volume}" for volume in backend.volumes]
            found += [f"{name}: key pair {pair}" for pair in backend.key_pairs]
            found += [f"{name}: network interface {card}" for card in backend.enis]
        return found


def _tidy(instance: Any, launch: Launch) -> None:
    """Set what AWS sets and moto does not."""
    card = instance.nics[0]
    instance.public_wanted = card.public_ip is not None
    card.public_ip = None
    card.delete_on_termination = True
    if not instance.security_groups:
        instance.security_groups = list(card.group_set)
    for name, device in instance.block_device_mapping.items():
        device.delete_on_termination = name not in launch.kept_devices


def _open_to_the_internet(backend: Any) -> None:
    """Give the default VPC its internet gateway, as AWS makes it."""
    vpc = backend.default_vpc
    gateway = backend.create_internet_gateway()
    backend.attach_internet_gateway(gateway.id, vpc.id)
    table = next(
        t for t in backend.route_tables.values() if t.vpc_id == vpc.id and t.main_association_id
    )
    backend.create_route(table.id, "0.0.0.0/0", gateway_id=gateway.id)
