"""EC2 in the regions of a job, as an open target."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from cloudburst import clock, environment
from cloudburst.engine.engine import OPERATION_BYTES
from cloudburst.targets.aws import refusals, workers
from cloudburst.targets.aws.access.credentials import Credentials
from cloudburst.targets.aws.ec2 import Aws
from cloudburst.targets.aws.fleet import Fleet
from cloudburst.targets.aws.prices.quotes import Quotes, price_book
from cloudburst.targets.aws.resources import AwsResources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudburst.models import Plan, Refusal, Rental
    from cloudburst.targets.aws.rentals import Rentals
    from cloudburst.targets.aws.settings import AwsSettings
    from cloudburst.targets.aws.workers import AwsWorkers
    from cloudburst.targets.base import Earlier

# github.com/pulumi/pulumi-aws, issue 5860: every operation starts a plugin of 317 to 430 MB.
PLUGIN_BYTES = 400 * 1024**2


@contextmanager
def open_target(
    settings: AwsSettings,
    earlier: Earlier,
    record: Callable[[Rental], None],
    now: Callable[[], float] = clock.now,
) -> Iterator[AwsTarget]:
    """Connect to AWS, with the credentials of the environment, of `.env` or of a profile.

    Args:
        settings: what the user asked for.
        earlier: what earlier sessions of the run have created.
        record: called with every rental, when it begins, changes and ends.
        now: seconds since 1970.
    """
    aws = Aws(Credentials(environment.additions, next(iter(settings.regions), "")))
    try:
        if not settings.regions:
            settings = replace(settings, regions=(aws.home_region,))
        yield AwsTarget(aws, settings, earlier, record, now)
    finally:
        aws.close()


class AwsTarget:
    """EC2 in the regions of a job.

    Args:
        aws: is asked.
        settings: what the user asked for, with regions.
        earlier: what earlier sessions of the run have created.
        record: called with every rental, when it begins, changes and ends.
        now: seconds since 1970.
    """

    name = "aws"
    operation_bytes = OPERATION_BYTES + PLUGIN_BYTES

    def __init__(
        self,
        aws: Aws,
        settings: AwsSettings,
        earlier: Earlier,
        record: Callable[[Rental], None],
        now: Callable[[], float],
    ) -> None:
        self._aws = aws
        self._settings = settings
        self._now = now
        self._fleet = Fleet(aws, earlier, record, now)
        self._quotes = Quotes(aws, price_book(aws, settings, now), now)
        self.resources = AwsResources(aws, self._fleet, self._quotes, settings.regions)

    @property
    def environment(self) -> dict[str, str]:
        """The credentials of the moment, for the engine's provider.

        Raises:
            CloudRefused: their session has expired.
        """
        return self._aws.credentials.environment()

    @property
    def billing(self) -> Rentals:
        """The rented machines."""
        return self._fleet.rentals

    def prepare(self, plan: Plan, run_id: str) -> AwsWorkers:
        """Ask for all that a plan needs; create nothing.

        Raises:
            InfrastructureError: something that is needed is missing.
        """
        self._fleet.begin(run_id)
        source = workers.prepare(
            self._aws, self._fleet, self._quotes, self._settings, plan, run_id, self._now
        )
        # Nothing is created in a region that was left out, so none of it is asked about later.
        self.resources.regions = source.settings.regions
        return source

    def diagnose(self, message: str) -> Refusal:
        """Return what an engine's error message means."""
        return self._aws.credentials.judge(refusals.diagnose(message))
