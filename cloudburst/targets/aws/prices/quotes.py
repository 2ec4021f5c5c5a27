"""The current prices of rungs: the list's on demand, a zone's own for spot."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from cloudburst import clock
from cloudburst.errors import CloudRefused, PriceUnknown
from cloudburst.language import tr
from cloudburst.models import Basis, Price, Quote, Refusal, Verdict
from cloudburst.paths import cache_folder
from cloudburst.targets.aws.prices.pricing import DISK_GB_MONTH, HOURS_PER_MONTH, PriceBook

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudburst.models import Rung
    from cloudburst.targets.aws.ec2 import Aws
    from cloudburst.targets.aws.settings import AwsSettings


class Quotes:
    """Prices of rungs and disks, for one caller.

    Args:
        aws: has the price list, and the spot prices.
        book: looks up the list, and has what the user gives.
        now: seconds since 1970.
    """

    def __init__(self, aws: Aws, book: PriceBook, now: Callable[[], float] = clock.now) -> None:
        self._aws = aws
        self._book = book
        self._now = now

    def of(self, rung: Rung) -> Quote:
        """Return the current price of a rung.

        Raises:
            PriceUnknown: there is none; on spot another zone may have one.
            CloudRefused: AWS refused, or did not answer.
        """
        if rung.market == "on-demand":
            return self._book.on_demand(rung.type, rung.region)
        usd = self._aws.spot_price(rung.type, rung.region, rung.zone)
        if usd is None:
            message = tr(
                "AWS gives no spot price for {type} in {zone}", type=rung.type, zone=rung.zone
            )
            raise PriceUnknown(message, Refusal(verdict=Verdict.NEXT))
        now = datetime.fromtimestamp(self._now(), UTC)
        source = tr("spot price of {time} UTC", time=f"{now:%Y-%m-%d %H:%M}")
        return Quote(Price(usd, source), Basis.SPOT)

    def usd_per_hour(self, rung: Rung) -> float | None:
        """Return the current price of a rung, None where there is none."""
        try:
            return self.of(rung).price.usd_per_hour
        except (PriceUnknown, CloudRefused):
            return None

    def disk(self, region: str) -> Quote:
        """Return the price of a GB of disk by the hour.

        It is hardly a hundredth of a machine's, so that a run does without the list's.
        """
        try:
            return self._book.disk(region)
        except (PriceUnknown, CloudRefused):
            usd = DISK_GB_MONTH / HOURS_PER_MONTH
            return Quote(Price(usd, tr("AWS's price in us-east-1")), Basis.ESTIMATE)


def price_book(aws: Aws, settings: AwsSettings, now: Callable[[], float] = clock.now) -> PriceBook:
    """Return the prices that hold for a caller and their settings."""
    # Prices of a test cloud are not cached for real runs.
    file = cache_folder() / "prices.json" if aws.is_genuine else None
    return PriceBook(aws.products, dict(settings.price_per_hour), file, now)
