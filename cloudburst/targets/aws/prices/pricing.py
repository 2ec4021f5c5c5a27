"""Prices from the AWS Price List. Exactly one price, or an error that says how to give one.

A figure is never invented: what the list does not have is asked of the user.
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudburst import clock, files
from cloudburst.errors import CloudRefused, PriceUnknown
from cloudburst.language import tr
from cloudburst.models import Basis, Price, Quote, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    Products = Callable[[Mapping[str, str]], Iterable[str]]

CACHE_SECONDS = 86_400.0
# aws.amazon.com/vpc/pricing: every public IPv4 address, the same in all commercial regions.
IPV4_PER_HOUR = 0.005
# aws.amazon.com/ec2/pricing/on-demand, data transfer out to the internet, first 10 TB a month in
# us-east-1. The first 100 GB a month of an account are free; whether they are used up is not
# known here, so the bill is an upper bound.
EGRESS_PER_GB = 0.09
# docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances-unlimited-mode:
# a T3 above its baseline is billed for the surplus, by vCPU and hour.
SURPLUS_PER_VCPU_HOUR = 0.05
_BASELINE = {"nano": 0.05, "micro": 0.1, "small": 0.2, "medium": 0.2, "large": 0.3}
# aws.amazon.com/ebs/pricing, gp3 in us-east-1; only where the list does not have it.
DISK_GB_MONTH = 0.08
HOURS_PER_MONTH = 730.0  # as AWS prorates a GB-month


def instance_filters(instance_type: str, region: str) -> dict[str, str]:
    """Return the filters that leave one product: Linux, shared, on demand, without licences."""
    return {
        "instanceType": instance_type,
        "regionCode": region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
        "licenseModel": "No License required",
        "operation": "RunInstances",
    }


def disk_filters(region: str) -> dict[str, str]:
    """Return the filters that leave one product: gp3 storage."""
    return {"productFamily": "Storage", "volumeApiName": "gp3", "regionCode": region}


def surplus_per_hour(instance_type: str, vcpus: int) -> float:
    """Return what a burstable machine may cost on top at full load, in USD/h."""
    name, _, size = instance_type.partition(".")
    if name not in {"t3", "t3a", "t4g"}:
        return 0.0
    return vcpus * (1 - _BASELINE.get(size, 0.4)) * SURPLUS_PER_VCPU_HOUR


def one_price(documents: Iterable[str], what: str, unit: str, advice: str) -> float:
    """Return the only price of the only product, in USD.

    Args:
        documents: the Price List's products, JSON each.
        what: what is priced, for messages.
        unit: that the price must have, such as ``Hrs``.
        advice: what a person can do when there is none.

    Raises:
        PriceUnknown: there is none, or more than one, or not in USD and `unit`.
    """
    products = [json.loads(document) for document in documents]
    if len(products) != 1:
        skus = ", ".join(str(product.get("product", {}).get("sku")) for product in products[:5])
        raise PriceUnknown(_not_one(len(products), skus, what, advice))
    prices = [
        dimension
        for term in products[0].get("terms", {}).get("OnDemand", {}).values()
        for dimension in term.get("priceDimensions", {}).values()
    ]
    if len(prices) != 1:
        raise PriceUnknown(
            tr(
                "the price list has {count} prices for {what}. {advice}",
                count=len(prices),
                what=what,
                advice=advice,
            )
        )
    return _usd(prices[0], what, unit, advice)


def _not_one(count: int, skus: str, what: str, advice: str) -> str:
    if not count:
        return tr(
            "the price list has no product for {what}; expected one. {advice}",
            what=what,
            advice=advice,
        )
    return tr(
        "the price list has {count} products ({skus}) for {what}; expected one. {advice}",
        count=count,
        skus=skus,
        what=what,
        advice=advice,
    )


def _usd(price: dict[str, Any], what: str, unit: str, advice: str) -> float:
    try:
        usd = float(price["pricePerUnit"]["USD"])
    except (KeyError, TypeError, ValueError):
        text = tr(
            "the price list has no price in USD for {what}. {advice}", what=what, advice=advice
        )
        raise PriceUnknown(text) from None
    if price.get("unit") != unit or usd <= 0:
        text = tr(
            "the price list has {usd:g} USD per {listed} for {what}; expected more than 0 USD per "
            "{unit}. {advice}",
            usd=usd,
            listed=price.get("unit"),
            what=what,
            unit=unit,
            advice=advice,
        )
        raise PriceUnknown(text)
    return usd


@dataclass
class PriceBook:
    """Looks prices up and caches them on disk, with their date.

    Args:
        products: asks the Price List; takes filters, returns JSON documents.
        given: USD per hour by instance type, wins.
        file: where answers are cached; None caches them in this object alone.
        clock: seconds since 1970.
    """

    products: Products | None
    given: Mapping[str, float]
    file: Path | None
    clock: Callable[[], float] = clock.now
    _memory: dict[str, dict[str, Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def on_demand(self, instance_type: str, region: str) -> Quote:
        """Return a machine's price by the hour.

        Raises:
            PriceUnknown: says how to give one.
            CloudRefused: the price list could not be asked; if it never can be, as from an account
                in China or GovCloud, says how to give one.
        """
        if instance_type in self.given:
            return Quote(Price(self.given[instance_type], tr("given in scenes.yaml")), Basis.GIVEN)
        advice = tr(
            "Give it as aws.price_per_hour: {entry} in scenes.yaml",
            entry=f"{{{instance_type}: USD}}",
        )
        what = tr("{what} in {region}", what=instance_type, region=region)
        try:
            return self._price(instance_filters(instance_type, region), what, "Hrs", advice)
        except CloudRefused as error:
            if error.refusal.verdict is Verdict.WAIT:
                raise
            raise CloudRefused(f"{error}. {advice}", error.refusal) from error

    def disk(self, region: str) -> Quote:
        """Return the price of a GB of gp3 by the hour.

        Raises:
            PriceUnknown: it is not in the list.
        """
        advice = tr("Report this as a fault: the list has changed")
        what = tr("gp3 storage in {region}", region=region)
        month = self._price(disk_filters(region), what, "GB-Mo", advice)
        hour = month.price.usd_per_hour / HOURS_PER_MONTH
        return Quote(Price(hour, month.price.source), month.basis)

    def _price(self, filters: dict[str, str], what: str, unit: str, advice: str) -> Quote:
        key = json.dumps(filters, sort_keys=True)
        with self._lock:
            cached = self._cached().get(key)
            if cached and (self.products is None or self.clock() - cached["at"] < CACHE_SECONDS):
                return _listed(cached["usd"], cached["at"])
            if self.products is None:
                raise PriceUnknown(
                    tr(
                        "the price of {what} is not known without asking AWS. {advice}",
                        what=what,
                        advice=advice,
                    )
                )
            usd = one_price(self.products(filters), what, unit, advice)
            now = self.clock()
            self._cache(key, {"usd": usd, "at": now, "what": what})
        return _listed(usd, now)

    def _cached(self) -> dict[str, dict[str, Any]]:
        """Return what is cached; of a damaged cache, its whole entries."""
        if self.file is None:
            return self._memory
        try:
            cached = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return {}
        if not isinstance(cached, dict):
            return {}
        return {key: entry for key, entry in cached.items() if _is_entry(entry)}

    def _cache(self, key: str, entry: dict[str, Any]) -> None:
        if self.file is None:
            self._memory[key] = entry
            return
        # Without a cache the list is asked again; that must not end a run.
        with contextlib.suppress(OSError):
            text = json.dumps(self._cached() | {key: entry}, indent=2)
            files.write_whole(self.file, text, durable=False)


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(name), int | float) for name in ("usd", "at")
    )


def _listed(usd: float, at: float) -> Quote:
    date = datetime.fromtimestamp(at, UTC)
    source = tr("AWS price list of {date}", date=f"{date:%Y-%m-%d}")
    return Quote(Price(usd, source), Basis.LIST)
