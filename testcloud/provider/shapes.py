"""What the real provider adds to a resource's inputs and outputs.

Sources: the conversations between the engine and the provider that pulumi-aws records for its
upgrade tests (examples/testdata/recorded/TestProviderUpgrade: ec2-instance/6.78.0 for an instance,
TestSecurityGroupPreviewWarning, of release 7, for a group and for `region` and `tagsAll`), and the
properties of the installed ``pulumi_aws`` classes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from testcloud.provider import schema
from testcloud.provider.schema import GROUP, INSTANCE

if TYPE_CHECKING:
    from collections.abc import Mapping

# Inputs that the provider fills in, and lists in __defaults.
DEFAULTS: dict[str, dict[str, Any]] = {
    INSTANCE: {"getPasswordData": False, "sourceDestCheck": True, "userDataReplaceOnChange": False},
    GROUP: {"description": "Managed by Pulumi"},
}
# The key of terraform-plugin-sdk under which a resource's timeouts are in its state.
_TIMEOUTS = "e2bfb730-ecaa-11e6-8f88-34363bc7c4c0"
_MINUTE = 60 * 10**9  # nanoseconds
_WITHIN = {
    INSTANCE: {"create": 10, "delete": 20, "read": 15, "update": 10},
    GROUP: {"create": 10, "delete": 15},
}
# Outputs that EC2 gives for an instance on which nobody has set them.
_USUAL: dict[str, Any] = {
    "capacityReservationSpecification": {
        "capacityReservationPreference": "open",
        "capacityReservationTarget": None,
    },
    "ebsBlockDevices": [],
    "enclaveOptions": {"enabled": False},
    "ephemeralBlockDevices": [],
    "forceDestroy": False,
    "hostId": "",
    "ipv6AddressCount": 0,
    "ipv6Addresses": [],
    "maintenanceOptions": {"autoRecovery": "default"},
    "networkInterfaces": [],
    "outpostArn": "",
    "passwordData": "",
    "placementGroup": "",
    "placementGroupId": "",
    "placementPartitionNumber": 0,
    "privateDnsNameOptions": {
        "enableResourceNameDnsARecord": False,
        "enableResourceNameDnsAaaaRecord": False,
        "hostnameType": "ip-name",
    },
    "secondaryPrivateIps": [],
}


def checked(
    kind: str, inputs: Mapping[str, Any], region: str, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Return a resource's inputs as Check returns them; `tags` are all, the provider's too."""
    filled = {
        name: value for name, value in DEFAULTS[kind].items() if inputs.get(name) in (None, "")
    }
    names = sorted([*filled, *(["name"] if kind == GROUP and not inputs.get("name") else [])])
    nested = {name: _marked(value) for name, value in inputs.items() if name != "tags"}
    return {
        **inputs,
        **nested,
        **filled,
        "__defaults": names,
        "region": region,
        "tagsAll": dict(tags),
    }


def _marked(value: Any) -> Any:
    """Return a nested block with the mark that none of its properties is a default."""
    if isinstance(value, dict) and not any(name.startswith("__") for name in value):
        return {"__defaults": [], **{name: _marked(each) for name, each in value.items()}}
    return [_marked(each) for each in value] if isinstance(value, list) else value


def unmarked(value: Any) -> Any:
    """Return inputs without the marks that Check has added."""
    if isinstance(value, dict):
        return {name: unmarked(each) for name, each in value.items() if name != "__defaults"}
    return [unmarked(each) for each in value] if isinstance(value, list) else value


def created(kind: str, identity: str, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource's outputs as Create and Read return them: every property, null if unset."""
    usual = _USUAL if kind == INSTANCE else {}
    return {
        **dict.fromkeys(schema.outputs(kind)),
        **usual,
        **DEFAULTS[kind],
        **unmarked(dict(outputs)),
        "id": identity,
        "__meta": json.dumps(_meta(kind), separators=(",", ":")),
    }


def _meta(kind: str) -> dict[str, Any]:
    within = {name: minutes * _MINUTE for name, minutes in _WITHIN[kind].items()}
    return {_TIMEOUTS: within, "schema_version": "1"}
