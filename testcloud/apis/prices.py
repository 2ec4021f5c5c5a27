"""The price list in AWS's format: the right SKUs among many similar ones.

On-demand prices are USD per hour. As in the real list, each type also has similar SKUs for other
operating systems, tenancies and reservations. A client with too few filters reads one of those,
such as $0.475 for c5.2xlarge or $6.68 for c5.4xlarge.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from testcloud.apis.wire import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ON_DEMAND = {
    "c5.2xlarge": (0.34, 8, "16 GiB"),
    "c5.4xlarge": (0.68, 16, "32 GiB"),
    "m5.xlarge": (0.192, 4, "16 GiB"),
    "c7i.2xlarge": (0.357, 8, "16 GiB"),
    "g4dn.xlarge": (0.526, 4, "16 GiB"),
    "m5.large": (0.096, 2, "8 GiB"),
    "t3.xlarge": (0.1664, 4, "16 GiB"),
    "t3.large": (0.0832, 2, "8 GiB"),
    "c7a.2xlarge": (0.41056, 8, "16 GiB"),
    "c6i.2xlarge": (0.34, 8, "16 GiB"),
}
# Region: name in the list, prefix of usage types, price ratio to us-east-1.
REGIONS = {
    "us-east-1": ("US East (N. Virginia)", "", 1.0),
    "us-west-2": ("US West (Oregon)", "USW2-", 1.0),
    "eu-central-1": ("EU (Frankfurt)", "EUC1-", 1.08),
}
GP3_GB_MONTH = {"us-east-1": 0.08, "us-west-2": 0.08, "eu-central-1": 0.0952}
_MISREAD = {"c5.2xlarge": 0.475, "c5.4xlarge": 6.68}
_PUBLISHED = "2026-01-15T00:00:00Z"
_TYPES = ("TERM_MATCH", "EQUALS", "CONTAINS", "ANY_OF", "NONE_OF")
# Attributes that differ from the right SKU, and the price ratio to it.
_DECOYS: tuple[tuple[dict[str, str], float], ...] = (
    ({"preInstalledSw": "SQL Std", "operation": "RunInstances:0004"}, 2.4118),
    ({"preInstalledSw": "SQL Web", "operation": "RunInstances:0200"}, 1.3971),
    ({"preInstalledSw": "SQL Ent", "operation": "RunInstances:0100"}, 5.4118),
    ({"operatingSystem": "Windows", "operation": "RunInstances:0002"}, 2.0824),
    (
        {
            "operatingSystem": "Windows",
            "operation": "RunInstances:0800",
            "licenseModel": "Bring your own license",
        },
        1.0,
    ),
    (
        {
            "operatingSystem": "Windows",
            "preInstalledSw": "SQL Std",
            "operation": "RunInstances:0006",
        },
        3.4941,
    ),
    ({"operatingSystem": "RHEL", "operation": "RunInstances:0010"}, 1.3382),
    ({"operatingSystem": "SUSE", "operation": "RunInstances:000g"}, 1.2941),
    (
        {
            "operatingSystem": "Red Hat Enterprise Linux with HA",
            "operation": "RunInstances:1010",
        },
        1.4206,
    ),
    ({"operatingSystem": "Ubuntu Pro", "operation": "RunInstances:0g00"}, 1.0412),
    ({"tenancy": "Dedicated", "usagetype": "DedicatedUsage"}, 1.0588),
    ({"tenancy": "Host", "usagetype": "HostBoxUsage"}, 0.0),
    ({"capacitystatus": "UnusedCapacityReservation", "usagetype": "UnusedBox"}, 1.0),
    ({"capacitystatus": "AllocatedCapacityReservation", "usagetype": "Reservation"}, 0.0),
    ({"marketoption": "CapacityBlock", "usagetype": "CapacityBlockUsage"}, 1.12),
)


def on_demand(kind: str, region: str) -> float | None:
    """Return the on-demand price in USD per hour; None if the list has none."""
    if kind not in ON_DEMAND or region not in REGIONS:
        return None
    return round(ON_DEMAND[kind][0] * REGIONS[region][2], 6)


@cache
def price_list() -> tuple[dict[str, Any], ...]:
    """Return every item of the list; the SKUs that are easily misread come first."""
    items = [item for region in REGIONS for kind in ON_DEMAND for item in _compute(kind, region)]
    items += [item for region in REGIONS for item in _storage(region)]
    return tuple(items)


def _compute(kind: str, region: str) -> Iterable[dict[str, Any]]:
    right = on_demand(kind, region) or 0.0
    family = kind.partition(".")[0]
    location, prefix, _ = REGIONS[region]
    base = {
        "servicecode": "AmazonEC2",
        "servicename": "Amazon Elastic Compute Cloud",
        "instanceType": kind,
        "instanceFamily": "GPU instance" if family.startswith("g") else "Compute optimized",
        "vcpu": str(ON_DEMAND[kind][1]),
        "memory": ON_DEMAND[kind][2],
        "regionCode": region,
        "location": location,
        "locationType": "AWS Region",
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
        "licenseModel": "No License required",
        "operation": "RunInstances",
        "usagetype": "BoxUsage",
        "currentGeneration": "Yes",
        "storage": "EBS only",
    }
    skus = []
    for index, (difference, ratio) in enumerate(_DECOYS):
        price = right * ratio
        if index == 0 and kind in _MISREAD:
            price = _MISREAD[kind] * REGIONS[region][2]
        skus.append((base | difference, price))
    middle = len(skus) // 2
    skus.insert(middle, (base, right))
    for attributes, price in skus:
        attributes["usagetype"] = f"{prefix}{attributes['usagetype']}:{kind}"
        plain = attributes["operation"] == "RunInstances" and price == right
        family_name = "Compute Instance"
        yield _item(family_name, attributes, price, "Hrs", reserved=plain)


def _storage(region: str) -> Iterable[dict[str, Any]]:
    location, prefix, ratio = REGIONS[region]
    rows = (
        ("System Operation", "gp3", "EBS:VolumeP-IOPS.gp3", 0.005 * ratio, "IOPS-Mo"),
        ("Provisioned Throughput", "gp3", "EBS:VolumeP-Throughput.gp3", 40.96 * ratio, "GiBps-mo"),
        ("Storage", "gp2", "EBS:VolumeUsage.gp2", 0.1 * ratio, "GB-Mo"),
        ("Storage", "gp3", "EBS:VolumeUsage.gp3", GP3_GB_MONTH[region], "GB-Mo"),
        ("Storage", "io2", "EBS:VolumeUsage.io2", 0.125 * ratio, "GB-Mo"),
    )
    for family, volume, usage, price, unit in rows:
        attributes = {
            "servicecode": "AmazonEC2",
            "servicename": "Amazon Elastic Compute Cloud",
            "regionCode": region,
            "location": location,
            "locationType": "AWS Region",
            "volumeApiName": volume,
            "volumeType": "General Purpose" if volume.startswith("gp") else "Provisioned IOPS",
            "storageMedia": "SSD-backed",
            "usagetype": f"{prefix}{usage}",
            "operation": "",
        }
        yield _item(family, attributes, price, unit)


def _item(
    family: str, attributes: dict[str, str], price: float, unit: str, *, reserved: bool = False
) -> dict[str, Any]:
    mark = json.dumps([family, attributes], sort_keys=True)
    sku = hashlib.sha256(mark.encode()).hexdigest()[:16].upper()
    terms = {"OnDemand": _term(sku, "JRTCKXETXF", price, unit, attributes)}
    if reserved:
        term = {"LeaseContractLength": "1yr", "OfferingClass": "standard"}
        term["PurchaseOption"] = "No Upfront"
        terms["Reserved"] = _term(sku, "4NA7Y494T4", price * 0.63, unit, attributes, term)
    return {
        "product": {"productFamily": family, "attributes": attributes, "sku": sku},
        "serviceCode": "AmazonEC2",
        "terms": terms,
        "version": "20260115000000",
        "publicationDate": _PUBLISHED,
    }


def _term(
    sku: str,
    offer: str,
    price: float,
    unit: str,
    attributes: Mapping[str, str],
    term: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    rate = f"{sku}.{offer}.6YS6EN2CT7"
    subject = attributes.get("instanceType") or attributes["usagetype"]
    system = attributes.get("operatingSystem", "")
    dimension = {
        "unit": unit,
        "endRange": "Inf",
        "description": f"${price:.10f} per {unit} {system} {subject}",
        "appliesTo": [],
        "rateCode": rate,
        "beginRange": "0",
        "pricePerUnit": {"USD": f"{price:.10f}"},
    }
    return {
        f"{sku}.{offer}": {
            "priceDimensions": {rate: dimension},
            "sku": sku,
            "effectiveDate": "2026-01-01T00:00:00Z",
            "offerTermCode": offer,
            "termAttributes": dict(term or {}),
        }
    }


def get_products(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the response of GetProducts.

    Raises:
        AwsError: the service, a filter or the token is invalid.
    """
    if params.get("ServiceCode") != "AmazonEC2":
        raise AwsError("InvalidParameterException", "Input Parameters are invalid")
    size = int(params.get("MaxResults", 100))
    if not 1 <= size <= 100:
        raise AwsError("InvalidParameterException", "MaxResults must be between 1 and 100")
    token = str(params.get("NextToken", "0"))
    if not token.isdigit():
        raise AwsError("InvalidNextTokenException", "The pagination token is invalid. Try again.")
    filters = list(params.get("Filters", []))
    items = [item for item in price_list() if all(_matches(item, each) for each in filters)]
    start = int(token)
    response: dict[str, Any] = {
        "FormatVersion": "aws_v1",
        "PriceList": [json.dumps(item) for item in items[start : start + size]],
    }
    if start + size < len(items):
        response["NextToken"] = str(start + size)
    return response


def _matches(item: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    operator = wanted.get("Type")
    field, value = wanted.get("Field", ""), wanted.get("Value", "")
    if operator not in _TYPES or not field:
        raise AwsError("InvalidParameterException", "Input Parameters are invalid")
    product = item["product"]
    special = {"productFamily": product["productFamily"], "sku": product["sku"]}
    special |= {"ServiceCode": item["serviceCode"]}
    attribute = special.get(field, product["attributes"].get(field))
    if operator == "NONE_OF":
        return attribute not in value.split(",")
    if attribute is None:
        return False
    if operator == "CONTAINS":
        return value in attribute
    if operator == "ANY_OF":
        return attribute in value.split(",")
    return bool(attribute == value)
