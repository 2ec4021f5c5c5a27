"""The spot market: a deterministic price for each type and zone, and its history."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

from testcloud.apis import prices
from testcloud.apis.wire import Request, Response, ec2_response

# Price ratio to Linux. Clients have to filter the other systems out.
_SYSTEMS = {"Linux/UNIX": 1.0, "SUSE Linux": 1.35, "Windows": 2.1}
# Price changes: hours ago (scaled by zone), and the price ratio from then on.
_CHANGES = ((2.0, 1.0), (9.0, 1.07), (30.0, 0.94))


# A Local Zone as an account that has opted in to it sees it: it offers some types, has no default
# subnet, and sorts before the region's zones. docs.aws.amazon.com/local-zones/latest/ug
LOCAL_ZONES = {"us-east-1": "us-east-1-atl-1a"}
LOCAL_TYPES = ("c5.2xlarge", "t3.xlarge")


def offered(region: str) -> set[tuple[str, str]]:
    """Return the (type, zone) pairs that are offered in a region."""
    rows = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
    pairs = {(row["InstanceType"], row["Location"]) for row in rows}
    if region in LOCAL_ZONES:
        pairs |= {(kind, LOCAL_ZONES[region]) for kind in LOCAL_TYPES}
    return pairs


def offerings(request: Request) -> Response:
    """Return the response of DescribeInstanceTypeOfferings by zone."""
    types = request.filters().get("instance-type")
    places = request.filters().get("location")
    items = [
        {"instanceType": kind, "locationType": "availability-zone", "location": zone}
        for kind, zone in sorted(offered(request.region))
        if (types is None or kind in types) and (places is None or zone in places)
    ]
    return ec2_response(request, {"instanceTypeOfferingSet": items})


def price(kind: str, zone: str) -> float | None:
    """Return the current price in USD per hour: 30 to 45 % of on-demand."""
    base = prices.on_demand(kind, zone[:-1])
    return None if base is None else round(base * (0.30 + 0.15 * _share(kind, zone)), 4)


def _share(kind: str, zone: str) -> float:
    return zlib.crc32(f"{kind} {zone}".encode()) % 1000 / 999


def history(request: Request) -> Response:
    """Return the response of DescribeSpotPriceHistory, newest first."""
    rows = [row for row in _changes(request) if _matches(request, row)]
    rows.sort(key=lambda row: row["timestamp"], reverse=True)
    size = int(request.params.get("MaxResults", 1000))
    start = int(request.params.get("NextToken") or 0)
    token = str(start + size) if start + size < len(rows) else ""
    content = {"spotPriceHistorySet": rows[start : start + size], "nextToken": token}
    return ec2_response(request, content)


def _changes(request: Request) -> list[dict[str, Any]]:
    """List the changes from the one in effect at StartTime up to EndTime."""
    now = datetime.now(UTC)
    start = _time(request.params.get("StartTime"), now - timedelta(days=90))
    end = _time(request.params.get("EndTime"), now)
    rows = []
    for kind, zone in sorted(offered(request.region)):
        current = price(kind, zone)
        if current is None:
            continue
        for system, factor in _SYSTEMS.items():
            for hours, ratio in _CHANGES:
                at = now - timedelta(hours=hours * (1 + _share(zone, kind)))
                if at <= end:
                    rows.append(
                        {
                            "instanceType": kind,
                            "productDescription": system,
                            "spotPrice": f"{current * factor * ratio:.6f}",
                            "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                            "availabilityZone": zone,
                        }
                    )
                    if at <= start:
                        break
    return rows


def _time(text: str | None, default: datetime) -> datetime:
    if not text:
        return default
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _matches(request: Request, row: dict[str, Any]) -> bool:
    filters = request.filters()
    zone = request.params.get("AvailabilityZone")
    wanted = {
        "instanceType": request.listed("InstanceType") or filters.get("instance-type"),
        "productDescription": request.listed("ProductDescription")
        or filters.get("product-description"),
        "availabilityZone": [zone] if zone else filters.get("availability-zone"),
    }
    return all(
        not values or _base_name(row[name]) in map(_base_name, values)
        for name, values in wanted.items()
    )


def _base_name(text: str) -> str:
    return text.removesuffix(" (Amazon VPC)")
