"""The spot market: a price for each type and zone, steady from run to run, and its history."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

from testcloud import prices
from testcloud.wire import Answer, Ask, ec2_answer

# How much dearer than Linux the other systems are; they are there to be filtered out.
_SYSTEMS = {"Linux/UNIX": 1.0, "SUSE Linux": 1.35, "Windows": 2.1}
# Hours ago at which prices changed, give or take the zone's own share; and the prices then.
_CHANGES = ((2.0, 1.0), (9.0, 1.07), (30.0, 0.94))


def offered(region: str) -> set[tuple[str, str]]:
    """Say which type is offered in which zone."""
    rows = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, [])
    return {(row["InstanceType"], row["Location"]) for row in rows}


def price(kind: str, zone: str) -> float | None:
    """Give the present price, USD an hour: 30 to 45 % of on-demand."""
    base = prices.on_demand(kind, zone[:-1])
    return None if base is None else round(base * (0.30 + 0.15 * _share(kind, zone)), 4)


def _share(kind: str, zone: str) -> float:
    return zlib.crc32(f"{kind} {zone}".encode()) % 1000 / 999


def history(ask: Ask) -> Answer:
    """Answer DescribeSpotPriceHistory, newest first."""
    rows = [row for row in _changes(ask) if _wanted(ask, row)]
    rows.sort(key=lambda row: row["timestamp"], reverse=True)
    size, start = int(ask.params.get("MaxResults", 1000)), int(ask.params.get("NextToken") or 0)
    token = str(start + size) if start + size < len(rows) else ""
    content = {"spotPriceHistorySet": rows[start : start + size], "nextToken": token}
    return ec2_answer(ask, content)


def _changes(ask: Ask) -> list[dict[str, Any]]:
    """List the changes from the one in effect at the asked start to the asked end."""
    now = datetime.now(UTC)
    start = _time(ask.params.get("StartTime"), now - timedelta(days=90))
    end = _time(ask.params.get("EndTime"), now)
    rows = []
    for kind, zone in sorted(offered(ask.region)):
        current = price(kind, zone)
        if current is None:
            continue
        for system, factor in _SYSTEMS.items():
            for hours, then in _CHANGES:
                at = now - timedelta(hours=hours * (1 + _share(zone, kind)))
                if at <= end:
                    rows.append(
                        {
                            "instanceType": kind,
                            "productDescription": system,
                            "spotPrice": f"{current * factor * then:.6f}",
                            "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                            "availabilityZone": zone,
                        }
                    )
                    if at <= start:
                        break
    return rows


def _time(text: str | None, otherwise: datetime) -> datetime:
    if not text:
        return otherwise
    given = datetime.fromisoformat(text)
    return given if given.tzinfo else given.replace(tzinfo=UTC)


def _wanted(ask: Ask, row: dict[str, Any]) -> bool:
    filters = ask.filters()
    zone = ask.params.get("AvailabilityZone")
    asked = {
        "instanceType": ask.listed("InstanceType") or filters.get("instance-type"),
        "productDescription": ask.listed("ProductDescription")
        or filters.get("product-description"),
        "availabilityZone": [zone] if zone else filters.get("availability-zone"),
    }
    return all(
        not values or _plain(row[name]) in map(_plain, values) for name, values in asked.items()
    )


def _plain(text: str) -> str:
    return text.removesuffix(" (Amazon VPC)")
