"""The rungs of the failover ladder on AWS, in the user's order. Pure."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, cast

from cloudburst.models import Rung
from cloudburst.targets.aws.refusals import family

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from cloudburst.models import Market
    from cloudburst.targets.aws.settings import AwsSettings
    from cloudburst.targets.failover import Quota

    Offers = Mapping[tuple[str, str], Collection[str]]


# Codes of the quotas of vCPUs, docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances
# and using-spot-limits: by market and family.
QUOTAS = {
    ("on-demand", "standard"): "L-1216C47A",
    ("spot", "standard"): "L-34B43A08",
    ("on-demand", "g"): "L-DB2E81BA",
    ("spot", "g"): "L-3819A6DF",
}


def quota_of(rung: Rung) -> Quota:
    """Return the quota that a rung counts against."""
    return rung.region, rung.market, family(rung.type)


def allowances(
    limits: Mapping[Quota, float], running: Iterable[tuple[Quota, float]]
) -> dict[Quota, float]:
    """Return how many vCPUs of each quota are free.

    Args:
        limits: the account's quotas, in vCPUs; one that is not known is missing.
        running: the quota and the vCPUs of each instance that counts.
    """
    free = dict(limits)
    for quota, vcpus in running:
        if quota in free:
            free[quota] = max(0.0, free[quota] - vcpus)
    return free


def rungs(settings: AwsSettings, offers: Offers) -> tuple[Rung, ...]:
    """Return every rung that can exist, in the user's order.

    Args:
        settings: what the user asked for; zones alphabetically where none are named.
        offers: (region, instance type) → zones that offer it.
    """
    zones = settings.zones or tuple(sorted({zone for some in offers.values() for zone in some}))
    axes = {
        "region": settings.regions,
        "market": settings.markets,
        "type": settings.instance_types,
        "zone": zones,
    }
    combinations = product(*(axes[axis] for axis in settings.order))
    named = (dict(zip(settings.order, values, strict=True)) for values in combinations)
    return tuple(
        Rung(
            type=values["type"],
            market=cast("Market", values["market"]),
            region=values["region"],
            zone=values["zone"],
        )
        for values in named
        if values["zone"] in offers.get((values["region"], values["type"]), ())
    )
