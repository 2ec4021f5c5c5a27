"""What an AWS account offers, apart from any run. Asks only; creates nothing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from cloudburst import environment
from cloudburst.targets.aws.access.credentials import Credentials
from cloudburst.targets.aws.ec2 import Aws
from cloudburst.targets.aws.prices.quotes import price_book
from cloudburst.targets.aws.settings import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudburst.targets.aws.settings import AwsSettings


class Account:
    """An account in the region where its runs would begin.

    Args:
        aws: is asked.
        settings: what variables say.
    """

    def __init__(self, aws: Aws, settings: AwsSettings) -> None:
        self._aws = aws
        self._settings = settings
        self.region = settings.regions[0] if settings.regions else aws.home_region

    def regions(self) -> tuple[str, ...]:
        """Return the regions that the account has enabled.

        Raises:
            CloudRefused: AWS refused, or did not answer.
        """
        return tuple(self._aws.all_regions())

    def zones(self, instance_types: Sequence[str]) -> dict[str, list[str]]:
        """Return for each instance type the zones of its region that offer it, in order.

        Raises:
            CloudRefused: AWS refused, or did not answer.
        """
        offers = self._aws.offers(self.region, instance_types)
        return {name: sorted(zones) for name, zones in offers.items()}

    def usd_per_hour(self, instance_type: str) -> float:
        """Return the list price of an instance type in its region, on demand, in USD/h.

        Raises:
            PriceUnknown: the list has none, or more than one.
            CloudRefused: AWS refused, or did not answer.
        """
        book = price_book(self._aws, self._settings)
        return book.on_demand(instance_type, self.region).price.usd_per_hour


@contextmanager
def connected() -> Iterator[Account]:
    """Connect with the credentials and the region of the environment, of `.env` or of a profile.

    Raises:
        CloudRefused: no credentials were found.
        BadInput: `.env` cannot be read.
    """
    settings = resolve(None, environment.environment())
    aws = Aws(Credentials(environment.additions, next(iter(settings.regions), "")))
    try:
        yield Account(aws, settings)
    finally:
        aws.close()
