"""What the user asks of AWS: the section ``aws`` of scenes.yaml, and variables beneath it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, StringConstraints, ValidationError

from cloudburst.language import later, tr
from cloudburst.models import Axis, Market
from cloudburst.section import Section, problems
from cloudburst.targets.aws import architecture
from cloudburst.targets.aws.architecture import Architecture
from cloudburst.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

# The video API that comes with CloudBurst, in an image that everybody may pull without a limit, for
# both architectures. The same as in the Dockerfile.
BUNDLED = "bundled"
BASE_IMAGE = "public.ecr.aws/docker/library/python:3.11.11-slim-bookworm"
# docs/aws.md: the size of the snapshot behind Amazon's machine image.
_AMI_GB = 30

# The original tool's names in the environment and in .env, and the field each one fills.
_VARIABLES = {
    "AWS_REGION": "regions",
    "AWS_INSTANCE_TYPE": "instance_types",
    "AWS_SUBNET_ID": "subnet",
    "AWS_SECURITY_GROUP_ID": "security_groups",
    "AWS_AMI_ID": "ami",
    "AWS_KEY_PAIR_NAME": "key_name",
    "DOCKER_IMAGE": "image",
}
_LISTS = {"regions", "instance_types", "security_groups"}
# docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html: per network interface, at most.
_MAX_GROUPS = 16


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """What the user asked of AWS.

    Args:
        regions: such as ``us-east-1``, the first choice first; none: the profile's, us-east-1.
        markets: on-demand, spot, or both in the order in which they are tried.
        instance_types: the first choice first.
        zones: availability zones; none means all that offer the type.
        order: the ladder's axes, the slowest first: the last one changes with every rung.
        image: the container that serves the video API; `BUNDLED` for the one that comes with
            CloudBurst.
        ami: machine image; None takes Amazon's ECS-optimised one, which has Docker.
        disk_gb: size of the root disk, in GB.
        ingress: CIDR block that may reach the workers; None takes this machine's address.
        subnet: in which machines are launched; None takes the default VPC's.
        security_groups: existing ones, every machine has all of them; none: one for each stack.
        key_name: an existing EC2 key pair for SSH; None for no SSH.
        lease_minutes: after which a machine ends itself; None sizes it from the plan.
        price_per_hour: USD by instance type, wins over the price list.
        tags: the user's own, for everything that is created.
        kms_key: ARN of the key that encrypts disks; None for the account's default.
        architectures: what the user's own image is for; none: it is not known.
        port: on which the machines answer; None: 443, or what the user's own groups admit.
    """

    regions: tuple[str, ...] = ()
    markets: tuple[Market, ...] = ("on-demand",)
    instance_types: tuple[str, ...] = (
        "c5.2xlarge",
        "m5.xlarge",
        "g4dn.xlarge",
        "t3.xlarge",
        "t3.large",
        "m5.large",
    )
    zones: tuple[str, ...] = ()
    order: tuple[Axis, ...] = ("region", "market", "type", "zone")
    image: str = BUNDLED
    ami: str | None = None
    disk_gb: int = 30
    ingress: str | None = None
    subnet: str | None = None
    security_groups: tuple[str, ...] = ()
    key_name: str | None = None
    lease_minutes: int | None = None
    price_per_hour: tuple[tuple[str, float], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    kms_key: str | None = None
    architectures: tuple[Architecture, ...] = ()
    port: int | None = None

    @property
    def bundled(self) -> bool:
        """Whether machines run the video API that comes with CloudBurst."""
        return self.image == BUNDLED

    @property
    def container(self) -> str:
        """The container image that machines pull."""
        return BASE_IMAGE if self.bundled else self.image

    @property
    def renderer(self) -> str:
        """What renders; the same version of the bundled video API renders the same anywhere."""
        return f"cloudburst {__version__}" if self.bundled else self.image

    @property
    def shown_image(self) -> str:
        """What serves, for people."""
        return tr("the bundled video API") if self.bundled else self.image


_REGION = r"^[a-z]{2}(-[a-z]+)+-\d$"
_ZONE = r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$"
_TYPE = r"^[a-z][a-z0-9-]*\.[a-z0-9-]+$"
_IMAGE = r"^[a-z0-9][a-z0-9._/:-]*(:[A-Za-z0-9_.-]+)?(@sha256:[0-9a-f]{64})?$"
_CIDR = r"^(\d{1,3}\.){3}\d{1,3}/(3[0-2]|[12]?\d)$"
_AMI, _SUBNET, _GROUP = (rf"^{prefix}-[0-9a-f]{{8,17}}$" for prefix in ("ami", "subnet", "sg"))

# docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats: letters, digits, spaces
# and these signs; aws: is AWS's own. Fifty a resource, of which CloudBurst sets eight.
_TAG_KEY = r"^[\w .:/=+@-]+$"
_TAG_VALUE = r"^[\w .:/=+@-]*$"
_MAX_TAGS = 42
# docs.aws.amazon.com/ec2/latest/instancetypes/instance-type-names: a g after the generation is
# AWS's own processor; a1 was the first.
_GRAVITON = re.compile(r"a1\.|[a-z]+\d+g")
_OWN_TAGS = ("project", "cloudburst:")
_KMS_KEY = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:(key|alias)/[A-Za-z0-9/_-]+$"

Region = Annotated[str, StringConstraints(pattern=_REGION)]
Zone = Annotated[str, StringConstraints(pattern=_ZONE)]
InstanceType = Annotated[str, StringConstraints(pattern=_TYPE)]
AmiId = Annotated[str, StringConstraints(pattern=_AMI)]
SubnetId = Annotated[str, StringConstraints(pattern=_SUBNET)]
GroupId = Annotated[str, StringConstraints(pattern=_GROUP)]
TagKey = Annotated[str, StringConstraints(pattern=_TAG_KEY, max_length=128)]
TagValue = Annotated[str, StringConstraints(pattern=_TAG_VALUE, max_length=256)]


class AwsSection(Section):
    """Machines on EC2, for `target: aws`. Lists hold the first choice first."""

    former_keys: ClassVar[Mapping[str, str]] = {
        "region": "regions",
        "instance_type": "instance_types",
        "market": "markets",
        "zone": "zones",
        "availability_zones": "zones",
        "docker_image": "image",
    }
    patterns: ClassVar[Mapping[str, str]] = {
        _REGION: later("a region such as us-east-1"),
        _ZONE: later("an availability zone such as us-east-1a"),
        _TYPE: later("an instance type such as c5.2xlarge"),
        _IMAGE: later("a container image in small letters, name:tag or name@sha256:…"),
        _CIDR: later("a CIDR block such as 203.0.113.7/32"),
        _AMI: later("an AMI such as ami-0123456789abcdef0"),
        _SUBNET: later("a subnet such as subnet-0123456789abcdef0"),
        _GROUP: later("a security group such as sg-0123456789abcdef0"),
        _TAG_KEY: later("a tag's key: up to 128 letters, digits, spaces and . : / = + - @ _"),
        _TAG_VALUE: later("a tag's value: up to 256 letters, digits, spaces and . : / = + - @ _"),
        _KMS_KEY: later("a KMS key such as arn:aws:kms:us-east-1:123456789012:key/…"),
    }

    regions: list[Region] | None = Field(
        default=None, min_length=1, max_length=10, description="Default: AWS_REGION, the profile's."
    )
    markets: list[Market] = Field(
        default=["on-demand"],
        min_length=1,
        max_length=2,
        description="[spot, on-demand] tries spot first.",
    )
    instance_types: list[InstanceType] | None = Field(
        default=None, min_length=1, max_length=20, description="Default: c5.2xlarge, m5.xlarge, …"
    )
    zones: list[Zone] = Field(default=[], max_length=20, description="Default: all with the type.")
    order: list[Axis] = Field(
        default=["region", "market", "type", "zone"],
        min_length=4,
        max_length=4,
        description="Failover order: the last one changes with every try, the first one last.",
    )
    image: str | None = Field(
        default=None,
        pattern=_IMAGE,
        max_length=300,
        description="Container image of the video API; default: bundled, the one of this version.",
    )
    architectures: list[Architecture] = Field(
        default=[],
        max_length=2,
        description="What your own image is for; instance types have to be for one of them.",
    )
    ami: AmiId | None = Field(
        default=None, description="Machine image with cloud-init; default: Amazon's, with Docker."
    )
    disk_gb: int = Field(default=30, ge=8, le=1000, description="Encrypted gp3 root disk, in GB.")
    ingress: str | None = Field(
        default=None,
        pattern=_CIDR,
        description="Who may reach the workers, as CIDR block; default: this machine alone.",
    )
    port: int | None = Field(
        default=None, ge=1, le=65535, description="On which the workers answer; default: 443."
    )
    subnet: SubnetId | None = Field(default=None, description="Default: the default VPC's.")
    security_group: GroupId | None = Field(
        default=None, description="Existing one; default: one is made for each stack."
    )
    security_groups: list[GroupId] | None = Field(
        default=None,
        min_length=1,
        max_length=_MAX_GROUPS,
        description="Several existing ones, instead of security_group; machines have all of them.",
    )
    key_name: str | None = Field(
        default=None, min_length=1, max_length=255, description="Existing key pair; default: none."
    )
    lease_minutes: int | None = Field(
        default=None,
        ge=5,
        le=1440,
        description="A machine ends itself after so many minutes; default: from the plan.",
    )
    price_per_hour: dict[InstanceType, Annotated[float, Field(gt=0, le=1000)]] = Field(
        default={}, description="USD by instance type; wins over the price list."
    )

    tags: dict[TagKey, TagValue] = Field(
        default={},
        max_length=_MAX_TAGS,
        description="Your own tags, put on everything by the call that creates it.",
    )
    kms_key: str | None = Field(
        default=None,
        pattern=_KMS_KEY,
        description="ARN of the KMS key that encrypts the disk; default: the account's.",
    )


def resolve(section: AwsSection | None, environment: Mapping[str, str]) -> AwsSettings:
    """Return what a section asks for, and for what it leaves open what variables say.

    Args:
        section: from scenes.yaml; None without a file.
        environment: variables, under the original tool's names.
    """
    section = AwsSection() if section is None else section
    default = AwsSettings()
    first = environment.get("AWS_INSTANCE_TYPE")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    types = default.instance_types
    if first:
        types = (first, *(kind for kind in types if kind != first))
    return AwsSettings(
        regions=tuple(section.regions or ([region] if region else [])),
        markets=tuple(section.markets),
        instance_types=tuple(section.instance_types or types),
        zones=tuple(section.zones),
        order=tuple(section.order),
        image=section.image or environment.get("DOCKER_IMAGE") or default.image,
        ami=section.ami or environment.get("AWS_AMI_ID") or None,
        disk_gb=section.disk_gb,
        ingress=section.ingress,
        subnet=section.subnet or environment.get("AWS_SUBNET_ID") or None,
        security_groups=_security_groups(section, environment),
        key_name=section.key_name or environment.get("AWS_KEY_PAIR_NAME") or None,
        lease_minutes=section.lease_minutes,
        price_per_hour=tuple(section.price_per_hour.items()),
        tags=tuple(section.tags.items()),
        kms_key=section.kms_key,
        architectures=tuple(section.architectures),
        port=section.port,
    )


def _security_groups(section: AwsSection, environment: Mapping[str, str]) -> tuple[str, ...]:
    if section.security_group is not None:
        return (section.security_group,)
    named = section.security_groups or _split(environment.get("AWS_SECURITY_GROUP_ID", ""))
    return tuple(dict.fromkeys(named))


def _split(text: str) -> list[str]:
    """Return the parts of a list that is separated by commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def variable_problems(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Return what is wrong with the variables, as (name, message); as strict as the section."""
    names = {field: name for name, field in _VARIABLES.items() if environment.get(name)}
    values: dict[str, Any] = {
        field: _values(field, environment[name]) if field in _LISTS else environment[name]
        for field, name in names.items()
    }
    try:
        AwsSection.model_validate(values)
    except ValidationError as error:
        for path, message in problems(AwsSection, values, error):
            yield names[str(path[0])], message


def _values(field: str, text: str) -> list[str]:
    return _split(text) if field == "security_groups" else [text]


def section_problems(section: AwsSection) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Return what is wrong with a section beyond its shape, as (path in it, message)."""
    for field in ("order", "markets", "regions", "zones", "instance_types", "security_groups"):
        values = getattr(section, field) or []
        if len(set(values)) < len(values):
            yield (field,), tr("got {values}; expected each one once", values=", ".join(values))
    size = section.disk_gb
    if section.ami is None and size < _AMI_GB:
        yield (
            ("disk_gb",),
            tr(
                "got {size}; expected {least} or more, the size of Amazon's machine image",
                size=size,
                least=_AMI_GB,
            ),
        )
    for key in section.tags:
        if key == _OWN_TAGS[0] or key.startswith(_OWN_TAGS[1]):
            yield ("tags", key), tr("CloudBurst sets this tag itself; expected another key")
        if key.lower().startswith("aws:"):
            yield ("tags", key), tr("AWS keeps keys that begin with aws: to itself")
    yield from _network_problems(section)
    yield from _key_problems(section)
    yield from _architecture_problems(section)


def _network_problems(section: AwsSection) -> Iterator[tuple[tuple[str | int, ...], str]]:
    count = len(section.regions or ())
    if section.subnet is not None and count > 1:
        text = tr("got a subnet and {count} regions; expected one: a subnet is in one", count=count)
        yield ("subnet",), text
    yield from _group_problems(section, count)
    try:
        ipaddress.IPv4Network(section.ingress or "0.0.0.0/0")
    except ValueError as error:
        text = tr(
            "got {value}; {error}; expected such as 203.0.113.7/32",
            value=section.ingress,
            error=error,
        )
        yield ("ingress",), text
    for index, zone in enumerate(section.zones):
        if section.regions is not None and zone[:-1] not in section.regions:
            yield (
                ("zones", index),
                tr(
                    "got {zone}; expected a zone of {regions}",
                    zone=zone,
                    regions=", ".join(section.regions),
                ),
            )


def _group_problems(
    section: AwsSection, regions: int
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    single, several = section.security_group is not None, section.security_groups is not None
    field = "security_groups" if several else "security_group"
    if single and several:
        yield ("security_group",), tr("got security_groups as well; expected one of the two")
    if (single or several) and regions > 1:
        message = tr("got {count} regions; expected one: a security group is in one", count=regions)
        yield (field,), message


def _architecture_problems(section: AwsSection) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Return what is wrong by the names of types alone: AWS is asked later, about all of them."""
    image = section.image or AwsSettings().image
    if section.image is None and section.architectures:
        return  # of an image that DOCKER_IMAGE names
    if architecture.is_public(image) and "arm64" in section.architectures:
        yield ("architectures",), tr("got arm64; expected amd64: {image} is for that", image=image)
    for index, kind in enumerate(section.instance_types or ()):
        if _GRAVITON.match(kind):
            wrong = architecture.problem(kind, ["arm64"], image, section.architectures)
            if wrong:
                yield ("instance_types", index), wrong


def _key_problems(section: AwsSection) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if section.kms_key is None:
        return
    region = section.kms_key.split(":")[3]
    if section.regions is not None and section.regions != [region]:
        message = tr(
            "got a key of {region} and the regions {regions}; expected one: a key is in one",
            region=region,
            regions=", ".join(section.regions),
        )
        yield ("kms_key",), message
