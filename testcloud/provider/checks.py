"""Validation that the real provider does when planning, beyond the schema."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any, TypeGuard

from pulumi.runtime import rpc

from testcloud.provider.schema import GROUP, INSTANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Problems = Iterator[tuple[str, str]]

_DESCRIPTION = re.compile(r"^[0-9A-Za-z_ .:/()#,@\[\]+=&;{}!$*-]*$")
_VOLUMES = ("standard", "io1", "io2", "gp2", "sc1", "st1", "gp3")
_USER_DATA_BYTES = 16384
_TAG_KEY, _TAG_VALUE, _NAME = 128, 256, 255
_PROTOCOLS = ("tcp", "udp", "icmp", "icmpv6", "-1", "all")
_PORTS = range(-1, 65536)
_ONE_OF = {
    "instanceInitiatedShutdownBehavior": ("stop", "terminate"),
    "metadataOptions.httpTokens": ("optional", "required"),
    "metadataOptions.httpEndpoint": ("enabled", "disabled"),
    "metadataOptions.instanceMetadataTags": ("enabled", "disabled"),
    "rootBlockDevice.volumeType": _VOLUMES,
    "instanceMarketOptions.marketType": (
        "spot",
        "capacity-block",
        "interruptible-capacity-reservation",
    ),
    "instanceMarketOptions.spotOptions.spotInstanceType": ("one-time", "persistent"),
    "instanceMarketOptions.spotOptions.instanceInterruptionBehavior": (
        "hibernate",
        "stop",
        "terminate",
    ),
    "creditSpecification.cpuCredits": ("standard", "unlimited"),
    "tenancy": ("default", "dedicated", "host"),
}
_CONFLICTS = (
    ("userData", "userDataBase64"),
    ("securityGroups", "vpcSecurityGroupIds"),
    ("networkInterfaces", "vpcSecurityGroupIds"),
    ("networkInterfaces", "subnetId"),
    ("networkInterfaces", "associatePublicIpAddress"),
)
_GROUP_RULE_SOURCES = ("cidrBlocks", "ipv6CidrBlocks", "prefixListIds", "securityGroups", "self")


def problems(kind: str, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the problems of inputs as (property, reason); the schema has been checked before."""
    rules: dict[str, Callable[[Mapping[str, Any]], Problems]] = {INSTANCE: _instance, GROUP: _group}
    result = list(rules[kind](inputs))
    for name in ("tags", "volumeTags"):
        if _known(inputs.get(name)):
            result += _tags(name, inputs[name])
    return result


def _known(value: Any) -> TypeGuard[Any]:
    return value is not None and value != rpc.UNKNOWN


def _instance(inputs: Mapping[str, Any]) -> Problems:
    if not inputs.get("launchTemplate"):
        for name in ("ami", "instanceType"):
            if not inputs.get(name):
                yield name, f'"{name}": one of `{name},launch_template` must be specified'
    for first, second in _CONFLICTS:
        if inputs.get(first) and inputs.get(second):
            yield first, f'Conflicting configuration arguments: "{first}": conflicts with {second}'
    text = inputs.get("userData")
    if _known(text) and len(str(text).encode()) > _USER_DATA_BYTES:
        size = f"(0 - {_USER_DATA_BYTES})"
        yield "userData", f"expected length of user_data to be in the range {size}"
    yield from _choices(inputs)
    hops = _at(inputs, "metadataOptions.httpPutResponseHopLimit")
    if _known(hops) and not 1 <= int(hops) <= 64:
        name = "metadataOptions.httpPutResponseHopLimit"
        yield name, f"expected http_put_response_hop_limit to be in the range (1 - 64), got {hops}"
    if inputs.get("volumeTags") and _at(inputs, "rootBlockDevice.tags"):
        yield "volumeTags", "conflicts with root_block_device.0.tags"


def _choices(inputs: Mapping[str, Any]) -> Problems:
    for path, allowed in _ONE_OF.items():
        value = _at(inputs, path)
        if _known(value) and value not in allowed:
            options = " ".join(f'"{each}"' for each in allowed)
            yield path, f"expected {path} to be one of [{options}], got {value}"


def _at(inputs: Mapping[str, Any], path: str) -> Any:
    value: Any = inputs
    for name in path.split("."):
        if not hasattr(value, "get"):
            return None
        value = value.get(name)
    return value


def _group(inputs: Mapping[str, Any]) -> Problems:
    name = inputs.get("name")
    if _known(name) and (len(name) > _NAME or name.lower().startswith("sg-")):
        yield "name", f"invalid value for name (up to {_NAME} characters, cannot begin with sg-)"
    if _known(name) and inputs.get("namePrefix"):
        yield "name", 'Conflicting configuration arguments: "name": conflicts with name_prefix'
    text = inputs.get("description")
    if _known(text) and (not text or len(text) > _NAME or not _DESCRIPTION.match(text)):
        yield (
            "description",
            f"invalid value for description: {text!r} doesn't comply with restrictions",
        )
    for side in ("ingress", "egress"):
        rules = inputs.get(side)
        for index, rule in enumerate(rules if isinstance(rules, list) else []):
            if isinstance(rule, dict):
                yield from _rule(f"{side}[{index}]", rule)


def _rule(path: str, rule: Mapping[str, Any]) -> Problems:
    yield from _ports(path, rule)
    text = rule.get("description")
    if _known(text) and (len(text) > _NAME or not _DESCRIPTION.match(text)):
        yield f"{path}.description", f"invalid value: {text!r} doesn't comply with restrictions"
    for name, version in (("cidrBlocks", 4), ("ipv6CidrBlocks", 6)):
        blocks = rule.get(name)
        for index, block in enumerate(blocks if isinstance(blocks, list) else []):
            if _known(block) and not _is_block(block, version):
                yield f"{path}.{name}[{index}]", f'"{block}" is not a valid IPv{version} CIDR block'
    if not any(rule.get(name) for name in _GROUP_RULE_SOURCES):
        yield path, "must specify at least one of cidr_blocks, security_groups, self and the like"


def _ports(path: str, rule: Mapping[str, Any]) -> Problems:
    protocol, ports = rule.get("protocol"), (rule.get("fromPort"), rule.get("toPort"))
    numbered = str(protocol).isdigit() and int(str(protocol)) <= 255
    if _known(protocol) and str(protocol).lower() not in _PROTOCOLS and not numbered:
        yield f"{path}.protocol", f"invalid protocol {protocol!r}"
    for name, port in zip(("fromPort", "toPort"), ports, strict=True):
        if _known(port) and int(port) not in _PORTS:
            yield f"{path}.{name}", f"expected {name} to be in the range (-1 - 65535), got {port}"
    if protocol == "-1" and ports != (0, 0):
        yield path, "from_port and to_port must both be 0 to use the 'ALL' \"-1\" protocol!"


def _is_block(text: str, version: int) -> bool:
    try:
        # Strict: like the real provider, refuse host bits behind the mask.
        return "/" in text and ipaddress.ip_network(text).version == version
    except ValueError:
        return False


def _tags(name: str, tags: Mapping[str, Any]) -> Problems:
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            yield f"{name}.{key}", "tag keys with the prefix aws: are reserved"
        if not 1 <= len(key) <= _TAG_KEY:
            yield f"{name}.{key}", f"tag keys have 1 to {_TAG_KEY} characters"
        if _known(value) and len(str(value)) > _TAG_VALUE:
            yield f"{name}.{key}", f"tag values have up to {_TAG_VALUE} characters"
