"""The AWS APIs, each call by its own name.

Foreign errors become `CloudRefused` here, with AWS's code, its message and what it means.
"""

from __future__ import annotations

import base64
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from cloudburst.errors import CloudRefused
from cloudburst.language import tr
from cloudburst.targets.aws import architecture, described, refusals
from cloudburst.targets.aws.access.credentials import DEFAULT_REGION
from cloudburst.targets.aws.architecture import InstanceKind
from cloudburst.targets.aws.described import STACK_TAG, Firewall, Instance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cloudburst.models import Rung
    from cloudburst.targets.aws.access.credentials import Credentials

# Where the Price List API answers: docs.aws.amazon.com/awsaccountbilling/.../using-price-list-query
PRICE_REGION = "us-east-1"
GONE = "terminated"
END_TIMEOUT = 180.0
# Seconds between two looks at instances that end: AWS takes most of a minute, and lets an account
# describe instances 20 times a second (docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling).
_POLL = 1.0
_LONGEST_POLL = 5.0
# How often an answer is asked for that cannot be read.
_READINGS = 4
# Volumes are still described for a moment while they are deleted.
_VOLUME_EXISTS = ["creating", "available", "in-use", "error"]
# What AWS answers to a dry run of what the caller may do.
_ALLOWED = ("DryRunOperation",)
_NOT_FOUND = ("InvalidGroup.NotFound", "InvalidVolume.NotFound", "InvalidInstanceID.NotFound")


