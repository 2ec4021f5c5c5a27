"""The rungs of the failover ladder on AWS, in the user's order. Pure."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, cast

from cloudburst.models import Rung

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cloudburst.models import Market
    from cloudburst.targets.aws.settings import AwsSettings

    Offers = Mapping[tuple[str, str], Collection[str]]


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