class Aws:
    """AWS for one caller, in any region. Every method may be called from any thread.

    Args:
        credentials: the caller's.
    """

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._session = credentials.session
        self._clients: dict[tuple[str, str, bool], Any] = {}
        # Making clients is not safe from several threads; using them is.
        self._lock = threading.Lock()

    @property
    def home_region(self) -> str:
        """The region of the environment or the profile, us-east-1 where neither has one."""
        return str(self._session.region_name or DEFAULT_REGION)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    # -- who and where ------------------------------------------------------------------------

    def account(self) -> tuple[str, str]:
        """Return the caller's account number and ARN."""
        with self._translated("sts get-caller-identity"):
            response = self._client("sts", self.home_region).get_caller_identity()
        return str(response["Account"]), str(response["Arn"])

    def offers(self, region: str, types: Sequence[str]) -> dict[str, set[str]]:
        """Return for each instance type the zones of a region that offer it."""
        zones: dict[str, set[str]] = {name: set() for name in types}
        filters = [{"Name": "instance-type", "Values": list(types)}]
        pages = self._pages(
            "ec2",
            region,
            "describe_instance_type_offerings",
            LocationType="availability-zone",
            Filters=filters,
        )
        for page in pages:
            for offer in page["InstanceTypeOfferings"]:
                zones[offer["InstanceType"]].add(offer["Location"])
        return zones

    def kinds(self, region: str, types: Sequence[str]) -> dict[str, InstanceKind]:
        """Return what EC2 says of the instance types that a region has."""
        filters = [{"Name": "instance-type", "Values": list(types)}]
        pages = self._pages("ec2", region, "describe_instance_types", Filters=filters)
        return {
            kind["InstanceType"]: InstanceKind(
                int(kind["VCpuInfo"]["DefaultVCpus"]),
                architecture.named(kind["ProcessorInfo"]["SupportedArchitectures"]),
            )
            for page in pages
            for kind in page["InstanceTypes"]
        }

    def default_zones(self, region: str) -> set[str]:
        """Return the zones in which an instance without a named subnet can be launched.

        Those with a default subnet that has free addresses: a Local Zone has none.
        """
        filters = [
            {"Name": "default-for-az", "Values": ["true"]},
            {"Name": "state", "Values": ["available"]},
        ]
        pages = self._pages("ec2", region, "describe_subnets", Filters=filters)
        return {
            str(subnet["AvailabilityZone"])
            for page in pages
            for subnet in page["Subnets"]
            if subnet.get("AvailableIpAddressCount", 1) > 0
        }

    def subnet(self, region: str, subnet: str) -> tuple[str, str]:
        """Return a subnet's zone and VPC."""
        with self._translated(f"ec2 describe-subnets {subnet} in {region}"):
            response = self._client("ec2", region).describe_subnets(SubnetIds=[subnet])
        (described,) = response["Subnets"]
        return str(described["AvailabilityZone"]), str(described["VpcId"])

    def default_vpc(self, region: str) -> str | None:
        """Return the region's default VPC, None when it has none."""
        with self._translated(f"ec2 describe-vpcs in {region}"):
            response = self._client("ec2", region).describe_vpcs(
                Filters=[{"Name": "is-default", "Values": ["true"]}]
            )
        return next((str(vpc["VpcId"]) for vpc in response["Vpcs"]), None)

    def has_way_out(self, region: str, vpc: str, subnet: str | None) -> bool:
        """Whether a subnet, or a VPC's main table, has a route to an internet gateway."""
        with self._translated(f"ec2 describe-route-tables of {vpc} in {region}"):
            response = self._client("ec2", region).describe_route_tables(
                Filters=[{"Name": "vpc-id", "Values": [vpc]}]
            )
        tables = response["RouteTables"]
        own = [t for t in tables if any(a.get("SubnetId") == subnet for a in t["Associations"])]
        main = [t for t in tables if any(a.get("Main") for a in t["Associations"])]
        chosen = (own if subnet and own else main)[:1]
        return any(
            route.get("DestinationCidrBlock") == "0.0.0.0/0"
            and str(route.get("GatewayId", "")).startswith("igw-")
            for table in chosen
            for route in table["Routes"]
        )

    def firewalls(self, region: str, groups: Sequence[str]) -> list[Firewall]:
        """Return security groups."""
        with self._translated(f"ec2 describe-security-groups {', '.join(groups)} in {region}"):
            response = self._client("ec2", region).describe_security_groups(GroupIds=list(groups))
        return [
            Firewall(str(item["GroupId"]), str(item.get("VpcId", "")), described.tcp(item))
            for item in response["SecurityGroups"]
        ]

    def try_launch(self, rung: Rung, ami: str, subnet: str | None, tags: Mapping[str, str]) -> None:
        """Ask whether a tagged machine may be launched, by a dry run: it checks permissions.

        Raises:
            CloudRefused: it may not, or AWS did not answer.
        """
        where: dict[str, Any] = {"Placement": {"AvailabilityZone": rung.zone}}
        if subnet is not None:
            where = {"SubnetId": subnet}
        with self._translated(f"ec2 run-instances --dry-run in {rung.region}", known=_ALLOWED):
            self._client("ec2", rung.region).run_instances(
                DryRun=True,
                ImageId=ami,
                InstanceType=rung.type,
                MinCount=1,
                MaxCount=1,
                TagSpecifications=_specified(tags, "instance", "volume"),
                **where,
            )

    def try_firewall(self, region: str, vpc: str, tags: Mapping[str, str]) -> None:
        """Ask whether a tagged security group may be created, by a dry run.

        Raises:
            CloudRefused: it may not, or AWS did not answer.
        """
        call = f"ec2 create-security-group --dry-run in {region}"
        with self._translated(call, known=_ALLOWED):
            self._client("ec2", region).create_security_group(
                DryRun=True,
                GroupName="cloudburst-dry-run",
                Description="CloudBurst: a dry run",
                VpcId=vpc,
                TagSpecifications=_specified(tags, "security-group"),
            )

    def parameter(self, region: str, name: str) -> str:
        """Return the value of a public SSM parameter."""
        with self._translated(f"ssm get-parameter {name} in {region}"):
            response = self._client("ssm", region).get_parameter(Name=name)
        return str(response["Parameter"]["Value"])

    def registry_token(self, region: str) -> tuple[str, str]:
        """Return user and password for ECR's registries in a region, valid for twelve hours.

        Every registry in it, of other accounts too, that lets the caller in.
        """
        with self._translated(f"ecr get-authorization-token in {region}"):
            response = self._client("ecr", region).get_authorization_token()
        token = str(response["authorizationData"][0]["authorizationToken"])
        user, _, password = base64.b64decode(token).decode().partition(":")
        return user, password

    def quota(self, region: str, code: str) -> float:
        """Return an EC2 quota, such as ``L-1216C47A`` (vCPUs of standard on-demand machines).

        A quota that was never changed may have a default value only.
        """
        call = f"service-quotas get-service-quota ec2 {code} in {region}"
        client = self._client("service-quotas", region)
        response = None
        with self._translated(call, known=("NoSuchResourceException",)):
            response = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)
        if response is None:
            with self._translated(call.replace("get-service", "get-aws-default-service")):
                response = client.get_aws_default_service_quota(ServiceCode="ec2", QuotaCode=code)
        return float(response["Quota"]["Value"])

    # -- prices -------------------------------------------------------------------------------

    def products(self, filters: Mapping[str, str]) -> list[str]:
        """Return EC2 products of the Price List, a JSON document each."""
        wanted = [
            {"Type": "TERM_MATCH", "Field": field, "Value": value}
            for field, value in filters.items()
        ]
        pages = self._pages(
            "pricing", PRICE_REGION, "get_products", ServiceCode="AmazonEC2", Filters=wanted
        )
        return [document for page in pages for document in page["PriceList"]]

    @property
    def is_genuine(self) -> bool:
        """Whether the Price List is AWS's own, whose prices hold for other runs too."""
        endpoint = str(self._client("pricing", PRICE_REGION).meta.endpoint_url)
        return endpoint.endswith(".amazonaws.com")

    def spot_price(self, instance_type: str, region: str, zone: str) -> float | None:
        """Return the current spot price in a zone, in USD per hour; None when there is none."""
        with self._translated(f"ec2 describe-spot-price-history of {instance_type} in {zone}"):
            response = self._client("ec2", region).describe_spot_price_history(
                InstanceTypes=[instance_type],
                AvailabilityZone=zone,
                ProductDescriptions=["Linux/UNIX"],
                StartTime=datetime.now(UTC),  # the price in force, not its history
            )
        history = sorted(response["SpotPriceHistory"], key=lambda item: item["Timestamp"])
        return float(history[-1]["SpotPrice"]) if history else None

    # -- instances ----------------------------------------------------------------------------

    def instances(
        self, region: str, tag: str, value: str, *, patient: bool = True
    ) -> list[Instance]:
        """List the instances with a tag, terminated ones of the last hour too.

        Args:
            region: such as ``us-east-1``.
            tag: its key.
            value: its value.
            patient: try again when the network fails; monitoring need not.
        """
        pages = self._pages(
            "ec2",
            region,
            "describe_instances",
            patient=patient,
            Filters=[{"Name": f"tag:{tag}", "Values": [value]}],
        )
        return described.instances(pages, region)

    def running(self, region: str) -> list[Instance]:
        """List the account's instances that count against its quotas, whoever launched them."""
        states = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        pages = self._pages("ec2", region, "describe_instances", Filters=states)
        return described.instances(pages, region)

    def tagged(self, region: str) -> tuple[list[Instance], dict[str, list[dict[str, str]]]]:
        """List everything in a region that carries CloudBurst's tags.

        Returns:
            Instances that are not terminated, and the tags of security groups and volumes:
            ``{"group": [{"id": ..., tag: value, ...}], "volume": [...]}``.
        """
        filters = [{"Name": "tag-key", "Values": [STACK_TAG]}]
        pages = self._pages("ec2", region, "describe_instances", Filters=filters)
        machines = described.instances(pages, region)
        groups = self._pages("ec2", region, "describe_security_groups", Filters=filters)
        exists = {"Name": "status", "Values": _VOLUME_EXISTS}
        volumes = self._pages("ec2", region, "describe_volumes", Filters=[*filters, exists])
        others = {
            "group": described.tagged(groups, "SecurityGroups", "GroupId"),
            "volume": described.tagged(volumes, "Volumes", "VolumeId"),
        }
        return [machine for machine in machines if machine.state != GONE], others

    def all_regions(self) -> list[str]:
        """List the regions that the account has enabled."""
        with self._translated("ec2 describe-regions"):
            response = self._client("ec2", self.home_region).describe_regions()
        return sorted(str(region["RegionName"]) for region in response["Regions"])

    def spot_codes(self, region: str, requests: Sequence[str]) -> dict[str, str]:
        """Return the status codes of spot requests, such as ``marked-for-termination``."""
        with self._translated(f"ec2 describe-spot-instance-requests in {region}"):
            response = self._client("ec2", region).describe_spot_instance_requests(
                Filters=[{"Name": "spot-instance-request-id", "Values": list(requests)}]
            )
        return {
            str(request["SpotInstanceRequestId"]): str(request["Status"]["Code"])
            for request in response["SpotInstanceRequests"]
        }

    def console(self, region: str, instance: str) -> str:
        """Return what an instance wrote to its console, the boot log."""
        with self._translated(f"ec2 get-console-output of {instance}"):
            client = self._client("ec2", region)
            response = client.get_console_output(InstanceId=instance, Latest=True)
        return str(response.get("Output", ""))

    def others(self, region: str, stack: str) -> dict[str, list[str]]:
        """List a stack's security groups and volumes: ``{"group": [...], "volume": [...]}``."""
        filters = [{"Name": f"tag:{STACK_TAG}", "Values": [stack]}]
        groups = self._pages("ec2", region, "describe_security_groups", Filters=filters)
        exists = {"Name": "status", "Values": _VOLUME_EXISTS}
        volumes = self._pages("ec2", region, "describe_volumes", Filters=[*filters, exists])
        return {
            "group": [item["GroupId"] for page in groups for item in page["SecurityGroups"]],
            "volume": [item["VolumeId"] for page in volumes for item in page["Volumes"]],
        }

    def begin_termination(self, region: str, instances: Sequence[str]) -> None:
        """Ask EC2 to end instances. Ending them twice is no error.

        Raises:
            CloudRefused: AWS refused, or did not answer.
        """
        for instance in instances:  # AWS refuses a whole call for one unknown id
            call = f"ec2 terminate-instances {instance} in {region}"
            with self._translated(call, known=_NOT_FOUND):
                self._client("ec2", region).terminate_instances(InstanceIds=[instance])

    def terminate(self, region: str, instances: Sequence[str]) -> None:
        """End instances and wait until they are terminated. Ending them twice is no error.

        Raises:
            CloudRefused: AWS refused, or they are not terminated within `END_TIMEOUT` seconds.
        """
        names = ", ".join(instances)
        self.begin_termination(region, instances)
        deadline = time.monotonic() + END_TIMEOUT
        filters = [
            {"Name": "instance-id", "Values": list(instances)},
            {
                "Name": "instance-state-name",
                "Values": ["pending", "running", "shutting-down", "stopping", "stopped"],
            },
        ]
        pause = _POLL
        while any(
            page["Reservations"]
            for page in self._pages("ec2", region, "describe_instances", Filters=filters)
        ):
            if time.monotonic() > deadline:
                message = f"{names} did not terminate within {END_TIMEOUT:.0f} s"
                raise CloudRefused(message, refusals.of_code(None, message))
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)

    def remove(self, region: str, groups: Iterable[str], volumes: Iterable[str]) -> None:
        """Delete security groups and volumes. One that does not exist is no error."""
        client = self._client("ec2", region)
        for group in groups:
            with self._translated(f"ec2 delete-security-group {group}", known=_NOT_FOUND):
                client.delete_security_group(GroupId=group)
        for volume in volumes:
            with self._translated(f"ec2 delete-volume {volume}", known=_NOT_FOUND):
                client.delete_volume(VolumeId=volume)

    # -- calls --------------------------------------------------------------------------------

    def _client(self, service: str, region: str, *, patient: bool = True) -> Any:
        key = (service, region, patient)
        with self._lock, self._translated(f"making a client of {service}"):
            if key not in self._clients:
                self._clients[key] = self._session.client(
                    service,
                    region_name=region,
                    config=Config(
                        retries={"mode": "standard", "max_attempts": 4 if patient else 1},
                        connect_timeout=5,
                        read_timeout=20 if patient else 5,
                        max_pool_connections=32,
                    ),
                )
            return self._clients[key]

    def _pages(
        self, service: str, region: str, operation: str, *, patient: bool = True, **arguments: Any
    ) -> list[Any]:
        paginator = self._client(service, region, patient=patient).get_paginator(operation)
        with self._translated(f"{service} {operation.replace('_', '-')} in {region}"):
            for _ in range(_READINGS - 1):
                # An answer that is cut short is the one failure that boto3 does not retry.
                with suppress(ResponseParserError):
                    return list(paginator.paginate(**arguments))
            return list(paginator.paginate(**arguments))

    @contextmanager
    def _translated(self, call: str, known: Sequence[str] = ()) -> Iterator[None]:
        """Translate AWS's errors into ours, once; codes in `known` are no errors."""
        try:
            yield
        except ClientError as error:
            response = error.response.get("Error", {})
            code = str(response.get("Code", ""))
            if code in known:
                return
            message = f"{call}: {code}: {response.get('Message', '')}"
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            refusal = self.credentials.judge(refusals.of_code(code, message, int(status)))
            raise CloudRefused(refusal.explain(message), refusal) from error
        except NoCredentialsError as error:
            message = f"{call}: {error}"
            refusal = replace(refusals.of_code(None, message), advice=tr(refusals.NO_CREDENTIALS))
            raise CloudRefused(refusal.explain(message), refusal) from error
        except BotoCoreError as error:
            message = f"{call}: {error}"
            raise CloudRefused(message, refusals.of_code(None, message)) from error
        except ResponseParserError as error:
            # What follows the first line is the answer, of any length.
            message = f"{call}: {str(error).splitlines()[0]}"
            raise CloudRefused(message, refusals.of_code(None, message)) from error


def _specified(tags: Mapping[str, str], *kinds: str) -> list[dict[str, Any]]:
    """Return the tags of what a call creates, by the kind of resource."""
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    return [{"ResourceType": kind, "Tags": pairs} for kind in kinds]
